"""The book that Shanghai's messages describe, without any matching: adds, deletes and trades change orders by id.

Each message must fit that book. A delete takes what is left of an order. In continuous trading one of a trade's
two orders is in the book, the one that rested, at the trade's price: the exchange publishes the other one, the
aggressor, only after its trades, and only if something is left of it. In auctions both are in the book.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.sse_messages import ADD, DELETE, Messages
from mars_lmm.market import types as t

MAX_LADDER = 2_000_000  # ticks between a day's prices; limits of 20 % stay within up to 50,000 yuan

_jit = numba.njit(nogil=True)


class Rebuilt(NamedTuple):
    """A session as its messages describe it.

    Attributes:
        books: int64[M, 2, DEPTH, 2], the best levels after each message, [side][level][price in ticks, size];
            (NO_PRICE, 0) for a missing level.
        unfit: bool[M], messages that contradict the book before them.
        unknown_ids: How many orders the messages name that are not in the book and should be.
    """

    books: np.ndarray
    unfit: np.ndarray
    unknown_ids: int


class _Orders(NamedTuple):
    """The day's orders by number: [number]; `left` is 0 unless the order is in the book."""

    side: np.ndarray
    price: np.ndarray
    left: np.ndarray


def rebuild(source: str, messages: Messages) -> Rebuilt:
    """The book after each message.

    Args:
        source: Where the messages came from.
        messages: The session's M messages.

    Raises:
        DataError: The prices lie too far apart for one book.
    """
    low, high = int(messages.price.min()), int(messages.price.max())
    if high - low >= MAX_LADDER:
        raise DataError(source, f"prices from {low} to {high} ticks are no one day's; check the highest and lowest")
    ids, numbers = np.unique(np.concatenate([messages.buy_id, messages.sell_id]), return_inverse=True)
    buy, sell = numbers.reshape(2, -1)
    orders = _Orders(*(np.zeros(len(ids), np.int64) for _ in _Orders._fields))
    sizes = np.zeros((2, high - low + 1), np.int64)
    books = np.empty((len(messages.time), 2, t.DEPTH, 2), np.int64)
    unfit = np.zeros(len(messages.time), np.bool_)
    unknown_ids = _rebuild(messages, buy, sell, orders, low, sizes, books, unfit)
    return Rebuilt(books, unfit, unknown_ids)


@kept_njit("market", "tokenizers", "data")
def _rebuild(messages, buy, sell, orders, low, sizes, books, unfit):
    unknown_ids = 0
    levels = np.zeros((2, t.DEPTH, 2), np.int64)
    levels[:, :, 0] = t.NO_PRICE
    for i in range(len(messages.time)):
        kind, side, price, size = messages.kind[i], messages.side[i], messages.price[i], messages.size[i]
        number = buy[i] if side == t.BUY else sell[i]
        if kind == ADD:
            unfit[i] = orders.left[number] > 0
            orders.side[number], orders.price[number], orders.left[number] = side, price, size
            sizes[side, price - low] += size
            _refresh(sizes[side], side, price, low, levels[side])
        elif kind == DELETE:
            unknown_ids += orders.left[number] == 0
            fits = orders.left[number] == size and orders.side[number] == side and orders.price[number] == price
            unfit[i] = not fits
            _reduce(orders, number, size, low, sizes, levels)
        else:
            if side == t.NO_SIDE:
                unknown_ids += (orders.left[buy[i]] == 0) + (orders.left[sell[i]] == 0)
                fits = orders.price[buy[i]] >= price >= orders.price[sell[i]]
                fits &= _reduce(orders, buy[i], size, low, sizes, levels)
                fits &= _reduce(orders, sell[i], size, low, sizes, levels)
            else:
                resting = sell[i] if side == t.BUY else buy[i]
                unknown_ids += orders.left[resting] == 0
                fits = orders.left[number] == 0 and orders.price[resting] == price
                fits &= _reduce(orders, resting, size, low, sizes, levels)
            unfit[i] = not fits
        books[i] = levels
    return unknown_ids


@_jit
def _reduce(orders, number, size, low, sizes, levels):
    """Take size from an order, at most what is left; return whether it had as much."""
    taken = min(size, orders.left[number])
    if taken > 0:
        side, price = orders.side[number], orders.price[number]
        orders.left[number] -= taken
        sizes[side, price - low] -= taken
        _refresh(sizes[side], side, price, low, levels[side])
    return taken == size


@_jit
def _refresh(sizes, side, price, low, levels):
    """Bring one side's best levels up to date after its size at a price changed."""
    worst = levels[-1, 0]
    if worst != t.NO_PRICE and (price > worst if side == t.SELL else price < worst):
        return
    level = 0
    while levels[level, 0] != t.NO_PRICE and (levels[level, 0] < price if side == t.SELL else levels[level, 0] > price):
        level += 1
    step = 1 if side == t.SELL else -1
    place = price - low
    while level < len(levels) and 0 <= place < len(sizes):
        if sizes[place] > 0:
            levels[level, 0], levels[level, 1] = place + low, sizes[place]
            level += 1
        place += step
    levels[level:, 0] = t.NO_PRICE
    levels[level:, 1] = 0
