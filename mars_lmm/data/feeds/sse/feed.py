"""The Shanghai level-2 feed ("sse"): every order and trade of a stock-day, and snapshots where the files have any.

One concern a file: `tables` and `log` read the layouts, `book` rebuilds the book from the messages, `snapshots` finds
each snapshot in it, `halts` finds what no order flow can tell, `flow` recovers what participants sent, and
`common.level2` sends that to our own exchange.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds import FeedSession, Source
from mars_lmm.data.feeds.common.level2.exchange_check import MAX_NOTES
from mars_lmm.data.feeds.common.level2.feed import Level2Feed
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE, Messages, Sent
from mars_lmm.data.feeds.sse import log, tables
from mars_lmm.data.feeds.sse.book import Rebuilt, rebuild
from mars_lmm.data.feeds.sse.flow import submitted_orders
from mars_lmm.data.feeds.sse.halts import is_halted
from mars_lmm.data.feeds.sse.snapshots import NO_MATCH, SNAPSHOT, Snapshots, match_snapshots
from mars_lmm.data.flow import UNDATED
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.market import session_rules
from mars_lmm.data.spool import SNAPSHOTS, read_records
from mars_lmm.market import types as t


class SseFeed(Level2Feed):
    """Shanghai level 2: AXOrderBook's log, split tables of orders and trades, or the merged stream."""

    market = tables.MARKET
    halves = (tables.ORDERS, tables.TRADES)
    expected = "Shanghai level-2 files; expected CSV files of orders and of trades, a merged stream, or a log"
    sister = "szse"
    rebuilt_takers = True

    def is_own(self, head: bytes) -> bool:
        """As `Level2Feed.is_own`."""
        return head.startswith(log.START) or super().is_own(head)

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """As `SortedFeed.decode`; snapshots of a log are `snapshots.SNAPSHOT`."""
        if self.layout_of(source) is None:
            return log.read(source.files[0], source.date or UNDATED, ledger)
        return super().decode(source, ledger)

    def read(self, session: FeedSession, ledger: Ledger) -> Messages | None:
        """As `Level2Feed.read`."""
        messages = super().read(session, ledger)
        schedule = session_rules(self.rules(session)).day().schedule
        return None if messages is None or is_halted(session, messages, schedule, ledger) else messages

    def count(self, messages: Messages) -> dict[str, int]:
        """As `Level2Feed.count`."""
        by_kind = np.bincount(messages.kind, minlength=3).tolist()
        return {
            "adds": by_kind[ADD],
            "deletes": by_kind[DELETE],
            "trades": by_kind[TRADE],
            "auction_trades": int(np.count_nonzero(messages.side == t.NO_SIDE)),
        }

    def rebuild(self, messages: Messages, schedule: np.ndarray) -> Rebuilt:
        """As `Level2Feed.rebuild`; messages tell the phase themselves."""
        return rebuild(messages)

    def sent_orders(self, rebuilt: Rebuilt) -> Sent:
        """As `Level2Feed.sent_orders`."""
        sent = submitted_orders(rebuilt.messages.keep(rebuilt.fits))
        return sent._replace(last=np.flatnonzero(rebuilt.fits)[sent.last])

    def compare_shown(
        self, session: FeedSession, messages: Messages, books: np.ndarray
    ) -> tuple[dict[str, int], list[str]]:
        """As `Level2Feed.compare_shown`: every snapshot of continuous trading, of `snapshots` there are."""
        shown = [path.with_suffix(SNAPSHOTS) for path in session.records]
        snapshots = Snapshots.of(
            np.concatenate([np.empty(0, SNAPSHOT), *(read_records(path, SNAPSHOT) for path in shown if path.exists())])
        )
        compared, matches = match_snapshots(messages, books, snapshots)
        lost = compared[matches == NO_MATCH]
        counts = {"compared": len(compared), "mismatches": len(lost), "snapshots": len(snapshots.time)}
        return counts, [f"{session}, snapshot {i + 1}: no message leads to its book" for i in lost[:MAX_NOTES].tolist()]
