"""LOBSTER files: reading them exactly and part by part, and saying which row is wrong and why."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds import Source
from mars_lmm.data.feeds.common.by_order.messages import CROSS, EXECUTE_HIDDEN, HALT, NEW, Messages
from mars_lmm.data.feeds.common.clock import AHEAD, BEHIND, DAY_NS, IN_ORDER, Clock
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.number_rows import INTEGER, SECONDS, TEXT, NumberRows
from mars_lmm.data.feeds.lobster.files import named
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

MISSING_PRICE = 9_999_999_999  # of a missing ask level; negative for a missing bid level
MAX_TICKS = 20_000_000  # between a file's prices: NASDAQ's whole range in cents
STUB_TICKS = 1_000_000  # orders and levels so far away are nobody's intention to trade, and no book holds both
TRADING_RESUMES = 1  # the price of the message (type 7) that ends a halt; -1 halts it, 0 lets quotes in
STUB = 0  # the kind of such a message
LINES = 1 << 15  # read at a time
SAMPLED = 1024  # of a part's rows tell where the market is

# Columns of a message file.
TIME, KIND, ORDER_ID, SIZE, PRICE, DIRECTION = range(6)
MESSAGE_COLUMNS = [SECONDS, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER]

# What is kept from row to row.
NEAR, MOVED, STUBS, HALTED = range(4)

# Faults of a row: the reason, its detail, and the column of the message that has the value.
BAD_KIND, PAST_MIDNIGHT, TIME_BACK, TIME_AHEAD, BAD_DIRECTION = range(1, 6)
BAD_SIZE, BAD_PRICE, OFF_TICK, FAR, CROSSED, UNSORTED = range(6, 12)
BAD_HALT, HALT_SIZE, NAMES_ORDER = range(12, 15)
_FAULT_OF_TIME = np.empty(3, np.int64)
_FAULT_OF_TIME[[IN_ORDER, BEHIND, AHEAD]] = 0, TIME_BACK, TIME_AHEAD
MESSAGE_FAULTS = {
    BAD_KIND: ("unknown type", "type {} is not one of 1 to 7", KIND),
    PAST_MIDNIGHT: ("time out of range", "time {} ns lies past midnight; times are seconds of one day", TIME),
    TIME_BACK: ("time goes back", "time {} ns is earlier than the rows before; sort the feed as published", TIME),
    TIME_AHEAD: ("time runs ahead", "time {} ns is later than the rows behind; sort the feed as published", TIME),
    BAD_DIRECTION: ("bad direction", "direction {} is not 1 or -1", DIRECTION),
    BAD_SIZE: ("bad size", f"size {{}} is not from 1 to {t.MAX_SIZE}", SIZE),
    BAD_PRICE: ("bad price", f"price {{}} is not from 1 unit to {t.MAX_PRICE} ticks", PRICE),
    OFF_TICK: ("price off the tick", "price {} is off the tick of {tick}", PRICE),
    FAR: ("price far away", f"price {{}} is {MAX_TICKS:,} ticks or more away from the others; check the row", PRICE),
    BAD_HALT: ("bad halt", "price {} of a type 7 is not -1 (halt), 0 (quotes) or 1 (trading)", PRICE),
    HALT_SIZE: ("bad size", "size {} of a type 7 is not 0", SIZE),
    NAMES_ORDER: ("bad id", "id {} names an order; a type 6 or 7 is about none", ORDER_ID),
}
BOOK_FAULTS = {code: MESSAGE_FAULTS[code][:2] for code in (BAD_SIZE, BAD_PRICE, OFF_TICK, FAR)}
BOOK_FAULTS[CROSSED] = ("crossed book", "price {} is not below the best ask")
BOOK_FAULTS[UNSORTED] = ("levels out of order", "price {} is no worse than the level before")
UNPAIRED = "without its other half"


class Part(NamedTuple):
    """Consecutive rows of a session; all messages of a moment are in one part.

    Attributes:
        messages: N messages, with prices in LOBSTER's units.
        books: int64[N, 2, L, 2], the book after each, by side (`SELL`, `BUY`), level and (price in ticks, size); a
            missing level is (`NO_PRICE`, 0).
        anew: bool[N], the rows from which on other levels than before are left out as stub quotes: the market moved.
    """

    messages: Messages
    books: np.ndarray
    anew: np.ndarray

    def without_last_moment(self) -> tuple[Part, Part]:
        """The rows before the last moment, and those of it."""
        times = self.messages.time
        row = int(np.searchsorted(times, times[-1])) if len(times) else 0
        return (
            Part(self.messages.part(0, row), self.books[:row], self.anew[:row]),
            Part(self.messages.part(row), self.books[row:], self.anew[row:]),
        )


def read_parts(source: Source, price_tick: int, ledger: Ledger) -> Iterator[Part]:
    """Read and check a session, part by part.

    Args:
        source: The message and the orderbook file.
        price_tick: LOBSTER price units per tick (100 is one cent).
        ledger: Takes bad rows; a bad row of one file takes the other file's row with it.

    Raises:
        DataError: A file cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    message_file, book_file = source.files
    levels = named(source).levels
    checks = _Checks(source, price_tick, ledger)
    held = Part(
        Messages(*np.empty((len(Messages._fields), 0), np.int64)),
        np.empty((0, 2, levels, 2), np.int64),
        np.empty(0, np.bool_),
    )
    with (
        NumberRows.open(message_file, _message_columns, ledger) as messages,
        NumberRows.open(book_file, lambda _: [INTEGER] * (4 * levels), ledger) as books,
    ):
        for (rows, values, book_values), (_, later, _) in pairwise(_paired(messages, books, source, ledger)):
            # The last moment may go on in the next part.
            whole, held = checks.part(rows, values, book_values, later, held).without_last_moment()
            if len(whole.books):
                yield whole
    if len(held.books):
        yield held


def _paired(
    messages: NumberRows, books: NumberRows, source: Source, ledger: Ledger
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows that both files have, their messages and their books, part by part; at the end a part without rows.

    The next part but one overwrites a part. Where one file is longer, its surplus is refused behind the last part.
    """
    message_file, book_file = source.files
    last = 0
    while min(messages.line, books.line) == last:
        last += LINES
        rows, values = messages.read(LINES)
        book_rows, book_values = books.read(LINES)
        paired = rows
        if not np.array_equal(rows, book_rows):
            paired, mine, theirs = np.intersect1d(rows, book_rows, assume_unique=True, return_indices=True)
            values, book_values = values[mine], book_values[theirs]
        yield paired, values, book_values
    yield rows[:0], values[:0], book_values[:0]
    if messages.line > books.line:
        _refuse_surplus(messages, rows, message_file, books, book_file, ledger)
    elif books.line > messages.line:
        _refuse_surplus(books, book_rows, book_file, messages, message_file, ledger)


def _message_columns(number: int) -> list[int]:
    """Six columns; newer downloads add the MPID."""
    return [*MESSAGE_COLUMNS, TEXT] if number == 7 else MESSAGE_COLUMNS


def _refuse_surplus(
    longer: NumberRows, rows: np.ndarray, file: RawFile, shorter: NumberRows, short_file: RawFile, ledger: Ledger
) -> None:
    """Refuse the rows that one file has more: those of `rows`, the last that were read, and all that follow."""
    detail = (
        f"{short_file} ends after row {shorter.line}, and the two files belong together row by row: "
        "one is truncated, get both again"
    )
    while True:
        for row in rows[rows > shorter.line].tolist():
            ledger.refuse(file, row, UNPAIRED, detail)
        line = longer.line
        rows, _ = longer.read(LINES)
        if longer.line == line:
            return


class _Checks:
    """Checks rows against each other and against what came before."""

    def __init__(self, source: Source, price_tick: int, ledger: Ledger):
        self._source, self._tick, self._ledger = source, price_tick, ledger
        self._clock = Clock()
        # The price in ticks that the others have to be near, whether it is new to the next row, stub quotes so far, and
        # whether trading is halted.
        self._state = np.array([t.NO_PRICE, False, 0, False], np.int64)

    def part(
        self, rows: np.ndarray, values: np.ndarray, book_values: np.ndarray, later: np.ndarray, held: Part
    ) -> Part:
        """The rows held back, and the good ones of N rows that follow them; `later` are the messages behind those."""
        num_held = len(held.books)
        books = np.empty((num_held + len(rows), *held.books.shape[1:]), np.int64)
        books[:num_held] = held.books
        faults = _FAULT_OF_TIME[self._clock.judge(values[:, TIME], later[:, TIME])]
        book_faults = np.zeros((len(rows), 2), np.int64)
        self._settle_range(book_values)
        anew = np.zeros(num_held + len(rows), np.bool_)
        anew[:num_held] = held.anew
        self._state[STUBS] = 0
        _check(values, book_values, self._tick, self._state, books[num_held:], anew[num_held:], faults, book_faults)
        self._ledger.counts["stub_quotes"] += int(self._state[STUBS])
        self._refuse(rows, values, book_values, faults, book_faults)
        good = (faults == 0) & (book_faults[:, 0] == 0)
        if not good.all():
            rows, values = rows[good], values[good]
            good = np.concatenate([np.ones(num_held, np.bool_), good])
            books, anew = books[good], anew[good]
        time, order_id, price, size, kind = (values[:, at] for at in (TIME, ORDER_ID, PRICE, SIZE, KIND))
        side = np.where(values[:, DIRECTION] == 1, t.BUY, t.SELL)
        return Part(held.messages.then(Messages(time, order_id, price, size, rows, kind, side)), books, anew)

    def _refuse(
        self,
        rows: np.ndarray,
        values: np.ndarray,
        book_values: np.ndarray,
        faults: np.ndarray,
        book_faults: np.ndarray,
    ) -> None:
        message_file, book_file = self._source.files
        for i in np.flatnonzero(faults).tolist():
            reason, detail, column = MESSAGE_FAULTS[int(faults[i])]
            detail = detail.format(values[i, column], tick=self._tick)
            self._ledger.refuse(message_file, int(rows[i]), reason, detail)
        for i in np.flatnonzero(book_faults[:, 0]).tolist():
            code, column = book_faults[i].tolist()
            reason, detail = BOOK_FAULTS[code]
            where = f"{'bid' if column % 4 > 1 else 'ask'} level {column // 4 + 1}: "
            detail = where + detail.format(book_values[i, column], tick=self._tick)
            self._ledger.refuse(book_file, int(rows[i]), reason, detail)

    def _settle_range(self, book_values: np.ndarray) -> None:
        """Prices have to be near the market: where most rows show it, as this part begins.

        While it has not moved far, the price to be near stays as it is, and with it what counts as a stub quote. It
        never moves so far that stub quotes, where nothing else is left, are the market.
        """
        prices = book_values[:: len(book_values) // SAMPLED + 1, :4:2]
        are_shown = (prices > 0) & (prices < MISSING_PRICE)
        if not are_shown.any():
            return
        median = int(np.median(prices[are_shown])) // self._tick
        middles = prices[are_shown.all(1)].sum(1) // (2 * self._tick)
        begins = middles[np.abs(middles - median) < median // 4]
        near, before = int(begins[0]) if len(begins) else median, int(self._state[NEAR])
        if before == t.NO_PRICE:
            self._state[NEAR] = near
        elif STUB_TICKS // 2 <= abs(near - before) < before // 2:
            self._state[[NEAR, MOVED]] = near, True


@kept_njit("market", "tokenizers", "data", _nrt=False)
def _check(values, book_values, tick, state, books, anew, faults, book_faults):
    """Find faults and stub quotes, and write the books; see `_Checks` for the state, and `Part` for `anew`.

    `faults` comes with those of the times.
    """
    for i in range(len(values)):
        near = state[NEAR]
        anew[i] = state[MOVED]
        state[MOVED] = False
        faults[i] = _message_fault(values, i, tick, near, faults[i], state)
        halted = state[HALTED]
        if faults[i] == 0 and values[i, KIND] == HALT:
            halted = values[i, PRICE] != TRADING_RESUMES
        sound_before = i > 0 and book_faults[i - 1, 0] == 0 and not anew[i]
        for side in range(2):
            missing = MISSING_PRICE if side == t.SELL else -MISSING_PRICE
            for level in range(books.shape[2]):
                column = 4 * level + 2 * side
                price, size = book_values[i, column], book_values[i, column + 1]
                unchanged = price == book_values[i - 1, column] and size == book_values[i - 1, column + 1]
                if unchanged and sound_before:  # as most are, and divisions take long
                    books[i, side, level, 0] = books[i - 1, side, level, 0]
                    books[i, side, level, 1] = books[i - 1, side, level, 1]
                    continue
                ticks, shown, fault = _level(price, size, missing, tick, near)
                books[i, side, level, 0] = ticks
                books[i, side, level, 1] = shown
                if fault > 0 and book_faults[i, 0] == 0:
                    book_faults[i, 0] = fault
                    book_faults[i, 1] = column + (fault == BAD_SIZE)
        if book_faults[i, 0] == 0:
            book_faults[i, 0], book_faults[i, 1] = _order_fault(books[i], halted)
        if book_faults[i, 0] == 0:
            state[HALTED] = halted
            ask, bid = books[i, t.SELL, 0, 0], books[i, t.BUY, 0, 0]
            if near != t.NO_PRICE and ask != t.NO_PRICE and bid != t.NO_PRICE:
                middle = (ask + bid) // 2
                if abs(middle - near) >= STUB_TICKS // 2:
                    state[NEAR], state[MOVED] = middle, True


@numba.njit(nogil=True)
def _level(price, size, missing, tick, near):
    """A level's price in ticks and its size, (NO_PRICE, 0) if it is missing; and what is wrong with it, or 0."""
    if price == missing:
        return t.NO_PRICE, 0, 0
    ticks = price // tick
    if price <= 0 or ticks > t.MAX_PRICE:
        return ticks, size, BAD_PRICE
    if ticks * tick != price:
        return ticks, size, OFF_TICK
    if size <= 0 or size > t.MAX_SIZE:
        return ticks, size, BAD_SIZE
    if near != t.NO_PRICE:
        if abs(ticks - near) >= MAX_TICKS:
            return ticks, size, FAR
        if abs(ticks - near) >= STUB_TICKS:
            return t.NO_PRICE, 0, 0
    return ticks, size, 0


@numba.njit(nogil=True)
def _order_fault(book, halted):
    """Whether prices stand where they must not: the fault, 0 if there is none, and the column of the orderbook file."""
    asks, bids = book[t.SELL], book[t.BUY]
    if not halted and asks[0, 0] != t.NO_PRICE and bids[0, 0] >= asks[0, 0]:
        return CROSSED, 2
    for level in range(1, len(asks)):
        ask, better_ask = asks[level, 0], asks[level - 1, 0]
        if ask != t.NO_PRICE and (better_ask == t.NO_PRICE or ask <= better_ask):
            return UNSORTED, 4 * level
        if bids[level, 0] != t.NO_PRICE and bids[level, 0] >= bids[level - 1, 0]:
            return UNSORTED, 4 * level + 2
    return 0, 0


@numba.njit(nogil=True)
def _message_fault(values, i, tick, near, time_fault, state):
    """What is wrong with a message, 0 if nothing is; a stub quote becomes a STUB."""
    kind, size, price = values[i, KIND], values[i, SIZE], values[i, PRICE]
    direction = values[i, DIRECTION]
    priced = NEW <= kind <= EXECUTE_HIDDEN
    if kind < NEW or kind > HALT:
        return BAD_KIND
    if values[i, TIME] >= DAY_NS:
        return PAST_MIDNIGHT
    if time_fault != 0:
        return time_fault
    if not priced:
        return _notice_fault(kind, values[i, ORDER_ID], size, price)
    if direction != 1 and direction != -1:
        return BAD_DIRECTION
    if size <= 0 or size > t.MAX_SIZE:
        return BAD_SIZE
    ticks = price // tick
    if price <= 0 or ticks > t.MAX_PRICE:
        return BAD_PRICE
    if kind != EXECUTE_HIDDEN:
        if ticks * tick != price:
            return OFF_TICK
        if near != t.NO_PRICE and abs(ticks - near) >= MAX_TICKS:
            return FAR
        if near != t.NO_PRICE and abs(ticks - near) >= STUB_TICKS:
            values[i, KIND] = STUB
            state[STUBS] += 1
    return 0


@numba.njit(nogil=True)
def _notice_fault(kind, order_id, size, price):
    """What is wrong with a cross or a halt, 0 if nothing is; either changes how all that follows is read."""
    if kind == CROSS:
        if order_id != 0 and order_id != -1:
            return NAMES_ORDER
        if size <= 0 or size > t.MAX_SIZE:
            return BAD_SIZE
        return BAD_PRICE if price <= 0 else 0
    if price < -1 or price > 1:
        return BAD_HALT
    if order_id != 0:
        return NAMES_ORDER
    return HALT_SIZE if size != 0 else 0
