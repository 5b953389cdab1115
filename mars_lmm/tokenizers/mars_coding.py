"""Orders and markets as the released MarS order models read them: scalar functions, one source for every compiler.

Unlike in our own coding, a price is told from the mid, the book is ten prices around the mid, the clock counts seconds
since the stream's first order, and consecutive cancels at one price and time are one order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.extrema import make_extrema
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import PRICE_DRAW, SIZE_DRAW, make_bins, make_waiting_time

# Columns of a market feature row, int16[NUM_MARS_FEATURES].
SIZE_SHARE_FEATURE = 0  # tenths: the order's share in the volume at its price, itself included
FILLED_SHARE_FEATURE = 1  # tenths: what of the order traded on arrival; a cancel counts as whole
MARS_CHANGE_FEATURE = 2  # mid after the order against the first trade, basis points
SECONDS_FEATURE = 3  # since the stream's first order
BOOK_FEATURES = 4  # a price's size bin + 1, 0 where nothing rests
NUM_BOOK_PRICES = 10  # from 5 ticks below the mid to 4 above it
NUM_MARS_FEATURES = BOOK_FEATURES + NUM_BOOK_PRICES

MAX_MOVE = 0.2
LUNCH_SECONDS = 5_400  # taken off from 13:00 on, as the Chinese exchanges rest from 11:30
AFTERNOON = 13 * 3_600 * 10**9
MAX_SECONDS = 14_404  # the end of the models' table of the time, 2,881 rows of 5 s

# Columns of a stream row, int64[NUM_STREAM]: what MarS remembers of a book's orders.
FIRST_TIME = 0  # of the first order; NO_TIME before it
LAST_ORDER_TIME = 1
STARTED = 2  # whether the book after the last order is known
MERGED = 3  # whether the last order was a cancel that is one with the order before it
LAST_CANCEL_PRICE = 4  # NO_PRICE unless the last order was a cancel
LAST_CANCEL_SIZE = 5  # of all cancels that are one with it
LAST_INTERVAL = 6
BEFORE = 7  # the book before the last order
AFTER = BEFORE + 1 + 4 * t.DEPTH  # and after it: the mid; then for asks and for bids DEPTH prices and DEPTH sizes
NUM_STREAM = AFTER + 1 + 4 * t.DEPTH
NO_TIME = -1

_TIME, _PRICE, _FILLED, _LAST_PRICE, _BID, _ASK = (
    o.TAPE_COLUMNS.index(name) for name in ("time", "price", "filled", "last_price", "bid", "ask")
)


class MarsTables(NamedTuple):
    """The converters as plain arrays; edges are int64, cumulative weights float64."""

    price_edges: np.ndarray
    size_edges: np.ndarray
    interval_edges: np.ndarray
    level_size_edges: np.ndarray
    price_values: np.ndarray
    size_values: np.ndarray
    interval_values: np.ndarray
    price_cumulative: np.ndarray
    size_cumulative: np.ndarray
    interval_cumulative: np.ndarray


class MarsCoding(NamedTuple):
    """Compiled functions of `make_mars_coding`."""

    encode: Callable[..., Any]
    """encode(tables, stream, observed, tape, open_price, market) -> token; writes the market features"""
    waiting_time: Callable[..., Any]
    """waiting_time(tables, token, draws) -> nanoseconds of open market until the order"""
    decode: Callable[..., Any]
    """decode(tables, token, stream, draws, order); writes kind, side, price and size, the price by the stream's mid"""


def new_streams(count: int) -> np.ndarray:
    """Stream rows int64[count, NUM_STREAM] before any order."""
    streams = np.zeros((count, NUM_STREAM), dtype=np.int64)
    streams[:, FIRST_TIME] = NO_TIME
    return streams


def make_mars_coding(jit: Callable) -> MarsCoding:
    """Compile the coding functions.

    Args:
        jit: The compiler, as for the matching core.

    Returns:
        `encode` moves the stream on by an order (its observation, its tape row, and the price of the day's first trade
        if there was one) and returns its token, or -1 for the first, which has no book before it. Where
        `stream[MERGED]` is set then, the token and the features replace those of the order before.
    """
    lesser, greater = make_extrema(jit)
    lower_bound, draw = make_bins(jit)
    waiting_time = make_waiting_time(jit, draw)

    @jit
    def remember_book(stream, observed, tape):
        """Put the book after an order into the stream, with MarS's mid."""
        bid, ask, price = tape[_BID], tape[_ASK], tape[_PRICE]
        if bid != t.NO_PRICE and ask != t.NO_PRICE:
            mid = (bid + ask) // 2
        elif bid != t.NO_PRICE:
            mid = bid
        elif ask != t.NO_PRICE:
            mid = ask
        elif tape[_LAST_PRICE] > 0:
            mid = tape[_LAST_PRICE]
        else:
            mid = stream[AFTER] if stream[STARTED] else price
        stream[AFTER] = mid
        for side in range(2):
            best = tape[_ASK] if side == t.SELL else tape[_BID]
            first = side * 2 * t.DEPTH
            for level in range(t.DEPTH):
                distance = observed[o.LEVELS + first + level]
                ticks = distance - observed[o.LEVELS + first]  # distances count from a mid, these from the best
                level_price = t.NO_PRICE
                if distance >= 0:
                    level_price = best + ticks if side == t.SELL else best - ticks
                stream[AFTER + 1 + first + level] = level_price
                stream[AFTER + 1 + first + t.DEPTH + level] = observed[o.LEVELS + first + t.DEPTH + level]

    @jit
    def tenths(part, whole):
        """floor(9.9 * part / whole) of numbers >= 0, in the released code's order of operations."""
        return int(part / greater(whole, 1) * 0.99 * 10)

    @jit
    def size_share(stream, price, size):
        for side in range(2):
            first = BEFORE + 1 + side * 2 * t.DEPTH
            for level in range(t.DEPTH):
                if stream[first + level] == price:
                    return tenths(size, stream[first + t.DEPTH + level] + size)
        return tenths(1, 1)

    @jit
    def describe_market(tables, stream, time, open_price, market):
        mid = stream[AFTER]
        move = 0.0
        if open_price > 0:
            move = lesser(greater(mid / open_price - 1, -MAX_MOVE), MAX_MOVE)
        market[MARS_CHANGE_FEATURE] = int(move * 10_000)
        seconds = (time - stream[FIRST_TIME]) // 10**9
        if time >= AFTERNOON:
            seconds -= LUNCH_SECONDS
        market[SECONDS_FEATURE] = lesser(greater(seconds, 0), MAX_SECONDS)
        for slot in range(NUM_BOOK_PRICES):
            market[BOOK_FEATURES + slot] = 0
        for side in range(2):
            first = AFTER + 1 + side * 2 * t.DEPTH
            for level in range(t.DEPTH):
                price = stream[first + level]
                slot = price - mid + NUM_BOOK_PRICES // 2
                if price != t.NO_PRICE and 0 <= slot < NUM_BOOK_PRICES:
                    size = stream[first + t.DEPTH + level]
                    market[BOOK_FEATURES + slot] = 1 + lower_bound(tables.level_size_edges, size)

    @jit
    def encode(tables, stream, observed, tape, open_price, market):
        time, price, size = tape[_TIME], tape[_PRICE], observed[o.SIZE]
        order_type = observed[o.TYPE]
        is_cancel = order_type == o.CANCEL_TYPE
        if not stream[STARTED]:
            if stream[FIRST_TIME] == NO_TIME:
                stream[FIRST_TIME] = time
            remember_book(stream, observed, tape)
            stream[STARTED] = 1
            stream[MERGED] = 0
            stream[LAST_ORDER_TIME] = time
            # The order before the first known one is no cancel that another could be one with.
            stream[LAST_CANCEL_PRICE] = t.NO_PRICE
            return -1
        same_time = time == stream[LAST_ORDER_TIME]
        stream[MERGED] = is_cancel and same_time and price == stream[LAST_CANCEL_PRICE]
        if stream[MERGED]:
            size += stream[LAST_CANCEL_SIZE]
        else:
            stream[LAST_INTERVAL] = time - stream[LAST_ORDER_TIME]
            for column in range(1 + 4 * t.DEPTH):
                stream[BEFORE + column] = stream[AFTER + column]
        stream[LAST_ORDER_TIME] = time
        stream[LAST_CANCEL_PRICE] = price if is_cancel else t.NO_PRICE
        stream[LAST_CANCEL_SIZE] = size
        remember_book(stream, observed, tape)

        market[SIZE_SHARE_FEATURE] = size_share(stream, price, size)
        market[FILLED_SHARE_FEATURE] = tenths(1, 1) if is_cancel else tenths(tape[_FILLED], size)
        describe_market(tables, stream, time, open_price if tape[_LAST_PRICE] > 0 else 0, market)
        num_prices = tables.price_edges.shape[0] + 1
        num_sizes = tables.size_edges.shape[0] + 1
        num_intervals = tables.interval_edges.shape[0] + 1
        token = order_type * num_prices + lower_bound(tables.price_edges, price - stream[BEFORE])
        token = token * num_sizes + lower_bound(tables.size_edges, size)
        return token * num_intervals + lower_bound(tables.interval_edges, stream[LAST_INTERVAL])

    @jit
    def nearer_side(stream, price, uniform):
        """The side whose volume lies nearest to a price; chance decides halfway between the two."""
        ask = stream[AFTER + 1]
        bid = stream[AFTER + 1 + 2 * t.DEPTH]
        if ask == t.NO_PRICE or bid == t.NO_PRICE:
            return t.SELL if bid == t.NO_PRICE else t.BUY
        nearer = (price - bid) - (ask - price)
        if nearer == 0:
            return t.SELL if uniform * 2**26 % 1 < 0.5 else t.BUY  # low bits, that no bin's draw has looked at
        return t.SELL if nearer > 0 else t.BUY

    @jit
    def decode(tables, token, stream, draws, order):
        num_prices = tables.price_values.shape[0]
        num_sizes = tables.size_values.shape[0]
        num_intervals = tables.interval_values.shape[0]
        size_bin = token // num_intervals % num_sizes
        price_bin = token // (num_intervals * num_sizes) % num_prices
        order_type = token // (num_intervals * num_sizes * num_prices)
        price = stream[AFTER] + draw(tables.price_values, tables.price_cumulative, price_bin, draws[PRICE_DRAW])
        order[t.PRICE] = price
        order[t.SIZE] = draw(tables.size_values, tables.size_cumulative, size_bin, draws[SIZE_DRAW])
        if order_type == o.CANCEL_TYPE:
            order[t.KIND] = t.CANCEL_AT
            order[t.SIDE] = nearer_side(stream, price, draws[PRICE_DRAW])
        else:
            order[t.KIND] = t.LIMIT
            order[t.SIDE] = order_type

    return MarsCoding(encode, waiting_time, decode)
