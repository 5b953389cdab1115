"""What a prepared set is made of."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.ledger import RAISE, SKIP

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2})?")

PROCESSES, RAY = "processes", "ray"
SYNTHETIC = "synthetic"


@dataclass
class FeedConfig:
    """One feed's files in a prepared set."""

    feed: str = SYNTHETIC
    """Name of the feed: a module of mars_lmm.data.feeds, or the full name of one of your own."""
    path: Any = None
    """The feed's files: a folder, an archive, a file, or a list of them."""
    symbols: list[str] = field(default_factory=list)
    """The instruments to keep; empty: all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the feed."""

    def __post_init__(self):
        load_feed(self.feed, self.options)

    @property
    def paths(self) -> list[str]:
        """The paths as a list."""
        return [] if self.path is None else [self.path] if isinstance(self.path, str) else list(self.path)


@dataclass
class DataConfig:
    """The data of a run: where order flow comes from, how it is split, how rows are cut and read."""

    feed: str | None = SYNTHETIC
    """Name of the feed (see FeedConfig); null if `feeds` names all."""
    path: Any = None
    """The feed's files: a folder, an archive, a file, or a list of them. The synthetic market takes none."""
    symbols: list[str] = field(default_factory=list)
    """The instruments to keep; empty: all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the feed."""
    feeds: list[FeedConfig] = field(default_factory=list)
    """More feeds in the same set, each with feed, path, symbols and options."""
    on_error: str = RAISE
    """What becomes of a bad row: "raise" stops with its file, row and reason; "skip" leaves it out and lists it."""
    name: str = SYNTHETIC
    """What the prepared set is called; a hash of all that decides its content is added."""
    root: str = "prepared"
    """Where prepared sets are kept."""
    prepared: str | None = None
    """A set that is there already: its folder, or its URL in an object store. Nothing is prepared then."""
    cutoff: str = "2024-01-05"
    """Training ends here and validation begins: a date (YYYY-MM-DD) or a time of day (HH:MM[:SS])."""
    row_length: int = 256
    """T: next-order predictions in a row; a row holds T + 1 orders."""
    context: int = 128
    """Orders before a validation row's first scored one that are read, not scored; at most row_length - 1."""
    executor: str = PROCESSES
    """What prepares sessions in parallel: "processes" on this machine, or a "ray" cluster."""
    workers: int | None = None
    """How many sessions are prepared at once; null: as many as there are CPUs."""
    batch_size: int = 16
    """Rows in a batch on one device."""
    num_workers: int = 0
    """Processes that read rows ahead."""
    block: int = 16
    """Row groups that are shuffled together when the set is read from an object store."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Settings of the synthetic market."""

    def __post_init__(self):
        if self.feed is None and not self.feeds:
            raise ValueError("data.feed is null and data.feeds is empty: name a feed")
        if self.feed not in (None, SYNTHETIC) and self.name == SYNTHETIC:
            self.name = self.feed.rpartition(".")[2]
        for feed in self.all_feeds if self.prepared is None else ():
            if feed.feed == SYNTHETIC and feed.path is not None:
                raise ValueError(f"data.path={feed.path}: the synthetic market is made, not read; set data.feed too")
            if load_feed(feed.feed, feed.options).needs_paths and not feed.paths:
                raise ValueError(f"data.feed={feed.feed} needs data.path=FOLDER_OR_ARCHIVE_OR_FILE")
        if not _is_cutoff(self.cutoff):
            raise ValueError(
                f"data.cutoff={self.cutoff!r}: give a date (2024-01-05) or a time of day (12:30 or 12:30:00)"
            )
        if self.row_length < 2 or not 0 <= self.context < self.row_length:
            raise ValueError(
                f"data.row_length={self.row_length}, data.context={self.context}: a row needs at least 2 "
                "predictions and a context shorter than itself"
            )
        if self.batch_size < 1 or self.num_workers < 0 or self.block < 1 or (self.workers or 1) < 1:
            raise ValueError(
                f"data.batch_size={self.batch_size}, data.num_workers={self.num_workers}, data.block={self.block}, "
                f"data.workers={self.workers}: too small"
            )
        for name, value, choices in (
            ("on_error", self.on_error, (RAISE, SKIP)),
            ("executor", self.executor, (PROCESSES, RAY)),
        ):
            if value not in choices:
                raise ValueError(f"data.{name}={value!r}: choose {' or '.join(choices)}")

    @property
    def all_feeds(self) -> list[FeedConfig]:
        """Every feed of the set."""
        if self.feed is None:
            return self.feeds
        options = asdict(self.synthetic) | self.options if self.feed == SYNTHETIC else self.options
        try:
            own = FeedConfig(self.feed, self.path, self.symbols, options)
        except ValueError as error:
            raise ValueError(f"data.{error}") from error
        return [own, *self.feeds]

    @property
    def cutoff_is_date(self) -> bool:
        """Whether sessions, rather than hours, are split."""
        return bool(_DATE.fullmatch(self.cutoff))

    @property
    def cutoff_time(self) -> int:
        """The cut-off's time of day in nanoseconds since midnight."""
        hours, minutes, *seconds = (int(part) for part in self.cutoff.split(":"))
        return (hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)) * 10**9


def _is_cutoff(text: str) -> bool:
    """Whether a text is a day of the calendar or a time of day."""
    if not (_DATE.fullmatch(text) or _TIME.fullmatch(text)):
        return False
    try:
        return bool(datetime.fromisoformat(text if _DATE.fullmatch(text) else f"2000-01-01T{text}"))
    except ValueError:
        return False
