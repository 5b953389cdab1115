"""Trajectories: executed orders of rollouts, and of what really happened, as parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.tokenizers.observation import TAPE_COLUMNS

SCHEMA = pa.schema(
    {
        "start": pa.int32(),
        "rollout": pa.int32(),
        "step": pa.int32(),
        "time": pa.int64(),  # nanoseconds since midnight
        "kind": pa.int8(),
        "side": pa.int8(),
        "price": pa.int32(),  # ticks, as all prices here
        "size": pa.int32(),
        "filled": pa.int32(),
        "fill_value": pa.int64(),  # sum of price * size over the fills
        "last_price": pa.int32(),  # of the last trade so far; 0 before the first
        "bid": pa.int32(),  # the touch after the order; -1 for an empty side
        "ask": pa.int32(),
        "bid_size": pa.int32(),
        "ask_size": pa.int32(),
    }
)


class TrajectoryRecorder:
    """Collects the tape of B rollouts step by step.

    Args:
        start: int[B], the start of each rollout.
        rollout: int[B], its number among the rollouts of that start.
    """

    def __init__(self, start: np.ndarray, rollout: np.ndarray):
        self._start, self._rollout = start, rollout
        self._books: list[np.ndarray] = []
        self._tapes: list[np.ndarray] = []
        self._length = np.zeros(len(start), dtype=np.int64)
        self._steps: list[np.ndarray] = []

    def record(self, accepted: np.ndarray, tape: np.ndarray) -> None:
        """Add the tape rows int64[B, NUM_TAPE] of the books where an order was accepted, bool[B]."""
        books = np.flatnonzero(accepted)
        self._books.append(books)
        self._tapes.append(tape[books])
        self._steps.append(self._length[books])
        self._length[books] += 1

    def table(self) -> pa.Table:
        """All rows, sorted by start, rollout and step."""
        book = np.concatenate(self._books)
        # Stable: rows of a book are in time order already.
        order = np.argsort(book, kind="stable")
        book = book[order]
        return _table(
            self._start[book],
            self._rollout[book],
            np.concatenate(self._steps)[order],
            np.concatenate(self._tapes)[order],
        )


def replay_table(continuations: list[np.ndarray]) -> pa.Table:
    """The real continuations, one int64[N, NUM_TAPE] a start, as trajectories."""
    lengths = [len(tape) for tape in continuations]
    return _table(
        np.repeat(np.arange(len(lengths)), lengths),
        np.zeros(sum(lengths), dtype=np.int64),
        np.concatenate([np.arange(length) for length in lengths]),
        np.concatenate(continuations),
    )


def _table(start: np.ndarray, rollout: np.ndarray, step: np.ndarray, tape: np.ndarray) -> pa.Table:
    columns = {"start": start, "rollout": rollout, "step": step}
    columns |= {name: tape[:, i] for i, name in enumerate(TAPE_COLUMNS)}
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


class TrajectoryFile:
    """A parquet file of trajectories, written batch by batch."""

    def __init__(self, path: Path):
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")

    def __enter__(self) -> TrajectoryFile:
        return self

    def __exit__(self, *exception) -> None:
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self._writer.write_table(table)
