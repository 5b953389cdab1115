"""From a feed's files to its sessions, whether a file holds one session or many."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Feed, FeedSession, SortedFeed, Source
from mars_lmm.data.flow import UNDATED
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol
from mars_lmm.data.spool import SNAPSHOTS, SUFFIX, Spool, spooled_sessions

HELD = "held.json"  # in a spool's folder: all the sessions of its source, unless some of the source was refused


class FoundSources(NamedTuple):
    """What lies at some paths.

    Attributes:
        readable: The feed's files.
        faulty: Sources that cannot be read, and why.
        foreign: Files that are none of the feed's, and why.
    """

    readable: list[Source]
    faulty: list[tuple[Source, str]]
    foreign: list[tuple[Source, str]]


def find_sources(feed: Feed, paths: Sequence[Path | str]) -> FoundSources:
    """Find a feed's files, and see which of them can be opened.

    Raises:
        DataError: A path does not exist, or there is no file of the feed's.
    """
    found = FoundSources([], [], [])
    for source in feed.find_sources(paths):
        fault = source.fault or _fault(source)
        if source.foreign:
            found.foreign.append((source, source.foreign))
        elif fault:
            found.faulty.append((source, fault))
        else:
            found.readable.append(source)
    if found.foreign and not found.readable and not found.faulty:
        source, reason = found.foreign[0]
        raise DataError(", ".join(map(str, paths)), f"holds no file of this feed; {source} is none: {reason}")
    return found


def _fault(source: Source) -> str:
    """Why a source's files cannot be opened, or nothing."""
    try:
        for file in source.files:
            file.head(1)
    except DataError as error:
        return error.reason
    return ""


def sort_source(
    feed: SortedFeed,
    source: Source,
    folder: Path,
    symbols: Collection[str],
    ledger: Ledger,
    tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Sort a source's messages by session into a folder, which appears whole or not at all.

    Args:
        feed: Reads the source.
        source: Its files.
        folder: A spool of this source alone.
        symbols: The instruments to keep; all of them if there are none.
        ledger: Takes counts and bad rows.
        tell: Called with the number of messages read so far.

    Raises:
        DataError: The source cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    spool = Spool(partial)
    messages, held, refused = 0, set(), ledger.reasons.total()
    for symbol, day, records in feed.decode(source, ledger):
        messages += len(records)
        tell(messages)
        held.add((symbol, day))
        if not is_symbol(symbol):
            ledger.refuse(source, None, "bad symbol", f"{len(records)} messages of {symbol[:40]!r}: it names no file")
        elif not _is_day(day):
            ledger.refuse(source, None, "bad date", f"{len(records)} messages of {day[:40]!r}: it is no day")
        elif not symbols or symbol in symbols:
            spool.append(symbol, day, records, SUFFIX if records.dtype == feed.record else SNAPSHOTS)
    spool.flush()
    if ledger.reasons.total() == refused:
        (partial / HELD).write_text(json.dumps(sorted(held)), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _is_day(text: str) -> bool:
    try:
        return text == UNDATED or text == date.fromisoformat(text).isoformat()
    except ValueError:
        return False


def absent(symbols: Collection[str], sessions: Sequence[FeedSession]) -> list[str]:
    """The instruments that were asked for and are in none of the sessions."""
    found = {session.symbol for session in sessions}
    return [symbol for symbol in symbols if symbol not in found]


def find_sessions(
    feed: Feed, sources: Sequence[Source], folders: Sequence[Path], symbols: Collection[str] = ()
) -> list[FeedSession]:
    """The sessions of some sources, by date and symbol.

    Args:
        feed: Reads the sources.
        sources: Where they lie.
        folders: Of a feed that sorts: the spool of each source.
        symbols: The instruments to keep; all of them if there are none.
    """
    if not isinstance(feed, SortedFeed):
        kept = [source for source in sources if not symbols or source.symbol in symbols]
        return [FeedSession(source.symbol, source.date, (source,)) for source in kept]
    parts: dict[tuple[str, str], list[tuple[int, Path]]] = defaultdict(list)
    for number, folder in enumerate(folders):
        for key, path in spooled_sessions(folder).items():
            parts[key].append((number, path))
    belonging = _Belonging(sources, folders)
    sessions = []
    for symbol, day in sorted(parts, key=lambda key: key[::-1]):
        numbers, records = zip(*parts[symbol, day], strict=True)
        beside = sorted(belonging.to(numbers, day).difference(numbers))
        own, others = (tuple(sources[number] for number in some) for some in (numbers, beside))
        sessions.append(FeedSession(symbol, day, own, records, others))
    return sessions


class _Belonging:
    """Which sources belong together: on a day, those that hold one of its sessions both.

    A source that holds nothing belongs to those in the same place; one of which some was refused to none, for nobody
    knows what it should hold.
    """

    def __init__(self, sources: Sequence[Source], folders: Sequence[Path]):
        self._sources = sources
        self._empty: dict[Hashable, set[int]] = defaultdict(set)
        self._joined: dict[tuple[int, str], set[int]] = defaultdict(set)
        holders: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, folder in enumerate(folders):
            file = folder / HELD
            if file.exists():
                held = json.loads(file.read_text(encoding="utf-8"))
                for symbol, day in held:
                    holders[symbol, day].append(number)
                if not held:
                    self._empty[_place(sources[number])].add(number)
        for (_, day), numbers in holders.items():
            for number in numbers:
                self._joined[number, day].update(numbers)

    def to(self, numbers: Iterable[int], day: str) -> set[int]:
        """The sources that belong to some on a day."""
        found = set()
        for number in numbers:
            found |= self._joined[number, day]
            empty = self._empty[_place(self._sources[number])]
            found |= {other for other in empty if self._sources[other].date in ("", day)}
        return found


def _place(source: Source) -> Hashable:
    return source.files[0].place if source.files else None
