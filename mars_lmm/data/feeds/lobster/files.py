"""LOBSTER files: finding a session's pair of files in folders, archives and beside each other.

A session is two CSV files without a header, `SYMBOL_DATE_STARTms_ENDms_message_LEVELS.csv` and
`..._orderbook_LEVELS.csv`. Row k of the orderbook file is the book after row k of the message file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Source
from mars_lmm.data.feeds.common.files import RawFile, list_files

NAME = re.compile(
    r"(?P<symbol>[^._].*)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<start>\d{1,8})_(?P<end>\d{1,8})"
    r"_(?P<content>message|orderbook)_(?P<levels>[1-9]\d{0,3})\.(?i:csv)"
)
SIMILAR = re.compile(r"_(message|orderbook)_", re.IGNORECASE)
EXPECTED_NAMES = "SYMBOL_YYYY-MM-DD_STARTms_ENDms_message_LEVELS.csv and its ..._orderbook_LEVELS.csv"
SUFFIX = ".csv"


class Named(NamedTuple):
    """What a session's file name tells.

    Attributes:
        start_ms: Start of the recording, milliseconds since midnight.
        end_ms: End of the recording, milliseconds since midnight.
        levels: Levels a side in the orderbook file.
    """

    start_ms: int
    end_ms: int
    levels: int


def named(source: Source) -> Named:
    """What the names of a session's files tell."""
    match = NAME.fullmatch(source.files[0].name)
    return Named(int(match["start"]), int(match["end"]), int(match["levels"]))


def find_sources(paths: Sequence[Path | str]) -> list[Source]:
    """Find LOBSTER sessions.

    Args:
        paths: Folders (searched with their subfolders and zip archives), zip archives, or message files; each file
            plain or as .csv.gz.

    Returns:
        Message and orderbook file of each session, in the order of `paths`, by file name within a path.

    Raises:
        DataError: A path does not exist or holds no LOBSTER files.
    """
    sources: dict[Source, None] = {}
    for path in map(Path, paths):
        files = _csv_files(path)
        found = _pair([file for file in files if NAME.fullmatch(file.name)])
        found += [Source((file,)) for file in files if file.member == ""]
        found += [
            Source((file,), foreign=f"its name is no LOBSTER file's; expected {EXPECTED_NAMES}")
            for file in files
            if SIMILAR.search(file.name) and not NAME.fullmatch(file.name)
        ]
        if not found:
            raise DataError(path, f"no LOBSTER files; expected {EXPECTED_NAMES} (unpack .7z first)")
        sources.update(dict.fromkeys(found))
    return list(sources)


def _csv_files(path: Path) -> list[RawFile]:
    """The CSV files that a path stands for."""
    files = list_files(path, [SUFFIX])
    if files != [RawFile(path)] or path.is_dir():
        return files
    (file,) = files
    match = NAME.fullmatch(file.name)
    if match is None or match["content"] != "message":
        raise DataError(path, f"not a LOBSTER message file; expected the names {EXPECTED_NAMES}")
    beside = [RawFile(other) for other in sorted(path.parent.iterdir()) if other.is_file()]
    return [file, *(other for other in beside if other.name.lower() == _sibling_name(match).lower())]


def _sibling_name(match: re.Match) -> str:
    """The name of the other file of a pair."""
    content = "orderbook" if match["content"] == "message" else "message"
    return f"{match.string[: match.start('content')]}{content}{match.string[match.end('content') :]}"


def _pair(files: list[RawFile]) -> list[Source]:
    """Join message files with their orderbook files."""
    pairs: dict[tuple, dict[str, list[RawFile]]] = {}
    for file in files:
        match = NAME.fullmatch(file.name)
        key = (file.place, *match.group("symbol", "date", "start", "end", "levels"))
        pairs.setdefault(key, {"message": [], "orderbook": []})[match["content"]].append(file)
    return [_source(pair["message"], pair["orderbook"]) for pair in pairs.values()]


def _source(messages: list[RawFile], books: list[RawFile]) -> Source:
    files = (*messages, *books)
    match = NAME.fullmatch(files[0].name)
    twice = [half for half in (messages, books) if len(half) > 1]
    fault = ""
    if not messages or not books:
        fault = f"its other half is missing; put {_sibling_name(match)} beside it"
    elif twice:
        names = [f"{half[0].name} is there twice ({' and '.join(map(str, half))})" for half in twice]
        fault = f"{' and '.join(names)}; keep one"
    elif not _is_date(match["date"]):
        fault = f"there is no day {match['date']}; rename both files of the pair"
    return Source(files, match["symbol"], match["date"], fault)


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False
