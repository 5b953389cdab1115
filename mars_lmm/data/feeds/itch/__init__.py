"""NASDAQ TotalView-ITCH 5.0: every visible order of every stock of a day, in one binary file."""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Source
from mars_lmm.data.feeds.common.by_order.order_feed import OrderFeed, OrderFeedOptions
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.itch.decoding import Decoder
from mars_lmm.data.ledger import Ledger

SUFFIXES = ("ITCH50", "ITCH_50", "-v50.txt", "-v50-bx.txt", "-v50-psx.txt", ".itch")
BLOCK = 1 << 23  # bytes

# The ways that dates stand in file names: 01302019.NASDAQ_ITCH50, S013019-v50.txt, 20190130, 2019-01-30.
DATES = (
    (re.compile(r"(?<!\d)\d{8}(?!\d)"), ("%Y%m%d", "%m%d%Y")),
    (re.compile(r"(?<![^\W_])S\d{6}(?!\d)", re.IGNORECASE), ("S%m%d%y",)),
    (re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)"), ("%Y-%m-%d",)),
)
FIRST_YEAR = 1990
MAX_NAMED = 4  # files in an error

# From this day on NASDAQ does not tell the side of hidden orders that trade: it writes B for all.
HIDDEN_SIDES_END = "2014-07-14"


@dataclass
class ItchOptions(OrderFeedOptions):
    """What the files do not tell."""

    date: str = ""
    """ISO date of the trading day, where the file's name has none."""

    def __post_init__(self):
        self.date = str(self.date)
        if self.date:
            try:
                self.date = datetime.date.fromisoformat(self.date).isoformat()
            except ValueError as error:
                raise ValueError(f"date={self.date}: write it as 2019-01-30") from error


class ItchFeed(OrderFeed):
    """Reads ITCH 5.0 files: messages with their lengths before them, plain or .gz.

    - A and F are new orders, X, D and E what becomes of them; U is a delete and a new order of the same side.
    - C, an execution at another price, is one in an auction unless it is printable and at the order's own price.
    - P, a trade with a hidden order, and Q, the volume of a cross, leave the book alone. H halts a stock.
    - The other types say nothing of orders. They are counted, as all types are: `type_A`, ...
    - A stock's messages of types H, P and Q before its first order are counted as `before_first_order`, and left out:
      most days have thousands of stocks, and the directory halts or releases each of them.
    - A length of zero closes a file; another may be joined to it.

    Prices have four decimals; stocks below one dollar need the option tick=0.0001.
    """

    Options = ItchOptions
    price_units = 10_000

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find ITCH files, a source each.

        Several of one day are of several venues, whose stocks and orders have the same numbers, or copies: all are at
        fault, and so is a file whose day nothing tells.

        Raises:
            DataError: A path does not exist or holds no such file.
        """
        sources, of_day = [], defaultdict(list)
        for file in dict.fromkeys(file for path in paths for file in self._find(path)):
            if file.member == "":  # an archive that cannot be read
                sources.append(Source((file,)))
            else:
                of_day[self.options.date or _date(file.name)].append(file)
        for date, files in of_day.items():
            sources += [Source((file,), date=date, fault=_fault(date, files)) for file in files]
        return sources

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """Read a file once; see `SortedFeed.decode`. What follows a type without a length cannot be read."""
        (file,) = source.files
        decoder = Decoder(file, ledger, hidden_sides=source.date < HIDDEN_SIDES_END)
        with file.open() as stream:
            while not decoder.done:
                for symbol, records in decoder.decode(stream.read(BLOCK)):
                    yield symbol, source.date, records

    @staticmethod
    def _find(path: Path | str) -> list[RawFile]:
        files = list_files(path, SUFFIXES)
        if not files:
            raise DataError(path, f"no ITCH file; their names end in {', '.join(SUFFIXES)}, or these with .gz")
        return files


def _fault(date: str, files: Sequence[RawFile]) -> str:
    """Why the files of one day cannot be read, or nothing."""
    if not date:
        return "the file's name has no date; set the feed's option date"
    if len(files) > 1:
        named = ", ".join(map(str, files[:MAX_NAMED])) + ", ..." * (len(files) > MAX_NAMED)
        return f"{len(files)} files are of {date}: {named}; a day has one venue and one file, name only one"
    return ""


def _date(name: str) -> str:
    """The ISO date in a file's name; empty if there is none."""
    for pattern, formats in DATES:
        for text in pattern.findall(name):
            for form in formats:
                date = _parse(text, form)
                if date is not None and date.year >= FIRST_YEAR:
                    return date.isoformat()
    return ""


def _parse(text: str, form: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(text, form).date()
    except ValueError:
        return None


FEED = ItchFeed
