"""From a feed's files to its sessions, whether a file holds one session or many."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from mars_lmm.data.feeds import Feed, FeedSession, SortedFeed, Source
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol
from mars_lmm.data.spool import SNAPSHOTS, SUFFIX, Spool, spooled_sessions


def sort_source(feed: SortedFeed, source: Source, folder: Path, symbols: Collection[str], ledger: Ledger) -> None:
    """Sort a source's messages by session into a folder, which appears whole or not at all.

    Args:
        feed: Reads the source.
        source: Its files.
        folder: A spool of this source alone.
        symbols: The instruments to keep; all of them if there are none.
        ledger: Takes counts and bad rows.

    Raises:
        DataError: The source cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    spool = Spool(partial)
    for symbol, date, records in feed.decode(source, ledger):
        if not is_symbol(symbol):
            ledger.refuse(source, None, "bad symbol", f"{len(records)} messages of {symbol[:40]!r}: it names no file")
        elif not symbols or symbol in symbols:
            spool.append(symbol, date, records, SUFFIX if records.dtype == feed.record else SNAPSHOTS)
    spool.flush()
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


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
    parts: dict[tuple[str, str], list[tuple[Source, Path]]] = defaultdict(list)
    for source, folder in zip(sources, folders, strict=True):
        for key, path in spooled_sessions(folder).items():
            parts[key].append((source, path))
    return [
        FeedSession(symbol, date, *(tuple(column) for column in zip(*parts[symbol, date], strict=True)))
        for symbol, date in sorted(parts, key=lambda key: key[::-1])
    ]
