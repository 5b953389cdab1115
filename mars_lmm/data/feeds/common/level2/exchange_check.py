"""The proof that an order flow is right: our own exchange makes the same trades and books of it, auctions included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.data.feeds.common.level2.messages import CLOSE, TRADE, Messages, Sent
from mars_lmm.market import types as t
from mars_lmm.market.exchange import Exchange, Stream
from mars_lmm.market.opening import open_books
from mars_lmm.market.rules import DayRules

MAX_NOTES = 5

# Columns of a trade as both sides tell it.
BUY_ID, SELL_ID, PRICE, SIZE, SIDE = range(5)


class Check(NamedTuple):
    """How our own matching compares with the exchange's.

    Attributes:
        counts: `flow_rows`, `flow_mismatches` (orders that our exchange rejects, or after which its ten best levels
            are not those of the messages), `trades`, `trade_mismatches` (trades of either that are not the other's
            at the same place: buyer, seller, price, size and aggressor), `auctions`, `auction_mismatches` (auctions
            with another price or volume).
        notes: The first of them in words.
    """

    counts: dict[str, int]
    notes: list[str]


def check_flow(source: str, day: DayRules, messages: Messages, books: np.ndarray, sent: Sent) -> Check:
    """Send an order flow to our own exchange and compare what comes of it.

    Args:
        source: Where the messages came from.
        day: The session's phases and auctions.
        messages: M messages.
        books: int64[M, 2, DEPTH, 2], the book after each.
        sent: The order flow of the messages.
    """
    stream = own_trades(day, messages, sent)
    reports, snapshots = stream.reports[:-1], stream.snapshots[:-1]  # without the clock's last tick
    flow_differs = (reports[:, t.OUTCOME] != t.ACCEPTED) | (snapshots != books[sent.last]).any(axis=(1, 2, 3))
    trades, own = _their_trades(messages), _our_trades(stream.trades)
    auctions, own_auctions = _auctions(trades), _auctions(own)
    trade_differs, auction_differs = _differing(trades, own), _differing(auctions, own_auctions)

    notes = [
        f"{source}, sequence number {messages.sequence[sent.last[i]]}: our book is another after the order "
        f"{sent.orders[i].tolist()} ({t.OUTCOMES[reports[i, t.OUTCOME]]})"
        for i in np.flatnonzero(flow_differs)[:MAX_NOTES]
    ]
    notes += [
        f"{source}: {name} {i + 1} is {_row(theirs, i)} ({columns}), ours is {_row(ours, i)}"
        for name, columns, theirs, ours, differs in (
            ("trade", "buyer, seller, price, size, aggressor", trades, own, trade_differs),
            ("auction", "price, volume", auctions, own_auctions, auction_differs),
        )
        for i in differs[:MAX_NOTES].tolist()
    ]
    counts = {
        "flow_rows": len(sent.orders),
        "flow_mismatches": int(np.count_nonzero(flow_differs)),
        "trades": len(trades),
        "trade_mismatches": len(trade_differs),
        "auctions": len(auctions),
        "auction_mismatches": len(auction_differs),
    }
    return Check(counts, notes)


def own_trades(day: DayRules, messages: Messages, sent: Sent) -> Stream:
    """What our exchange makes of an order flow.

    Args:
        day: The session's phases and auctions.
        messages: The session's messages.
        sent: Their order flow, N orders.

    Returns:
        The trades, and N + 1 reports and snapshots: a last row, no order, moves the clock to the closing auction.
    """
    prices = messages.price[messages.price > 0]
    low, high = (int(prices.min()), int(prices.max())) if len(prices) else (1, 1)
    kind = sent.orders[:, t.KIND]
    num_orders = 1 + int(np.count_nonzero(kind != t.CANCEL))
    exchange = Exchange(open_books(1, num_orders, high - low + 1, low, day), on_reject="count")
    tick = np.zeros((1, t.NUM_ORDER_COLUMNS), np.int64)
    tick[0, t.KIND] = t.IDLE
    orders = np.concatenate([sent.orders, tick])
    return exchange.run(orders, times=np.append(sent.times, CLOSE), snapshots=True)


def _their_trades(messages: Messages) -> np.ndarray:
    traded = messages.kind == TRADE
    columns = (messages.buy_id, messages.sell_id, messages.price, messages.size, messages.side)
    return np.stack([column[traded] for column in columns], axis=1)


def _our_trades(trades: np.ndarray) -> np.ndarray:
    # In auctions the incoming order is the buyer's.
    sells = trades[:, t.INCOMING_SIDE] == t.SELL
    incoming, resting = trades[:, t.INCOMING_ID], trades[:, t.RESTING_ID]
    buyer, seller = np.where(sells, resting, incoming), np.where(sells, incoming, resting)
    price, size, side = (trades[:, column] for column in (t.TRADE_PRICE, t.TRADE_SIZE, t.INCOMING_SIDE))
    return np.stack([buyer, seller, price, size, side], axis=1)


def _auctions(trades: np.ndarray) -> np.ndarray:
    """The price and volume of each auction, int64[K, 2]: a run of trades without aggressor, at one price."""
    called = np.flatnonzero(trades[:, SIDE] == t.NO_SIDE)
    if len(called) == 0:
        return np.empty((0, 2), np.int64)
    price, size = trades[called, PRICE], trades[called, SIZE]
    first = np.flatnonzero(np.concatenate([[True], (np.diff(called) > 1) | (np.diff(price) != 0)]))
    return np.stack([price[first], np.add.reduceat(size, first)], axis=1)


def _differing(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Where two lists of rows differ; where only one has a row, they do."""
    both = min(len(rows), len(others))
    differs = np.flatnonzero((rows[:both] != others[:both]).any(axis=1))
    return np.concatenate([differs, np.arange(both, max(len(rows), len(others)))])


def _row(rows: np.ndarray, i: int) -> list[int] | None:
    return rows[i].tolist() if i < len(rows) else None
