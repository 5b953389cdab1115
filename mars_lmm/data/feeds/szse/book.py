"""The book that Shenzhen's messages describe, without any matching, and what each order did in it.

An order is published as it was sent, before it trades, and its number is its message's; its trades follow, and nothing
comes between. So the book is right once an order's trades are through, not between them.

Limit orders rest with their full size until trades and cancels take it. Orders sent while the venue queues them are
held aside until trading begins. Market orders (type 1) are held aside too: their trades follow, and then a cancel of
what is left, or else what is left rests at the price of the last trade. The five kinds of market orders are not told
apart, so each becomes one that does the same in our own exchange:

| what followed | kind |
|---|---|
| trades, and nothing is left | `MARKET` |
| trades and a cancel; the other side is empty | `MARKET` |
| trades at one price and a cancel, later or with the other side not empty | `OPPOSITE_BEST`, and a cancel of the rest |
| trades at several prices and a cancel; the other side is not empty | `BEST_FIVE` |
| trades at one price, and the remainder rests | `OPPOSITE_BEST` |
| trades at several prices, and the remainder rests | `LIMIT` at the last of them: no kind of Shenzhen's does so |
| a cancel alone | no order: it did nothing |

An order at the own side's best price rests there (`OWN_BEST`); with that side empty it is cancelled at once, and is no
order either. A message that does not fit the book before it changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.level2.id_book import number, open_id_book, reduce, rest
from mars_lmm.data.feeds.common.level2.messages import (
    ADD,
    DELETE,
    MARKET_ORDER,
    OWN_BEST_ORDER,
    TRADE,
    UNTOLD,
    Messages,
    phases,
)
from mars_lmm.market import types as t

NOTHING = -1  # the order kind of a message that is no order, or whose order did nothing
NOBODY = -1  # no order is held aside

# Counters of the compiled function.
UNKNOWN_IDS, VOID_ORDERS, MARKET_LIMITS = range(3)

# Where an order is.
ABSENT, RESTS, QUEUED = range(3)


class Rebuilt(NamedTuple):
    """A session as its messages describe it.

    Attributes:
        messages: The messages; the side of trades in auctions is NO_SIDE, prices are those of the order and where a
            market order rests.
        books: int64[M, 2, DEPTH, 2], the best levels after each message, [side][level][price in ticks, size];
            (NO_PRICE, 0) for a missing level.
        fits: bool[M], false for messages that contradict the book before them.
        kind: int64[M], the order kind that does what a message's order did, or NOTHING.
        last: int64[M], of an order the last message that it caused.
        counts: `unknown_ids` (orders that the messages name and that are not there), `void_orders` (cancelled on
            arrival), `market_limits` (market orders that became `LIMIT`).
    """

    messages: Messages
    books: np.ndarray
    fits: np.ndarray
    kind: np.ndarray
    last: np.ndarray
    counts: dict[str, int]


def rebuild(messages: Messages, schedule: np.ndarray) -> Rebuilt:
    """The book after each of M messages.

    Args:
        messages: The session's messages.
        schedule: int64[K, NUM_PHASE_COLUMNS], the session's phases.
    """
    phase = phases(messages.time, schedule)
    mode = schedule[phase, t.PHASE_MODE]
    in_auction = (messages.kind == TRADE) & (mode != t.CONTINUOUS)
    messages = messages._replace(side=np.where(in_auction, t.NO_SIDE, messages.side))
    numbered = number(messages)
    ranked = numbered.messages
    count = len(messages.time)
    books = np.empty((count, 2, t.DEPTH, 2), np.int64)
    fits, kind, last = np.ones(count, np.bool_), np.full(count, NOTHING), np.arange(count)
    counters = np.zeros(3, np.int64)
    place = np.zeros(numbered.num_orders, np.int64)
    book = open_id_book(numbered)
    _rebuild(ranked, numbered.buy, numbered.sell, phase, mode, book, place, books, fits, kind, last, counters)
    books[..., 0] = numbered.in_ticks(books[..., 0])
    counts = dict(zip(("unknown_ids", "void_orders", "market_limits"), counters.tolist(), strict=True))
    return Rebuilt(ranked._replace(price=numbered.in_ticks(ranked.price)), books, fits, kind, last, counts)


@kept_njit("market", "data")
def _rebuild(messages, buy, sell, phase, mode, book, place, books, fits, kind, last, counters):
    queued = np.empty(len(messages.time), np.int64)
    num_queued = 0
    current = NOBODY  # the message of the latest order or cancel
    aside = NOBODY  # that of the order held aside: a market order, or one at the own best price without any
    left = first_price = last_price = 0  # of the order held aside: its size, and the prices of its trades
    for i in range(len(messages.time)):
        message, side, size = messages.kind[i], messages.side[i], messages.size[i]
        order = buy[i] if side == t.BUY else sell[i]
        if num_queued > 0 and mode[i] != t.QUEUE:
            _release(book, place, queued[:num_queued])
            num_queued = 0

        if message == TRADE:
            own = aside != NOBODY and order == _order_of(messages, buy, sell, aside)
            fits[i] = _trade(messages, i, book, place, buy[i], sell[i], own, left, counters)
            if fits[i]:
                if own:
                    left -= size
                    last_price = messages.price[i]
                    first_price = last_price if first_price == UNTOLD else first_price
                if current != NOBODY and phase[i] == phase[current]:
                    last[current] = i
        elif message == DELETE:
            if aside != NOBODY and order == _order_of(messages, buy, sell, aside):
                fits[i] = size == left
                emptied = book.levels[1 - side, 0, 0] == t.NO_PRICE
                at_once = messages.time[i] == messages.time[aside]
                if fits[i]:
                    if first_price == UNTOLD:
                        counters[VOID_ORDERS] += 1
                    elif emptied and (at_once or first_price != last_price):
                        kind[aside], last[aside] = t.MARKET, i
                    elif first_price != last_price:
                        kind[aside], last[aside] = t.BEST_FIVE, i
                    else:  # it rested, and the participant took it back
                        kind[aside], kind[i] = t.OPPOSITE_BEST, t.CANCEL
                        messages.price[i] = last_price
                        rest(book, order, side, last_price, size)
                        books[last[aside]] = book.levels
                        reduce(book, order, size)
                        current = i
                    aside = NOBODY
            else:
                counters[UNKNOWN_IDS] += book.left[order] == 0
                fits[i] = book.left[order] == size and book.side[order] == side and place[order] != ABSENT
                if fits[i]:
                    current = i
                    kind[i] = t.CANCEL
                    messages.price[i] = book.price[order]
                    _take(book, place, order, size)
        else:
            current = i
            best = book.levels[side, 0, 0]
            if message == MARKET_ORDER or (message == OWN_BEST_ORDER and best == t.NO_PRICE):
                aside, left, first_price = i, size, UNTOLD
            else:
                kind[i] = t.LIMIT if message == ADD else t.OWN_BEST
                messages.price[i] = messages.price[i] if message == ADD else best
                if mode[i] == t.QUEUE:
                    place[order] = QUEUED
                    book.side[order], book.price[order], book.left[order] = side, messages.price[i], size
                    queued[num_queued] = order
                    num_queued += 1
                else:
                    place[order] = RESTS
                    rest(book, order, side, messages.price[i], size)

        if aside != NOBODY and left == 0:
            kind[aside] = t.MARKET
            aside = NOBODY
        elif aside != NOBODY and not _goes_on(messages, buy, sell, aside, i + 1):
            if first_price == UNTOLD:
                fits[aside] = False  # neither traded nor cancelled
            else:
                order = _order_of(messages, buy, sell, aside)
                kind[aside] = t.OPPOSITE_BEST if first_price == last_price else t.LIMIT
                counters[MARKET_LIMITS] += first_price != last_price
                messages.price[aside] = last_price
                place[order] = RESTS
                rest(book, order, messages.side[aside], last_price, left)
            aside = NOBODY
        books[i] = book.levels


@numba.njit(nogil=True)
def _order_of(messages, buy, sell, i):
    """The number of the order that a message is about, or of a trade's aggressor."""
    return buy[i] if messages.side[i] == t.BUY else sell[i]


@numba.njit(nogil=True)
def _goes_on(messages, buy, sell, aside, i):
    """Whether message i is a trade or the cancel of the order held aside."""
    if i == len(messages.time) or (messages.kind[i] != TRADE and messages.kind[i] != DELETE):
        return False
    return _order_of(messages, buy, sell, i) == _order_of(messages, buy, sell, aside)


@numba.njit(nogil=True)
def _trade(messages, i, book, place, buyer, seller, own, left, counters):
    """Carry out a trade in the book, if it fits; `own`: the aggressor is held aside, with so much left."""
    price, size, side = messages.price[i], messages.size[i], messages.side[i]
    fits = True
    for order, order_side in ((buyer, t.BUY), (seller, t.SELL)):
        if own and order_side == side:
            fits &= left >= size
            continue
        counters[UNKNOWN_IDS] += book.left[order] == 0
        fits &= place[order] == RESTS and book.left[order] >= size and book.side[order] == order_side
        limit = book.price[order]
        fits &= limit >= price if order_side == t.BUY else limit <= price
        fits &= side == t.NO_SIDE or order_side == side or limit == price
    if fits:
        if not own or side != t.BUY:
            reduce(book, buyer, size)
        if not own or side != t.SELL:
            reduce(book, seller, size)
    return fits


@numba.njit(nogil=True)
def _take(book, place, order, size):
    """Cancel an order, wherever it is."""
    if place[order] == RESTS:
        reduce(book, order, size)
    else:
        book.left[order] -= size


@numba.njit(nogil=True)
def _release(book, place, queued):
    """Let queued orders into the book."""
    for order in queued:
        size = book.left[order]
        place[order] = RESTS
        book.left[order] = 0
        if size > 0:
            rest(book, order, book.side[order], book.price[order], size)
