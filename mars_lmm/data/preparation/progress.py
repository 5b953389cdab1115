"""Progress of a preparation: units done, messages a second, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mars_lmm.data.feeds.common.files import bytes_read

TELL_SECONDS = 0.5  # between what a unit tells, and what a terminal shows
LOG_SECONDS = 10  # between the lines of a log


class Progress:
    """A bar that counts in the bytes of the units' files, for sessions differ a hundredfold in length.

    Args:
        stage: What is being done.
        unit: What a unit is called.
        num_bytes: Of each unit.
        running: A folder in which each running unit keeps what `UnitProgress` writes.
    """

    def __init__(self, stage: str, unit: str, num_bytes: Sequence[int], running: Path):
        self._weights = [max(count, 1) for count in num_bytes]
        self._unit, self._running = unit, running
        self._done = self._messages = self._bytes = 0
        self._started = time.monotonic()
        layout = "{desc} {percentage:3.0f}%|{bar:20}|{postfix}, {elapsed}<{remaining}"
        # The time that is left is told by the mean rate: units end in bursts.
        self._bar = tqdm(
            total=sum(self._weights),
            desc=f"prepare: {stage:6}",
            bar_format=layout,
            smoothing=0,
            disable=not num_bytes,
        )
        self._pause = TELL_SECONDS if sys.stderr.isatty() else LOG_SECONDS
        self._shown = 0.0

    def __enter__(self) -> Progress:
        self._show()
        return self

    def resume(self, unit: int) -> None:
        """A unit was done by an earlier process."""
        self._done += 1
        self._bytes += self._weights[unit]
        self._bar.initial += self._weights[unit]

    def finish(self, unit: int, messages: int) -> None:
        """A unit is done."""
        self._done += 1
        self._messages += messages
        self._bytes += self._weights[unit]
        self.refresh()

    def refresh(self) -> None:
        """Show what has been done up to now, unless it was just shown."""
        if time.monotonic() - self._shown >= self._pause:
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        running = [_read_counts(path) for path in self._running.iterdir()]
        messages = self._messages + sum(counts[0] for counts in running)
        self._bar.n = min(self._bytes + sum(counts[1] for counts in running), self._bar.total or 0)
        rate = messages / max(time.monotonic() - self._started, 1e-9)
        shown = f"{self._done}/{len(self._weights)} {self._unit}s"
        self._bar.set_postfix_str(f"{shown}, {rate:,.0f} messages/s" if messages else shown)

    def __exit__(self, *_: object) -> None:
        self._show()
        self._bar.close()


class UnitProgress:
    """What a running unit tells of itself, in a file that is gone with it.

    Args:
        path: The file.
        record_bytes: Of a message, if the unit reads records of one size; else the bytes of raw files count.
    """

    def __init__(self, path: Path, record_bytes: int | None = None):
        self._path, self._record_bytes = path, record_bytes
        self._before = bytes_read()
        self._told = 0.0

    def __enter__(self) -> UnitProgress:
        return self

    def tell(self, messages: int) -> None:
        """So many messages were read by now."""
        if time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            num_bytes = messages * self._record_bytes if self._record_bytes else bytes_read() - self._before
            self._path.write_text(f"{messages} {num_bytes}")

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _read_counts(path: Path) -> tuple[int, int]:
    """Messages and bytes."""
    try:
        messages, num_bytes = path.read_text().split()
        return int(messages), int(num_bytes)
    except (OSError, ValueError):  # it was just finished, or is being written
        return 0, 0
