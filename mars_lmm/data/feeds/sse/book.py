"""The book that Shanghai's messages describe, without any matching: adds, deletes and trades change orders by id.

Each message must fit that book. A delete takes what is left of an order. In continuous trading one of a trade's
two orders is in the book, the one that rested, at the trade's price: the exchange publishes the other one, the
aggressor, only after its trades, and only if something is left of it; where the file says what it traded before, its
trades must add up to that. In auctions both are in the book. A message that does not fit changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.level2.id_book import number, open_id_book, reduce, rest
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, UNTOLD, Messages
from mars_lmm.market import types as t


class Rebuilt(NamedTuple):
    """A session as its messages describe it.

    Attributes:
        messages: The messages, with the prices of deletes that told none.
        books: int64[M, 2, DEPTH, 2], the best levels after each message, [side][level][price in ticks, size];
            (NO_PRICE, 0) for a missing level.
        fits: bool[M], false for messages that contradict the book before them.
        counts: `unknown_ids` (orders that the messages name, and that are not in the book and should be).
    """

    messages: Messages
    books: np.ndarray
    fits: np.ndarray
    counts: dict[str, int]


def rebuild(messages: Messages) -> Rebuilt:
    """The book after each of M messages."""
    numbered = number(messages)
    books = np.empty((len(messages.time), 2, t.DEPTH, 2), np.int64)
    fits = np.empty(len(messages.time), np.bool_)
    ranked = numbered.messages
    unknown_ids = _rebuild(ranked, numbered.buy, numbered.sell, open_id_book(numbered), books, fits)
    books[..., 0] = numbered.in_ticks(books[..., 0])
    messages = messages._replace(price=numbered.in_ticks(ranked.price))
    return Rebuilt(messages, books, fits, {"unknown_ids": unknown_ids})


@kept_njit("market", "data")
def _rebuild(messages, buy, sell, book, books, fits):
    unknown_ids = 0
    aggressor = filled = UNTOLD  # the last one, and the size of its trades
    for i in range(len(messages.time)):
        kind, side, price, size = messages.kind[i], messages.side[i], messages.price[i], messages.size[i]
        order = buy[i] if side == t.BUY else sell[i]
        if kind == ADD:
            traded = filled if order == aggressor else 0
            fits[i] = book.left[order] == 0 and (messages.executed[i] == UNTOLD or messages.executed[i] == traded)
            if fits[i]:
                rest(book, order, side, price, size)
        elif kind == DELETE:
            unknown_ids += book.left[order] == 0
            fits[i] = book.left[order] == size and book.side[order] == side
            fits[i] &= price == UNTOLD or book.price[order] == price
            if fits[i]:
                messages.price[i] = book.price[order]
                reduce(book, order, size)
        elif side == t.NO_SIDE:
            unknown_ids += (book.left[buy[i]] == 0) + (book.left[sell[i]] == 0)
            fits[i] = book.price[buy[i]] >= price >= book.price[sell[i]]
            fits[i] &= book.side[buy[i]] == t.BUY and book.side[sell[i]] == t.SELL
            fits[i] &= book.left[buy[i]] >= size and book.left[sell[i]] >= size
            if fits[i]:
                reduce(book, buy[i], size)
                reduce(book, sell[i], size)
        else:
            resting = sell[i] if side == t.BUY else buy[i]
            unknown_ids += book.left[resting] == 0
            fits[i] = book.left[order] == 0 and book.left[resting] >= size
            fits[i] &= book.side[resting] == 1 - side and book.price[resting] == price
            if fits[i]:
                filled = size + (filled if order == aggressor else 0)
                aggressor = order
                reduce(book, resting, size)
        if kind in (ADD, DELETE):
            aggressor = UNTOLD
        books[i] = book.levels
    return unknown_ids
