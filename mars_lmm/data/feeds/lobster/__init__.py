"""The LOBSTER feed: NASDAQ's visible order book, message by message, with the vendor's book beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Feed, FeedSession, Source, Verification
from mars_lmm.data.feeds.common.by_order.messages import EXECUTE_HIDDEN, NAMES, Messages
from mars_lmm.data.feeds.common.by_order.submitted import COUNTS, FLAGS, LAST, TIME, submitted_orders
from mars_lmm.data.feeds.lobster.book import CHANGE_FLAGS, CHANGE_ROW, BookFollower, Followed
from mars_lmm.data.feeds.lobster.check import Fills, FlowChecker
from mars_lmm.data.feeds.lobster.files import find_sources, named
from mars_lmm.data.feeds.lobster.read import STUB, Part, read_parts
from mars_lmm.data.flow import Columns, Session
from mars_lmm.data.ledger import SKIP, Ledger
from mars_lmm.market import types as t

PRICE_UNITS = 10_000  # LOBSTER prices are dollars x 10,000
MAX_PRICE_TICK = 100 * PRICE_UNITS
UNFIT = "does not fit the book"
NUM_KINDS = 7


@dataclass
class LobsterOptions:
    """Settings of the LOBSTER feed."""

    price_tick: int = 100
    """LOBSTER price units per tick; 100 is one cent."""

    def __post_init__(self):
        if type(self.price_tick) is not int or not 1 <= self.price_tick <= MAX_PRICE_TICK:
            raise ValueError(
                f"price_tick={self.price_tick}: must be a whole number from 1 to {MAX_PRICE_TICK}; 100 is one cent"
            )


class LobsterFeed(Feed):
    """Reads LOBSTER's pairs of files."""

    Options = LobsterOptions

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find sessions; see `files.find_sources`."""
        return find_sources(paths)

    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it."""
        (source,) = session.sources
        name = named(source)
        return Session(
            session.symbol,
            session.date,
            self.options.price_tick / PRICE_UNITS,
            name.start_ms * 10**6,
            name.end_ms * 10**6,
            rebuilt_takers=True,
            source=str(source.files[0]),
            levels=name.levels,
        )

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """Turn a session into what participants submitted.

        Executions become the aggressive orders that caused them. The opening book, and what the vendor's window
        reveals, are anonymous rows before the order that met them. With bad rows left out, messages that do not fit the
        book are left out too, and the book is set to the vendor's by anonymous rows.

        Raises:
            DataError: The files are damaged, or the vendor's books do not follow from the messages.
        """
        (source,) = session.sources
        follower, building = self._reading(source, ledger)
        for part in read_parts(source, self.options.price_tick, ledger):
            followed = follower.follow(part)
            _refuse_unfit(source, part, followed, ledger)
            columns, _ = building.build(part, followed)
            yield columns
        ledger.counts.update(building.counts)
        ledger.counts.update(follower.counts)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare every book of the vendor with ours, and the order flow's books and trades with the feed's.

        Raises:
            DataError: The files are damaged.
        """
        (source,) = session.sources
        follower, building = self._reading(source, ledger)
        checker = FlowChecker(str(source.files[0]))
        rows, first = 0, len(ledger.rejections)
        for part in read_parts(source, self.options.price_tick, ledger):
            followed = follower.follow(part)
            if ledger.on_error == SKIP:
                _refuse_unfit(source, part, followed, ledger)
            columns, last = building.build(part, followed)
            checker.check(columns, last, part.books, Fills.of(part.messages, self.options.price_tick))
            rows += len(part.books)
        if rows == 0:
            why = [
                f": {bad.source}, row {bad.row}: {bad.reason}: {bad.detail}" for bad in ledger.rejections[first:][:1]
            ]
            raise DataError(str(source), "".join(["holds no good row", *why]))
        counts = {"rows": rows, "compared": rows, **follower.counts, **checker.counts}
        return Verification(counts, follower.seconds, follower.examples + checker.notes)

    def _reading(self, source: Source, ledger: Ledger) -> tuple[BookFollower, _FlowBuilder]:
        tick = self.options.price_tick
        return BookFollower(str(source.files[1]), tick, ledger.on_error == SKIP), _FlowBuilder(tick)


FEED = LobsterFeed


def _refuse_unfit(source: Source, part: Part, followed: Followed, ledger: Ledger) -> None:
    """Leave out the messages that do not fit the book."""
    for at in np.flatnonzero(followed.unfit).tolist():
        detail = followed.notes.get(at, "the vendor's book after it is another than ours")
        ledger.refuse(source.files[0], int(part.messages.row[at]), UNFIT, detail)
    part.messages.kind[followed.unfit] = STUB


class _FlowBuilder:
    """Joins what participants submitted with what the window revealed.

    Attributes:
        counts: What the feed held and how it was read.
    """

    def __init__(self, price_tick: int):
        self.counts = Counter(dict.fromkeys(("messages", *NAMES[:NUM_KINDS], "hidden_volume", *COUNTS), 0))
        self._tick = price_tick
        # The book's follower numbers anonymous volume from -1 down, so these begin far below.
        self._nameless = -(1 << 40)

    def build(self, part: Part, followed: Followed) -> tuple[Columns, np.ndarray]:
        """The flow of a part, and int64[M]: the message of the part, from 0, that completed each of its rows."""
        orders, counts = self._submitted(part.messages)
        # Aggressors that the feed does not name get ids of their own: beside other agents they may come to rest.
        nameless = np.flatnonzero(orders[:, t.ORDER_ID] == 0)
        orders[nameless, t.ORDER_ID] = self._nameless - np.arange(len(nameless))
        self._nameless -= len(nameless)

        # A stable insertion: what a message revealed goes before the order that the message belongs to.
        row = followed.changes[:, CHANGE_ROW]
        before = np.searchsorted(orders[:, LAST], row)
        rows = np.insert(orders[:, : t.NUM_ORDER_COLUMNS], before, followed.changes[:, : t.NUM_ORDER_COLUMNS], axis=0)
        last = np.insert(orders[:, LAST], before, row)
        columns = {
            "time": np.insert(orders[:, TIME], before, part.messages.time[row]),
            "kind": rows[:, t.KIND],
            "side": rows[:, t.SIDE],
            "price": rows[:, t.PRICE],
            "size": rows[:, t.SIZE],
            "order_id": rows[:, t.ORDER_ID],
            "owner": rows[:, t.OWNER],
            "flags": np.insert(orders[:, FLAGS], before, followed.changes[:, CHANGE_FLAGS]),
            "source_row": part.messages.row[last],
        }
        self._count(part.messages, counts, int(np.count_nonzero(followed.unfit)))
        return columns, last

    def _submitted(self, messages: Messages) -> tuple[np.ndarray, Counter[str]]:
        """`submitted_orders`, but no run goes on behind rows that were left out."""
        missing = (np.diff(messages.row) > 1) & (np.diff(messages.time) == 0)
        cuts = [0, *(np.flatnonzero(missing) + 1).tolist(), len(messages.row)]
        parts, total = [], Counter()
        for first, last in pairwise(cuts):
            orders, counts = submitted_orders(messages.part(first, last), self._tick)
            orders[:, LAST] += first
            parts.append(orders)
            total.update(counts)
        return np.concatenate(parts), total

    def _count(self, messages: Messages, counts: Counter[str], num_unfit: int) -> None:
        by_kind = np.bincount(messages.kind, minlength=NUM_KINDS + 1)[1 : NUM_KINDS + 1].tolist()
        self.counts.update(counts)
        self.counts.update(dict(zip(NAMES[:NUM_KINDS], by_kind, strict=True)))
        self.counts["messages"] += len(messages.time) - num_unfit
        self.counts["hidden_volume"] += int(messages.size[messages.kind == EXECUTE_HIDDEN].sum())
