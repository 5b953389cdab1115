"""The Shanghai level-2 feed ("sse"): every order and trade of a stock-day, and snapshots where the files have any.

One concern a file: `tables` and `log` read the layouts, `book` rebuilds the book from the messages, `snapshots` finds
each snapshot in it, `flow` recovers what participants sent, and `common.level2.exchange_check` sends that to our own
exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds import FeedSession, Source, Verification
from mars_lmm.data.feeds.common.level2.exchange_check import MAX_NOTES, check_flow
from mars_lmm.data.feeds.common.level2.feed import Level2Feed, no_verification
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE, Messages
from mars_lmm.data.feeds.common.level2.records import merge, refuse_misfits
from mars_lmm.data.feeds.sse import log, tables
from mars_lmm.data.feeds.sse.book import rebuild
from mars_lmm.data.feeds.sse.flow import submitted_orders
from mars_lmm.data.feeds.sse.snapshots import NO_MATCH, SNAPSHOT, Snapshots, match_snapshots
from mars_lmm.data.flow import Columns
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.market import session_rules
from mars_lmm.data.spool import SNAPSHOTS, read_records
from mars_lmm.market import types as t


class SseFeed(Level2Feed):
    """Shanghai level 2: AXOrderBook's log, split tables of orders and trades, or the merged stream."""

    market = tables.MARKET
    halves = (tables.ORDERS, tables.TRADES)
    expected = "Shanghai level-2 files; expected CSV files of orders and of trades, a merged stream, or a log"
    rebuilt_takers = True

    def is_own(self, head: bytes) -> bool:
        """As `Level2Feed.is_own`."""
        return head.startswith(log.START) or super().is_own(head)

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """As `SortedFeed.decode`; snapshots of a log are `snapshots.SNAPSHOT`."""
        if self.layout_of(source) is None:
            return log.read(source.files[0], self.date_of(source), ledger)
        return super().decode(source, ledger)

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """As `Feed.order_flow`.

        The flow has no auction trades: they follow from the orders of the calls, so it needs an exchange that holds
        the auctions.
        """
        messages = self._read(session, ledger)
        if messages is None:
            return
        rebuilt = rebuild(messages)
        refuse_misfits(session, rebuilt.messages, rebuilt.fits, ledger)
        sent = submitted_orders(rebuilt.messages.keep(rebuilt.fits))
        ledger.counts.update(sent.counts | {"unknown_ids": rebuilt.unknown_ids})
        yield from sent.parts(session_rules(self.rules(session)).day().schedule)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare the messages' book with every snapshot of continuous trading, and with our own exchange's.

        Args:
            session: The session.
            ledger: Takes bad rows.

        Returns:
            `rows` (messages), `compared` and `mismatches` (snapshots that no message leads to, messages that do not
            fit the book), `unknown_ids`, `snapshots` (all there are), and the counts of `exchange_check.Check`.

        Raises:
            DataError: The files are damaged.
        """
        messages = self._read(session, ledger)
        if messages is None:
            return no_verification()
        shown = [path.with_suffix(SNAPSHOTS) for path in session.records]
        snapshots = Snapshots.of(
            np.concatenate([np.empty(0, SNAPSHOT), *(read_records(path, SNAPSHOT) for path in shown if path.exists())])
        )
        self._compare(session, messages.keep(np.arange(len(messages.time)) < 1), snapshots)  # compiles
        started = time.perf_counter()
        counts, notes = self._compare(session, messages, snapshots)
        return Verification(counts, time.perf_counter() - started, notes)

    def _read(self, session: FeedSession, ledger: Ledger) -> Messages | None:
        """The session's messages, counted; None if there are none, or half of them is missing."""
        messages = merge(session, ledger)
        by_kind = np.bincount(messages.kind, minlength=3).tolist()
        ledger.counts.update(
            {
                "messages": len(messages.kind),
                "adds": by_kind[ADD],
                "deletes": by_kind[DELETE],
                "trades": by_kind[TRADE],
                "auction_trades": int(np.count_nonzero(messages.side == t.NO_SIDE)),
            }
        )
        return messages if self.is_whole(session, ledger) and len(messages.kind) else None

    def _compare(self, session: FeedSession, messages: Messages, snapshots: Snapshots) -> tuple[dict, list[str]]:
        rebuilt = rebuild(messages)
        fitting, books = rebuilt.messages.keep(rebuilt.fits), rebuilt.books[rebuilt.fits]
        compared, matches = match_snapshots(fitting, books, snapshots)
        lost = compared[matches == NO_MATCH]
        check = check_flow(
            str(session), session_rules(self.rules(session)).day(), fitting, books, submitted_orders(fitting)
        )
        counts = {
            "rows": len(messages.time),
            "compared": len(compared),
            "mismatches": len(lost) + int(np.count_nonzero(~rebuilt.fits)),
            "unknown_ids": rebuilt.unknown_ids,
            "snapshots": len(snapshots.time),
            **check.counts,
        }
        misfits = np.flatnonzero(~rebuilt.fits)[:MAX_NOTES].tolist()
        notes = [f"{session}: {rebuilt.messages.describe(i)}" for i in misfits]
        notes += [f"{session}, snapshot {i + 1}: no message leads to its book" for i in lost[:MAX_NOTES].tolist()]
        return counts, notes + check.notes
