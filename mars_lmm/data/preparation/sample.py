"""A seeded sample of a stream of unknown length: the orders that bins are fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

MAX_ORDERS = 50_000


class Sample:
    """Keeps the rows with the smallest of random keys, so that all rows have the same chance.

    Samples of several streams join into one of all: the smallest keys are the smallest still.

    Args:
        seed: Of the keys; another one for each stream.
        num_columns: Of a row.
    """

    def __init__(self, seed: int, num_columns: int):
        self._random = np.random.Philox(key=seed)
        self._parts = [(np.empty(0, np.uint64), np.empty((0, num_columns), np.int64))]
        self._limit = np.iinfo(np.uint64).max  # larger keys have no place any more

    def add(self, rows: np.ndarray) -> None:
        """Take in the stream's next rows, int64[N, C]."""
        keys = self._random.random_raw(len(rows))
        below = keys < self._limit
        self._parts.append((keys[below], rows[below]))
        if sum(len(keys) for keys, _ in self._parts) > 1.5 * MAX_ORDERS:
            self._parts = [_smallest(self._parts)]
            self._limit = self._parts[0][0].max()

    def save(self, path: Path) -> None:
        """Write the sample."""
        with path.open("wb") as file:
            for array in _smallest(self._parts):
                np.save(file, array)


def join(paths: Iterable[Path]) -> np.ndarray:
    """The sample of all streams together, int64[N, C], from the files that `save` wrote."""
    joined = None
    for path in paths:
        with path.open("rb") as file:
            part = np.load(file), np.load(file)
        joined = part if joined is None else _smallest([joined, part])
    return joined[1]


def _smallest(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The MAX_ORDERS rows with the smallest keys, in order."""
    keys, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if len(keys) <= MAX_ORDERS:
        return keys, rows
    kept = np.sort(np.argpartition(keys, MAX_ORDERS)[:MAX_ORDERS])
    return keys[kept], rows[kept]
