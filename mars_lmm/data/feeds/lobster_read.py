"""LOBSTER files: reading them exactly, and saying which row is wrong and why."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.lobster_files import CsvFile, LobsterSession
from mars_lmm.market import types as t

# Message types.
NEW, REDUCE, DELETE, EXECUTE, EXECUTE_HIDDEN, CROSS, HALT = range(1, 8)

MISSING_PRICE = 9_999_999_999  # of a missing ask level; negative for a missing bid level
MAX_TICKS = 20_000_000  # between a file's prices: NASDAQ's whole range in cents
DAY_NS = 24 * 60 * 60 * 10**9

# Nine decimals are meant, but some of the vendor's times went through a float (43002.632812672004): more are
# read, exactly, and rounded. Nineteen digits with fourteen decimals fit 64 bits for any second of a day.
TIME_DECIMALS = 14
TIME, INTEGER, TEXT = pa.decimal128(19, TIME_DECIMALS), pa.int64(), pa.string()
PATTERNS = {
    TIME: (re.compile(r"\d{1,5}(\.\d{1,14})?"), "a time in seconds since midnight"),
    INTEGER: (re.compile(r"-?\d{1,18}"), "an integer"),
    TEXT: (re.compile(r".*"), "text"),
}
MESSAGE_COLUMNS = [TIME, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER]
MESSAGE_COLUMNS_WITH_MPID = [*MESSAGE_COLUMNS, TEXT]


class Messages(NamedTuple):
    """A message file's columns, each int64[N].

    Attributes:
        time: Nanoseconds since midnight.
        kind: Message type, 1 to 7.
        order_id: The resting order; 0 for hidden executions.
        size: Shares.
        price: In LOBSTER's price units (hidden executions may lie between ticks).
        direction: Side of the resting order, 1 buy, -1 sell.
    """

    time: np.ndarray
    kind: np.ndarray
    order_id: np.ndarray
    size: np.ndarray
    price: np.ndarray
    direction: np.ndarray


def read(session: LobsterSession, price_tick: int = 100) -> tuple[Messages, np.ndarray]:
    """Read and check a session.

    Args:
        session: Which files.
        price_tick: LOBSTER price units per tick (100 is one cent).

    Returns:
        The N messages, and the books after them: int64[N, 2, L, 2], by side (`SELL`, `BUY`), level and
        (price in ticks, size); a missing level is (`NO_PRICE`, 0).

    Raises:
        DataError: A file is damaged, names the row and what is wrong with it.
    """
    messages = _read_messages(session.message, price_tick)
    books = _read_books(session.orderbook, session.levels, price_tick)
    rows = len(messages.time), len(books)
    if rows[0] != rows[1]:
        shorter = session.message if rows[0] < rows[1] else session.orderbook
        reason = f"the message file has {rows[0]} rows and the orderbook file {rows[1]}, but they belong together"
        raise DataError(str(shorter), f"{reason} row by row: one is truncated, get both again", min(rows) + 1)
    return messages, books


def _read_messages(file: CsvFile, price_tick: int) -> Messages:
    data = file.read()
    columns = MESSAGE_COLUMNS_WITH_MPID if _num_columns(data) == 7 else MESSAGE_COLUMNS
    table = _parse(file, data, columns)
    time = _nanoseconds(table.column(0))
    messages = Messages(time, *(table.column(i).to_numpy() for i in range(1, 6)))

    kind, size, price, direction = messages.kind, messages.size, messages.price, messages.direction
    visible, priced = kind <= EXECUTE, kind <= EXECUTE_HIDDEN
    back = np.concatenate([[False], time[1:] < time[:-1]])
    _refuse(file, (kind < NEW) | (kind > HALT), "type {} is not one of 1 to 7", kind)
    _refuse(file, time >= DAY_NS, "time {} ns lies past midnight; times are seconds of one day", time)
    _refuse(file, back, "time {} ns is earlier than the row before; sort the feed as published", time)
    _refuse(file, priced & (np.abs(direction) != 1), "direction {} is not 1 or -1", direction)
    _refuse(file, priced & (size <= 0), "size {} is not positive", size)
    _refuse(file, priced & (price <= 0), "price {} is not positive", price)
    _refuse(file, visible & (price % price_tick != 0), f"price {{}} is off the tick of {price_tick}", price)
    _refuse_far_prices(file, np.where(visible, price // price_tick, t.NO_PRICE))
    return messages


def _read_books(file: CsvFile, levels: int, price_tick: int) -> np.ndarray:
    table = _parse(file, file.read(), [INTEGER] * (4 * levels))
    books = np.empty((table.num_rows, 2, levels, 2), dtype=np.int64)
    for level in range(levels):
        for side in (t.SELL, t.BUY):  # the file's order: ask price, ask size, bid price, bid size
            price, size = (table.column(4 * level + 2 * side + i).to_numpy() for i in range(2))
            missing = price == (MISSING_PRICE if side == t.SELL else -MISSING_PRICE)
            where = f"{'ask' if side == t.SELL else 'bid'} level {level + 1}: "
            _refuse(file, ~missing & (price <= 0), where + "price {} is not positive", price)
            off = ~missing & (price % price_tick != 0)
            _refuse(file, off, where + f"price {{}} is off the tick of {price_tick}", price)
            _refuse(file, ~missing & (size <= 0), where + "size {} is not positive", size)
            books[:, side, level, 0] = np.where(missing, t.NO_PRICE, price // price_tick)
            books[:, side, level, 1] = np.where(missing, 0, size)
    if (books[..., 0] == t.NO_PRICE).all():
        raise DataError(str(file), "no row shows a price; there is no book to rebuild")
    _refuse_far_prices(file, books[..., 0])
    return books


def _num_columns(data: bytes) -> int:
    return data.partition(b"\n")[0].count(b",") + 1


def _parse(file: CsvFile, data: bytes, columns: list[pa.DataType]) -> pa.Table:
    """Parse a CSV file without a header; strict, so that nothing is guessed or dropped."""
    names = [str(i) for i in range(len(columns))]
    try:
        return csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict(zip(names, columns, strict=True)), null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        _explain(file, data, columns, error)


def _explain(file: CsvFile, data: bytes, columns: list[pa.DataType], error: pa.ArrowInvalid) -> NoReturn:
    """Find the row that the fast parser refused, and raise what is wrong with it."""
    lines = data.decode("utf-8-sig", errors="replace").split("\n")
    for row, line in enumerate(lines, start=1):
        if row == len(lines) > 1 and not line:
            break  # the end of the last line
        values = line.rstrip("\r").split(",")
        reason = _fault(values, columns)
        if reason and row == len(lines):
            reason = f"the last line is cut ({reason}): the file is truncated, get it again"
        if reason:
            raise DataError(str(file), reason, row)
    raise DataError(str(file), str(error)) from error


def _fault(values: list[str], columns: list[pa.DataType]) -> str | None:
    """What is wrong with a row's values, if anything."""
    if len(values) != len(columns):
        return f"{len(values)} columns instead of {len(columns)}"
    for number, (value, column) in enumerate(zip(values, columns, strict=True), start=1):
        pattern, meaning = PATTERNS[column]
        if not pattern.fullmatch(value):
            return f"column {number}: {value!r} is not {meaning}"
    return None


def _refuse(file: CsvFile, fault: np.ndarray, reason: str, values: np.ndarray) -> None:
    """Raise for the first row at fault; `reason` shows its value at {}."""
    if fault.any():
        row = int(np.argmax(fault))
        raise DataError(str(file), reason.format(values[row]), row + 1)


def _refuse_far_prices(file: CsvFile, prices: np.ndarray) -> None:
    """Raise for a price so far from the others that a book with both would not fit memory.

    Args:
        file: Where the prices came from.
        prices: [N, ...] ticks, NO_PRICE where none.
    """
    shown = prices[prices != t.NO_PRICE]
    if shown.size == 0 or shown.max() - shown.min() < MAX_TICKS:
        return
    distance = np.where(prices != t.NO_PRICE, np.abs(prices - np.median(shown)), 0)
    farthest = np.unravel_index(np.argmax(distance), prices.shape)
    reason = f"the price {prices[farthest]} ticks is {distance[farthest]:.0f} ticks away from the median"
    raise DataError(str(file), f"{reason}; check the row", int(farthest[0]) + 1)


def _nanoseconds(seconds: pa.ChunkedArray) -> np.ndarray:
    """Decimal seconds as int64 nanoseconds, by integers alone: the unscaled values fit their low word."""
    column = seconds.combine_chunks()
    words = np.frombuffer(column.buffers()[1], dtype="<u8")[2 * column.offset :]
    per_nanosecond = 10 ** (TIME_DECIMALS - 9)
    return ((words[: 2 * len(column) : 2] + per_nanosecond // 2) // per_nanosecond).astype(np.int64)
