"""What the feeds of Shanghai and Shenzhen share: which files are theirs, whose day they tell, and what a session is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, SortedFeed, Source, Verification
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.common.level2.layouts import Layout, detect
from mars_lmm.data.feeds.common.level2.messages import CLOSE, OPENING_CALL, RECORD
from mars_lmm.data.feeds.common.level2.records import Market, read_sessions
from mars_lmm.data.flow import Session
from mars_lmm.data.ledger import Ledger

SUFFIXES = (".csv", ".log")  # of the files' names
HEAD = 4096  # bytes of a file that tell what it is
DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
UNDATED = "undated"
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


class Level2Feed(SortedFeed):
    """What the feeds of Shanghai and Shenzhen share.

    Attributes:
        market: Its tables, and how to read them.
        halves: Of these the two that make a session together.
        expected: What its files are, in words.
        rebuilt_takers: See `mars_lmm.data.flow.Session`.
    """

    Options = Level2Options
    record = RECORD
    market: ClassVar[Market]
    halves: ClassVar[tuple[Layout, Layout]]
    expected: ClassVar[str]
    rebuilt_takers: ClassVar[bool]

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """As `Feed.find_sources`; a source is one file, known by how it begins."""
        found: dict[RawFile, None] = {}
        for path in paths:
            here = [file for file in list_files(path, SUFFIXES) if self.is_own(file.head(HEAD))]
            if not here:
                raise DataError(path, f"no {self.expected}")
            found.update(dict.fromkeys(here))
        return [Source((file,)) for file in found]

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """As `SortedFeed.decode`."""
        (file,) = source.files
        return read_sessions(file, self.layout_of(source), self.market, self.date_of(source), ledger)

    def is_own(self, head: bytes) -> bool:
        """Whether a file that begins so is the feed's."""
        return detect(head, self.market.layouts) is not None

    def layout_of(self, source: Source) -> Layout | None:
        """The layout of a table; None for another file of the feed's."""
        return detect(source.files[0].head(HEAD), self.market.layouts)

    def date_of(self, source: Source) -> str:
        """The day of rows that tell none: the option, or that in the file's name, its archive's, or its folder's."""
        (file,) = source.files
        if self.options.date:
            return self.options.date
        for name in (file.name, file.path.name, file.path.resolve().parent.name):
            for match in DATE.finditer(name):
                with suppress(ValueError):
                    return date(*map(int, match.groups())).isoformat()
        return UNDATED

    def is_whole(self, session: FeedSession, ledger: Ledger) -> bool:
        """Whether a session has both halves; if not, it is refused.

        Raises:
            DataError: A half is missing, and the ledger says that this is an error.
        """
        found = [self.layout_of(source) for source in session.sources]
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


def no_verification() -> Verification:
    """Of a session that was refused as a whole."""
    return Verification({"rows": 0, "compared": 0, "mismatches": 0, "unknown_ids": 0}, 0.0, [])
