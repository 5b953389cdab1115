"""A book of orders by id, without any matching: what rests, and the best levels of it.

Orders have numbers from 0 on, whatever their ids, and prices have ranks among all that a session meets.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.data.feeds.common.level2.messages import UNTOLD, Messages
from mars_lmm.market import types as t

_jit = numba.njit(nogil=True)


class IdBook(NamedTuple):
    """K orders at P prices.

    Attributes:
        side: int64[K], of each order.
        price: int64[K], its price's rank.
        left: int64[K], its size; 0 unless it rests.
        sizes: int64[2, P], what rests at each price.
        levels: int64[2, DEPTH, 2], the best levels, [side][level][rank, size]; (NO_PRICE, 0) for a missing level.
    """

    side: np.ndarray
    price: np.ndarray
    left: np.ndarray
    sizes: np.ndarray
    levels: np.ndarray


class Numbered(NamedTuple):
    """Messages in the terms of a book.

    Attributes:
        messages: M messages, the price being a rank, or UNTOLD.
        ticks: int64[P], the prices by rank.
        buy: int64[M], the number of each message's buy order.
        sell: int64[M], of its sell order.
        num_orders: K.
    """

    messages: Messages
    ticks: np.ndarray
    buy: np.ndarray
    sell: np.ndarray
    num_orders: int

    def in_ticks(self, ranks: np.ndarray) -> np.ndarray:
        """Prices by their ranks, any shape; NO_PRICE and UNTOLD stay."""
        return np.append(self.ticks, UNTOLD)[ranks]


def number(messages: Messages) -> Numbered:
    """Number the orders and rank the prices of some messages."""
    ids, numbers = np.unique(np.concatenate([messages.buy_id, messages.sell_id]), return_inverse=True)
    told = messages.price > 0
    ticks = np.unique(messages.price[told])
    ranks = np.where(told, np.searchsorted(ticks, messages.price), UNTOLD)
    buy, sell = numbers.reshape(2, -1)
    return Numbered(messages._replace(price=ranks), ticks, buy, sell, len(ids))


def open_id_book(numbered: Numbered) -> IdBook:
    """An empty book."""
    levels = np.zeros((2, t.DEPTH, 2), np.int64)
    levels[:, :, 0] = t.NO_PRICE
    orders = (np.zeros(numbered.num_orders, np.int64) for _ in range(3))
    return IdBook(*orders, np.zeros((2, len(numbered.ticks)), np.int64), levels)


@_jit
def rest(book, number, side, price, size):
    """Put an order into the book, or more of it."""
    book.side[number], book.price[number] = side, price
    book.left[number] += size
    book.sizes[side, price] += size
    _refresh(book.sizes[side], side, price, book.levels[side])


@_jit
def reduce(book, number, size):
    """Take size, no more than is left, from an order."""
    side, price = book.side[number], book.price[number]
    book.left[number] -= size
    book.sizes[side, price] -= size
    _refresh(book.sizes[side], side, price, book.levels[side])


@_jit
def _refresh(sizes, side, price, levels):
    """Bring one side's best levels up to date after its size at a price changed."""
    worst = levels[-1, 0]
    if worst != t.NO_PRICE and (price > worst if side == t.SELL else price < worst):
        return
    level = 0
    while levels[level, 0] != t.NO_PRICE and (levels[level, 0] < price if side == t.SELL else levels[level, 0] > price):
        level += 1
    step = 1 if side == t.SELL else -1
    while level < len(levels) and 0 <= price < len(sizes):
        if sizes[price] > 0:
            levels[level, 0], levels[level, 1] = price, sizes[price]
            level += 1
        price += step
    levels[level:, 0] = t.NO_PRICE
    levels[level:, 1] = 0
