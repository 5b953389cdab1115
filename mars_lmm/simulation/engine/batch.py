"""A batch of rollouts as tensors on one device: made from starts, copied, and reduced to some of its books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.arrays import AgentArrays, MarketArrays, RecordArrays, RolloutArrays
from mars_lmm.simulation.engine.program import NUM_DRAWS
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_TYPES

Arrays = TypeVar("Arrays", bound=tuple)


class Room(NamedTuple):
    """How much a batch can hold.

    Attributes:
        steps: C, steps between two flushes.
        fills: F, fills of agents between two flushes, a book.
        trades: K, trades of one order.
        under_way: Q, orders of an agent on their way.
        open_orders: M, orders of an agent in the book.
        draws: D, random numbers of an agent's decision.
    """

    steps: int
    fills: int
    trades: int
    under_way: int
    open_orders: int
    draws: int


@dataclass
class Batch:
    """B rollouts.

    Attributes:
        market: Their markets.
        rollout: How far they are.
        agent: Their agents.
        record: What happened since the last flush.
    """

    market: MarketArrays
    rollout: RolloutArrays
    agent: AgentArrays
    record: RecordArrays

    def __len__(self) -> int:
        return len(self.rollout.progress)

    @classmethod
    def begin(
        cls, books: np.ndarray, clock: np.ndarray, num_features: int, num_stream: int, num_agents: int, room: Room
    ) -> Batch:
        """Rollouts in these markets, before the first step and without an end, on the CPU.

        Args:
            books: int64[B, N], a batch of books.
            clock: int64[B, NUM_CLOCK].
            num_features: Market features of the model's coding.
            num_stream: What that coding remembers of earlier orders.
            num_agents: A.
            room: The other sizes.
        """
        size = len(books)

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(size, *shape, dtype=dtype)

        market = MarketArrays(
            books=torch.from_numpy(books),
            clock=torch.from_numpy(clock),
            observed=zeros(o.NUM_OBSERVED),
            tape=zeros(o.NUM_TAPE),
            token=zeros(),
            market=zeros(num_features, dtype=torch.int16),
            stream=zeros(num_stream),
            replaced=zeros(dtype=torch.bool),
            report=zeros(t.NUM_REPORT_COLUMNS),
            snapshot=zeros(2, t.DEPTH, 2),
            trades=zeros(room.trades, t.NUM_TRADE_COLUMNS),
        )
        rollout = RolloutArrays(
            progress=zeros(c.NUM_PROGRESS),
            draws=zeros(NUM_DRAWS, dtype=torch.float64),
            order=zeros(c.NUM_QUEUED),
            accepted=zeros(dtype=torch.bool),
            outcomes=zeros(1 + num_agents, len(t.OUTCOMES)),
            types=torch.ones(size, NUM_TYPES, dtype=torch.bool),
        )
        rollout.progress[:, c.NEXT_ID] = c.FIRST_SIMULATED_ID
        rollout.progress[:, [c.END_TIME, c.EMPTY_SINCE]] = c.NEVER
        rollout.progress[:, c.SOURCE] = c.NOBODY
        agent = AgentArrays(
            desk=zeros(num_agents, c.NUM_DESK),
            queue=zeros(num_agents, room.under_way, c.NUM_QUEUED),
            own=zeros(num_agents, room.open_orders, c.NUM_OWN),
            draws=zeros(num_agents, room.draws, dtype=torch.float64),
        )
        record = RecordArrays(
            rows=torch.zeros(room.steps, size, c.NUM_ROW, dtype=torch.int64),
            cursor=torch.zeros(1, dtype=torch.int64),
            fills=zeros(room.fills, c.NUM_FILL),
        )
        return cls(market, rollout, agent, record)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device), lambda rows: rows.to(device))

    def select(self, books: Tensor) -> Batch:
        """Copy into a batch whose book i is books[i], int64[N]; a book named twice is forked."""
        return self._map(
            lambda tensor: tensor.index_select(0, books.to(tensor.device)),
            lambda rows: rows.index_select(1, books.to(rows.device)),
        )

    def put(self, other: Batch, books: np.ndarray) -> None:
        """Overwrite rollout books[i] by rollout i of another batch; what is recorded stays."""
        for own, new in ((self.market, other.market), (self.rollout, other.rollout), (self.agent, other.agent)):
            for mine, its in zip(own, new, strict=True):
                mine[torch.from_numpy(books).to(mine.device)] = its

    def _map(self, books_first: Any, steps_first: Any) -> Batch:
        def each(arrays: Arrays) -> Arrays:
            return type(arrays)(*(books_first(tensor) for tensor in arrays))

        rows = steps_first(self.record.rows)
        record = RecordArrays(rows, self.record.cursor.clone().to(rows.device), books_first(self.record.fills))
        return Batch(each(self.market), each(self.rollout), each(self.agent), record)
