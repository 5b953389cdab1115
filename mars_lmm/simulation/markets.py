"""B markets in lockstep: books, clocks and the last order of each, and the compiled step over them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.replay import MarketState
from mars_lmm.market import types as t
from mars_lmm.market.repack import repack
from mars_lmm.simulation.random import make_uniforms
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_DECODE_DRAWS, NUM_MARKET_FEATURES
from mars_lmm.tokenizers.cpu import OBSERVING

NUM_SAMPLE_DRAWS = 4
NUM_DRAWS = NUM_SAMPLE_DRAWS + NUM_DECODE_DRAWS

_jit = kept_njit("market", "tokenizers", "simulation")
_uniforms = make_uniforms(_jit)
_step = OBSERVING.step


@dataclass
class Markets:
    """B markets, each at its own time.

    Attributes:
        books: int64[B, N], a batch of B books.
        clock: int64[B, NUM_CLOCK].
        observed: int64[B, NUM_OBSERVED], what the last accepted order looked like.
        tape: int64[B, NUM_TAPE], its tape row.
        token: int64[B], its token.
        market: int16[B, F], the market after it.
        stream: int64[B, S], what the model's coding remembers of earlier orders.
        replaced: bool[B], whether token and market stand for the order before as well.
        report: int64[B, NUM_REPORT_COLUMNS], what became of the last order, accepted or not.
    """

    books: np.ndarray
    clock: np.ndarray
    observed: np.ndarray
    tape: np.ndarray
    token: np.ndarray
    market: np.ndarray
    stream: np.ndarray
    replaced: np.ndarray
    report: np.ndarray

    def __len__(self) -> int:
        return len(self.clock)

    @classmethod
    def fork(
        cls,
        state: MarketState,
        copies: int,
        num_orders: int,
        num_ticks: int,
        num_phases: int,
        num_features: int = NUM_MARKET_FEATURES,
        num_stream: int = 0,
    ) -> Markets:
        """Equal copies of one market, with books of the given capacity and room for a coding's features and stream."""
        return cls(
            books=repack(state.book[0], copies, num_orders, num_ticks, num_phases=num_phases),
            clock=np.repeat(state.clock[None], copies, axis=0),
            observed=np.zeros((copies, o.NUM_OBSERVED), dtype=np.int64),
            tape=np.zeros((copies, o.NUM_TAPE), dtype=np.int64),
            token=np.zeros(copies, dtype=np.int64),
            market=np.zeros((copies, num_features), dtype=np.int16),
            stream=np.zeros((copies, num_stream), dtype=np.int64),
            replaced=np.zeros(copies, dtype=bool),
            report=np.zeros((copies, t.NUM_REPORT_COLUMNS), dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: list[Markets]) -> Markets:
        """One batch of several whose books have one capacity."""
        names = (field.name for field in fields(cls))
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def execute(
        self,
        orders: np.ndarray,
        times: np.ndarray,
        active: np.ndarray,
        anonymous: np.ndarray,
        queue_rule: int,
        accepted: np.ndarray,
    ) -> None:
        """Put one order through each active market, and observe it.

        Args:
            orders: int64[B, NUM_ORDER_COLUMNS].
            times: int64[B], when each order is executed.
            active: bool[B]; the others are left alone.
            anonymous: bool[B]; volume that is nobody's order.
            queue_rule: Which end of a queue the model's cancels take.
            accepted: bool[B], written: an order that now is in `tape` and `observed`.
        """
        _execute_orders(
            self.books,
            self.clock,
            orders,
            times,
            active,
            anonymous,
            queue_rule,
            self.report,
            self.observed,
            self.tape,
            accepted,
        )


@_jit
def draw_uniforms(seed, rollout, step, draws):
    """Fill draws float64[B, NUM_DRAWS] for step `step` of the rollouts int64[B]."""
    for b in range(draws.shape[0]):
        _uniforms(seed, rollout[b], step, draws[b])


@_jit
def _execute_orders(
    books,
    clock,
    orders,
    times,
    active,
    anonymous,
    queue_rule,
    report,
    observed,
    tape,
    accepted,
):
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
    for b in range(orders.shape[0]):
        accepted[b] = False
        if not active[b]:
            continue
        done = _step(
            books[b],
            clock[b],
            orders[b],
            times[b],
            anonymous[b],
            queue_rule,
            report[b],
            trades,
            snapshot,
            observed[b],
            tape[b],
        )
        accepted[b] = done and not anonymous[b]
