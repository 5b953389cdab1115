"""The journal of a preparation: which units are done, and what they found. It outlives a killed process."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mars_lmm.whole_files import write_text


class Journal:
    """One small file a finished unit; each appears whole or not at all, after all that the unit made.

    Args:
        folder: Where to; made if it is missing.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, unit: str) -> Any | None:
        """What a unit found, or None if it is not done."""
        try:
            return json.loads((self._folder / f"{unit}.json").read_text())
        except FileNotFoundError:
            return None

    def put(self, unit: str, found: Any) -> None:
        """A unit is done."""
        write_json(self._folder / f"{unit}.json", found)


def write_json(path: Path, values: Any, indent: int | None = None) -> None:
    """Write JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(values, indent=indent))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, also of several machines on one file system; it falls with its process.

    Args:
        path: The lock's file, which stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
