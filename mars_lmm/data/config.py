"""What a prepared set is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mars_lmm.data.feeds.synthetic import SyntheticConfig

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2})?")


@dataclass
class DataConfig:
    """The data of a run: where order flow comes from, how it is split, how rows are cut and read."""

    feed: str = "synthetic"
    """Name of the feed: synthetic or lobster."""
    path: str | None = None
    """The feed's files: a folder, an archive, or a message file. The synthetic market takes none."""
    name: str = "synthetic"
    """What the prepared set is called; a hash of all that decides its content is added."""
    root: str = "prepared"
    """Where prepared sets are kept."""
    cutoff: str = "2024-01-05"
    """Training ends here and validation begins: a date (YYYY-MM-DD) or a time of day (HH:MM[:SS])."""
    row_length: int = 256
    """T: next-order predictions in a row; a row holds T + 1 orders."""
    context: int = 128
    """Orders before a validation row's first scored one that are read, not scored; at most row_length - 1."""
    batch_size: int = 16
    """Rows in a batch on one device."""
    num_workers: int = 0
    """Processes that read rows ahead."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Settings of the synthetic market."""

    def __post_init__(self):
        if self.feed not in ("synthetic", "lobster"):
            raise ValueError(f"data.feed={self.feed!r}: choose synthetic or lobster")
        if self.feed != "synthetic" and not self.path:
            raise ValueError(f"data.feed={self.feed} needs data.path=FOLDER_OR_ARCHIVE")
        if not (_DATE.fullmatch(self.cutoff) or _TIME.fullmatch(self.cutoff)):
            raise ValueError(
                f"data.cutoff={self.cutoff!r}: give a date (2024-01-05) or a time of day (12:30 or 12:30:00)"
            )
        if self.row_length < 2 or not 0 <= self.context < self.row_length:
            raise ValueError(
                f"data.row_length={self.row_length}, data.context={self.context}: a row needs at least 2 "
                "predictions and a context shorter than itself"
            )
        if self.batch_size < 1 or self.num_workers < 0:
            raise ValueError(f"data.batch_size={self.batch_size}, data.num_workers={self.num_workers}: too small")

    @property
    def cutoff_is_date(self) -> bool:
        """Whether sessions, rather than hours, are split."""
        return bool(_DATE.fullmatch(self.cutoff))

    @property
    def cutoff_time(self) -> int:
        """The cut-off's time of day in nanoseconds since midnight."""
        hours, minutes, *seconds = (int(part) for part in self.cutoff.split(":"))
        return (hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)) * 10**9
