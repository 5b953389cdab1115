"""Prove that a feed is read right: `python -m mars_lmm.data.verify FEED PATH...`.

Progress, the first mismatches and bad rows go to standard error; the last line of standard output is one JSON object.
Bad rows are left out and counted. The exit status is 0 if nothing mismatches and no row is bad, 1 if something does,
and 2 if the data cannot be read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import yaml

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FEEDS, FeedSession, SortedFeed, Source, load_feed
from mars_lmm.data.ledger import SKIP, UNREADABLE, Ledger
from mars_lmm.data.sessions import absent, find_sessions, find_sources, sort_source

MAX_LISTED = 10  # bad rows of a session that are told of


class _Loader(yaml.SafeLoader):
    """YAML in which 16:00, 000001, NO and 2024-01-02 are text, and only true and false truth values."""

    yaml_implicit_resolvers: ClassVar[dict] = {}


for _tag, _form in (
    ("null", r"|~|null|NULL|Null"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?(0|[1-9][0-9]*)"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_form})$"), None)


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
    options = parser.parse_intermixed_args(arguments)
    try:
        settings = {
            key: yaml.load(value, _Loader) for key, _, value in (item.partition("=") for item in options.option)
        }
        result = verify(options.feed, options.paths, settings, options.symbols)
    except (ValueError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    bad = any(count for name, count in result.items() if name.endswith("mismatches"))
    return int(bad or bool(result["rejected"]))


def verify(
    name: str,
    paths: Sequence[Path | str],
    options: Mapping[str, Any] | None = None,
    symbols: Sequence[str] = (),
) -> dict[str, Any]:
    """Verify the sessions at some paths, with progress on standard error.

    Args:
        name: The feed.
        paths: Where the sessions lie.
        options: Settings of the feed.
        symbols: Only these instruments; all if there are none.

    Returns:
        The feed's name, the number of sessions, the sums of their counts, the rows compared per second, the rows that
        were left out, by reason, and what was counted while the files were read.

    Raises:
        ValueError: There is no such feed or option; as DataError: the data cannot be read.
    """
    feed = load_feed(name, options)
    sources, faulty, foreign = find_sources(feed, paths)
    ledger = Ledger(SKIP)
    for source, reason in foreign:
        print(f"{source} is left aside: {reason}", file=sys.stderr)
    for source, fault in faulty:
        ledger.refuse(source, None, UNREADABLE, fault)
    total, seconds = Counter(), 0.0
    with TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(number)) for number in range(len(sources))]
        if isinstance(feed, SortedFeed):
            for source, folder in zip(sources, folders, strict=True):
                with _dropping(source, ledger):
                    sort_source(feed, source, folder, symbols, ledger)
        sessions = find_sessions(feed, sources, folders, symbols)
        for symbol in absent(symbols, sessions):
            ledger.refuse(symbol, None, "no session", "asked for, and in none of the files")
        _list_rejections(ledger, 0)
        for number, session in enumerate(sessions, start=1):
            listed = len(ledger.rejections)
            with _dropping(session, ledger):
                verification = feed.verify(session, ledger)
                total.update(verification.counts)
                seconds += verification.seconds
                summary = ", ".join(f"{count:,} {what}" for what, count in verification.counts.items())
                print(f"[{number}/{len(sessions)}] {session.name}: {summary}", file=sys.stderr)
                print(*verification.notes, sep="\n", end="\n" * bool(verification.notes), file=sys.stderr)
            _list_rejections(ledger, listed)
    if not total["rows"]:
        counted = ", ".join(f"{what} ({count:,})" for what, count in (+ledger.counts).items()) or "nothing"
        raise DataError(
            ", ".join(map(str, paths)), f"no row to verify; left out: {ledger.summary or 'nothing'}; counted: {counted}"
        )
    return {
        "feed": name,
        "sessions": len(sessions),
        **total,
        "rows_per_second": round(total["rows"] / seconds) if seconds else 0,
        "rejected": dict(ledger.reasons),
        "counts": dict(ledger.counts),
    }


@contextmanager
def _dropping(what: Source | FeedSession, ledger: Ledger) -> Iterator[None]:
    """Go on without a source or session that cannot be read."""
    try:
        yield
    except DataError as error:
        ledger.refuse(error.source or what, error.row, UNREADABLE, error.reason)


def _list_rejections(ledger: Ledger, first: int) -> None:
    """Tell of the first rows that were left out since there were `first`."""
    for rejection in ledger.rejections[first : first + MAX_LISTED]:
        where = "" if rejection.row is None else f", row {rejection.row}"
        print(f"{rejection.source}{where}: {rejection.reason}: {rejection.detail}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
