"""Progress of a preparation: units done, messages a second, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm


class Progress:
    """A bar that counts in the bytes of the units' files, for sessions differ a hundredfold in length.

    Args:
        stage: What is being done.
        unit: What a unit is called.
        num_bytes: Of each unit.
        running: A folder in which each running unit keeps a file with the number of messages that it has read.
    """

    def __init__(self, stage: str, unit: str, num_bytes: Sequence[int], running: Path):
        self._weights = [max(count, 1) for count in num_bytes]
        self._unit, self._running = unit, running
        self._done = self._messages = 0
        self._started = time.monotonic()
        layout = "{desc} {percentage:3.0f}%|{bar:20}|{postfix}, {elapsed}<{remaining}"
        self._bar = tqdm(total=sum(self._weights), desc=f"prepare: {stage:6}", bar_format=layout, disable=not num_bytes)

    def __enter__(self) -> Progress:
        self.refresh()
        return self

    def resume(self, unit: int) -> None:
        """A unit was done by an earlier process."""
        self._done += 1
        self._bar.initial += self._weights[unit]
        self._bar.update(self._weights[unit])

    def finish(self, unit: int, messages: int) -> None:
        """A unit is done."""
        self._done += 1
        self._messages += messages
        self._bar.update(self._weights[unit])
        self.refresh()

    def refresh(self) -> None:
        """Show what has been done up to now."""
        messages = self._messages + sum(map(_read_count, self._running.iterdir()))
        rate = messages / max(time.monotonic() - self._started, 1e-9)
        shown = f"{self._done}/{len(self._weights)} {self._unit}s"
        self._bar.set_postfix_str(f"{shown}, {rate:,.0f} messages/s" if messages else shown)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _read_count(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # it was just finished, or is being written
        return 0
