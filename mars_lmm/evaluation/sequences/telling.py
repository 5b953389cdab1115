"""Orders as a LOBSTER file tells them: one message for each resting order that an order touches, and the book after.

An order that trades with three resting orders and rests itself makes four messages. To know the book after each, it is
executed in four parts, which together do what it does at once. Kinds that cannot be cut up so are executed whole: their
messages all come with the book after the order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.replay import put_in_call
from mars_lmm.evaluation.sequences import sequences as q
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.cpu import OBSERVING_ONE_BOOK

# Columns of a message, int64[NUM_COLUMNS].
TIME, TYPE, ORDER_ID, SIZE, PRICE, DIRECTION = range(6)
NUM_COLUMNS = 6

_step = OBSERVING_ONE_BOOK.step
_matching = VENUE.matching
_snapshot, _refresh, _best, _first = _matching.snapshot, _matching.refresh, _matching.best, _matching.first
_find, _first_cancelled = _matching.find, _matching.first_cancelled
_MOST_TRADES = 1024  # of an order that is executed whole


class Orders(NamedTuple):
    """Orders of one sequence, as they were executed.

    Attributes:
        rows: int64[N, NUM_ORDER_COLUMNS].
        time: int64[N], nanoseconds since midnight.
        anonymous: bool[N], volume that is nobody's order: it changes the book without a message.
        collected: bool[N], collected by a call auction that the book's schedule does not tell.
    """

    rows: np.ndarray
    time: np.ndarray
    anonymous: np.ndarray
    collected: np.ndarray


class Told(NamedTuple):
    """What became of the orders of one sequence.

    Attributes:
        messages: int64[M, NUM_COLUMNS], prices in ticks.
        levels: int64[M, DEPTH, 4], the book after each message, as in `Sequences`.
        touch: int64[N, 4], bid, ask, bid size and ask size after each order; prices -1 for an empty side.
        rejected: The first order that the exchange rejected, or -1: the orders are not what happened.
    """

    messages: np.ndarray
    levels: np.ndarray
    touch: np.ndarray
    rejected: int


def tell(book: np.ndarray, clock: np.ndarray, orders: Orders, queue_rule: int) -> Told:
    """Execute orders and tell the messages.

    Args:
        book: int64[K], the book before them, with room for them; left as it is.
        clock: int64[NUM_CLOCK], its stream of orders; left as it is.
        orders: The orders.
        queue_rule: What cancels without an id take of a queue.
    """
    touch = np.empty((len(orders.rows), 4), dtype=np.int64)
    room = len(orders.rows) * 5 // 4 + 64
    while True:
        messages = np.empty((room, NUM_COLUMNS), dtype=np.int64)
        levels = np.empty((room, t.DEPTH, q.NUM_LEVEL_COLUMNS), dtype=np.int64)
        desk = _Desk.of(book, clock)
        rejected, count = _tell(desk, *orders, queue_rule, messages, levels, touch)
        if count <= room:
            return Told(messages[:count], levels[:count], touch, rejected)
        room = count


class _Desk(NamedTuple):
    """A book and the memory that executing an order takes.

    `left` is what of the order has not been executed yet; its kind is IDLE when it is done. `part` is what is executed
    next. `before` holds the price of a replaced order.
    """

    book: np.ndarray
    clock: np.ndarray
    left: np.ndarray
    part: np.ndarray
    before: np.ndarray
    report: np.ndarray
    trades: np.ndarray
    snapshot: np.ndarray
    observed: np.ndarray
    tape: np.ndarray

    @classmethod
    def of(cls, book: np.ndarray, clock: np.ndarray) -> _Desk:
        shapes = (
            t.NUM_ORDER_COLUMNS,
            t.NUM_ORDER_COLUMNS,
            1,
            t.NUM_REPORT_COLUMNS,
            (_MOST_TRADES, t.NUM_TRADE_COLUMNS),
            (2, t.DEPTH, 2),
            o.NUM_OBSERVED,
            o.NUM_TAPE,
        )
        return cls(book.copy(), clock.copy(), *(np.zeros(shape, dtype=np.int64) for shape in shapes))


# One place alone executes orders: compiled code grows with every call of it.
@kept_njit("market", "tokenizers", "data", _nrt=False)
def _tell(desk, rows, times, anonymous, collected, queue_rule, messages, levels, touch):
    """Returns the first rejected order, or -1, and the number of messages, which may be more than there is room for."""
    book, clock, left, part, snapshot = desk.book, desk.clock, desk.left, desk.part, desk.snapshot
    report, trades, observed, tape = desk.report, desk.trades, desk.observed, desk.tape
    _refresh(book, snapshot)  # forgets what has changed so far
    _snapshot(book, snapshot)
    told, told_at = 0, -1
    for i in range(rows.shape[0]):
        if collected[i]:
            put_in_call(book, 1, t.CALL)
        for column in range(t.NUM_ORDER_COLUMNS):
            left[column] = rows[i, column]
            part[column] = rows[i, column]
        if not anonymous[i]:
            part[t.KIND] = t.IDLE  # an auction that is due trades before the order comes
        while True:
            # As nobody's order: the observation is not needed.
            if not _step(book, clock, part, times[i], True, queue_rule, report, trades, snapshot, observed, tape):
                return i, told
            if anonymous[i]:
                # A file shows it together with the message that uncovered it.
                if times[i] == told_at and told <= messages.shape[0]:
                    _write_levels(snapshot, levels[told - 1])
                break
            if part[t.KIND] != t.IDLE:
                told = _tell_part(desk, times[i], messages, levels, told)
                told_at = times[i]
            if not _next_part(desk, queue_rule):
                break
        if collected[i]:
            put_in_call(book, 0, t.CONTINUOUS)
        touch[i, 0], touch[i, 1] = snapshot[t.BUY, 0, 0], snapshot[t.SELL, 0, 0]
        touch[i, 2], touch[i, 3] = snapshot[t.BUY, 0, 1], snapshot[t.SELL, 0, 1]
    return -1, told


@scalar_njit
def _next_part(desk, queue_rule):
    """Take the next part of the order from what is left of it; returns whether there is one."""
    book, left, part = desk.book, desk.left, desk.part
    kind = left[t.KIND]
    if kind == t.IDLE:
        return False
    if kind == t.CANCEL_AT:
        return _next_cancel(desk, queue_rule)
    if kind in (t.LIMIT, t.IOC, t.MARKET) and _trades_continuously(book):
        return _next_fill_or_rest(desk)
    slot = _find(book, left[t.ORDER_ID])
    if kind in (t.CANCEL, t.REPLACE) and slot != NO_SLOT:
        left[t.SIDE] = book[slot + t.SIDE]
        desk.before[0] = book[slot + t.PRICE]
    for column in range(t.NUM_ORDER_COLUMNS):
        part[column] = left[column]
    left[t.KIND] = t.IDLE
    return True


@scalar_njit
def _next_cancel(desk, queue_rule):
    """A cancel of what lies at a price, as the cancels of the orders that it takes."""
    book, left, part = desk.book, desk.left, desk.part
    first = part[t.KIND] == t.IDLE
    slot = NO_SLOT
    if left[t.SIZE] > 0:
        slot = _first_cancelled(book, left[t.SIDE], left[t.PRICE], left[t.SIZE], left[t.OWNER], queue_rule)
    if not first and (slot == NO_SLOT or book[slot + t.PRICE] != left[t.PRICE]):
        return False
    for column in range(t.NUM_ORDER_COLUMNS):
        part[column] = left[column]
    if slot == NO_SLOT:
        return True  # and the exchange rejects it
    size = book[slot + t.SIZE]
    part[t.KIND], part[t.ORDER_ID] = t.CANCEL, book[slot + t.ORDER_ID]
    part[t.SIZE] = size if queue_rule == t.CLOSEST_SIZE else min(size, left[t.SIZE])
    left[t.PRICE] = book[slot + t.PRICE]
    left[t.SIZE] -= part[t.SIZE]
    if queue_rule == t.CLOSEST_SIZE:
        left[t.KIND] = t.IDLE
    return True


@scalar_njit
def _next_fill_or_rest(desk):
    """A trade with the first order that it meets; when there is none, what is left of a limit order rests."""
    book, left, part = desk.book, desk.left, desk.part
    for column in range(t.NUM_ORDER_COLUMNS):
        part[column] = left[column]
    side, price, kind = left[t.SIDE], left[t.PRICE], left[t.KIND]
    best = _best(book, 1 - side)
    beyond = best > price if side == t.BUY else best < price
    if left[t.SIZE] > 0 and best != t.NO_PRICE and (kind == t.MARKET or not beyond):
        part[t.KIND], part[t.PRICE] = t.IOC, best
        part[t.SIZE] = min(left[t.SIZE], book[_first(book, 1 - side, best) + t.SIZE])
        left[t.SIZE] -= part[t.SIZE]
        return True
    left[t.KIND] = t.IDLE
    return kind == t.LIMIT and part[t.SIZE] > 0


@scalar_njit
def _trades_continuously(book):
    if book[t.RULES + t.ENFORCED] == 0:
        return True
    phase = book[t.PHASES_AT] + book[t.PHASE] * t.NUM_PHASE_COLUMNS
    return book[t.HALTED_UNTIL] == 0 and book[phase + t.PHASE_MODE] == t.CONTINUOUS


@scalar_njit
def _tell_part(desk, time, messages, levels, told):
    """Tell the part that was executed last; returns the number of messages so far."""
    part, report, trades, snapshot = desk.part, desk.report, desk.trades, desk.snapshot
    kind, side, order_id, acted = part[t.KIND], part[t.SIDE], part[t.ORDER_ID], report[t.ACTED_PRICE]
    page = messages, levels, snapshot
    if kind == t.CANCEL:
        gone = q.DELETE if _find(desk.book, order_id) == NO_SLOT else q.PARTIAL_CANCEL
        return _write(page, told, time, gone, order_id, report[t.CANCELLED], acted, side)
    if kind == t.REPLACE:
        told = _write(page, told, time, q.DELETE, order_id, report[t.CANCELLED], desk.before[0], side)
    for row in range(min(report[t.NUM_FILLS], _MOST_TRADES)):
        resting, size, price = trades[row, t.RESTING_ID], trades[row, t.TRADE_SIZE], trades[row, t.TRADE_PRICE]
        told = _write(page, told, time, q.EXECUTION, resting, size, price, 1 - side)
    if report[t.RESTING] > 0:
        told = _write(page, told, time, q.NEW, order_id, report[t.RESTING], acted, side)
    return told


@scalar_njit
def _write(page, told, time, kind, order_id, size, price, side):
    """Tell a message; what finds no room is counted all the same."""
    messages, levels, snapshot = page
    if told < messages.shape[0]:
        row = messages[told]
        row[TIME], row[TYPE], row[ORDER_ID], row[SIZE], row[PRICE] = time, kind, order_id, size, price
        row[DIRECTION] = q.BUY if side == t.BUY else q.SELL
        _write_levels(snapshot, levels[told])
    return told + 1


@scalar_njit
def _write_levels(snapshot, row):
    for level in range(t.DEPTH):
        row[level, q.ASK_PRICE], row[level, q.ASK_SIZE] = snapshot[t.SELL, level, 0], snapshot[t.SELL, level, 1]
        row[level, q.BID_PRICE], row[level, q.BID_SIZE] = snapshot[t.BUY, level, 0], snapshot[t.BUY, level, 1]
