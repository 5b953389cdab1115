"""MBO records as CSV: raw (nanoseconds and 1e-9 integers) or pretty (ISO times and decimal prices), with a header."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.data.feeds.common.clock import DAY, NO_DAY, read_times
from mars_lmm.data.feeds.common.exact import EMPTY, NO_NUMBER, WHOLE, Shown, Units, text_buffers, whole_units
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.tables import CsvForm, read_table
from mars_lmm.data.feeds.common.tables import Part as Table
from mars_lmm.data.feeds.databento.records import MBO, NO_PRICE, PRICE_UNITS, Part
from mars_lmm.data.feeds.databento.symbols import SymbolTable
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol

TIMES, LETTERS, PRICE, SYMBOL = ("ts_event", "ts_recv"), ("action", "side"), "price", "symbol"
NUMBERS = ("instrument_id", "size", "order_id", "flags", "sequence")
REQUIRED = (*TIMES, *LETTERS, PRICE, *NUMBERS)
OPTIONAL = ("publisher_id", SYMBOL)
HEADER_BYTES = 1 << 16
UTC = ZoneInfo("UTC")
LARGEST = 2**62


def header(file: RawFile) -> list[str]:
    """The columns' names.

    Raises:
        DataError: The file cannot be read.
    """
    return file.head(HEADER_BYTES).decode("utf-8-sig", errors="replace").partition("\n")[0].strip().split(",")


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
    names = header(file)
    wanted = [*REQUIRED, *(name for name in OPTIONAL if name in names)]
    for table in read_table(file, wanted, CsvForm(quoted=False), ledger):
        yield _Columns(file, table, ledger).part(symbols)


class _Columns:
    """Some rows of a file, and which of them cannot be read."""

    def __init__(self, file: RawFile, table: Table, ledger: Ledger):
        self._file, self._table, self._ledger = file, table, ledger
        self._bad = np.zeros(len(table.rows), np.bool_)

    def part(self, symbols: SymbolTable) -> Part:
        """The rows that can be read."""
        columns = self._table.columns
        records = np.zeros(len(self._table.rows), MBO)
        for name in columns:
            if name in TIMES:
                records[name] = self._times(name)
            elif name in LETTERS:
                records[name] = self._letters(name)
            elif name == PRICE:
                records[name] = self._prices()
            elif name != SYMBOL:
                largest = min(LARGEST, np.iinfo(MBO[name]).max)
                records[name] = self._units(name, Fraction(1), 0, largest)
        if SYMBOL in columns:
            place = self._places(symbols)
        else:
            place = symbols.places(records["instrument_id"], records["ts_recv"])
        return Part(records, self._table.rows, place).where(~self._bad)

    def _refuse(self, fault: np.ndarray, reason: str, detail: str, column: pa.Array) -> None:
        fault = fault & ~self._bad
        self._bad |= self._ledger.check(self._file, self._table.rows, fault, reason, detail, Shown(column))

    def _units(self, name: str, per_one: Fraction, low: int, high: int) -> np.ndarray:
        """A column of numbers, int64[N]; 0 where it is bad."""
        column = self._table.columns[name]
        value, state = whole_units(column, per_one)
        state = np.where((state == WHOLE) & ((value < low) | (value > high)), NO_NUMBER, state)
        self._bad |= Units(value, state).check(self._ledger, self._file, self._table.rows, name, column)
        self._refuse(state == EMPTY, f"{name} is missing", "{}", column)
        return np.where(state == WHOLE, value, 0)

    def _prices(self) -> np.ndarray:
        column = self._table.columns[PRICE]
        none = pc.is_in(column, pa.array([b"", str(NO_PRICE).encode()])).to_numpy(zero_copy_only=False)
        self._table.columns[PRICE] = pc.if_else(pa.array(none), b"0", column)
        pretty = _mostly(self._table.columns[PRICE], ".", none)
        value = self._units(PRICE, Fraction(PRICE_UNITS if pretty else 1), -LARGEST, LARGEST)
        return np.where(none, NO_PRICE, value)

    def _times(self, name: str) -> np.ndarray:
        column = self._table.columns[name]
        if not _mostly(column, "-"):
            return self._units(name, Fraction(1), 0, LARGEST)
        day, nanoseconds, state = read_times(column, "iso", UTC)
        fault = (state != WHOLE) | (day == NO_DAY) | (day < 0) | (day > LARGEST // DAY)
        self._refuse(fault, f"{name} is no time", "{}; write YYYY-MM-DDTHH:MM:SS.fffffffffZ", column)
        return np.where(fault, 0, np.where(fault, 0, day) * DAY + nanoseconds)

    def _letters(self, name: str) -> np.ndarray:
        column = self._table.columns[name]
        text, offsets = text_buffers(column)
        fault = np.diff(offsets) != 1
        self._refuse(fault, f"{name} is no letter", "{}", column)
        letters = np.zeros(len(column), np.uint8)
        letters[~fault] = text[offsets[:-1][~fault]]
        return letters

    def _places(self, symbols: SymbolTable) -> np.ndarray:
        """The places of the rows' symbols in `SymbolTable.symbols`, int64[N]."""
        encoded = self._table.columns[SYMBOL].dictionary_encode()
        names = [value.decode(errors="replace") for value in encoded.dictionary.to_pylist()]
        number = encoded.indices.to_numpy()
        usable = np.array([is_symbol(name) for name in names], np.bool_)
        self._refuse(~usable[number], "bad symbol", "{} cannot name an instrument", self._table.columns[SYMBOL])
        return np.array([symbols.place(name) for name in names], np.int64)[number]


def _mostly(column: pa.Array, mark: str, without: np.ndarray | None = None) -> bool:
    """Whether most values contain a mark; one bad value does not decide how a column is written."""
    marked = pc.match_substring(column, mark).to_numpy(zero_copy_only=False)
    return 2 * np.count_nonzero(marked) > len(column) - (np.count_nonzero(without) if without is not None else 0)
