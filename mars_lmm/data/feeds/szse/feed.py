"""The Shenzhen level-2 feed ("szse"): every order and trade of a stock-day, orders as they were sent.

One concern a file: `tables` reads the layouts, `book` rebuilds the book and tells the kinds of market orders apart,
`flow` lists what participants sent, and `common.level2` sends that to our own exchange.
"""

from __future__ import annotations

import numpy as np

from mars_lmm.data.feeds import FeedSession
from mars_lmm.data.feeds.common.level2.feed import Level2Feed
from mars_lmm.data.feeds.common.level2.messages import DELETE, TRADE, Messages, Sent
from mars_lmm.data.feeds.common.level2.records import read_all
from mars_lmm.data.feeds.szse import tables
from mars_lmm.data.feeds.szse.book import Rebuilt, rebuild
from mars_lmm.data.feeds.szse.flow import sent_orders
from mars_lmm.data.flow import Session
from mars_lmm.market import types as t


class SzseFeed(Level2Feed):
    """Shenzhen level 2: tables of orders and of trades, or one table of both.

    ChiNext held orders outside its price cage aside until 2023-04-10. The messages do not tell which, so such orders
    are taken to enter at once, and `verify` finds what that makes wrong.
    """

    market = tables.MARKET
    halves = (tables.ORDERS, tables.TRADES)
    expected = "Shenzhen level-2 files; expected CSV files of orders and of trades"
    sister = "sse"
    rebuilt_takers = False

    def describe(self, session: FeedSession) -> Session:
        """As `Feed.describe`.

        The feed does not tell the previous close, which settles the opening auction where several prices would do. The
        price of the day's first trade stands in for it: where the auction traded, that is the one it chose.
        """
        described = super().describe(session)
        records, _ = read_all(session)
        trades = records[records["kind"] == TRADE]
        if len(trades):
            described.reference_price = int(trades["price"][np.argmin(trades["sequence"])])
        return described

    def count(self, messages: Messages) -> dict[str, int]:
        """As `Level2Feed.count`."""
        kind, side = messages.kind, messages.side
        return {
            "orders": int(np.count_nonzero((kind != TRADE) & (kind != DELETE))),
            "trades": int(np.count_nonzero(kind == TRADE)),
            # Those whose later order buys; in auctions that means nothing.
            "buyers_last": int(np.count_nonzero((kind == TRADE) & (side == t.BUY))),
            "sellers_last": int(np.count_nonzero((kind == TRADE) & (side == t.SELL))),
            "buy_cancels": int(np.count_nonzero((kind == DELETE) & (side == t.BUY))),
            "sell_cancels": int(np.count_nonzero((kind == DELETE) & (side == t.SELL))),
        }

    def rebuild(self, messages: Messages, schedule: np.ndarray) -> Rebuilt:
        """As `Level2Feed.rebuild`."""
        return rebuild(messages, schedule)

    def sent_orders(self, rebuilt: Rebuilt) -> Sent:
        """As `Level2Feed.sent_orders`."""
        return sent_orders(rebuilt)
