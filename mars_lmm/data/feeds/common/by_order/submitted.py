"""From executions of resting orders to the aggressive orders that caused them.

Most feeds publish what happened to resting orders. A run of consecutive executions with one timestamp and one side is
one aggressive order of the other side. A new order of that other side which follows at once, with the same timestamp
and a price at or beyond every fill, is what was left of it. Where NASDAQ displays the remainder one tick short of the
fills, so as not to lock another venue's quote, it stays an order of its own: by this book's rules no limit order could
have left it.
"""

from __future__ import annotations

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.by_order.messages import (
    CLEAR,
    COLLECT,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    NEW,
    UNCROSS,
    Messages,
)
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN
from mars_lmm.market import types as t

# Columns of `submitted_orders`, behind those of an order row.
TIME, FLAGS, LAST = range(t.NUM_ORDER_COLUMNS, t.NUM_ORDER_COLUMNS + 3)
NUM_COLUMNS = t.NUM_ORDER_COLUMNS + 3

# Counters of the compiled functions.
NUM_ORDERS, AGGRESSORS, MERGED_RUNS, REMAINDERS, DROPPED_HIDDEN_VOLUME = range(5)
NUM_COUNTERS = 5
COUNTS = ("aggressors", "merged_runs", "remainders", "dropped_hidden_volume")


def submitted_orders(messages: Messages, price_tick: int) -> tuple[np.ndarray, dict[str, int]]:
    """What participants submitted.

    Args:
        messages: N messages; those of one moment are all there, or runs would be cut in two. A CLEAR stands here for
            each order that it takes, and names it.
        price_tick: The feed's price units per tick.

    Returns:
        int64[M, NUM_COLUMNS]: order rows, then time, flags and the last message (from 0) of each order. An
        aggressor that left no remainder has id 0, for the feed does not tell it; what was executed in an auction, or
        cleared, is a cancel that is nobody's. And counts: `aggressors`, `merged_runs` (aggressors with more than one
        execution), `remainders` (aggressors that then rested), and `dropped_hidden_volume` (what aggressors with
        visible volume took of hidden orders).
    """
    orders = np.zeros((len(messages.time), NUM_COLUMNS), dtype=np.int64)
    counters = np.zeros(NUM_COUNTERS, dtype=np.int64)
    _submitted_orders(messages, price_tick, orders, counters)
    return orders[: counters[NUM_ORDERS]], dict(zip(COUNTS, counters[AGGRESSORS:].tolist(), strict=True))


@kept_njit("market", "tokenizers", "data")
def _submitted_orders(messages, price_tick, orders, counters):
    row = 0
    while row < len(messages.time):
        order = orders[counters[NUM_ORDERS]]
        order[TIME] = messages.time[row]
        kind = messages.kind[row]
        if NEW <= kind <= DELETE or kind >= CLEAR:
            order[t.KIND] = t.LIMIT if kind in (NEW, COLLECT) else t.CANCEL
            order[t.SIDE] = messages.side[row]
            order[t.PRICE] = messages.price[row] // price_tick
            order[t.SIZE] = messages.size[row]
            order[t.ORDER_ID] = messages.order_id[row]
            order[FLAGS] = ANONYMOUS * (kind in (CLEAR, UNCROSS)) | AUCTION * (kind in (UNCROSS, COLLECT))
            row += 1
        elif kind in (EXECUTE, EXECUTE_HIDDEN):
            row = _aggressor(messages, row, price_tick, order, counters)
        else:  # crosses and halts are no orders
            row += 1
            continue
        order[LAST] = row - 1
        counters[NUM_ORDERS] += 1


@numba.njit(nogil=True)
def _aggressor(messages, first, price_tick, order, counters):
    """Fill `order` from the run of executions that starts at `first`; return the row behind it."""
    time, kind, price, size = messages.time, messages.kind, messages.price, messages.size
    order_side = 1 - messages.side[first]
    worsening = 1 if order_side == t.BUY else -1  # the sign of price changes as a run eats into the book
    visible_size = hidden_size = 0
    visible_price = 0
    worst_price = price[first]
    row = first
    while row < len(time) and time[row] == time[first] and messages.side[row] == messages.side[first]:
        if visible_size + hidden_size + size[row] > t.MAX_SIZE:
            break  # no order is so large: here begins another
        if kind[row] == EXECUTE:
            visible_size += size[row]
            visible_price = price[row]
        elif kind[row] == EXECUTE_HIDDEN:
            hidden_size += size[row]
        else:
            break
        if (price[row] - worst_price) * worsening > 0:
            worst_price = price[row]
        row += 1
    counters[AGGRESSORS] += 1
    counters[MERGED_RUNS] += row - first > 1

    order[t.KIND] = t.LIMIT
    order[t.SIDE] = order_side
    order[t.PRICE] = visible_price // price_tick
    # Hidden volume is no part of the size: the book that the order meets in a replay holds none, so the order
    # would trade with visible orders instead.
    order[t.SIZE] = visible_size
    remains = (
        row < len(time)
        and kind[row] == NEW
        and time[row] == time[first]
        and messages.side[row] == order_side
        and (price[row] - worst_price) * worsening >= 0
        and visible_size + size[row] <= t.MAX_SIZE
    )
    if remains:
        order[t.PRICE] = price[row] // price_tick
        order[t.SIZE] += size[row]
        order[t.ORDER_ID] = messages.order_id[row]
        counters[REMAINDERS] += 1
        row += 1
    if order[t.SIZE] > 0:
        counters[DROPPED_HIDDEN_VOLUME] += hidden_size
        return row
    order[FLAGS] = HIDDEN
    order[t.PRICE] = worst_price // price_tick if worsening < 0 else -(-worst_price // price_tick)
    order[t.SIZE] = hidden_size
    return row
