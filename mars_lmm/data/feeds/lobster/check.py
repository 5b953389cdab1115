"""The proof that an order flow is right: through our own matching it makes the vendor's books and trades."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.by_order.levels import apply_order, holds, rest_order
from mars_lmm.data.feeds.common.by_order.messages import EXECUTE, Messages
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, Columns, order_rows
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.repack import with_room

MAX_NOTES = 5
ROOM = 4096  # orders and ticks of the first book
MAX_TRADES = 1 << 16  # of one order


class Fills(NamedTuple):
    """A feed's executions of visible orders, each int64[F], in order.

    Attributes:
        at: The message, counted from 0.
        price: Ticks.
        size: Units.
    """

    at: np.ndarray
    price: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, messages: Messages, price_tick: int) -> Fills:
        """Those among some messages."""
        executed = np.flatnonzero(messages.kind == EXECUTE)
        return cls(executed, messages.price[executed] // price_tick, messages.size[executed])


class FlowChecker:
    """Replays an order flow and compares, after each order, with what the feed showed after its last message.

    Trades compare as the size at each price, in sequence: anonymous volume is one order in our book, where
    the feed saw the several orders that made it up.

    Args:
        source: The message file.

    Attributes:
        counts: `flow_rows`, `flow_mismatches` (rows that our book rejects, or after which it differs) and
            `trade_mismatches` (rows whose trades differ).
        notes: The first of them in words.
    """

    def __init__(self, source: str):
        self.counts = {"flow_rows": 0, "flow_mismatches": 0, "trade_mismatches": 0}
        self.notes: list[str] = []
        self._source = source
        self._book: np.ndarray | None = None

    def check(self, columns: Columns, last: np.ndarray, books: np.ndarray, fills: Fills) -> None:
        """Compare the next part.

        Args:
            columns: M rows of the flow.
            last: int64[M], the message of the part, counted from 0, that completed each.
            books: int64[N, 2, L, 2], the feed's best levels after each message of the part.
            fills: The feed's executions among them.

        Raises:
            DataError: The prices lie too far apart for one book.
        """
        orders = order_rows(columns)
        visible = columns["flags"] & HIDDEN == 0
        prices = orders[visible, t.PRICE]
        if len(prices):
            low, high = int(prices.min()), int(prices.max())
            num_rest = int(np.count_nonzero(visible & (columns["kind"] == t.LIMIT)))
            try:
                if self._book is None:
                    self._book = empty_books(1, ROOM, ROOM, max(low - ROOM // 2, 0))[0]
                self._book = with_room(self._book, num_rest, low, high)
            except ValueError as error:
                raise DataError(self._source, f"prices from {low} to {high} ticks: {error}") from error
            differs = np.zeros((2, len(orders)), dtype=np.bool_)
            _check(self._book, orders, columns["flags"], last, books, fills, differs)
            self._note(orders, columns["source_row"], differs)
        self.counts["flow_rows"] += len(orders)

    def _note(self, orders: np.ndarray, rows: np.ndarray, differs: np.ndarray) -> None:
        for name, what, at in zip(("flow", "trade"), ("levels", "trades"), differs, strict=True):
            self.counts[f"{name}_mismatches"] += int(np.count_nonzero(at))
            room = MAX_NOTES - sum(what in note for note in self.notes)
            self.notes += [
                f"{self._source}, row {rows[i]}: other {what} after the order {orders[i].tolist()}"
                for i in np.flatnonzero(at)[: max(room, 0)]
            ]


@kept_njit("market", "tokenizers", "data")
def _check(book, orders, flags, last, books, fills, differs):
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((min(book[t.NUM_SLOTS], MAX_TRADES), t.NUM_TRADE_COLUMNS), dtype=np.int64)
    fill = 0
    for i in range(len(orders)):
        accepted = True
        num_trades = 0
        if flags[i] & HIDDEN == 0:
            if flags[i] & AUCTION and orders[i, t.KIND] == t.LIMIT:
                rest_order(book, orders[i], report, trades)
            else:
                apply_order(book, orders[i], report, trades)
            accepted = report[t.OUTCOME] == t.ACCEPTED
            num_trades = report[t.NUM_FILLS]
        first = fill
        if flags[i] & ANONYMOUS == 0:
            shown = books[last[i]]
            accepted &= holds(book, t.SELL, shown[t.SELL]) and holds(book, t.BUY, shown[t.BUY])
            while fill < len(fills.at) and fills.at[fill] <= last[i]:
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
