"""Rows of a batch of rollouts on their way to parquet: they come step by step, and are wanted rollout by rollout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Spool:
    """A scratch file of integer rows. Held in memory are the rows of one chunk, and one number a chunk and rollout.

    Args:
        path: The file; it is removed on leaving.
        num_columns: Of a row.
    """

    def __init__(self, path: Path, num_columns: int):
        self._path, self._num_columns = path, num_columns
        self._lengths: list[np.ndarray] = []
        self._file = path.open("w+b")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()
        self._path.unlink()

    def add(self, rows: np.ndarray, used: np.ndarray) -> None:
        """Add a chunk.

        Args:
            rows: int64[B, C, num_columns], oldest first.
            used: bool[B, C]; the other rows are nothing.
        """
        self._file.write(np.ascontiguousarray(rows[used]).tobytes())
        self._lengths.append(used.sum(axis=1))

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows: by book and then as they came, in pieces of a book's number and int64[n, num_columns]."""
        if not self._lengths:
            return
        lengths = np.stack(self._lengths)
        first = np.cumsum(lengths) - lengths.ravel()
        self._file.flush()
        for book in range(lengths.shape[1]):
            for chunk in np.flatnonzero(lengths[:, book]):
                self._file.seek(int(first[chunk * lengths.shape[1] + book]) * self._num_columns * 8)
                count = int(lengths[chunk, book]) * self._num_columns
                rows = np.frombuffer(self._file.read(count * 8), dtype=np.int64)
                yield book, rows.reshape(-1, self._num_columns)
