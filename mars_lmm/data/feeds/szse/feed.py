"""The Shenzhen level-2 feed ("szse"): every order and trade of a stock-day, orders as they were sent.

One concern a file: `tables` reads the layouts, `book` rebuilds the book and tells the kinds of market orders apart,
`flow` lists what participants sent, and `common.level2.exchange_check` sends that to our own exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds import FeedSession, Verification
from mars_lmm.data.feeds.common.level2.exchange_check import MAX_NOTES, check_flow
from mars_lmm.data.feeds.common.level2.feed import Level2Feed, no_verification
from mars_lmm.data.feeds.common.level2.messages import DELETE, TRADE, Messages
from mars_lmm.data.feeds.common.level2.records import merge, refuse_misfits
from mars_lmm.data.feeds.szse import tables
from mars_lmm.data.feeds.szse.book import rebuild
from mars_lmm.data.feeds.szse.flow import sent_orders
from mars_lmm.data.flow import Columns
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.market import session_rules
from mars_lmm.market import types as t


class SzseFeed(Level2Feed):
    """Shenzhen level 2: tables of orders and of trades, or one table of both.

    ChiNext held orders outside its price cage aside until 2023-04-10. The messages do not tell which, so such orders
    are taken to enter at once, and `verify` finds what that makes wrong.
    """

    market = tables.MARKET
    halves = (tables.ORDERS, tables.TRADES)
    expected = "Shenzhen level-2 files; expected CSV files of orders and of trades"
    rebuilt_takers = False

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """As `Feed.order_flow`. The flow has no trades: they follow from the orders, those of auctions too."""
        messages = self._read(session, ledger)
        if messages is None:
            return
        schedule = session_rules(self.rules(session)).day().schedule
        rebuilt = rebuild(messages, schedule)
        refuse_misfits(session, rebuilt.messages, rebuilt.fits, ledger)
        sent = sent_orders(rebuilt)
        ledger.counts.update(sent.counts)
        yield from sent.parts(schedule)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare the book after every order, and all trades, with our own exchange's.

        The opening auction's price stands in for the previous close, which the feed does not tell: where several
        prices tie, any of them passes.

        Args:
            session: The session.
            ledger: Takes bad rows.

        Returns:
            `rows` (messages), `compared` (orders after which the books are compared), `mismatches` (messages that do
            not fit the book), `void_orders`, `market_limits` and `unknown_ids` (see `book.Rebuilt`), and the counts
            of `exchange_check.Check`.

        Raises:
            DataError: The files are damaged.
        """
        messages = self._read(session, ledger)
        if messages is None:
            return no_verification()
        self._compare(session, messages.keep(np.arange(len(messages.time)) < 1))  # compiles
        started = time.perf_counter()
        counts, notes = self._compare(session, messages)
        return Verification(counts, time.perf_counter() - started, notes)

    def _read(self, session: FeedSession, ledger: Ledger) -> Messages | None:
        """The session's messages, counted; None if there are none, or half of them is missing."""
        messages = merge(session, ledger)
        kind, side = messages.kind, messages.side
        ledger.counts.update(
            {
                "messages": len(kind),
                "orders": int(np.count_nonzero((kind != TRADE) & (kind != DELETE))),
                "trades": int(np.count_nonzero(kind == TRADE)),
                # Those whose later order buys; in auctions that means nothing.
                "buyers_last": int(np.count_nonzero((kind == TRADE) & (side == t.BUY))),
                "sellers_last": int(np.count_nonzero((kind == TRADE) & (side == t.SELL))),
                "buy_cancels": int(np.count_nonzero((kind == DELETE) & (side == t.BUY))),
                "sell_cancels": int(np.count_nonzero((kind == DELETE) & (side == t.SELL))),
            }
        )
        return messages if self.is_whole(session, ledger) and len(kind) else None

    def _compare(self, session: FeedSession, messages: Messages) -> tuple[dict[str, int], list[str]]:
        name = self.rules(session)
        rebuilt = rebuild(messages, session_rules(name).day().schedule)
        fits, fitting = rebuilt.fits, rebuilt.messages.keep(rebuilt.fits)
        sent = sent_orders(rebuilt)
        sent = sent._replace(last=(np.cumsum(fits) - 1)[sent.last])
        auction = np.flatnonzero((fitting.kind == TRADE) & (fitting.side == t.NO_SIDE))
        opening = int(fitting.price[auction[0]]) if len(auction) else None
        check = check_flow(str(session), session_rules(name).day(opening), fitting, rebuilt.books[fits], sent)
        misfits = np.flatnonzero(~fits)
        counts = {
            "rows": len(messages.time),
            "compared": len(sent.times),
            "mismatches": len(misfits),
            **rebuilt.counts,
            **check.counts,
        }
        notes = [f"{session}: {rebuilt.messages.describe(i)}" for i in misfits[:MAX_NOTES].tolist()]
        return counts, notes + check.notes
