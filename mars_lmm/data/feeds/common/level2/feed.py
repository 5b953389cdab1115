"""What the feeds of Shanghai and Shenzhen share: which files are theirs, what a session is, and how it is proved."""

from __future__ import annotations

import os
import re
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, SortedFeed, Source, Verification, load_feed
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.common.level2.exchange_check import MAX_NOTES, check_flow
from mars_lmm.data.feeds.common.level2.layouts import Layout, detect, unlike
from mars_lmm.data.feeds.common.level2.messages import CLOSE, OPENING_CALL, RECORD, Messages, Sent
from mars_lmm.data.feeds.common.level2.records import Market, merge, read_sessions, refuse_misfits
from mars_lmm.data.flow import UNDATED, Columns, Session
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.market import session_rules
from mars_lmm.market.rules import DayRules

SUFFIXES = (".csv", ".log")  # of the files' names
HEAD = 4096  # bytes of a file that tell what it is
DATE = re.compile(r"(?<!\d)(20\d\d)[-_./]?(0[1-9]|1[0-2])[-_./]?(0[1-9]|[12]\d|3[01])(?!\d)")
TICK_SIZE = 0.01  # CNY


@dataclass
class Level2Options:
    """Settings of a Chinese level-2 feed.

    Attributes:
        date: ISO date of files whose rows, names and folders tell none.
    """

    date: str | None = None

    def __post_init__(self):
        if self.date is not None:
            self.date = date.fromisoformat(str(self.date)).isoformat()


class Rebuilt(Protocol):
    """A session of M messages, as they describe it.

    Attributes:
        messages: The messages, with what follows from the book.
        books: int64[M, 2, DEPTH, 2], the best levels after each.
        fits: bool[M], false for messages that contradict the book before them.
        counts: What was found on the way, `unknown_ids` among it.
    """

    messages: Messages
    books: np.ndarray
    fits: np.ndarray
    counts: dict[str, int]


class Level2Feed(SortedFeed):
    """What the feeds of Shanghai and Shenzhen share.

    Attributes:
        market: Its tables, and how to read them.
        halves: Of these the two that make a session together.
        expected: What its files are, in words.
        sister: The feed of the other exchange.
        rebuilt_takers: See `mars_lmm.data.flow.Session`.
    """

    Options = Level2Options
    record = RECORD
    market: ClassVar[Market]
    halves: ClassVar[tuple[Layout, Layout]]
    expected: ClassVar[str]
    sister: ClassVar[str]
    rebuilt_takers: ClassVar[bool]

    @abstractmethod
    def count(self, messages: Messages) -> dict[str, int]:
        """How many messages a session has, by kind."""

    @abstractmethod
    def rebuild(self, messages: Messages, schedule: np.ndarray) -> Rebuilt:
        """The book that a session's messages describe; `schedule` has its phases."""

    @abstractmethod
    def sent_orders(self, rebuilt: Rebuilt) -> Sent:
        """What participants sent; `last` counts all of the session's messages."""

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """As `Feed.find_sources`; a source is one file, known by how it begins, with the date that its path tells."""
        found: dict[RawFile, Source] = {}
        for path in paths:
            here = [self._source(file, Path(path)) for file in list_files(path, SUFFIXES)]
            if all(source.foreign for source in here):
                detail = f"; {here[0]} is none: {here[0].foreign}" if here else ""
                raise DataError(path, f"no {self.expected}{detail}")
            for source in here:
                found.setdefault(source.files[0], source)
        return list(found.values())

    def _source(self, file: RawFile, named: Path) -> Source:
        day = self.options.date or _date_in(file, named)
        try:
            head = file.head(HEAD)
        except DataError:
            return Source((file,), date=day)  # whoever opens it is told why
        if not head:
            return Source((file,), date=day, fault="is empty; get it again")
        if self.is_own(head):
            return Source((file,), date=day)
        sisters = load_feed(self.sister).is_own(head)
        reason = f"it is a file of the feed {self.sister}" if sisters else unlike(head, self.market.layouts)
        return Source((file,), date=day, foreign=reason)

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """As `SortedFeed.decode`."""
        (file,) = source.files
        return read_sessions(file, self.layout_of(source), self.market, source.date or UNDATED, ledger)

    def is_own(self, head: bytes) -> bool:
        """Whether a file that begins so is the feed's."""
        return detect(head, self.market.layouts) is not None

    def layout_of(self, source: Source) -> Layout | None:
        """The layout of a table; None for another file of the feed's."""
        return detect(source.files[0].head(HEAD), self.market.layouts)

    def is_of_one_day(self, session: FeedSession, ledger: Ledger) -> bool:
        """Whether a session's files tell their day, or lie in one place; if not, it is refused.

        Raises:
            DataError: They do not, and the ledger says that this is an error.
        """
        places = {source.files[0].place for source in session.sources}
        if session.date != UNDATED or len(places) == 1:
            return True
        detail = f"the files of {session.symbol} lie in {len(places)} places, and nothing tells which day each has; "
        ledger.refuse(session, None, "no date", detail + "give options.date, or put dates into the folders' names")
        return False

    def is_whole(self, session: FeedSession, ledger: Ledger) -> bool:
        """Whether a session has both halves; if not, it is refused.

        A stock without a trade has no row among the trades. They are missing only if no table of trades belongs to
        its orders' table.

        Raises:
            DataError: A half is missing, and the ledger says that this is an error.
        """
        found = [self.layout_of(source) for source in (*session.sources, *session.beside)]
        for half, other in (self.halves, self.halves[::-1]):
            if all(layout is half for layout in found):
                detail = f"the {other.name} of {session.symbol} {session.date} are missing; name their file too"
                ledger.refuse(session, None, f"{other.name} missing", detail)
                return False
        return True

    def rules(self, session: FeedSession) -> str:
        """The rule file of the session's board."""
        return self.market.boards[int(session.symbol[:3])]

    def describe(self, session: FeedSession) -> Session:
        """As `Feed.describe`."""
        return Session(
            session.symbol,
            session.date,
            TICK_SIZE,
            OPENING_CALL,
            CLOSE,
            rebuilt_takers=self.rebuilt_takers,
            source=str(session),
            rules=self.rules(session),
        )

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """As `Feed.order_flow`.

        The flow has no auction trades: they follow from the orders of the calls, so it needs an exchange that holds
        the auctions.
        """
        messages = self.read(session, ledger)
        if messages is None:
            return
        schedule = self._day(session).schedule
        rebuilt = self.rebuild(messages, schedule)
        refuse_misfits(session, rebuilt.messages, rebuilt.fits, ledger)
        sent = self.sent_orders(rebuilt)
        ledger.counts.update(rebuilt.counts | sent.counts)
        yield from sent.parts(schedule)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare the book after every order, and all trades and auctions, with our own exchange's.

        Args:
            session: The session.
            ledger: Takes bad rows.

        Returns:
            `rows` (messages), `compared` (orders after which the books are compared), `mismatches` (messages that do
            not fit the book), the counts of `Rebuilt`, of `compare_shown` and of `exchange_check.Check`.

        Raises:
            DataError: The files are damaged.
        """
        messages = self.read(session, ledger)
        if messages is None:
            return Verification({"rows": 0, "compared": 0, "mismatches": 0, "unknown_ids": 0}, 0.0, [])
        self._compare(session, messages.keep(np.arange(len(messages.time)) < 1))  # compiles
        started = time.perf_counter()
        counts, notes = self._compare(session, messages)
        return Verification(counts, time.perf_counter() - started, notes)

    def read(self, session: FeedSession, ledger: Ledger) -> Messages | None:
        """The session's messages, counted; None if there are none, or it was refused."""
        if not self.is_of_one_day(session, ledger):
            return None
        messages = merge(session, ledger)
        ledger.counts.update({"messages": len(messages.kind), **self.count(messages)})
        return messages if self.is_whole(session, ledger) and len(messages.kind) else None

    def compare_shown(
        self, session: FeedSession, messages: Messages, books: np.ndarray
    ) -> tuple[dict[str, int], list[str]]:
        """Compare the messages' books with what else the feed shows of them, if it does.

        Args:
            session: The session.
            messages: Its M messages, those that fit.
            books: int64[M, 2, DEPTH, 2], the book after each.

        Returns:
            `compared`, `mismatches` and what else is counted; the first mismatches in words.
        """
        return {}, []

    def _compare(self, session: FeedSession, messages: Messages) -> tuple[dict[str, int], list[str]]:
        """The comparison of `verify`: its counts, and the first mismatches in words."""
        day = self._day(session)
        rebuilt = self.rebuild(messages, day.schedule)
        fits, sent = rebuilt.fits, self.sent_orders(rebuilt)
        fitting, books = rebuilt.messages.keep(fits), rebuilt.books[fits]
        check = check_flow(str(session), day, fitting, books, sent._replace(last=(np.cumsum(fits) - 1)[sent.last]))
        misfits = np.flatnonzero(~fits)
        shown, lost = self.compare_shown(session, fitting, books)
        counts = {
            "rows": len(fits),
            "compared": len(sent.times),
            "mismatches": 0,
            **rebuilt.counts,
            **shown,
            **check.counts,
        }
        counts["mismatches"] += len(misfits)
        notes = [f"{session}: {rebuilt.messages.describe(i)}" for i in misfits[:MAX_NOTES].tolist()]
        return counts, notes + lost + check.notes

    def _day(self, session: FeedSession) -> DayRules:
        """What the exchange holds the session under; the replay does too."""
        described = self.describe(session)
        return session_rules(described.rules).day(described.reference_price)


def _date_in(file: RawFile, named: Path) -> str:
    """The date that a file's path tells nearest to the file, or nothing.

    Searched are its name and its folders, in its archive and outside, up to the path that was named; of a named file,
    its folder too.
    """
    top = Path(os.path.abspath(named))
    outside = Path(os.path.abspath(file.path)).relative_to((top if named.is_dir() else top.parent).parent)
    names = [*outside.parts, *Path(file.member or "").parts]
    for name in (*names[::-1], "/".join(names)):  # the whole for folders such as 2024/01/02
        for match in DATE.finditer(name):
            with suppress(ValueError):
                return date(*map(int, match.groups())).isoformat()
    return ""
