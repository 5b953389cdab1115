"""Checksums of raw files, remembered while the files keep their size and time: years of data are hashed once."""

from __future__ import annotations

import json
from pathlib import Path

from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.whole_files import write_text

NAME = ".checksums.json"


class Checksums:
    """Remembers checksums in a folder.

    Args:
        folder: Where the memory lies; need not exist.
    """

    def __init__(self, folder: Path):
        self._path = folder / NAME
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            known = None
        self._known: dict[str, list] = known if isinstance(known, dict) else {}

    def of(self, file: RawFile) -> str:
        """The checksum of a file, sha256 of its content as it lies on disk.

        Raises:
            DataError: It cannot be read.
        """
        path = file.path.resolve()
        stat = path.stat() if path.exists() else None
        key = f"{path}!{file.member or ''}"
        state = [stat.st_size, stat.st_mtime_ns] if stat else []
        if stat is None or self._known.get(key, [None])[:-1] != state:
            self._known[key] = [*state, file.checksum()]
        return self._known[key][-1]

    def save(self) -> None:
        """Write the memory; it appears whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(self._known))
