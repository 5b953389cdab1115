"""The spool: messages sorted by session, on disk, for feeds whose files hold many sessions.

A source is read once, in order; its messages are appended to one file of records a session. Memory stays flat: what
is buffered is written out whenever `MAX_BUFFERED` records have come together.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from mars_lmm.data.names import file_name, symbol_of

MAX_BUFFERED = 1 << 19  # records, over all sessions
SUFFIX = ".records"
SNAPSHOTS = ".snapshots"  # of what a feed compares its books with, where it has any


class Spool:
    """Writes records by session.

    Args:
        folder: Where to; made if it is missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._buffered: dict[tuple[str, str, str], list[np.ndarray]] = defaultdict(list)
        self._num_buffered = 0
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, symbol: str, date: str, records: np.ndarray, suffix: str = SUFFIX) -> None:
        """Add records to a session.

        Args:
            symbol: The instrument.
            date: ISO date.
            records: [N] of the feed's own structured type; copied.
            suffix: Which of the session's files takes them: `SUFFIX` or `SNAPSHOTS`.
        """
        self._buffered[symbol, date, suffix].append(records.copy())
        self._num_buffered += len(records)
        if self._num_buffered >= MAX_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Write out what is buffered."""
        for (symbol, date, suffix), parts in self._buffered.items():
            path = self.folder / file_name(symbol) / f"{date}{suffix}"
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                for records in parts:
                    file.write(records.tobytes())
        self._buffered.clear()
        self._num_buffered = 0


def spooled_sessions(folder: Path) -> dict[tuple[str, str], Path]:
    """The record files in a spool's folder by (symbol, ISO date)."""
    files = sorted(folder.glob(f"*/*{SUFFIX}"))
    return {(symbol_of(file.parent.name), file.name.removesuffix(SUFFIX)): file for file in files}


def read_records(path: Path, dtype: np.dtype, first: int = 0, count: int = -1) -> np.ndarray:
    """Records [first, first + count) of a session's file; all that follow if count is -1.

    Args:
        path: The file.
        dtype: The feed's structured type.
        first: The first record.
        count: How many records, at most.
    """
    return np.fromfile(path, dtype, count, offset=first * dtype.itemsize)
