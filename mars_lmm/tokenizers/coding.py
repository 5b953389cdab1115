"""Observation -> token and features, token -> order: scalar functions, one source for every compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.extrema import make_extrema
from mars_lmm.tokenizers import observation as o

NUM_TYPES = 3

# Columns of a market feature row, int16[NUM_MARKET_FEATURES]: two numbers, then bins of the book's levels.
CHANGE_FEATURE = 0
MINUTE_FEATURE = 1
LEVEL_FEATURES = 2
NUM_MARKET_FEATURES = LEVEL_FEATURES + 4 * t.DEPTH

# Columns of the uniforms that decoding one token takes.
PRICE_DRAW, SIZE_DRAW, INTERVAL_DRAW = range(3)
NUM_DECODE_DRAWS = 3

NUM_TABLED = 2048


class CodingTables(NamedTuple):
    """A tokenizer as plain arrays and flags; edges are int64, cumulative weights float64.

    `..._bins`, int16[NUM_TABLED], are the bins of the values from 0 on: an order has forty to look up.
    """

    price_edges: np.ndarray
    cancel_edges: np.ndarray
    size_edges: np.ndarray
    interval_edges: np.ndarray
    spread_edges: np.ndarray
    level_gap_edges: np.ndarray
    level_size_edges: np.ndarray
    spread_bins: np.ndarray
    level_gap_bins: np.ndarray
    level_size_bins: np.ndarray
    price_values: np.ndarray
    cancel_values: np.ndarray
    size_values: np.ndarray
    interval_values: np.ndarray
    price_cumulative: np.ndarray
    cancel_cumulative: np.ndarray
    size_cumulative: np.ndarray
    interval_cumulative: np.ndarray
    takers_rest: bool


class Coding(NamedTuple):
    """Compiled functions of `make_coding`."""

    encode: Callable[..., Any]
    """encode(tables, observed, market) -> token; writes the market features"""
    waiting_time: Callable[..., Any]
    """waiting_time(tables, token, draws) -> nanoseconds of open market until the order"""
    decode: Callable[..., Any]
    """decode(tables, token, book, clock, draws, order); writes kind, side, price and size, the price by the book"""


def make_bins(jit: Callable) -> tuple[Callable, Callable]:
    """Compile `lower_bound(sorted_values, value)` and `draw(values, cumulative, row, uniform)`."""

    @jit
    def lower_bound(sorted_values, value):
        """Index of the first element >= value; the length if there is none."""
        low = 0
        high = sorted_values.shape[0]
        while low < high:
            middle = (low + high) // 2
            if sorted_values[middle] < value:
                low = middle + 1
            else:
                high = middle
        return low

    @jit
    def draw(values, cumulative, row, uniform):
        """A representative of bin `row`: the first whose cumulative weight reaches `uniform`."""
        low = 0
        high = values.shape[1] - 1
        while low < high:
            middle = (low + high) // 2
            if cumulative[row, middle] < uniform:
                low = middle + 1
            else:
                high = middle
        return values[row, low]

    return lower_bound, draw


def make_waiting_time(jit: Callable, draw: Callable) -> Callable:
    """Compile `waiting_time(tables, token, draws)`: the interval that a token stands for, drawn from its bin."""

    @jit
    def waiting_time(tables, token, draws):
        interval_bin = token % tables.interval_values.shape[0]
        return draw(tables.interval_values, tables.interval_cumulative, interval_bin, draws[INTERVAL_DRAW])

    return waiting_time


def make_coding(jit: Callable, nth_price: Callable) -> Coding:
    """Compile the coding functions.

    A token becomes an order in two steps: its waiting time is fixed when it is proposed, its price is read off the
    touch that it meets when it is executed.

    Args:
        jit: The compiler, as for the matching core.
        nth_price: The compiled function of `mars_lmm.market.trading`.
    """
    lesser = make_extrema(jit).lesser
    own_best = o.make_own_best(jit)
    lower_bound, draw = make_bins(jit)
    waiting_time = make_waiting_time(jit, draw)

    @jit
    def look_up(bins, edges, value):
        """The bin of a value that is not negative."""
        return bins[value] if value < NUM_TABLED else lower_bound(edges, value)

    @jit
    def encode(tables, observed, market):
        market[CHANGE_FEATURE] = observed[o.CHANGE]
        market[MINUTE_FEATURE] = observed[o.MINUTE]
        missing = tables.level_gap_edges.shape[0] + 1
        ask, bid = observed[o.LEVELS], observed[o.LEVELS + 2 * t.DEPTH]
        spread = ask + bid if ask >= 0 and bid >= 0 else 0
        spread_bin = look_up(tables.spread_bins, tables.spread_edges, spread)
        for side in range(2):
            before = 0
            for level in range(t.DEPTH):
                column = side * 2 * t.DEPTH + level
                distance = observed[o.LEVELS + column]
                if distance < 0:
                    market[LEVEL_FEATURES + column] = missing
                    market[LEVEL_FEATURES + column + t.DEPTH] = 0
                else:
                    gap, before = abs(distance - before), distance  # in an auction, books cross
                    size = observed[o.LEVELS + column + t.DEPTH]
                    gap_bin = spread_bin
                    if level > 0:
                        gap_bin = look_up(tables.level_gap_bins, tables.level_gap_edges, gap)
                    market[LEVEL_FEATURES + column] = gap_bin
                    market[LEVEL_FEATURES + column + t.DEPTH] = 1 + look_up(
                        tables.level_size_bins, tables.level_size_edges, size
                    )
        num_prices = tables.price_edges.shape[0] + 1
        num_sizes = tables.size_edges.shape[0] + 1
        num_intervals = tables.interval_edges.shape[0] + 1
        place = observed[o.PLACE]
        if observed[o.TYPE] != o.CANCEL_TYPE:
            price_bin = lower_bound(tables.price_edges, place)
        elif place > 0:
            price_bin = num_prices // 2 + lower_bound(tables.cancel_edges, place - 1)
        else:
            price_bin = lower_bound(tables.cancel_edges, -place)
        token = observed[o.TYPE] * num_prices + price_bin
        token = token * num_sizes + lower_bound(tables.size_edges, observed[o.SIZE])
        return token * num_intervals + lower_bound(tables.interval_edges, observed[o.INTERVAL])

    @jit
    def decode(tables, token, book, clock, draws, order):
        num_prices = tables.price_values.shape[0]
        num_sizes = tables.size_values.shape[0]
        num_intervals = tables.interval_values.shape[0]
        size_bin = token // num_intervals % num_sizes
        price_bin = token // (num_intervals * num_sizes) % num_prices
        order_type = token // (num_intervals * num_sizes * num_prices)
        order[t.SIZE] = draw(tables.size_values, tables.size_cumulative, size_bin, draws[SIZE_DRAW])
        if order_type == o.CANCEL_TYPE:
            order[t.KIND] = t.CANCEL_AT
            order[t.SIDE] = t.SELL if price_bin >= num_prices // 2 else t.BUY
            level_bin = price_bin % (num_prices // 2)
            better = draw(tables.cancel_values, tables.cancel_cumulative, level_bin, draws[PRICE_DRAW])
            order[t.PRICE] = nth_price(book, order[t.SIDE], 1 + better)
        else:
            place = draw(tables.price_values, tables.price_cumulative, price_bin, draws[PRICE_DRAW])
            order[t.KIND] = t.LIMIT
            order[t.SIDE] = order_type
            sign = 1 if order_type == t.BUY else -1
            own = own_best(clock, order_type)
            other = own_best(clock, 1 - order_type)
            if place >= o.CROSSING:
                order[t.KIND] = t.LIMIT if tables.takers_rest else t.IOC
                order[t.PRICE] = other + sign * (place - o.CROSSING)
            else:
                # An order placed inside the spread never trades, however narrow the spread is now.
                order[t.PRICE] = own + sign * lesser(place, (other - own) * sign - 1)

    return Coding(encode, waiting_time, decode)
