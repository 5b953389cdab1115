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
from mars_lmm.data.feeds.common.files import GZIP_SUFFIX, RawFile, list_files

NAME = re.compile(
    r"(?P<symbol>[^._][^_]*)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<start>\d{1,8})_(?P<end>\d{1,8})"
    r"_(?P<content>message|orderbook)_(?P<levels>[1-9]\d{0,3})\.csv"
)
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
        DataError: A path does not exist or holds no LOBSTER files, an archive is damaged, or one file of a
            session's pair is missing.
    """
    sources: dict[Source, None] = {}
    for path in map(Path, paths):
        found = _pair([file for file in _csv_files(path) if NAME.fullmatch(file.name)])
        if not found:
            raise DataError(path, f"no LOBSTER files; expected {EXPECTED_NAMES} (unpack .7z first)")
        sources.update(dict.fromkeys(found))
    return list(sources)


def _csv_files(path: Path) -> list[RawFile]:
    """The CSV files that a path stands for."""
    files = list_files(path, [SUFFIX])
    if not path.is_file() or path.suffix == ".zip":
        return files
    (file,) = files
    match = NAME.fullmatch(file.name)
    if match is None or match["content"] != "message":
        raise DataError(path, f"not a LOBSTER message file; expected the names {EXPECTED_NAMES}")
    sibling = path.with_name(_sibling_name(file.name))
    packed = sibling.with_name(sibling.name + GZIP_SUFFIX)
    return [file, *(RawFile(other) for other in (sibling, packed) if other.exists())]


def _sibling_name(name: str) -> str:
    """The name of the other file of a pair."""
    if "_message_" in name:
        return name.replace("_message_", "_orderbook_")
    return name.replace("_orderbook_", "_message_")


def _pair(files: list[RawFile]) -> list[Source]:
    """Join message files with their orderbook files."""
    by_place = {(file.place, file.name): file for file in files}
    sources = []
    for (place, name), file in by_place.items():
        sibling = by_place.get((place, _sibling_name(name)))
        if sibling is None:
            raise DataError(str(file), f"its other half is missing; put {_sibling_name(name)} beside it")
        match = NAME.fullmatch(name)
        if not _is_date(match["date"]):
            raise DataError(str(file), f"there is no day {match['date']}; rename both files of the pair")
        if match["content"] == "message":
            sources.append(Source((file, sibling), match["symbol"], match["date"]))
    return sources


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False
