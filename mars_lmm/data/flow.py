"""The order flow: one schema for what participants did in a session, whatever feed it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.names import file_name
from mars_lmm.market import types as t

SCHEMA_VERSION = 2
UNDATED = "undated"  # the date of a session whose files do not tell it; null in the parquet

# Flags of a row.
ANONYMOUS = 1  # changes the book but is nobody's order: volume whose orders the feed never showed
HIDDEN = 2  # traded against hidden orders only: no effect on the visible book
AUCTION = 4  # sent, or executed, while a call auction collects orders
SYNTHETIC = 8  # made by a simulation, not recorded
FLAGS = {"anonymous": ANONYMOUS, "hidden": HIDDEN, "auction": AUCTION, "synthetic": SYNTHETIC}

COLUMNS = {
    "time": np.int64,  # nanoseconds since midnight, exchange local
    "kind": np.int8,  # see mars_lmm.market.types
    "side": np.int8,
    "price": np.int64,  # ticks
    "size": np.int64,
    "order_id": np.int64,
    "owner": np.int32,  # 0 unless the feed tells who sent the order
    "flags": np.uint8,
    "source_row": np.int64,  # the feed message (counted from 1) that completed the order; 0 if none did
}
Columns = dict[str, np.ndarray]
"""One array of N values for each name in `COLUMNS`."""

# Columns whose values lie near each other: written as differences they take less room, and half the time.
RUNNING = ("sequence", "time", "price", "size", "order_id", "source_row")

# Kinds of orders by what they need.
PRICED = (t.LIMIT, t.IOC, t.FOK, t.POST_ONLY, t.REPLACE, t.CANCEL_AT)
BY_ID = (t.CANCEL, t.REPLACE)

# What the parquet has besides: a file explains itself, wherever it is copied.
SCHEMA = pa.schema(
    [
        ("symbol", pa.dictionary(pa.int32(), pa.string())),
        ("date", pa.date32()),
        ("sequence", pa.int64()),
        *((name, pa.from_numpy_dtype(dtype)) for name, dtype in COLUMNS.items()),
    ]
)


@dataclass
class Session:
    """One instrument on one trading day.

    Attributes:
        symbol: The instrument.
        date: ISO date of the trading day, or `UNDATED`.
        tick_size: Currency per tick.
        open_time: Start of the session, nanoseconds since midnight. Orders before it make the opening book.
        close_time: End of the session, nanoseconds since midnight.
        rebuilt_takers: The feed does not show orders that trade on arrival. They were rebuilt from what they filled, so
            their sizes say nothing of what they would have left in another book.
        source: The files that the session was read from, or the generator that made it.
        rules: The rule file in `conf/market` with the session's phases, auctions among them; empty for continuous
            trading throughout.
        reference_price: Ticks; where several prices would do for an auction before the first trade, it may be the
            nearest to this: the previous close, or what stands in for it. None: the feed does not tell.
        levels: How many levels of the book the feed shows. None: all.
    """

    symbol: str
    date: str
    tick_size: float
    open_time: int
    close_time: int
    rebuilt_takers: bool = False
    source: str = ""
    rules: str = ""
    reference_price: int | None = None
    levels: int | None = None

    @property
    def name(self) -> str:
        """The session's name in messages."""
        return f"{self.symbol}_{self.date}"

    @property
    def file(self) -> Path:
        """Where the session's parquet lies in a folder of them, partitioned by symbol and date.

        Not as `symbol=...`: readers that know the convention would take 000001 for the number 1.
        """
        return Path(file_name(self.symbol), f"{self.date}.parquet")


@dataclass
class OrderFlow:
    """A session's orders in order.

    Attributes:
        session: Which instrument and day.
        columns: One array of N values for each name in `COLUMNS`.
        counts: What the feed held and how it was read (messages by type, unknown ids, ...).
    """

    session: Session
    columns: Columns
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self.columns = typed(self.columns)

    def __len__(self) -> int:
        return len(self.columns["time"])

    def __getattr__(self, name: str) -> np.ndarray:
        if name in COLUMNS:
            return self.columns[name]
        raise AttributeError(name)

    def orders(self) -> np.ndarray:
        """The rows as the exchange takes them, int64[N, NUM_ORDER_COLUMNS]."""
        return order_rows(self.columns)

    def write(self, path: Path) -> None:
        """Write the flow as parquet; the file appears whole or not at all."""
        with FlowWriter(path, self.session) as writer:
            writer.append(self.columns)
            writer.counts = self.counts

    @classmethod
    def read(cls, path: Path | BinaryIO) -> OrderFlow:
        """Read a whole flow.

        Raises:
            DataError: The file is missing, is not an order flow, or has another schema version.
        """
        file = FlowFile(path)
        parts = list(file.parts())
        columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
        return cls(file.session, columns, file.counts)


class FlowFile:
    """An order flow on disk, read part by part.

    Args:
        path: The parquet file, or a stream of it that can be read at any place.

    Attributes:
        session: Which instrument and day.
        counts: What the feed held.
        num_rows: Orders in it.

    Raises:
        DataError: The file is missing, is not an order flow, or has another schema version.
    """

    def __init__(self, path: Path | BinaryIO):
        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(path, f"not a readable order-flow parquet ({error}); prepare the data again") from error
        metadata = self._file.schema_arrow.metadata or {}
        version = metadata.get(b"schema_version", b"none").decode(errors="replace")
        if version != str(SCHEMA_VERSION):
            raise DataError(
                path,
                f"order-flow schema version {version}, this program reads {SCHEMA_VERSION}; prepare the data again",
            )
        try:
            self.session = Session(**json.loads(metadata[b"session"]))
            self.counts: dict[str, int] = json.loads(self._file.metadata.metadata[b"counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(path, "its metadata does not describe a session; prepare the data again") from error
        self.num_rows: int = self._file.metadata.num_rows

    def parts(self) -> Iterator[Columns]:
        """Yield the flow's columns, a row group at a time; a flow without rows yields one empty part.

        Raises:
            DataError: A row group cannot be read.
        """
        for group in range(self._file.num_row_groups):
            try:
                table = self._file.read_row_group(group, columns=list(COLUMNS))
                part = typed({name: table[name].to_numpy() for name in COLUMNS})
            except (OSError, KeyError, ValueError, pa.ArrowException) as error:
                raise DataError(
                    self._path, f"row group {group} cannot be read ({error}); prepare the data again"
                ) from error
            yield part
        if self._file.num_row_groups == 0:
            yield typed({name: np.empty(0) for name in COLUMNS})


class FlowWriter:
    """Writes an order flow part by part, a row group each; the file appears whole or not at all.

    Args:
        path: The parquet file; its folder is made.
        session: Which instrument and day.

    Attributes:
        counts: What the feed held; set before the end.
        num_rows: Orders written so far.
    """

    def __init__(self, path: Path, session: Session):
        self.counts: dict[str, int] = {}
        self.num_rows = 0
        self._path, self._session = path, session
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> FlowWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"schema_version": str(SCHEMA_VERSION), "session": json.dumps(vars(self._session))}
        self._writer = pq.ParquetWriter(
            self._partial,
            SCHEMA.with_metadata(metadata),
            compression="lz4",
            use_dictionary=["symbol"],
            column_encoding=dict.fromkeys(RUNNING, "DELTA_BINARY_PACKED"),
        )
        return self

    def append(self, columns: Columns) -> None:
        """Write the next orders."""
        columns = typed(columns)
        count = len(columns["time"])
        symbol = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [self._session.symbol])
        sequence = np.arange(self.num_rows, self.num_rows + count)
        day = date.fromisoformat(self._session.date) if self._session.date != UNDATED else None
        values = [symbol, pa.repeat(pa.scalar(day, pa.date32()), count), sequence, *columns.values()]
        self._writer.write_table(pa.Table.from_arrays(list(map(pa.array, values)), schema=self._writer.schema))
        self.num_rows += count

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._writer.add_key_value_metadata({"counts": json.dumps(self.counts)})
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink(missing_ok=True)


def typed(columns: Columns) -> Columns:
    """The columns in order and of their types; `owner` and `flags` may be left out, and are 0 then."""
    missing = {name: np.zeros(len(columns["time"])) for name in ("owner", "flags") if name not in columns}
    columns = columns | missing
    return {name: np.ascontiguousarray(columns[name], dtype=dtype) for name, dtype in COLUMNS.items()}


def order_rows(columns: Columns) -> np.ndarray:
    """Orders as the exchange takes them.

    Returns:
        int64[N, NUM_ORDER_COLUMNS].
    """
    orders = np.empty((len(columns["time"]), t.NUM_ORDER_COLUMNS), dtype=np.int64)
    for column, name in enumerate(("kind", "side", "price", "size", "order_id", "owner")):
        orders[:, column] = columns[name]
    return orders
