"""The order flow: one schema for what participants did in a session, whatever feed it came from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.market import types as t

SCHEMA_VERSION = 1

# Flags of a row.
ANONYMOUS = 1  # volume whose orders the feed never showed: it changes the book but is nobody's order
HIDDEN = 2  # traded against hidden orders only: no effect on the visible book

COLUMNS = {
    "time": np.int64,  # nanoseconds since midnight, exchange local
    "kind": np.int8,
    "side": np.int8,
    "price": np.int64,  # ticks
    "size": np.int64,
    "order_id": np.int64,
    "flags": np.uint8,
    "source_row": np.int32,  # the feed message (counted from 1) that completed the order
}


@dataclass
class Session:
    """One instrument on one trading day.

    Attributes:
        symbol: The instrument.
        date: ISO date of the trading day.
        tick_size: Currency per tick.
        open_time: Start of the session, nanoseconds since midnight.
        close_time: End of the session, nanoseconds since midnight.
        rebuilt_takers: The feed does not show orders that trade on arrival. They were rebuilt from what they filled, so
            their sizes say nothing of what they would have left in another book.
        source: The file that the session was read from, or the generator that made it.
    """

    symbol: str
    date: str
    tick_size: float
    open_time: int
    close_time: int
    rebuilt_takers: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """The session's name in file names and messages."""
        return f"{self.symbol}_{self.date}"


@dataclass
class OrderFlow:
    """A session's orders in order.

    Attributes:
        session: Which instrument and day.
        columns: One array of N values for each name in `COLUMNS`.
        counts: What the feed held and how it was read (messages by type, unknown ids, ...).
    """

    session: Session
    columns: dict[str, np.ndarray]
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self.columns = {name: np.ascontiguousarray(self.columns[name], dtype=dtype) for name, dtype in COLUMNS.items()}

    def __len__(self) -> int:
        return len(self.columns["time"])

    def __getattr__(self, name: str) -> np.ndarray:
        if name in COLUMNS:
            return self.columns[name]
        raise AttributeError(name)

    def orders(self) -> np.ndarray:
        """The rows as the exchange takes them.

        Returns:
            int64[N, NUM_ORDER_COLUMNS], owned by the background.
        """
        orders = np.zeros((len(self), t.NUM_ORDER_COLUMNS), dtype=np.int64)
        orders[:, t.KIND] = self.kind
        orders[:, t.SIDE] = self.side
        orders[:, t.PRICE] = self.price
        orders[:, t.SIZE] = self.size
        orders[:, t.ORDER_ID] = self.order_id
        orders[:, t.OWNER] = t.BACKGROUND
        return orders

    def write(self, path: Path) -> None:
        """Write the flow as parquet; the file appears whole or not at all."""
        metadata = {
            "schema_version": str(SCHEMA_VERSION),
            "session": json.dumps(vars(self.session)),
            "counts": json.dumps(self.counts),
        }
        table = pa.table(self.columns).replace_schema_metadata(metadata)
        partial = path.with_name(path.name + ".partial")
        pq.write_table(table, partial, compression="zstd")
        os.replace(partial, path)

    @classmethod
    def read(cls, path: Path) -> OrderFlow:
        """Read a flow that `write` wrote.

        Raises:
            DataError: The file is missing, is not an order flow, or has another schema version.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(path, f"not a readable order-flow parquet ({error}); prepare the data again") from error
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if metadata.get("schema_version") != str(SCHEMA_VERSION):
            raise DataError(
                path,
                f"order-flow schema version {metadata.get('schema_version')}, this program reads "
                f"{SCHEMA_VERSION}; prepare the data again",
            )
        columns = {name: table[name].to_numpy() for name in COLUMNS}
        return cls(Session(**json.loads(metadata["session"])), columns, json.loads(metadata["counts"]))
