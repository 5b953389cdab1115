"""Rows on disk: parquet shards of coded orders, a shard for each long session and one for all packed rows of a split.

Shape letters: B rows, T + 1 orders of a row, F market features, P pieces.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mars_lmm.data.names import file_name
from mars_lmm.data.windows import PIECE
from mars_lmm.tokenizers.coding import CHANGE_FEATURE, LEVEL_FEATURES, MINUTE_FEATURE, NUM_MARKET_FEATURES

ROWS_PER_GROUP = 256
PADDING = 255  # segment of what lies behind a row's last piece

NUM_LEVELS = NUM_MARKET_FEATURES - LEVEL_FEATURES
CODED = np.dtype([("token", "<u2"), ("change", "<i2"), ("minute", "<i2"), ("levels", "u1", (NUM_LEVELS,))])
"""An order as rows keep it: its token, and the market features after it."""

COLUMNS = [*CODED.names, "pieces"]
LISTS = ("token", "change", "minute")  # columns with one number an order


def coded_orders(token: np.ndarray, market: np.ndarray) -> np.ndarray:
    """Orders as rows keep them.

    Args:
        token: uint16[N].
        market: int16[N, F].

    Returns:
        CODED[N].

    Raises:
        ValueError: A level's bin takes more than 8 bits.
    """
    levels = market[:, LEVEL_FEATURES:]
    if len(levels) and not 0 <= levels.min() <= levels.max() <= 255:
        raise ValueError(f"level bins {levels.min()} to {levels.max()}: rows keep 0 to 255; use fewer bins")
    coded = np.empty(len(token), CODED)
    coded["token"] = token
    coded["change"] = market[:, CHANGE_FEATURE]
    coded["minute"] = market[:, MINUTE_FEATURE]
    coded["levels"] = levels
    return coded


def shard_file(split: str, session: Mapping[str, Any]) -> str:
    """The shard of a long session, within the prepared set.

    Args:
        split: Which split.
        session: `symbol` and `date` of the session.
    """
    return f"rows/{split}/{file_name(session['symbol'])}_{session['date']}.parquet"


def packed_file(split: str) -> str:
    """The shard of a split's packed rows, within the prepared set."""
    return f"rows/{split}/packed.parquet"


def row_groups(shards: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, int]], np.ndarray]:
    """The row groups of a split.

    Args:
        shards: `file` and `rows` of each shard.

    Returns:
        File and number within it of each of G row groups; and int64[G + 1], where they begin and end, counted in rows
        over all shards.
    """
    groups, bounds = [], [0]
    for shard in shards:
        for number, first in enumerate(range(0, shard["rows"], ROWS_PER_GROUP)):
            groups.append((shard["file"], number))
            bounds.append(bounds[-1] + min(ROWS_PER_GROUP, shard["rows"] - first))
    return groups, np.array(bounds)


def _schema(row_length: int) -> pa.Schema:
    # Parquet has no 8-bit numbers: as bytes, the levels take a quarter of the time and less room.
    lists = {name: pa.list_(pa.from_numpy_dtype(CODED[name]), row_length + 1) for name in LISTS}
    piece = pa.struct({name: pa.from_numpy_dtype(PIECE[name]) for name in PIECE.names})
    return pa.schema(lists | {"levels": pa.binary(), "pieces": pa.list_(piece)})


class RowWriter:
    """Writes one shard; it appears whole or not at all. Memory holds one row group.

    Args:
        path: The parquet file; its folder is made.
        row_length: T.

    Attributes:
        num_rows: Rows written.
        num_targets: Scored orders among them.
    """

    def __init__(self, path: Path, row_length: int):
        self.num_rows = 0
        self.num_targets = 0
        self._path = path
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self._schema = _schema(row_length)
        self._content = hashlib.sha256()
        self._group = np.zeros((ROWS_PER_GROUP, row_length + 1), CODED)
        self._pieces: list[np.ndarray] = []  # of each row in the group

    def __enter__(self) -> RowWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            self._partial,
            self._schema,
            compression="zstd",
            use_dictionary=[f"{name}.list.element" for name in LISTS],
            write_statistics=False,
        )
        return self

    def write(self, pieces: np.ndarray, orders: Callable[[int], np.ndarray], counts: np.ndarray | None = None) -> None:
        """Write the next rows.

        Args:
            pieces: PIECE[P], sorted by row.
            orders: The coded orders CODED[N] of a session by its number; only slices of them are read.
            counts: int64[R], how many pieces make up each row; one each if None.
        """
        ends = np.arange(1, len(pieces) + 1) if counts is None else np.cumsum(counts)
        first, session, source = 0, None, None
        for end in ends.tolist():
            row, place = self._group[len(self._pieces)], 0
            for number, start, length, _ in pieces[first:end].tolist():
                if number != session:
                    session, source = number, orders(number)
                row[place : place + length] = source[start : start + length]
                place += length
            self._pieces.append(pieces[first:end])
            first = end
            if len(self._pieces) == ROWS_PER_GROUP:
                self._flush()

    def _flush(self) -> None:
        count = len(self._pieces)
        # numpy's own joining looks at every part's fields.
        group, pieces = self._group[:count], np.frombuffer(b"".join(map(bytes, self._pieces)), PIECE)
        offsets = np.cumsum([0, *map(len, self._pieces)])
        for values in (group, pieces, offsets):
            self._content.update(values.tobytes())
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(group[name].ravel()), type=self._schema.field(name).type)
            for name in LISTS
        ]
        columns.append(pa.array([levels.tobytes() for levels in group["levels"]], pa.binary()))
        structs = pa.StructArray.from_arrays([pa.array(pieces[name]) for name in PIECE.names], names=PIECE.names)
        columns.append(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self.num_rows += count
        self.num_targets += int((pieces["length"] - pieces["first_target"]).sum())
        self._pieces.clear()
        self._group[:] = np.zeros((), CODED)

    @property
    def digest(self) -> str:
        """Identity of what was written: two shards with one digest hold the same rows."""
        return self._content.hexdigest()

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None and self._pieces:
            self._flush()
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink(missing_ok=True)


def decode_tokens(table: pa.Table) -> np.ndarray:
    """The tokens of B rows, uint16[B, T + 1]; padding is 0."""
    return _values(table, "token")


def decode_market(table: pa.Table) -> np.ndarray:
    """The market features of B rows, int16[B, T + 1, F]; padding is 0."""
    change = _values(table, "change")
    market = np.empty((*change.shape, NUM_MARKET_FEATURES), dtype=np.int16)
    market[..., CHANGE_FEATURE] = change
    market[..., MINUTE_FEATURE] = _values(table, "minute")
    levels = b"".join(table["levels"].to_pylist())
    market[..., LEVEL_FEATURES:] = np.frombuffer(levels, np.uint8).reshape(*change.shape, NUM_LEVELS)
    return market


def decode_pieces(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """What some rows are made of.

    Args:
        table: B rows with the column `pieces`.

    Returns:
        PIECE[P], sorted by row; and int64[B], how many of them make up each row.
    """
    column = table["pieces"].combine_chunks()
    values = column.flatten()
    pieces = np.empty(len(values), PIECE)
    for name in PIECE.names:
        pieces[name] = values.field(name).to_numpy()
    return pieces, pc.list_value_length(column).to_numpy().astype(np.int64)


def places(pieces: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where pieces lie.

    Args:
        pieces: PIECE[P], sorted by row.
        counts: int64[B], how many of them make up each row.

    Returns:
        int64[P], the row of each piece; and int64[P], the place in it of the piece's first order.
    """
    length = pieces["length"].astype(np.int64)
    before = np.cumsum(length) - length  # orders in the pieces before, over all rows
    first = np.repeat(np.cumsum(counts) - counts, counts)  # the first piece of each piece's row
    return np.repeat(np.arange(len(counts)), counts), before - before[first]


def segments(pieces: np.ndarray, counts: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where sessions meet within rows, and what is scored.

    Args:
        pieces: PIECE[P], sorted by row.
        counts: int64[B], how many of them make up each row.
        row_length: T.

    Returns:
        uint8[B, T + 1], the number within the row of the piece that an order belongs to, or PADDING; and bool[B, T],
        whether each row's orders from the second on are scored as targets of the orders before them.
    """
    size = row_length + 1
    length = pieces["length"].astype(np.int64)
    row, start = places(pieces, counts)
    number = np.arange(len(pieces)) - np.repeat(np.cumsum(counts) - counts, counts)  # each piece's, within its row
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)  # each order's place in its piece
    place = within + np.repeat(row * size + start, length)
    segment = np.full((len(counts), size), PADDING, dtype=np.uint8)
    segment.ravel()[place] = np.repeat(number, length)
    scored = np.zeros((len(counts), size), dtype=bool)
    scored.ravel()[place] = within >= np.repeat(pieces["first_target"], length)
    return segment, scored[:, 1:]


def _values(table: pa.Table, column: str) -> np.ndarray:
    """A column of fixed-size lists as [B, size]."""
    size = table.schema.field(column).type.list_size
    return table[column].combine_chunks().flatten().to_numpy().reshape(len(table), size)
