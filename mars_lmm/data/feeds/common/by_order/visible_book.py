"""The visible book of a feed that names each order: it completes the messages, and finds those that do not fit it."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.by_order.messages import (
    CLEAR,
    COLLECT,
    CROSS,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    NEW,
    RECORD,
    UNCROSS,
    UNTOLD,
    Messages,
)
from mars_lmm.data.feeds.common.clock import AHEAD, BEHIND, DAY_NS, IN_ORDER, Clock
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT, RESTS, empty_books
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.repack import with_room

_jit = numba.njit(nogil=True)
_add, _park, _reduce, _find = VENUE.queues.add, VENUE.queues.park, VENUE.queues.reduce, VENUE.queues.find
_first, _in_ladder, _next_price = VENUE.queues.first, VENUE.queues.in_ladder, VENUE.queues.next_price

FIRST_ROOM = 1024  # orders

# Columns of a record, as integers.
TIME, ORDER_ID, PRICE, SIZE, ROW, KIND, SIDE = range(len(RECORD.names))


class Fault(NamedTuple):
    """Why a message does not fit.

    Attributes:
        reason: The kind of fault.
        detail: What is wrong with a row, with its fields by name in braces.
    """

    reason: str
    detail: str


# By the code that the compiled functions give.
(
    GOOD,
    WITH_ITS_ROW,
    BAD_KIND,
    BAD_TIME,
    TIME_BACK,
    TIME_AHEAD,
    BAD_SIDE,
    BAD_SIZE,
    BAD_PRICE,
    OFF_TICK,
    BAD_ID,
    ID_IN_USE,
    UNKNOWN_ID,
    TAKES_TOO_MUCH,
    LEAVES_SOME,
    OTHER_SIDE,
    OTHER_PRICE,
    FAR_EXECUTION,
) = range(18)
FAULTS = {
    BAD_KIND: Fault("unknown kind of message", "kind {kind}"),
    BAD_TIME: Fault("time outside the day", "{time} ns since midnight; check the time zone"),
    TIME_BACK: Fault("time goes back", "{time} ns is earlier than a message before it"),
    TIME_AHEAD: Fault("time runs ahead", "{time} ns is later than the messages behind it"),
    BAD_SIDE: Fault("no side", "side {side} of order {order_id}; it must be bought or sold"),
    BAD_SIZE: Fault("size out of range", f"size {{size}} of order {{order_id}} is not in 1 to {t.MAX_SIZE}"),
    BAD_PRICE: Fault("price out of range", f"price {{price}} of order {{order_id}} is not in 1 to {t.MAX_PRICE} ticks"),
    OFF_TICK: Fault("price off the tick", "price {price} of order {order_id}; set the feed's tick if it is another"),
    BAD_ID: Fault("id out of range", "order id {order_id} is not positive"),
    ID_IN_USE: Fault("id in use", "the new order {order_id} has the id of an order that is live"),
    UNKNOWN_ID: Fault("unknown id", "no live order has the id {order_id}; the message that announced it is missing"),
    TAKES_TOO_MUCH: Fault("takes more than is left", "size {size} is more than is left of order {order_id}"),
    LEAVES_SOME: Fault("deletes less than is left", "size {size} is not all that is left of order {order_id}"),
    OTHER_SIDE: Fault("another side than its order's", "side {side} of order {order_id}"),
    OTHER_PRICE: Fault("another price than its order's", "price {price} of order {order_id}"),
    FAR_EXECUTION: Fault("execution far from the market", "order {order_id} lies outside the book's price ladder"),
}
_FAULT_OF_TIME = np.empty(3, np.int8)
_FAULT_OF_TIME[[IN_ORDER, BEHIND, AHEAD]] = GOOD, TIME_BACK, TIME_AHEAD

# Columns of the state that one call leaves to the next; the counters among them are what `VisibleBook.counts` shows.
REPLACED_ROW, REPLACED_SIDE, REFUSED_ROW, OUT_OF_PRIORITY, OFF_PRICE, CROSSING, FAR, STALE = range(8)
NUM_STATE_COLUMNS = 8
COUNTS = ("out_of_priority", "off_price", "crossing", "far_messages", "stale_orders")


class VisibleBook:
    """The orders that a feed shows, by id.

    Orders outside the ladder, placed where nobody will trade, are known but no part of what the book puts out; their
    messages are counted as `far_messages`.

    Args:
        low: The lowest price that the book shows, in ticks.
        high: The highest.
        price_tick: The feed's price units per tick.
        collects: Whether a new order may cross the book and rest. Else the orders that it crosses are gone, and the
            feed lost the message that said so: they leave before it, as if by a CLEAR, counted as `stale_orders`.
    """

    def __init__(self, low: int, high: int, price_tick: int, collects: bool = True):
        self._book = empty_books(1, FIRST_ROOM, high - low + 1, low)[0]
        self._low, self._high = low, high
        self._price_tick, self._collects = price_tick, collects
        self._clock = Clock()
        self._state = np.full(NUM_STATE_COLUMNS, -1)
        self._state[OUT_OF_PRIORITY:] = 0

    def apply(self, records: np.ndarray, following: np.ndarray) -> tuple[Messages, np.ndarray]:
        """Apply the next messages.

        Args:
            records: RECORD[N].
            following: RECORD[K], those behind them, by which the times are judged.

        Returns:
            The M messages that fit, complete: nothing is UNTOLD, and a CLEAR stands for each order that it takes. An
            execution that is not of the oldest order at the best price, or is at another price than its order's, is an
            UNCROSS; a new order that crosses the book and rests all the same is a COLLECT; where the side of a hidden
            order is UNTOLD, it is the likely one. And the faults, int8[N]: a code of `FAULTS`, GOOD, or WITH_ITS_ROW
            for what is left out because its row is at fault already.
        """
        kind = records["kind"]
        num_new = int(np.count_nonzero((kind == NEW) | (kind == COLLECT)))
        self._book = with_room(self._book, num_new, self._low, self._high)
        num_out = len(records)
        if (kind == CLEAR).any() or not self._collects:  # takes each order at most once
            num_out += num_new + int(self._book[t.LIVE_ORDERS])
        out = Messages(*np.empty((len(RECORD.names), num_out), np.int64))
        faults = _FAULT_OF_TIME[self._clock.judge(records["time"], following["time"])]
        rows = np.ascontiguousarray(records).view(np.int64).reshape(len(records), -1)
        num_out = _apply(self._book, rows, self._price_tick, self._collects, self._state, out, faults)
        return out.part(0, num_out), faults

    @property
    def counts(self) -> dict[str, int]:
        """`out_of_priority`, `off_price` (executions that became an UNCROSS), `crossing`, `far_messages`, ..."""
        return dict(zip(COUNTS, self._state[OUT_OF_PRIORITY:].tolist(), strict=True))


@kept_njit("market", "tokenizers", "data")
def _apply(book, records, price_tick, collects, state, out, faults):
    """Fill `out`, and `faults` where they are GOOD; return how many messages came out."""
    n = 0
    for i in range(len(records)):
        record = records[i]
        kind = record[KIND]
        fault = faults[i] if faults[i] != GOOD else _fault(record, price_tick)
        if fault == GOOD:
            if kind in (NEW, COLLECT):
                fault, n = _enter(book, record, price_tick, collects, state, out, n)
            elif kind == CLEAR:
                n = _clear(book, record, price_tick, out, n)
            elif kind in (EXECUTE_HIDDEN, CROSS, HALT):
                side = record[SIDE]
                if kind == EXECUTE_HIDDEN and side == UNTOLD:
                    side = _hidden_side(book, records, i, price_tick, out, n)
                n = _put(out, n, record, kind, side, record[PRICE], record[SIZE])
            else:
                fault, n = _take(book, record, price_tick, state, out, n)
        if fault != GOOD:
            state[REFUSED_ROW] = record[ROW]
        faults[i] = fault
    return n


@_jit
def _fault(record, price_tick):
    """What is wrong with a message by itself."""
    kind, size, price = record[KIND], record[SIZE], record[PRICE]
    if kind < NEW or kind > COLLECT:
        return BAD_KIND
    if record[TIME] < 0 or record[TIME] >= DAY_NS:
        return BAD_TIME
    if kind in (CROSS, HALT, CLEAR):
        return GOOD
    enters = kind in (NEW, COLLECT)
    names_order = kind != EXECUTE_HIDDEN
    if names_order and record[ORDER_ID] <= 0:
        return BAD_ID
    if record[SIDE] not in (t.SELL, t.BUY, UNTOLD):
        return BAD_SIDE
    if (size < 1 or size > t.MAX_SIZE) and not (kind in (DELETE, EXECUTE, UNCROSS) and size == UNTOLD):
        return BAD_SIZE
    if enters or not names_order:
        if price < 1 or price > t.MAX_PRICE * price_tick:
            return BAD_PRICE
        if enters and price % price_tick != 0:
            return OFF_TICK
    return GOOD


@_jit
def _enter(book, record, price_tick, collects, state, out, n):
    """A new order; return the fault, and how many messages are out."""
    side, order_id, size = record[SIDE], record[ORDER_ID], record[SIZE]
    price = record[PRICE] // price_tick
    if side == UNTOLD:
        if record[ROW] == state[REFUSED_ROW]:
            return WITH_ITS_ROW, n
        if record[ROW] != state[REPLACED_ROW]:
            return BAD_SIDE, n
        side = state[REPLACED_SIDE]
    if _find(book, order_id) != NO_SLOT:
        return ID_IN_USE, n
    if not _in_ladder(book, price):
        _park(book, side, price, size, order_id, t.BACKGROUND)
        state[FAR] += 1
        return GOOD, n
    crosses = _crosses(book, side, price)
    state[CROSSING] += crosses
    while crosses and not collects:
        touch = book[t.BEST_PRICE + 1 - side]
        n = _clear_order(book, _first(book, 1 - side, touch), record, price_tick, out, n)
        state[STALE] += 1
        crosses = _crosses(book, side, price)
    _add(book, side, price, size, order_id, t.BACKGROUND)
    return GOOD, _put(out, n, record, COLLECT if crosses else record[KIND], side, record[PRICE], size)


@_jit
def _crosses(book, side, price):
    touch = book[t.BEST_PRICE + 1 - side]
    return touch != t.NO_PRICE and (price <= touch if side == t.SELL else price >= touch)


@_jit
def _take(book, record, price_tick, state, out, n):
    """A message that takes from an order; return the fault, and how many messages are out."""
    slot = _find(book, record[ORDER_ID])
    if slot == NO_SLOT:
        return UNKNOWN_ID, n
    kind, size = record[KIND], record[SIZE]
    side, left = book[slot + t.SIDE], book[slot + t.SIZE]
    price = book[slot + t.PRICE] * price_tick
    if size == UNTOLD:
        size = left
    if record[SIDE] not in (UNTOLD, side):
        return OTHER_SIDE, n
    if size > left:
        return TAKES_TOO_MUCH, n
    if kind == DELETE and size < left:
        return LEAVES_SOME, n
    far = book[slot + t.KIND] != RESTS
    executes = kind in (EXECUTE, UNCROSS)
    if far and executes:
        return FAR_EXECUTION, n
    if record[PRICE] not in (UNTOLD, price):
        if not executes:
            return OTHER_PRICE, n
        state[OFF_PRICE] += kind == EXECUTE
        kind = UNCROSS
    ticks = book[slot + t.PRICE]
    if kind == EXECUTE and (ticks != book[t.BEST_PRICE + side] or slot != _first(book, side, ticks)):
        state[OUT_OF_PRIORITY] += 1
        kind = UNCROSS
    if kind == DELETE:
        state[REPLACED_ROW], state[REPLACED_SIDE] = record[ROW], side
    _reduce(book, slot, size)
    if far:
        state[FAR] += 1
        return GOOD, n
    return GOOD, _put(out, n, record, kind, side, price, size)


@_jit
def _hidden_side(book, records, i, price_tick, out, n):
    """The likely side of the hidden order that message `i` executes.

    That of the executions next to it in the same moment, for one order caused them all; else the side of the book that
    the price is nearer to, asks in the middle.
    """
    time = records[i, TIME]
    if n > 0 and out.time[n - 1] == time and out.kind[n - 1] in (EXECUTE, EXECUTE_HIDDEN):
        return out.side[n - 1]
    behind = i + 1
    while behind < len(records) and records[behind, TIME] == time and records[behind, KIND] == EXECUTE_HIDDEN:
        behind += 1
    if behind < len(records) and records[behind, TIME] == time and records[behind, KIND] == EXECUTE:
        slot = _find(book, records[behind, ORDER_ID])
        if slot != NO_SLOT:
            return book[slot + t.SIDE]
    ask, bid = book[t.BEST_PRICE + t.SELL], book[t.BEST_PRICE + t.BUY]
    if bid == t.NO_PRICE:
        return t.SELL
    if ask == t.NO_PRICE:
        return t.BUY
    return t.SELL if 2 * records[i, PRICE] >= (ask + bid) * price_tick else t.BUY


@_jit
def _clear(book, record, price_tick, out, n):
    """All orders leave; return how many messages are out."""
    for side in range(2):
        price = book[t.BEST_PRICE + side]
        while price != t.NO_PRICE:
            following = _next_price(book, side, price)
            slot = _first(book, side, price)
            while slot != NO_SLOT:
                behind = book[slot + NEXT]
                n = _clear_order(book, slot, record, price_tick, out, n)
                slot = behind
            price = following
    slot = book[t.FIRST_PARKED]
    while slot != NO_SLOT:
        behind = book[slot + NEXT]
        _reduce(book, slot, book[slot + t.SIZE])
        slot = behind
    return n


@_jit
def _clear_order(book, slot, record, price_tick, out, n):
    """An order leaves, and nobody cancelled it; return how many messages are out."""
    size = book[slot + t.SIZE]
    n = _put(out, n, record, CLEAR, book[slot + t.SIDE], book[slot + t.PRICE] * price_tick, size)
    out.order_id[n - 1] = book[slot + t.ORDER_ID]
    _reduce(book, slot, size)
    return n


@_jit
def _put(out, n, record, kind, side, price, size):
    """Put a message out; return how many are out."""
    out.time[n] = record[TIME]
    out.order_id[n] = record[ORDER_ID]
    out.price[n] = price
    out.size[n] = size
    out.row[n] = record[ROW]
    out.kind[n] = kind
    out.side[n] = side
    return n + 1
