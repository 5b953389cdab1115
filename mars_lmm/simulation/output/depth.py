"""The book along some rollouts: its best levels at moments spread over the whole way, whatever its length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from mars_lmm.market import types as t
from mars_lmm.simulation.engine.batch import Batch
from mars_lmm.tokenizers import observation as o

MOMENTS = 512  # at most; at least half of them once a rollout has made that many orders

DEPTH_SCHEMA = pa.schema(
    {
        "start": pa.int32(),
        "rollout": pa.int32(),
        "time": pa.int64(),
        "side": pa.int8(),
        "level": pa.int8(),  # 0 is the best
        "price": pa.int32(),
        "size": pa.int64(),
    }
)


class DepthSampler:
    """Copies snapshots of some books into a buffer on their device; when it is full, every other one is dropped.

    Args:
        batch: The rollouts.
        books: Which of them.
    """

    def __init__(self, batch: Batch, books: Sequence[int]):
        self._numbers = list(books)
        shape = (MOMENTS, len(self._numbers))
        self._levels = batch.market.snapshot.new_zeros(*shape, 2, t.DEPTH, 2)
        self._time = batch.market.clock.new_zeros(shape)
        self._used, self._steps, self._stride = 0, 0, 1
        self._places = np.zeros(0, dtype=np.int64)
        self._sample(batch, np.arange(len(batch)))

    def after_step(self, batch: Batch, places: np.ndarray) -> None:
        """Take a sample when it is time for one; waits for nothing.

        Args:
            batch: The rollouts that still run.
            places: int64[n], their numbers.
        """
        self._steps += 1
        if self._steps % self._stride == 0:
            self._sample(batch, places)

    def _sample(self, batch: Batch, places: np.ndarray) -> None:
        if not self._numbers:
            return
        if self._used == MOMENTS:
            self._used //= 2
            for buffer in (self._levels, self._time):
                buffer[: self._used] = buffer[::2].clone()
            self._stride *= 2
            if self._steps % self._stride:
                return
        if places is not self._places:
            self._find(places)
        if self._used:  # a book that is not there any more stays as it was
            for buffer in (self._levels, self._time):
                buffer[self._used] = buffer[self._used - 1]
        self._levels[self._used, self._columns] = batch.market.snapshot[self._books]
        self._time[self._used, self._columns] = batch.market.clock[self._books, o.LAST_TIME]
        self._used += 1

    def _find(self, places: np.ndarray) -> None:
        """Find the books in a batch of rollouts with these numbers."""
        columns, books = np.nonzero(np.array(self._numbers)[:, None] == places)
        self._columns, self._books = (torch.tensor(part, device=self._time.device) for part in (columns, books))
        self._places = places

    def table(self, start: np.ndarray, rollout: np.ndarray) -> pa.Table:
        """The levels that hold orders, by rollout and time.

        Args:
            start: int[B], the start of each rollout.
            rollout: int[B], its number.
        """
        levels, times = self._levels[: self._used].cpu().numpy(), self._time[: self._used].cpu().numpy()
        parts = []
        for place, book in enumerate(self._numbers):
            # The last sample of a moment is the book as the moment left it.
            kept = np.flatnonzero(np.diff(times[:, place], append=np.iinfo(np.int64).max))
            moment, side, level = np.nonzero(levels[kept, place, :, :, 0] != t.NO_PRICE)
            price, size = levels[kept[moment], place, side, level].T
            here = np.full(len(moment), start[book]), np.full(len(moment), rollout[book])
            parts.append(np.column_stack([*here, times[kept[moment], place], side, level, price, size]))
        rows = np.concatenate([*parts, np.zeros((0, len(DEPTH_SCHEMA)), dtype=np.int64)])
        arrays = [pa.array(rows[:, i]).cast(field.type) for i, field in enumerate(DEPTH_SCHEMA)]
        return pa.Table.from_arrays(arrays, schema=DEPTH_SCHEMA)
