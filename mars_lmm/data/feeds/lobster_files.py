"""LOBSTER files: finding a session's pair of files in folders, archives and beside each other.

A session is two CSV files without a header, `SYMBOL_DATE_STARTms_ENDms_message_LEVELS.csv` and
`..._orderbook_LEVELS.csv`. Row k of the orderbook file is the book after row k of the message file.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import Session

PRICE_UNITS = 10_000  # LOBSTER prices are dollars x 10,000

NAME = re.compile(
    r"(?P<symbol>[^._][^_]*)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<start>\d+)_(?P<end>\d+)"
    r"_(?P<content>message|orderbook)_(?P<levels>[1-9]\d*)\.csv"
)
EXPECTED_NAMES = "SYMBOL_YYYY-MM-DD_STARTms_ENDms_message_LEVELS.csv and its ..._orderbook_LEVELS.csv"


@dataclass(frozen=True)
class CsvFile:
    """A CSV file on disk, or a member of a zip archive."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def name(self) -> str:
        """The file's own name, without its folder or archive."""
        return Path(self.member or self.path).name

    @property
    def place(self) -> tuple[Path, str]:
        """Where the file lies: files of one session share it."""
        return (self.path.parent, "") if self.member is None else (self.path, str(Path(self.member).parent))

    def read(self) -> bytes:
        """The file's content.

        Raises:
            DataError: The file cannot be read, or its archive is damaged or encrypted.
        """
        try:
            if self.member is None:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.member)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(str(self), f"cannot be read ({error}); get the file again") from error


@dataclass(frozen=True)
class LobsterSession:
    """One instrument's LOBSTER files of one day.

    Attributes:
        symbol: The instrument.
        date: ISO date.
        start_ms: Start of the recording, milliseconds since midnight.
        end_ms: End of the recording, milliseconds since midnight.
        levels: Levels a side in the orderbook file.
        message: The message file.
        orderbook: The orderbook file.
    """

    symbol: str
    date: str
    start_ms: int
    end_ms: int
    levels: int
    message: CsvFile
    orderbook: CsvFile

    @property
    def name(self) -> str:
        """The session's name in file names and messages."""
        return f"{self.symbol}_{self.date}"

    def checksum(self) -> str:
        """Identity of both files' content."""
        digest = hashlib.sha256()
        for file in (self.message, self.orderbook):
            digest.update(file.read())
        return digest.hexdigest()[:16]

    def describe(self, price_tick: int) -> Session:
        """The session as the order flow names it.

        Args:
            price_tick: LOBSTER price units per tick.
        """
        return Session(
            self.symbol,
            self.date,
            price_tick / PRICE_UNITS,
            self.start_ms * 10**6,
            self.end_ms * 10**6,
            rebuilt_takers=True,
            source=str(self.message),
        )


def find_sessions(paths: list[Path | str]) -> list[LobsterSession]:
    """Find LOBSTER sessions.

    Args:
        paths: Folders (searched with their subfolders and zip archives), zip archives, or message files.

    Returns:
        The sessions in the order of `paths`, by file name within a path.

    Raises:
        DataError: A path does not exist or holds no LOBSTER files, an archive is damaged, or one file of a
            session's pair is missing.
    """
    sessions: dict[LobsterSession, None] = {}
    for path in map(Path, paths):
        found = _pair([file for file in _csv_files(path) if NAME.fullmatch(file.name)])
        if not found:
            raise DataError(path, f"no LOBSTER files; expected {EXPECTED_NAMES} (unpack .7z first)")
        sessions.update(dict.fromkeys(found))
    return list(sessions)


def _csv_files(path: Path) -> list[CsvFile]:
    """The CSV files that a path stands for."""
    if path.is_dir():
        archives = [file for archive in sorted(path.rglob("*.zip")) for file in _members(archive)]
        return [CsvFile(file) for file in sorted(path.rglob("*.csv"))] + archives
    if not path.is_file():
        raise DataError(path, "no such file or folder")
    if path.suffix == ".zip":
        return _members(path)
    match = NAME.fullmatch(path.name)
    if match is None or match["content"] != "message":
        raise DataError(path, f"not a LOBSTER message file; expected the names {EXPECTED_NAMES}")
    sibling = path.with_name(_sibling_name(path.name))
    return [CsvFile(file) for file in (path, sibling) if file.exists()]


def _members(archive: Path) -> list[CsvFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [CsvFile(archive, name) for name in sorted(opened.namelist()) if name.endswith(".csv")]
    except zipfile.BadZipFile as error:
        raise DataError(archive, f"not a readable zip archive ({error}); get the file again") from error


def _sibling_name(name: str) -> str:
    """The name of the other file of a pair."""
    if "_message_" in name:
        return name.replace("_message_", "_orderbook_")
    return name.replace("_orderbook_", "_message_")


def _pair(files: list[CsvFile]) -> list[LobsterSession]:
    """Join message files with their orderbook files."""
    by_place = {(file.place, file.name): file for file in files}
    sessions = []
    for (place, name), file in by_place.items():
        sibling = by_place.get((place, _sibling_name(name)))
        if sibling is None:
            raise DataError(str(file), f"its other half is missing; put {_sibling_name(name)} beside it")
        match = NAME.fullmatch(name)
        if match["content"] == "message":
            start, end, levels = int(match["start"]), int(match["end"]), int(match["levels"])
            sessions.append(LobsterSession(match["symbol"], match["date"], start, end, levels, file, sibling))
    return sessions
