"""Prove that a feed is read right: `python -m mars_lmm.data.verify FEED PATH...`.

Progress and the first mismatches go to standard error; the last line of standard output is one JSON object.
The exit status is 0 if nothing mismatches, 1 if something does, and 2 if the data cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FEEDS, SortedFeed, load_feed
from mars_lmm.data.ledger import RAISE, SKIP, Ledger
from mars_lmm.data.sessions import find_sessions, sort_source


def main(arguments: list[str] | None = None) -> int:
    """Verify the sessions at some paths.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.data.verify", description=__doc__.partition(":")[0])
    parser.add_argument("feed", help=f"{', '.join(FEEDS)}, or a module of your own")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folder, archive or file")
    parser.add_argument("--symbols", nargs="+", default=[], metavar="S", help="only these instruments")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="a setting of the feed")
    parser.add_argument("--on-error", choices=(RAISE, SKIP), default=RAISE, help="what becomes of bad rows")
    options = parser.parse_args(arguments)
    try:
        settings = {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in options.option)}
        result = verify(options.feed, options.paths, settings, options.symbols, options.on_error)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return int(any(count for name, count in result.items() if name.endswith("mismatches")))


def verify(
    name: str,
    paths: Sequence[Path | str],
    options: Mapping[str, Any] | None = None,
    symbols: Sequence[str] = (),
    on_error: str = RAISE,
) -> dict[str, Any]:
    """Verify the sessions at some paths, with progress on standard error.

    Args:
        name: The feed.
        paths: Where the sessions lie.
        options: Settings of the feed.
        symbols: Only these instruments; all if there are none.
        on_error: What becomes of bad rows, "raise" or "skip".

    Returns:
        The feed's name, the number of sessions, the sums of their counts, the rows compared per second, and the rows
        that were left out, by reason.

    Raises:
        ValueError: There is no such feed or option; as DataError: the data cannot be read.
    """
    feed = load_feed(name, options)
    sources = feed.find_sources(paths)
    ledger = Ledger(on_error)
    total, seconds = Counter(), 0.0
    with TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(number)) for number in range(len(sources))]
        if isinstance(feed, SortedFeed):
            for source, folder in zip(sources, folders, strict=True):
                sort_source(feed, source, folder, symbols, ledger)
        sessions = find_sessions(feed, sources, folders, symbols)
        if not sessions:
            raise DataError(
                ", ".join(map(str, paths)), "no session to verify; the files hold none of these instruments"
            )
        for number, session in enumerate(sessions, start=1):
            verification = feed.verify(session, ledger)
            total.update(verification.counts)
            seconds += verification.seconds
            summary = ", ".join(f"{count:,} {what}" for what, count in verification.counts.items())
            print(f"[{number}/{len(sessions)}] {session.name}: {summary}", file=sys.stderr)
            print(*verification.notes, sep="\n", end="\n" * bool(verification.notes), file=sys.stderr)
    return {
        "feed": name,
        "sessions": len(sessions),
        **total,
        "rows_per_second": round(total["rows"] / seconds) if seconds else 0,
        "rejected": ledger.reasons,
    }


if __name__ == "__main__":
    sys.exit(main())
