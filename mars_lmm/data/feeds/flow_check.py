"""The proof that an order flow is right: through our own matching it makes the feed's books and trades."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.levels import apply_order, empty_book, holds
from mars_lmm.data.flow import ANONYMOUS, HIDDEN, OrderFlow
from mars_lmm.market import types as t

MAX_NOTES = 5


class Fills(NamedTuple):
    """A feed's executions of visible orders, each int64[F], in order.

    Attributes:
        row: The message, counted from 1.
        price: Ticks.
        size: Units.
    """

    row: np.ndarray
    price: np.ndarray
    size: np.ndarray


def check_flow(flow: OrderFlow, books: np.ndarray, fills: Fills) -> tuple[dict[str, int], list[str]]:
    """Replay an order flow and compare, after each order, with what the feed showed after its last message.

    Trades compare as the size at each price, in sequence: anonymous volume is one order in our book, where
    the feed saw the several orders that made it up.

    Args:
        flow: The order flow.
        books: int64[N, 2, L, 2], the feed's best levels after each message.
        fills: The feed's executions.

    Returns:
        `flow_rows`, `flow_mismatches` (rows that our book rejects, or after which it differs) and
        `trade_mismatches` (rows whose trades differ); and the first of them in words.
    """
    orders = flow.orders()
    visible = flow.flags & HIDDEN == 0
    rests = visible & (flow.kind == t.LIMIT)
    book = empty_book(orders[visible, t.PRICE], int(np.count_nonzero(rests)))
    differs = np.zeros((2, len(flow)), dtype=np.bool_)
    _check(book, orders, flow.flags, flow.source_row, books, fills, differs)
    notes = [
        f"{flow.session.source}, row {flow.source_row[i]}: other {what} after the order {orders[i].tolist()}"
        for what, rows in zip(("levels", "trades"), differs, strict=True)
        for i in np.flatnonzero(rows)[:MAX_NOTES]
    ]
    mismatches, trade_mismatches = np.count_nonzero(differs, axis=1).tolist()
    counts = {"flow_rows": len(flow), "flow_mismatches": mismatches, "trade_mismatches": trade_mismatches}
    return counts, notes


@kept_njit("market", "tokenizers", "data")
def _check(book, orders, flags, source_row, books, fills, differs):
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((book[t.NUM_SLOTS], t.NUM_TRADE_COLUMNS), dtype=np.int64)
    fill = 0
    for i in range(len(orders)):
        accepted = True
        num_trades = 0
        if flags[i] & HIDDEN == 0:
            apply_order(book, orders[i], report, trades)
            accepted = report[t.OUTCOME] == t.ACCEPTED
            num_trades = report[t.NUM_FILLS]
        first = fill
        if flags[i] & ANONYMOUS == 0:
            shown = books[source_row[i] - 1]
            accepted &= holds(book, t.SELL, shown[t.SELL]) and holds(book, t.BUY, shown[t.BUY])
            while fill < len(fills.row) and fills.row[fill] <= source_row[i]:
                fill += 1
        differs[0, i] = not accepted
        differs[1, i] = not _same_trades(trades[:num_trades], fills.price[first:fill], fills.size[first:fill])


@numba.njit(nogil=True)
def _same_trades(trades, price, size):
    """Whether the same size trades at each price, in sequence."""
    i = j = 0
    while i < len(trades) and j < len(price):
        at = price[j]
        left = 0
        while j < len(price) and price[j] == at:
            left += size[j]
            j += 1
        while i < len(trades) and trades[i, t.TRADE_PRICE] == at:
            left -= trades[i, t.TRADE_SIZE]
            i += 1
        if left != 0:
            return False
    return i == len(trades) and j == len(price)
