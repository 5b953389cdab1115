"""Trajectories as parquet: the executed orders of rollouts and of what really happened, and the fills of agents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.output.spool import Spool
from mars_lmm.tokenizers.observation import NUM_TAPE, TAPE_COLUMNS

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
        "bid_size": pa.int64(),
        "ask_size": pa.int64(),
        "source": pa.int16(),  # 0: the model, or the real market; n: agent number n
        "order_id": pa.int64(),  # 0 in the real continuation
    }
)
FILL_SCHEMA = pa.schema(
    {
        "start": pa.int32(),
        "rollout": pa.int32(),
        "time": pa.int64(),
        "agent": pa.int16(),
        "side": pa.int8(),
        "price": pa.int32(),
        "size": pa.int32(),
        "order_id": pa.int64(),
        "taker": pa.int8(),  # 1: its order came second, or traded in an auction
    }
)
ROW_COLUMNS = (*TAPE_COLUMNS, "source", "order_id")
ROWS_A_GROUP = 1 << 18
"""Rows that are held in memory before they are written."""


def write_rollouts(spool: Spool, start: np.ndarray, rollout: np.ndarray, path: Path) -> None:
    """Write the executed orders of a batch, by rollout.

    Args:
        spool: Rows of `ROW_COLUMNS`.
        start: int[B], the start of each rollout.
        rollout: int[B], its number among the rollouts of that start.
        path: The file.
    """
    _write(spool, SCHEMA, ROW_COLUMNS, start, rollout, path)


def write_fills(spool: Spool, start: np.ndarray, rollout: np.ndarray, path: Path) -> None:
    """Write the trades of a batch that agents had a part in, by rollout; arguments as in `write_rollouts`."""
    _write(spool, FILL_SCHEMA, c.FILL_COLUMNS, start, rollout, path)


def orders_table(start: np.ndarray, rollout: np.ndarray, rows: Sequence[np.ndarray]) -> pa.Table:
    """The executed orders of rollouts.

    Args:
        start: int[B], the start of each rollout.
        rollout: int[B], its number among the rollouts of that start.
        rows: Of each rollout int64[N, NUM_ROW], in the order of execution.
    """
    return _tables(SCHEMA, ROW_COLUMNS, start, rollout, rows)


def fills_table(start: np.ndarray, rollout: np.ndarray, rows: Sequence[np.ndarray]) -> pa.Table:
    """The trades that agents had a part in; of each rollout int64[N, NUM_FILL], else as `orders_table`."""
    return _tables(FILL_SCHEMA, c.FILL_COLUMNS, start, rollout, rows)


def replay_table(continuations: Sequence[np.ndarray | None]) -> pa.Table:
    """The real continuations, one int64[N, NUM_TAPE] a start, as trajectories; None where nobody knows it."""
    tapes = [np.zeros((0, NUM_TAPE), dtype=np.int64) if tape is None else tape for tape in continuations]
    rows = [np.pad(tape, ((0, 0), (0, len(ROW_COLUMNS) - NUM_TAPE))) for tape in tapes]
    return orders_table(np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64), rows)


def join(paths: Iterable[Path], output: Path) -> int:
    """Write the rows of parquet files of one schema into one, file after file; returns how many there are."""
    writer, rows = None, 0
    try:
        for path in paths:
            with pq.ParquetFile(path) as file:
                writer = writer or pq.ParquetWriter(output, file.schema_arrow, compression="zstd")
                rows += file.metadata.num_rows
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
    finally:
        if writer is not None:
            writer.close()
    return rows


def _write(
    spool: Spool, schema: pa.Schema, names: Sequence[str], start: np.ndarray, rollout: np.ndarray, path: Path
) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        length = np.zeros(len(start), dtype=np.int64)
        for books, parts in _groups(spool):
            steps = []
            for book, rows in zip(books, parts, strict=True):
                steps.append(length[book] + np.arange(len(rows)))
                length[book] += len(rows)
            book = np.repeat(books, [len(rows) for rows in parts])
            step, rows = np.concatenate(steps), np.concatenate(parts)
            writer.write_table(_table(schema, names, rows, start[book], rollout[book], step))


def _groups(spool: Spool) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """The spool's pieces, and the books that they are of, in groups of about `ROWS_A_GROUP` rows."""
    books, parts, held = [], [], 0
    for book, rows in spool.pieces():
        books.append(book)
        parts.append(rows)
        held += len(rows)
        if held >= ROWS_A_GROUP:
            yield books, parts
            books, parts, held = [], [], 0
    if parts:
        yield books, parts


def _tables(
    schema: pa.Schema, names: Sequence[str], start: np.ndarray, rollout: np.ndarray, rows: Sequence[np.ndarray]
) -> pa.Table:
    lengths = [len(part) for part in rows]
    book = np.repeat(np.arange(len(rows)), lengths)
    step = np.arange(len(book)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return _table(schema, names, np.concatenate(rows), start[book], rollout[book], step)


def _table(
    schema: pa.Schema, names: Sequence[str], rows: np.ndarray, start: np.ndarray, rollout: np.ndarray, step: np.ndarray
) -> pa.Table:
    columns = {"start": start, "rollout": rollout, "step": step}
    columns |= {name: rows[:, i] for i, name in enumerate(names)}
    return pa.Table.from_arrays([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
