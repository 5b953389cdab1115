"""From MBO records to messages: what each event did to the book.

Trades and fills leave the book alone; a cancel behind them does the removal. An execution is a fill and the cancel, or
shrinking modification, of the same order in the same event. A trade without a fill of its sequence met no order of the
book. To tell a part of an order from all of it, and what a modification changes, the live orders are kept.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.typed import Dict, List

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.by_order import messages as m
from mars_lmm.data.feeds.databento.records import (
    ADD,
    BID,
    CANCEL,
    CLEAR,
    FILL,
    MODIFY,
    NO_PRICE,
    NO_SIDE,
    NO_SIZE,
    SNAPSHOT,
    TRADE,
    Part,
    no_records,
)
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

# Columns of a message as it leaves the compiled code; the last is its record.
TIME, ORDER_ID, PRICE, SIZE, KIND, SIDE, RECORD = range(7)
NUM_COLUMNS = 7
MAX_MESSAGES = 3  # that one record makes
MAX_WAITING = 1 << 16  # records; more of them are no group of trades

# What is kept of an instrument beside its orders: the time of its last message, and the event of its last fill.
CLOCK, FILL_TIME, FILL_SEQUENCE = range(3)
NUM_STATE = 3

# Counters.
HELD, UNCANCELLED = range(2)
COUNTS = ("held_times", "fills_without_cancel")

_ORDER = numba.types.UniTuple(numba.int64, 3)  # price, size, side
_FILL = numba.types.UniTuple(numba.int64, 2)  # price, size
_ORDERS, _FILLS = numba.types.DictType(numba.int64, _ORDER), numba.types.DictType(numba.int64, _FILL)


class Books:
    """Follows the orders of all instruments of a file, and says what happened to them.

    Args:
        ledger: Takes counts.
    """

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._slots: dict[int, int] = {}
        self._live, self._fills = _no_books()
        self._state = np.zeros((0, NUM_STATE), np.int64)
        self._waiting = no_records()

    def read(self, part: Part, last: bool = False) -> tuple[np.ndarray, Part]:
        """Turn records into messages.

        A trade whose sequence may go on in the next part waits for it.

        Args:
            part: The next records.
            last: Whether no more records follow.

        Returns:
            int64[M, NUM_COLUMNS], messages by instrument, times in nanoseconds since 1970, UTC, that never go back; and
            the records that their last column counts.
        """
        part = self._waiting.then(part)
        slot = self._slots_of(part.records["instrument_id"])
        order = np.argsort(slot, kind="stable")
        runs = _Runs(part.records, slot, order)
        waits = np.zeros(len(order), np.bool_)
        if not last and np.count_nonzero(runs.may_go_on) <= MAX_WAITING:
            waits[order] = runs.may_go_on
        self._waiting = part.where(waits)
        hidden = np.zeros(len(order), np.bool_)
        hidden[order] = runs.unfilled
        out = np.empty((MAX_MESSAGES * len(order), NUM_COLUMNS), np.int64)
        counters = np.zeros(len(COUNTS), np.int64)
        order = order[~waits[order]]
        count = _read(part.records, slot, order, hidden, self._live, self._fills, self._state, out, counters)
        if last:
            counters[UNCANCELLED] += _num_fills(self._fills)
        self._ledger.counts.update(dict(zip(COUNTS, counters.tolist(), strict=True)))
        return out[:count], part

    def _slots_of(self, instrument_id: np.ndarray) -> np.ndarray:
        """A number for each instrument, from 0; room is made for new ones."""
        numbers, inverse = np.unique(instrument_id, return_inverse=True)
        for number in numbers.tolist():
            self._slots.setdefault(number, len(self._slots))
        _grow(self._live, self._fills, len(self._slots))
        grown = np.zeros((len(self._slots), NUM_STATE), np.int64)
        grown[: len(self._state)] = self._state
        self._state = grown
        return np.array([self._slots[number] for number in numbers.tolist()], np.int64)[inverse]


class _Runs:
    """Runs of one instrument's neighbouring records with one sequence number.

    Args:
        records: MBO[N].
        slot: int64[N], their instruments.
        order: int64[N], sorts them by instrument.

    Attributes:
        unfilled: bool[N], in sorted order: the run has trades and no fill.
        may_go_on: bool[N], in sorted order: the same, and it is the last of its instrument.
    """

    def __init__(self, records: np.ndarray, slot: np.ndarray, order: np.ndarray):
        slot, sequence, action = slot[order], records["sequence"][order], records["action"][order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (slot[1:] != slot[:-1]) | (sequence[1:] != sequence[:-1])
        starts = np.flatnonzero(begins)
        if len(starts) == 0:
            self.unfilled = self.may_go_on = begins
            return
        run = np.cumsum(begins) - 1
        unfilled = np.logical_or.reduceat(action == TRADE, starts) & ~np.logical_or.reduceat(action == FILL, starts)
        ends = np.ones(len(starts), np.bool_)
        ends[:-1] = slot[starts[1:]] != slot[starts[:-1]]
        self.unfilled = unfilled[run]
        self.may_go_on = (unfilled & ends)[run]


@kept_njit("market", "data")
def _no_books():
    """Lists with an entry for each instrument: its live orders, and its fills that wait for their cancel, by id."""
    return List.empty_list(_ORDERS), List.empty_list(_FILLS)


@kept_njit("market", "data")
def _grow(live, fills, count):
    while len(live) < count:
        live.append(Dict.empty(numba.int64, _ORDER))
        fills.append(Dict.empty(numba.int64, _FILL))


@kept_njit("market", "data")
def _num_fills(fills):
    count = 0
    for waiting in fills:
        count += len(waiting)
    return count


@kept_njit("market", "data")
def _read(records, slots, order, hidden, all_live, all_fills, all_state, out, counters):
    """Walk the records in `order`; return how many messages they make."""
    count = 0
    slot = -1
    for place in order:
        record = records[place]
        if slots[place] != slot:
            slot = slots[place]
            live, fills, state = all_live[slot], all_fills[slot], all_state[slot]
        action = record.action
        order_id = np.int64(record.order_id)
        price = np.int64(record.price) if record.price != NO_PRICE else m.UNTOLD
        size = np.int64(record.size) if record.size != NO_SIZE else m.UNTOLD
        side = t.NO_SIDE if record.side == NO_SIDE else (t.BUY if record.side == BID else t.SELL)
        event, sequence = np.int64(record.ts_event), np.int64(record.sequence)
        of_fills = event == state[FILL_TIME] or sequence == state[FILL_SEQUENCE]
        first = count

        if action == ADD:
            count = _put(out, count, m.NEW, order_id, price, size, side)
            if order_id not in live:
                live[order_id] = (price, size, side)
        elif action == FILL:
            if not of_fills:
                counters[UNCANCELLED] += len(fills)
                fills.clear()
            state[FILL_TIME], state[FILL_SEQUENCE] = event, sequence
            before = fills[order_id][1] if order_id in fills else 0
            fills[order_id] = (price, before + size)
        elif action in (CANCEL, MODIFY):
            count = _change(action == MODIFY, order_id, price, size, side, of_fills, live, fills, out, count)
        elif action == TRADE and hidden[place]:
            # The side is the aggressor's. Where it is kept back, the hidden order is said to buy, as NASDAQ's own feed
            # says of all of them.
            resting = 1 - side if side != t.NO_SIDE else t.BUY
            count = _put(out, count, m.EXECUTE_HIDDEN, 0, price, size, resting)
        elif action == CLEAR:
            count = _put(out, count, m.CLEAR, 0, 0, 0, t.NO_SIDE)
            counters[UNCANCELLED] += len(fills)
            live.clear()
            fills.clear()

        # A snapshot's orders carry the times at which they were sent, some on days before. What a venue publishes late
        # (orders that waited for the open) has the time of what was published before it.
        time = np.int64(record.ts_recv) if record.flags & SNAPSHOT else event
        counters[HELD] += time < state[CLOCK]
        state[CLOCK] = max(time, state[CLOCK])
        for i in range(first, count):
            out[i, TIME], out[i, RECORD] = state[CLOCK], place
    return count


@numba.njit(nogil=True)
def _change(modifies, order_id, price, size, side, of_fills, live, fills, out, count):
    """A cancel, or a modification, whose price, size and side are what is wanted; return how many messages are out.

    Fills count if they are of the same event.
    """
    known = order_id in live
    old_price, old_size, old_side = live[order_id] if known else (m.UNTOLD, m.UNTOLD, m.UNTOLD)
    stays = modifies and known and price == old_price and side == old_side and size <= old_size
    moves = modifies and not stays
    if modifies:
        taken = old_size - size if stays else old_size
        from_price, from_side = old_price, old_side
    else:
        taken = size if size != m.UNTOLD else old_size
        from_price, from_side = price, side
    excessive = known and taken > old_size  # put out as it is told, to be refused
    left = old_size - taken if known and not moves else 0

    if of_fills and taken != 0 and order_id in fills:
        fill_price, filled = fills.pop(order_id)
        if taken != m.UNTOLD:
            filled = taken if excessive else min(filled, taken)
            taken -= filled
        count = _put(out, count, m.EXECUTE, order_id, fill_price, filled, from_side)
    if taken != 0:
        kind = m.REDUCE if left > 0 else m.DELETE
        count = _put(out, count, kind, order_id, from_price, taken, from_side)
    if moves:
        count = _put(out, count, m.NEW, order_id, price, size, side)
        live[order_id] = (price, size, side)
    elif left > 0:
        live[order_id] = (old_price, left, old_side)
    elif known and not excessive:
        live.pop(order_id)
    return count


@numba.njit(nogil=True)
def _put(out, count, kind, order_id, price, size, side):
    out[count, KIND], out[count, ORDER_ID] = kind, order_id
    out[count, PRICE], out[count, SIZE], out[count, SIDE] = price, size, side
    return count + 1
