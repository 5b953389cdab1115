"""Prove that a feed is read right: `python -m mars_lmm.data.verify FEED PATH...`.

Progress and the first mismatches go to standard error; the last line of standard output is one JSON object.
The exit status is 0 if nothing mismatches, 1 if something does, and 2 if the data cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FEEDS, load_feed


def main(arguments: list[str] | None = None) -> int:
    """Verify the sessions at some paths.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.data.verify", description=__doc__.partition(":")[0])
    parser.add_argument("feed", choices=FEEDS)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder, archive or file")
    options = parser.parse_args(arguments)
    try:
        result = verify(options.feed, options.paths)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return int(any(count for name, count in result.items() if name.endswith("mismatches")))


def verify(name: str, paths: list[str]) -> dict[str, str | int]:
    """Verify the sessions at some paths, with progress on standard error.

    Args:
        name: The feed.
        paths: Where the sessions lie.

    Returns:
        The feed's name, the number of sessions, the sums of their counts, and the rows compared per second.

    Raises:
        DataError: The data cannot be read.
    """
    feed = load_feed(name)
    total, seconds = Counter(), 0.0
    sessions = feed.find_sessions(paths)
    for number, session in enumerate(sessions, start=1):
        verification = feed.verify(session)
        total.update(verification.counts)
        seconds += verification.seconds
        summary = ", ".join(f"{count:,} {what}" for what, count in verification.counts.items())
        print(f"[{number}/{len(sessions)}] {session.name}: {summary}", file=sys.stderr)
        print(*verification.notes, sep="\n", end="\n" * bool(verification.notes), file=sys.stderr)
    return {
        "feed": name,
        "sessions": len(sessions),
        **total,
        "rows_per_second": round(total["rows"] / seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
