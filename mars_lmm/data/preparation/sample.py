"""A seeded sample of a stream of unknown length: the orders that bins are fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mars_lmm.whole_files import write_text

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

    def save(self, path: Path, limit: Path | None = None) -> None:
        """Write the sample.

        Args:
            path: The file.
            limit: Where `Threshold` writes the greatest key that the joined sample can still have; None: all is kept.
        """
        keys, rows = _smallest(self._parts)
        if limit is not None and limit.exists():
            below = keys <= int(limit.read_text())
            keys, rows = keys[below], rows[below]
        with path.open("wb") as file:
            np.save(file, keys)
            np.save(file, rows)


class Threshold:
    """The greatest key that a sample of all sessions can still have, so that thousands of them keep few rows each.

    Args:
        path: Where the samples that are being taken read it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._keys = np.empty(0, np.uint64)

    def take(self, sample: Path) -> None:
        """Take in a sample that was saved."""
        with sample.open("rb") as file:
            keys = np.concatenate([self._keys, np.load(file)])
        if len(keys) >= MAX_ORDERS:
            keys = np.partition(keys, MAX_ORDERS - 1)[:MAX_ORDERS]
            write_text(self._path, str(keys.max()))
        self._keys = keys


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
