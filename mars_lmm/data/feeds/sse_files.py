"""Shanghai level-2 files: which stock-days lie at some paths, in which of two layouts.

*Split tables*: one CSV file of orders and one of trades, with any number of stocks and days in each. *Log*:
AXOrderBook's text log of one day, orders, trades and snapshots line by line. No line of it tells the day, so that
comes from the file's or its folder's name, if they have it. Files are known by how they begin, not by their names.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import sse_csv, sse_log
from mars_lmm.data.feeds.lobster_files import CsvFile
from mars_lmm.data.feeds.sse_messages import CLOSE, OPENING_CALL, Messages, Snapshots, no_snapshots
from mars_lmm.data.flow import Session

SUFFIXES = (".csv", ".log", ".zip")
DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
UNDATED = "undated"
TICK_SIZE = 0.01  # CNY


@dataclass(frozen=True)
class SseSession:
    """One stock on one day.

    Attributes:
        symbol: The stock's six digits.
        date: ISO date, or `UNDATED`.
        files: The log; or the file of orders and the file of trades.
    """

    symbol: str
    date: str
    files: tuple[CsvFile, ...]

    @property
    def name(self) -> str:
        """The session's name in file names and messages."""
        return f"{self.symbol}_{self.date}"

    @property
    def source(self) -> str:
        """The files in words."""
        return " and ".join(map(str, self.files))

    def checksum(self) -> str:
        """Identity of the session's content."""
        digest = hashlib.sha256(self.name.encode())
        for file in self.files:
            digest.update(file.read())
        return digest.hexdigest()[:16]

    def read(self) -> tuple[Messages, Snapshots]:
        """The messages and, where the layout has any, the snapshots.

        Raises:
            DataError: A file is damaged; names the row and what is wrong with it.
        """
        if len(self.files) == 1:
            return sse_log.read(self.files[0], self.symbol)
        return sse_csv.read(*self.files, self.symbol, self.date), no_snapshots()

    def describe(self) -> Session:
        """The session as the order flow names it."""
        return Session(self.symbol, self.date, TICK_SIZE, OPENING_CALL, CLOSE, rebuilt_takers=True, source=self.source)


def find_sessions(paths: list[Path | str]) -> list[SseSession]:
    """Find Shanghai sessions. Orders and trades belong together by stock and day, wherever they lie.

    Args:
        paths: Folders (searched with their subfolders and zip archives), zip archives, or files.

    Returns:
        The sessions of logs by file, then those of split tables by day and stock.

    Raises:
        DataError: A path does not exist or holds no such file, an archive is damaged, a stock-day is in two
            files, or one half of split tables is missing.
    """
    logs: dict[CsvFile, None] = {}
    orders: dict[tuple[str, str], CsvFile] = {}
    trades: dict[tuple[str, str], CsvFile] = {}
    for path in map(Path, paths):
        found = False
        for file in _files(path):
            head = _head(file)
            if head.startswith(sse_log.START):
                logs[file] = None
            elif b"OrderBSFlag" in head:
                _add(orders, file)
            elif b"TradeBSFlag" in head:
                _add(trades, file)
            else:
                continue
            found = True
        if not found:
            raise DataError(path, "no Shanghai level-2 files; expected CSV files of orders and of trades, or a log")
    for half, other, name in ((orders, trades, "trades"), (trades, orders, "orders")):
        for key, file in half.items():
            if key not in other:
                raise DataError(str(file), f"the {name} of {' '.join(key)} are missing; name their file too")
    sessions = [SseSession(symbol, _date(log), (log,)) for log in logs for symbol in sse_log.symbols(log)]
    pairs = sorted(orders, key=lambda key: key[::-1])
    return sessions + [SseSession(*key, (orders[key], trades[key])) for key in pairs]


def _add(files: dict[tuple[str, str], CsvFile], file: CsvFile) -> None:
    """Enter the stock-days of a split table."""
    for key in sse_csv.stock_days(file):
        if files.setdefault(key, file) != file:
            raise DataError(str(file), f"{' '.join(key)} is in {files[key]} too; name only one of them")


def _files(path: Path) -> list[CsvFile]:
    """The files that a path stands for."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in SUFFIXES)
        return [member for file in inside for member in _files(file)]
    if not path.is_file():
        raise DataError(path, "no such file or folder")
    if path.suffix != ".zip":
        return [CsvFile(path)]
    try:
        with zipfile.ZipFile(path) as archive:
            return [CsvFile(path, name) for name in sorted(archive.namelist()) if name.endswith(SUFFIXES[:2])]
    except zipfile.BadZipFile as error:
        raise DataError(path, f"not a readable zip archive ({error}); get the file again") from error


def _head(file: CsvFile) -> bytes:
    """How a file begins."""
    try:
        if file.member is None:
            with file.path.open("rb") as stream:
                return stream.read(1000)
        with zipfile.ZipFile(file.path) as archive, archive.open(file.member) as stream:
            return stream.read(1000)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(str(file), f"cannot be read ({error}); get the file again") from error


def _date(file: CsvFile) -> str:
    """The day in a file's name, or else in its folder's."""
    for name in (file.name, file.path.name, file.path.resolve().parent.name):
        match = DATE.search(name)
        if match:
            return "-".join(match.groups())
    return UNDATED
