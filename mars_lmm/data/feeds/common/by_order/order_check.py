"""The proof that the order flow of a feed by order id is right: through our own matching it makes the feed's book."""

from __future__ import annotations

import time
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.by_order.levels import describe_difference
from mars_lmm.data.feeds.common.by_order.messages import COLLECT, CROSS, EXECUTE, EXECUTE_HIDDEN, HALT, NEW, Messages
from mars_lmm.data.flow import AUCTION, HIDDEN
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, empty_books
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.repack import with_room

_jit = numba.njit(nogil=True)
_add, _reduce, _find = VENUE.queues.add, VENUE.queues.reduce, VENUE.queues.find
_execute, _clear, _refresh = VENUE.matching.execute, VENUE.matching.clear, VENUE.matching.refresh

FIRST_ROOM = 1024  # orders
MAX_NOTES = 5
MAX_TRADES = 1 << 16  # of one order

# What `_check` counts.
TRADES, FLOW_MISMATCHES, TRADE_MISMATCHES, NUM_COUNTERS = range(4)
COUNTS = ("trades", "flow_mismatches", "trade_mismatches")


class _Examples(NamedTuple):
    """The first mismatches: int64[MAX_NOTES] rows of the flow, the feed's and our levels at each."""

    row: np.ndarray
    shown: np.ndarray
    ours: np.ndarray


class OrderCheck:
    """Two books side by side: the feed's by its messages, without matching, and ours by the order flow.

    After each order the best levels of both are compared, and the order's trades with the feed's executions: id, price
    and size, in sequence.

    Args:
        low: The lowest price that the books hold, in ticks.
        high: The highest.
        price_tick: The feed's price units per tick.

    Attributes:
        counts: `flow_rows`, `trades` (the feed's executions), `flow_mismatches` (rows that our book rejects, or after
            which it differs) and `trade_mismatches` (rows whose trades differ).
        notes: The first mismatches in words.
        seconds: Time that the comparison took.
    """

    def __init__(self, low: int, high: int, price_tick: int):
        self.counts = dict.fromkeys(("flow_rows", *COUNTS), 0)
        self.notes: list[str] = []
        self.seconds = 0.0
        self._price_tick = price_tick
        self._range = low, high
        self._shown, self._ours = empty_books(2, FIRST_ROOM, high - low + 1, low)
        self._levels = np.full((2, 2, t.DEPTH, 2), (t.NO_PRICE, 0))

    def check(self, source: str, messages: Messages, orders: np.ndarray, flags: np.ndarray, last: np.ndarray) -> None:
        """Compare the next part.

        Args:
            source: The feed's files.
            messages: The N messages, complete.
            orders: int64[M, NUM_ORDER_COLUMNS], the rows of the flow that they became.
            flags: int64[M].
            last: int64[M], the last message (from 0) of each row.
        """
        self._shown = with_room(self._shown, len(messages.time), *self._range)
        self._ours = with_room(self._ours, len(orders), *self._range)
        counters = np.zeros(NUM_COUNTERS, np.int64)
        examples = _Examples(np.zeros(MAX_NOTES, np.int64), *np.zeros((2, MAX_NOTES, 2, t.DEPTH, 2), np.int64))
        books = (self._shown, self._ours, self._levels, self._price_tick)
        _check(*books, messages.part(0, 0), orders[:0], flags[:0], last[:0], counters, examples)  # compiles
        started = time.perf_counter()
        _check(*books, messages, orders, flags, last, counters, examples)
        self.seconds += time.perf_counter() - started

        self.counts["flow_rows"] += len(orders)
        for name, count in zip(COUNTS, counters.tolist(), strict=True):
            self.counts[name] += count
        num_examples = min(int(counters[FLOW_MISMATCHES] + counters[TRADE_MISMATCHES]), MAX_NOTES - len(self.notes))
        for row, shown, ours in zip(*(column[:num_examples] for column in examples), strict=True):
            at = int(messages.row[last[row]])
            if (shown == ours).all():
                self.notes.append(f"{source}, row {at}: other trades by the order {orders[row].tolist()}")
            else:
                self.notes.append(describe_difference(source, at, shown, ours))


@kept_njit("market", "tokenizers", "data")
def _check(shown, ours, levels, price_tick, messages, orders, flags, last, counters, examples):
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((min(ours[t.NUM_SLOTS], MAX_TRADES), t.NUM_TRADE_COLUMNS), dtype=np.int64)
    row = 0
    for i in range(len(orders)):
        first = row
        fits = True
        while row <= last[i]:
            fits &= _show(shown, messages, row, price_tick)
            row += 1
        fits &= _send(ours, orders[i], flags[i], report, trades)
        _refresh(shown, levels[0])
        _refresh(ours, levels[1])
        fits &= _same_levels(levels[0], levels[1])
        traded = _same_trades(trades, report[t.NUM_FILLS], messages, first, row, price_tick, counters)
        if not fits or not traded:
            example = counters[FLOW_MISMATCHES] + counters[TRADE_MISMATCHES]
            if example < MAX_NOTES:
                examples.row[example] = i
                examples.shown[example] = levels[0]
                examples.ours[example] = levels[1]
            counters[FLOW_MISMATCHES] += not fits
            counters[TRADE_MISMATCHES] += not traded
    while row < len(messages.time):
        _show(shown, messages, row, price_tick)
        row += 1


@_jit
def _show(book, messages, row, price_tick):
    """Apply a message to the feed's book; return whether it fits."""
    kind = messages.kind[row]
    if kind in (EXECUTE_HIDDEN, CROSS, HALT):
        return True
    order_id = messages.order_id[row]
    if kind in (NEW, COLLECT):
        return _rest(book, messages.side[row], messages.price[row] // price_tick, messages.size[row], order_id)
    slot = _find(book, order_id)
    if slot == NO_SLOT or book[slot + t.SIZE] < messages.size[row]:
        return False
    _reduce(book, slot, messages.size[row])
    return True


@_jit
def _send(book, order, flags, report, trades):
    """Send an order to our book; return whether it is accepted."""
    _clear(book, report)
    if flags & HIDDEN:
        return True
    kind, side, price, size, order_id, owner = order
    if kind == t.LIMIT and flags & AUCTION:
        return _rest(book, side, price, size, order_id)
    _execute(book, kind, side, price, size, order_id, owner, t.OLDEST_FIRST, report, trades)
    return report[t.OUTCOME] == t.ACCEPTED


@_jit
def _rest(book, side, price, size, order_id):
    """Add an order that does not trade; return whether its id is free."""
    if _find(book, order_id) != NO_SLOT:
        return False
    _add(book, side, price, size, order_id, t.BACKGROUND)
    return True


@_jit
def _same_levels(levels, other):
    for side in range(2):
        for level in range(t.DEPTH):
            for column in range(2):
                if levels[side, level, column] != other[side, level, column]:
                    return False
            if levels[side, level, 0] == t.NO_PRICE:
                break
    return True


@_jit
def _same_trades(trades, num_trades, messages, first, end, price_tick, counters):
    """Whether an order's trades are the executions among messages [first, end).

    Executions of one order behind each other are one trade: what told of it in two messages, or what two aggressors of
    one moment took, which the flow joins.
    """
    n = size = 0
    same = True
    for row in range(first, end):
        if messages.kind[row] != EXECUTE:
            continue
        counters[TRADES] += 1
        size += messages.size[row]
        order_id = messages.order_id[row]
        if row + 1 < end and messages.kind[row + 1] == EXECUTE and messages.order_id[row + 1] == order_id:
            continue
        if n < num_trades and n < len(trades):
            same &= trades[n, t.TRADE_PRICE] * price_tick == messages.price[row]
            same &= trades[n, t.TRADE_SIZE] == size
            same &= trades[n, t.RESTING_ID] == order_id
        n += 1
        size = 0
    return same and n == num_trades
