"""A LOBSTER session through our own book, compared with the vendor's book after every message.

The vendor shows L levels a side, so orders that never stood within them are unknown. What our book holds is
predicted from the messages alone, with three exceptions. When a level leaves and the window moves outwards, the
prices that it newly covers are set to what the vendor shows there: volume that our book missed is `revealed`,
volume that it should no longer have is `stale`. What an auction or a halt did to the book is no message: after
one, the window is set to what the vendor shows. And where messages are missing, at the session's start and where bad
rows were left out, it is set to what the vendor shows after the next message, less that message; so it is where the
market has moved so far that other quotes than before are left out as stubs.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.by_order.levels import (
    apply_order,
    copy_levels,
    describe_difference,
    holds,
    is_worse,
    rest_order,
)
from mars_lmm.data.feeds.common.by_order.messages import COLLECT, CROSS, EXECUTE, HALT, NEW, UNCROSS, Messages
from mars_lmm.data.feeds.lobster.read import STUB, TRADING_RESUMES, Part
from mars_lmm.data.flow import ANONYMOUS, AUCTION
from mars_lmm.market import repack
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, empty_books
from mars_lmm.market.cpu import MATCHING

_jit = numba.njit(nogil=True, _nrt=False)
_find, _best, _level_size, _next_price = MATCHING.find, MATCHING.best, MATCHING.level_size, MATCHING.next_price

MAX_EXAMPLES = 5  # mismatching rows that are described
ROOM = 4096  # orders and ticks of the first book; changes that one call makes

# Counters of `_follow`. The levels' are also the cause of a change of the book that is no message.
MISMATCHES, UNKNOWN_IDS, REVEALED_LEVELS, STALE_LEVELS, OPENING_LEVELS, RESET_LEVELS = range(6)
AUCTION_LEVELS, REANNOUNCED, NUM_CHANGES = range(6, 9)
NUM_COUNTERS = 9
COUNTS = (
    "mismatches",
    "unknown_ids",
    "revealed_levels",
    "stale_levels",
    "opening_levels",
    "reset_levels",
    "auction_levels",
    "reannounced",
)

# What `_follow` keeps from call to call: the last message's row in its file; why the book has to be set before the next
# message (OPENING_LEVELS, RESET_LEVELS, or 0); when the last auction was; whether trading is halted; whether each side
# is as the vendor shows it.
LAST_ROW, SETS, AUCTION_TIME, HALTED, AGREES = range(5)

# Columns of a change, behind those of an order row.
CHANGE_ROW, CHANGE_FLAGS = t.NUM_ORDER_COLUMNS, t.NUM_ORDER_COLUMNS + 1
NUM_CHANGE_COLUMNS = t.NUM_ORDER_COLUMNS + 2


class Followed(NamedTuple):
    """What a part of a session did to our book beside its messages.

    Attributes:
        changes: int64[C, NUM_CHANGE_COLUMNS], what the vendor's books tell and no message: anonymous orders, and
            outdated volume to cancel at its price; then the message (from 0) that each goes before, and its flags.
        unfit: bool[N], messages after which our book is not the vendor's, or that take volume that it does not have.
        notes: The first unfit messages (from 0) in words.
    """

    changes: np.ndarray
    unfit: np.ndarray
    notes: dict[int, str]


class _Outputs(NamedTuple):
    """What `_follow` writes."""

    changes: np.ndarray
    counters: np.ndarray
    example_row: np.ndarray
    examples: np.ndarray
    unfit: np.ndarray
    report: np.ndarray
    trades: np.ndarray


class BookFollower:
    """Puts a session's messages through our own book, part by part.

    Args:
        source: The orderbook file, for messages.
        price_tick: LOBSTER price units per tick.
        skips: Whether unfit messages are nobody's orders: what one did to our book becomes a change, and the book is
            set before the next message, so that one bad row is not followed by many.

    Attributes:
        examples: The first mismatching rows in words.
        seconds: Time that the comparison took.
    """

    def __init__(self, source: str, price_tick: int, skips: bool = False):
        self.examples: list[str] = []
        self.seconds = 0.0
        self._source, self._tick, self._skips = source, price_tick, skips
        self._counters = np.zeros(NUM_COUNTERS, np.int64)
        self._state = np.array([0, OPENING_LEVELS, -1, False, True, True])
        self._book: np.ndarray | None = None
        self._before: np.ndarray | None = None  # the vendor's book after the last message
        self._next_id = -1

    @property
    def counts(self) -> dict[str, int]:
        """`mismatches`, `unknown_ids`, `revealed_levels`, `stale_levels` and what else `COUNTS` names."""
        return dict(zip(COUNTS, self._counters.tolist(), strict=False))

    def follow(self, part: Part) -> Followed:
        """Put N messages through the book and compare every row.

        Raises:
            DataError: The prices lie too far apart for one book.
        """
        orders = _book_orders(part.messages, self._tick)
        if self._before is None:
            self._before = part.books[0]
        shape = part.books.shape[1:]
        low, high = _price_range(orders, part.books)
        self._make_room(int(np.count_nonzero(orders[:, t.KIND] == t.LIMIT)), low, high)
        out = _Outputs(
            changes=np.empty((0, NUM_CHANGE_COLUMNS), np.int64),
            counters=self._counters,
            example_row=np.full(MAX_EXAMPLES, -1),
            examples=np.zeros((MAX_EXAMPLES, *shape), np.int64),
            unfit=np.zeros(len(orders), np.bool_),
            report=np.zeros(t.NUM_REPORT_COLUMNS, np.int64),
            trades=np.zeros((1, t.NUM_TRADE_COLUMNS), np.int64),
        )
        self._follow(part, orders, len(orders), out)  # compiles, so that the time is the work's alone
        started = time.perf_counter()
        changes = [out.changes]
        row = 0
        while row < len(orders):
            out = out._replace(changes=np.empty((ROOM + _most_changes(self._book, shape[1]), NUM_CHANGE_COLUMNS), int))
            self._counters[NUM_CHANGES] = 0
            row = self._follow(part, orders, row, out)
            made = out.changes[: self._counters[NUM_CHANGES]]
            self._next_id -= len(made)
            changes.append(made)
            if row < len(orders):  # it may want room for more anonymous orders
                self._make_room(ROOM + _most_changes(self._book, shape[1]), low, high)
        self.seconds += time.perf_counter() - started
        self._before = part.books[-1].copy()
        return Followed(np.concatenate(changes), out.unfit, self._notes(part, out))

    def _follow(self, part: Part, orders: np.ndarray, row: int, out: _Outputs) -> int:
        return _follow(
            self._book,
            orders,
            part.messages,
            part.books,
            part.anew,
            self._before,
            row,
            self._state,
            self._skips,
            self._next_id,
            out,
        )

    def _notes(self, part: Part, out: _Outputs) -> dict[int, str]:
        notes = {
            row: describe_difference(self._source, int(part.messages.row[row]), part.books[row], ours)
            for row, ours in zip(out.example_row.tolist(), out.examples, strict=True)
            if row >= 0
        }
        self.examples += list(notes.values())[: MAX_EXAMPLES - len(self.examples)]
        return notes

    def _make_room(self, num_orders: int, low: int, high: int) -> None:
        if low > high:  # no price asks for room
            low = high = ROOM if self._book is None else int(self._book[t.BASE_PRICE])
        elif self._book is not None and self._book[t.LIVE_ORDERS] == 0:
            self._book = None  # what was empty so far may lie anywhere
        try:
            if self._book is None:
                self._book = empty_books(1, ROOM, ROOM, max(low - ROOM // 2, 0))[0]
            self._book = repack.with_room(self._book, num_orders, low, high)
        except ValueError as error:
            raise DataError(self._source, f"prices from {low} to {high} ticks: {error}") from error


def _book_orders(messages: Messages, price_tick: int) -> np.ndarray:
    """Each message as what it does to the book: int64[N, NUM_ORDER_COLUMNS]; size 0 where it does nothing."""
    orders = np.zeros((len(messages.time), t.NUM_ORDER_COLUMNS), dtype=np.int64)
    acts = (messages.kind >= NEW) & (messages.kind <= EXECUTE)
    orders[:, t.KIND] = np.where(messages.kind == NEW, t.LIMIT, t.CANCEL)
    orders[:, t.SIDE] = messages.side
    orders[:, t.PRICE] = messages.price // price_tick
    orders[:, t.SIZE] = np.where(acts, messages.size, 0)
    orders[:, t.ORDER_ID] = messages.order_id
    orders[:, t.OWNER] = t.BACKGROUND
    return orders


@kept_njit("data")
def _price_range(orders, books):
    """The lowest and the highest price of a part; the lowest is above the highest if there is none."""
    low, high = t.MAX_PRICE, 0
    for row in range(len(orders)):
        if orders[row, t.SIZE] > 0:
            low, high = min(low, orders[row, t.PRICE]), max(high, orders[row, t.PRICE])
        for side in range(2):
            for level in range(books.shape[2]):
                price = books[row, side, level, 0]
                if price != t.NO_PRICE:
                    low, high = min(low, price), max(high, price)
    return low, high


@kept_njit("market", "tokenizers", "data")
def _most_changes(book, num_levels):
    """How many changes a message can make at most: all levels leave, and a window's worth comes, for three causes."""
    return book[t.NUM_LEVELS] + book[t.NUM_LEVELS + 1] + 12 * num_levels + 8


@kept_njit("market", "tokenizers", "data", _nrt=False)
def _follow(book, orders, messages, books, anew, first, row, state, skips, next_id, out):
    """Follow the messages from `row` on; return the row that may lack room for its changes, or the end.

    `first` is int64[2, L, 2], the vendor's book before the first message of all.
    """
    report = out.report
    kinds, times = messages.kind, messages.time
    while row < len(orders):
        most = _most_changes(book, books.shape[2])
        if len(out.changes) - out.counters[NUM_CHANGES] < most or book[t.NUM_SLOTS] - book[t.LIVE_ORDERS] < most:
            return row
        order = orders[row]
        follows = messages.row[row] == state[LAST_ROW] + 1 and not anew[row]
        if not follows and state[SETS] != OPENING_LEVELS:
            state[SETS] = RESET_LEVELS
        state[LAST_ROW] = messages.row[row]
        sets = state[SETS] != 0
        if sets:
            _set_before(book, order, books[row], row, state[SETS], state[HALTED], next_id, out)
            state[SETS] = 0

        if kinds[row] == CROSS:
            state[AUCTION_TIME] = times[row]
        elif kinds[row] == HALT:
            state[HALTED] = messages.price[row] != TRADING_RESUMES
        auctions = kinds[row] == CROSS or kinds[row] == HALT
        fits = True
        applied = False
        begun = out.counters[NUM_CHANGES]
        if order[t.SIZE] > 0:
            slot = _find(book, order[t.ORDER_ID])
            live = slot != NO_SLOT
            side, price = order[t.SIDE], order[t.PRICE]
            if kinds[row] == EXECUTE and (state[HALTED] or state[AUCTION_TIME] == times[row]):
                # In an auction an order trades at the auction's price. Where one stood that was never announced, only
                # the vendor's book tells.
                kinds[row] = UNCROSS if live else STUB
                auctions |= not live
                if live:
                    price = book[slot + t.PRICE]
                    order[t.PRICE] = price
                else:
                    order[t.SIZE] = 0
            if order[t.SIZE] == 0:
                out.counters[UNKNOWN_IDS] += 1
            elif order[t.KIND] == t.CANCEL:
                out.counters[UNKNOWN_IDS] += not live
                applied = not live or (book[slot + t.SIDE] == side and book[slot + t.PRICE] == price)
                fits = kinds[row] != EXECUTE or price == _best(book, side)
            elif state[AUCTION_TIME] == times[row] and (
                live or (not sets and _stays(books, row, t.SELL) and _stays(books, row, t.BUY))
            ):
                # After an auction the orders that it left are told again; they stand already, unless they changed.
                out.counters[REANNOUNCED] += 1
                auctions = True
                kinds[row] = STUB
                order[t.SIZE] = 0
            else:
                applied = not _crosses(side, price, _best(book, 1 - side))
            if state[HALTED] and not applied and kinds[row] == NEW:
                # While trading is halted, orders rest whatever the other side offers.
                kinds[row] = COLLECT
                rest_order(book, order, report, out.trades)
                applied = report[t.OUTCOME] == t.ACCEPTED
            elif applied:
                apply_order(book, order, report, out.trades)
                applied = report[t.OUTCOME] == t.ACCEPTED
                if order[t.KIND] == t.CANCEL:
                    fits = fits and report[t.CANCELLED] >= order[t.SIZE]
            fits = fits and (applied or order[t.SIZE] == 0)
        if auctions:
            _set_window(book, books[row], row, AUCTION_LEVELS, next_id, out)
        for side in range(2):
            # A side that neither the message nor the vendor changed agrees, or disagrees, as before.
            if fits and not (sets or auctions) and row > 0 and side != order[t.SIDE] and _stays(books, row, side):
                continue
            after = books[row, side]
            edge = first[side, -1, 0] if row == 0 else books[row - 1, side, -1, 0]
            if not sets and _moves_outwards(side, edge, after[-1, 0]):
                _cover(book, side, edge, after, row, next_id, out)
            state[AGREES + side] = holds(book, side, after)
        if not (fits and state[AGREES + t.SELL] and state[AGREES + t.BUY]):
            out.unfit[row] = True
            _note_example(book, row, out)
            out.counters[MISMATCHES] += 1
            if skips:
                state[SETS] = RESET_LEVELS
                if applied:
                    _put_change(order, begun, row, kinds[row] == COLLECT, out)
        row += 1
    return row


@_jit
def _crosses(side, price, other):
    """Whether an order would trade with the other side's best price."""
    return other != t.NO_PRICE and not is_worse(side, price, other)


@_jit
def _note_example(book, row, out):
    for place in range(len(out.example_row)):
        if out.example_row[place] < 0:
            out.example_row[place] = row
            copy_levels(book, out.examples[place])
            return


@_jit
def _put_change(order, place, row, rests, out):
    """Put what a message did to the book among the changes, before those that came after it.

    `rests`: its order came to rest though it crosses.
    """
    for later in range(out.counters[NUM_CHANGES], place, -1):
        for column in range(NUM_CHANGE_COLUMNS):
            out.changes[later, column] = out.changes[later - 1, column]
    change = out.changes[place]
    for column in range(t.NUM_ORDER_COLUMNS):
        change[column] = order[column]
    change[CHANGE_ROW] = row
    change[CHANGE_FLAGS] = ANONYMOUS | AUCTION if rests else ANONYMOUS
    out.counters[NUM_CHANGES] += 1


@_jit
def _stays(books, row, side):
    """Whether a message changed nothing of what the vendor shows of a side."""
    for level in range(books.shape[2]):
        for column in range(2):
            if books[row, side, level, column] != books[row - 1, side, level, column]:
                return False
    return True


@_jit
def _moves_outwards(side, edge, end):
    """Whether a window that ended at `edge` ends further out, at `end`; NO_PRICE: every level is in view."""
    return edge != t.NO_PRICE and (end == t.NO_PRICE or is_worse(side, end, edge))


@_jit
def _cover(book, side, edge, after, row, next_id, out):
    """Settle the prices of a side behind `edge` that the window newly covers."""
    _remove_levels(book, side, edge, after, t.NO_PRICE, row, REVEALED_LEVELS, next_id, out)
    for level in range(len(after)):
        if after[level, 0] != t.NO_PRICE and is_worse(side, after[level, 0], edge):
            _set_level(book, side, after[level, 0], after[level, 1], row, REVEALED_LEVELS, next_id, out)


@_jit
def _set_window(book, after, row, cause, next_id, out):
    """Set all that the window covers to what the vendor shows."""
    for side in range(2):  # both, before anything comes that the other side's outdated orders would trade with
        _remove_levels(book, side, t.NO_PRICE, after[side], t.NO_PRICE, row, cause, next_id, out)
    for side in range(2):
        for level in range(after.shape[1]):
            if after[side, level, 0] != t.NO_PRICE:
                _set_level(book, side, after[side, level, 0], after[side, level, 1], row, cause, next_id, out)


@_jit
def _set_before(book, order, after, row, cause, halted, next_id, out):
    """Set all that the window covers to what the vendor shows after a message, less that message."""
    side, price = order[t.SIDE], order[t.PRICE]
    added = order[t.SIZE] if order[t.KIND] == t.LIMIT else -order[t.SIZE]
    own = price if added != 0 and (halted or not _crosses(side, price, after[1 - side, 0, 0])) else t.NO_PRICE
    for each in range(2):
        _remove_levels(
            book, each, t.NO_PRICE, after[each], own if each == side else t.NO_PRICE, row, cause, next_id, out
        )
    size = -added
    for each in range(2):
        for level in range(after.shape[1]):
            shown = after[each, level, 0]
            if each == side and shown == own:
                size += after[each, level, 1]
            elif shown != t.NO_PRICE:
                _set_level(book, each, shown, after[each, level, 1], row, cause, next_id, out)
    if own != t.NO_PRICE:
        if after[side, -1, 0] != t.NO_PRICE and is_worse(side, own, after[side, -1, 0]):
            size = max(size, _level_size(book, side, own))  # out of view: there may be more
        _set_level(book, side, own, max(size, 0), row, cause, next_id, out)


@_jit
def _remove_levels(book, side, edge, after, kept, row, cause, next_id, out):
    """Remove what the window covers of a side, from behind `edge` (or the best, if NO_PRICE) on, but does not show.

    The price `kept` stays as it is.
    """
    end = after[-1, 0]
    level = 0
    price = _best(book, side) if edge == t.NO_PRICE else _next_price(book, side, edge)
    while price != t.NO_PRICE and (end == t.NO_PRICE or not is_worse(side, price, end)):
        while level < len(after) and after[level, 0] != t.NO_PRICE and is_worse(side, price, after[level, 0]):
            level += 1
        if price != kept and (level == len(after) or after[level, 0] != price):
            _set_level(book, side, price, 0, row, cause, next_id, out)
        price = _next_price(book, side, price)


@_jit
def _set_level(book, side, price, size, row, cause, next_id, out):
    """Make a price hold `size`; note what that took."""
    held = _level_size(book, side, price)
    if held == size:
        return
    revealed = held < size
    out.counters[STALE_LEVELS if cause == REVEALED_LEVELS and not revealed else cause] += 1
    change = out.changes[out.counters[NUM_CHANGES]]
    change[t.KIND] = t.LIMIT if revealed else t.CANCEL_AT
    change[t.SIDE] = side
    change[t.PRICE] = price
    change[t.SIZE] = abs(size - held)
    change[t.ORDER_ID] = next_id - out.counters[NUM_CHANGES]
    change[t.OWNER] = t.BACKGROUND
    change[CHANGE_ROW] = row
    change[CHANGE_FLAGS] = ANONYMOUS | AUCTION if cause == AUCTION_LEVELS else ANONYMOUS
    out.counters[NUM_CHANGES] += 1
    if revealed and _crosses(side, price, _best(book, 1 - side)):
        # A halt or an auction let it rest there, out of view.
        change[CHANGE_FLAGS] |= AUCTION
        rest_order(book, change[: t.NUM_ORDER_COLUMNS], out.report, out.trades)
    else:
        apply_order(book, change[: t.NUM_ORDER_COLUMNS], out.report, out.trades)
