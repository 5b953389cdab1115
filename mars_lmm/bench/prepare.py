"""Messages per second from a feed's raw files to training rows, in one process, and the memory that it takes.

Without --path: a synthetic session, written as LOBSTER's two files of text. Archives are unpacked first, and everything
is compiled on a small session before the clock starts. The baseline reads the same text with pyarrow's CSV reader, and
does nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import pyarrow.csv as csv

from mars_lmm.bench.lobster_text import write_lobster
from mars_lmm.data.config import DataConfig
from mars_lmm.data.prepare import prepare

MESSAGES = 300_000
WARM_UP = 3_000
LOBSTER = "lobster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument("--feed", default=LOBSTER, help="the feed of --path (default: %(default)s)")
    parser.add_argument("--path", help="folder, archive or file (default: a synthetic session)")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of the synthetic one (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts (default: %(default)s)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prepare, and report."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "text")
        folder.mkdir()
        if args.path is None:
            print(f"writing about {args.messages:,} messages ...", file=sys.stderr)
            write_lobster(folder, args.messages)
        elif args.path.endswith(".zip"):
            with zipfile.ZipFile(args.path) as archive:
                archive.extractall(folder)
        else:
            folder = Path(args.path)
        # In a process of its own, so that the memory is that of the preparation.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(_measure, (args.feed, str(folder), temporary, args.repeats))
            pool.close()
            pool.join()
        if args.feed == LOBSTER:
            seconds = _read_with_pyarrow(folder)
            found["pyarrow_csv_messages_per_second"] = round(found["messages"] / seconds)
            found["ratio"] = round(seconds / found["seconds"], 2)
    return {"feed": args.feed, **found}


def _measure(feed: str, path: str, temporary: str, repeats: int) -> dict[str, Any]:
    warm_up = Path(temporary, "warm_up")
    warm_up.mkdir()
    write_lobster(warm_up, WARM_UP)
    prepare(_config(LOBSTER, str(warm_up), f"{temporary}/0"))
    if feed != LOBSTER:
        prepare(_config(feed, path, f"{temporary}/warm"))
    seconds = []
    for number in range(1, repeats + 1):
        started = perf_counter()
        prepared = prepare(_config(feed, path, f"{temporary}/{number}"))
        seconds.append(perf_counter() - started)
        print(f"{seconds[-1]:.2f} s", file=sys.stderr)
    messages = sum(session["counts"].get("messages", session["orders"]) for session in prepared.sessions)
    return {
        "messages_per_second": round(messages / min(seconds)),
        "messages": messages,
        "rows": sum(split["rows"] for split in prepared.splits.values()),
        "seconds": round(min(seconds), 3),
        "peak_memory_bytes": _peak_memory(),
    }


def _peak_memory() -> int:
    """Bytes that this process has held at most; `getrusage` would count the process that started it too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _config(feed: str, path: str, root: str) -> DataConfig:
    return DataConfig(feed=feed, path=path, name="bench", root=root, cutoff="13:00", workers=1)


def _read_with_pyarrow(folder: Path) -> float:
    started = perf_counter()
    for path in folder.rglob("*.csv"):
        options = csv.ReadOptions(autogenerate_column_names=True, use_threads=False)
        csv.read_csv(path, read_options=options)
    return perf_counter() - started
