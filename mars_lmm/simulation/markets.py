"""B markets in lockstep: books, clocks and the last order of each, and the compiled steps over them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.replay import MarketState
from mars_lmm.market import types as t
from mars_lmm.market.repack import repack
from mars_lmm.simulation.random import make_uniforms
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_DECODE_DRAWS, NUM_MARKET_FEATURES, CodingTables
from mars_lmm.tokenizers.cpu import CODING, OBSERVING

# Simulated orders get ids from here on; no venue's ids come near.
FIRST_SIMULATED_ID = 1 << 48
NUM_SAMPLE_DRAWS = 4
NUM_DRAWS = NUM_SAMPLE_DRAWS + NUM_DECODE_DRAWS

_jit = kept_njit("market", "tokenizers", "simulation")
_uniforms = make_uniforms(_jit)
_step, _after = OBSERVING.step, OBSERVING.after
_encode = CODING.encode
_decode = CODING.decode


@dataclass
class Markets:
    """B markets, each at its own time.

    Attributes:
        books: int64[B, N], a batch of B books.
        clock: int64[B, NUM_CLOCK].
        token: int64[B], the last accepted order's token.
        market: int16[B, NUM_MARKET_FEATURES], the market after it.
        tape: int64[B, NUM_TAPE], its tape row.
        report: int64[B, NUM_REPORT_COLUMNS], what became of the last order, accepted or not.
    """

    books: np.ndarray
    clock: np.ndarray
    token: np.ndarray
    market: np.ndarray
    tape: np.ndarray
    report: np.ndarray

    def __len__(self) -> int:
        return len(self.clock)

    @classmethod
    def fork(cls, state: MarketState, copies: int, num_orders: int, num_ticks: int, num_phases: int) -> Markets:
        """Equal copies of one market, with books of the given capacity."""
        return cls(
            books=repack(state.book[0], copies, num_orders, num_ticks, num_phases=num_phases),
            clock=np.repeat(state.clock[None], copies, axis=0),
            token=np.zeros(copies, dtype=np.int64),
            market=np.zeros((copies, NUM_MARKET_FEATURES), dtype=np.int16),
            tape=np.zeros((copies, o.NUM_TAPE), dtype=np.int64),
            report=np.zeros((copies, t.NUM_REPORT_COLUMNS), dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: list[Markets]) -> Markets:
        """One batch of several whose books have one capacity."""
        names = (field.name for field in fields(cls))
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def execute(
        self,
        tables: CodingTables,
        orders: np.ndarray,
        times: np.ndarray,
        active: np.ndarray,
        anonymous: np.ndarray,
        queue_rule: int,
        accepted: np.ndarray,
    ) -> None:
        """Put one order through each active market, and observe it.

        Args:
            tables: The tokenizer's bins.
            orders: int64[B, NUM_ORDER_COLUMNS].
            times: int64[B], when each order is executed.
            active: bool[B]; the others are left alone.
            anonymous: bool[B]; volume that is nobody's order.
            queue_rule: Which end of a queue the model's cancels take.
            accepted: bool[B], written: an order that now is on the tape, in `token`, `market` and `tape`.
        """
        _execute_orders(
            self.books,
            self.clock,
            tables,
            orders,
            times,
            active,
            anonymous,
            queue_rule,
            self.report,
            self.token,
            self.market,
            self.tape,
            accepted,
        )


@_jit
def draw_uniforms(seed, rollout, step, draws):
    """Fill draws float64[B, NUM_DRAWS] for step `step` of the rollouts int64[B]."""
    for b in range(draws.shape[0]):
        _uniforms(seed, rollout[b], step, draws[b])


@_jit
def decode_orders(tables, token, books, clock, draws, step, orders, times):
    """Turn proposed tokens int64[B] into orders int64[B, NUM_ORDER_COLUMNS] and times int64[B]."""
    for b in range(token.shape[0]):
        interval = _decode(tables, token[b], clock[b], draws[b, NUM_SAMPLE_DRAWS:], orders[b])
        orders[b, t.ORDER_ID] = FIRST_SIMULATED_ID + step
        orders[b, t.OWNER] = t.BACKGROUND
        times[b] = _after(books[b], clock[b, o.LAST_TIME], interval)


@_jit
def _execute_orders(
    books,
    clock,
    tables,
    orders,
    times,
    active,
    anonymous,
    queue_rule,
    report,
    token,
    market,
    tape,
    accepted,
):
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
    observed = np.empty(o.NUM_OBSERVED, dtype=np.int64)
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
            observed,
            tape[b],
        )
        if done and not anonymous[b]:
            token[b] = _encode(tables, observed, market[b])
            accepted[b] = True
