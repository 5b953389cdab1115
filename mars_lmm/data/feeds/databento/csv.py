"""MBO records as CSV: raw (nanoseconds and 1e-9 integers) or pretty (ISO times and decimal prices), with a header."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.data.feeds.common.columns.delimited import csv_header
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.numbers import EMPTY, LARGEST, LARGEST_ID
from mars_lmm.data.feeds.common.columns.tables import read_table
from mars_lmm.data.feeds.common.columns.times import DAY, ISO
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.databento.records import MBO, NO_PRICE, PRICE_UNITS, Part
from mars_lmm.data.feeds.databento.symbols import SymbolTable
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol

TIMES, LETTERS, PRICE = ("ts_event", "ts_recv"), ("action", "side"), "price"
NUMBERS = ("instrument_id", "size", "order_id", "flags", "sequence")
REQUIRED = (*TIMES, *LETTERS, PRICE, *NUMBERS)
OPTIONAL = PUBLISHER, SYMBOL = "publisher_id", "symbol"
UTC = ZoneInfo("UTC")


def read_csv(file: RawFile, symbols: SymbolTable, ledger: Ledger) -> Iterator[Part]:
    """Read a CSV file part by part.

    Args:
        file: The file.
        symbols: Takes the symbols that the file tells.
        ledger: Takes bad rows.

    Yields:
        The records; rows are lines.

    Raises:
        DataError: The file is damaged, and the ledger says that this is an error.
    """
    names = csv_header(file)
    for fields in read_table(file, [*REQUIRED, *(name for name in OPTIONAL if name in names)], ledger):
        yield _part(fields, symbols)


def _part(fields: Fields, symbols: SymbolTable) -> Part:
    """The rows that can be read."""
    records = np.zeros(len(fields), MBO)
    for name in TIMES:
        records[name] = _times(fields, name)
    for name in LETTERS:
        records[name] = _letters(fields, name)
    records[PRICE] = _prices(fields)
    for name in (*NUMBERS, PUBLISHER):
        if name in fields:
            value = fields.numbers(name, 1, 0, min(LARGEST_ID, np.iinfo(MBO[name]).max))
            records[name] = np.where(fields.good, value, 0)
    if SYMBOL in fields:
        place = _places(fields, symbols)
    else:
        place = symbols.places(records["instrument_id"], records["ts_recv"])
    return Part(records, fields.rows, place).where(fields.good)


def _times(fields: Fields, name: str) -> np.ndarray:
    """Nanoseconds since 1970, uint64[N]; 0 where a row is bad."""
    if not _mostly(fields[name].arrow(), "-"):
        return np.where(fields.good, fields.numbers(name, 1, 0, LARGEST), 0)
    day, nanoseconds, _ = fields.times(name, ISO, UTC)
    detail = f"{name} {{!r}}; write YYYY-MM-DDTHH:MM:SS.fffffffffZ"
    fields.refuse((day < 0) | (day > LARGEST // DAY), "not a time", detail, name)
    return np.where(fields.good, np.where(fields.good, day, 0) * DAY + nanoseconds, 0)


def _letters(fields: Fields, name: str) -> np.ndarray:
    """Single letters, uint8[N]; 0 where a row is bad."""
    text = fields[name]
    fields.refuse(text.ends - text.starts != 1, f"{name} is no letter", "{!r}", name)
    letters = np.zeros(len(fields), np.uint8)
    letters[fields.good] = text.data[text.starts[fields.good]]
    return letters


def _prices(fields: Fields) -> np.ndarray:
    """Prices in 1e-9 of the currency, or NO_PRICE, int64[N]."""
    column = fields[PRICE].arrow()
    none = pc.equal(column, str(NO_PRICE).encode()).to_numpy(zero_copy_only=False)
    fields.leave_empty(PRICE, none)
    value, state = fields.units(PRICE, PRICE_UNITS if _mostly(column, ".") else 1)
    return np.where(state == EMPTY, NO_PRICE, value)


def _places(fields: Fields, symbols: SymbolTable) -> np.ndarray:
    """The places of the rows' symbols in `SymbolTable.symbols`, int64[N]."""
    number, names = fields.words(SYMBOL)
    usable = np.array([is_symbol(name) for name in names], bool)
    fields.refuse(~usable[number], "bad symbol", "{!r} cannot name an instrument", SYMBOL)
    return np.array([symbols.place(name) for name in names], np.int64)[number]


def _mostly(column: pa.Array, mark: str) -> bool:
    """Whether most values contain a mark; one bad value does not decide how a column is written."""
    told = np.count_nonzero(pc.not_equal(column, b"").to_numpy(zero_copy_only=False))
    return 2 * np.count_nonzero(pc.match_substring(column, mark).to_numpy(zero_copy_only=False)) > told
