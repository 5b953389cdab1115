"""Tables of one's own: a CSV or parquet of orders, and a YAML file that says what its columns mean.

The table tells either what happened to the orders in the book, message by message, or what participants submitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, Source, Verification
from mars_lmm.data.feeds.common import messages as m
from mars_lmm.data.feeds.common.clock import NO_DAY, day_number, iso_date, read_times
from mars_lmm.data.feeds.common.exact import WHOLE, Shown
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.common.mapping import IGNORE, MESSAGES, load_mapping
from mars_lmm.data.feeds.common.order_feed import OrderFeed, OrderFeedOptions
from mars_lmm.data.feeds.common.order_log import ORDER, OrderLog
from mars_lmm.data.feeds.common.part_reading import PartReading
from mars_lmm.data.feeds.common.tables import CSV, PARQUET, CsvForm, read_table
from mars_lmm.data.flow import Columns, Session
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol
from mars_lmm.market import types as t
from mars_lmm.market.quantities import decimal

SUFFIXES = (CSV, ".txt", PARQUET)
TICK_DECIMALS = 4  # decimals of a tick that prices may have: those of hidden executions lie between ticks
BOOKLESS = (m.CROSS, m.HALT, m.CLEAR)  # messages whose price and size mean nothing to the book


@dataclass
class MappedOptions(OrderFeedOptions):
    """What reading a table must be told."""

    mapping: Any = field(default=None)
    """What the columns mean: the path of a YAML file, or what it would hold; see `FileMapping`."""


class MappedFeed(OrderFeed):
    """Reads CSV and parquet files by a mapping."""

    Options = MappedOptions

    def __init__(self, options: Mapping[str, Any] | None = None):
        options = options or {}
        if not options.get("mapping"):
            raise ValueError("mapping: say what the columns mean, in a YAML file or here")
        self.mapping = load_mapping(options["mapping"])
        tick = decimal("tick", options.get("tick", MappedOptions.tick)).normalize()
        self.price_units = 10 ** (max(-tick.as_tuple().exponent, 0) + TICK_DECIMALS)
        self._submitted = self.mapping.view != MESSAGES
        if self._submitted:
            self.record = ORDER
        super().__init__(options)

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find tables; each is a source."""
        files = list(dict.fromkeys(file for path in paths for file in list_files(path, SUFFIXES)))
        if not files:
            raise DataError(
                ", ".join(map(str, paths)), f"no table; names of files end in {', '.join(SUFFIXES)}, or .gz"
            )
        return [Source((file,)) for file in files]

    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it."""
        described = super().describe(session)
        described.rebuilt_takers = not self._submitted
        return described

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """Turn a session into what participants submitted, part by part; see `Feed.order_flow`."""
        if not self._submitted:
            yield from super().order_flow(session, ledger)
            return
        log = OrderLog(session, self.price_tick)
        yield from log.columns(ledger)
        ledger.counts.update(log.counts)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare a session with what our own matching makes of it; see `Feed.verify`.

        Of submitted orders: the rows that are no order, or that our book rejects where no exchange would.
        """
        if not self._submitted:
            return super().verify(session, ledger)
        log = OrderLog(session, self.price_tick)
        compared = sum(len(columns["time"]) for columns in log.columns(ledger))
        counts = {"rows": log.counts["orders"], "compared": compared, "mismatches": log.refused, "unknown_ids": 0}
        return Verification(counts | log.counts, log.seconds, [])

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """Read a table once; see `SortedFeed.decode`."""
        (file,) = source.files
        told = self._told_by_path(file, ledger)
        if told is None:
            return
        form = CsvForm(self.mapping.delimiter, self.mapping.names)
        latest = np.iinfo(np.int64).min
        for part in read_table(file, self.mapping.wanted, form, ledger):
            reading = PartReading(file, part, ledger)
            records, day = self._records(reading)
            latest = self._check_sorted(reading, latest)
            day = self._days(reading, day, told["date"])
            symbol, names = self._symbols(reading, told["symbol"])
            yield from _by_session(symbol, names, day, records, ~reading.bad)

    def _told_by_path(self, file: RawFile, ledger: Ledger) -> dict[str, str | None] | None:
        """The symbol and date of a whole file, as far as they are known; None if its path does not fit."""
        told = {"symbol": self.mapping.symbol, "date": self.mapping.date}
        if self.mapping.path_pattern is None:
            return told
        found = re.search(self.mapping.path_pattern, str(file))
        if found is None:
            ledger.refuse(file, None, "path does not fit the pattern", self.mapping.path_pattern)
            return None
        return {key: value or found.groupdict().get(key) for key, value in told.items()}

    def _records(self, reading: PartReading) -> tuple[np.ndarray, np.ndarray]:
        """The rows as records, and the days since 1970 that their times tell."""
        mapping, names = self.mapping, self.mapping.columns
        kind = reading.codes(names.kind, mapping.kind_codes, "kind")
        reading.leave_out(kind == IGNORE)
        kind = kind[kind != IGNORE]
        records = np.zeros(len(kind), self.record)
        records["kind"], records["row"] = kind, reading.rows
        records["side"] = reading.codes(names.side, mapping.side_codes, "side")
        records["order_id"] = reading.units(names.order_id, Fraction(1), "order id").value
        per_price = Fraction(decimal("price_unit", mapping.price_unit)) * self.price_units
        # A float is a multiple of the tick if it is so within a millionth of it.
        price = reading.units(names.price, per_price, "price", self.price_tick / 10**6).value
        size = reading.units(names.size, mapping.units_per_size, "size").value
        in_book = ~np.isin(kind, BOOKLESS) | self._submitted
        reading.check(in_book & (price < 0), "price is negative", "{}", price)
        reading.check(in_book & (size < 0), "size is negative", "{}", size)
        if self._submitted:
            if names.owner:
                owner = reading.units(names.owner, Fraction(1), "owner").value
                reading.check((owner < 0) | (owner > t.MAX_SIZE), "owner out of range", "{}", owner)
                records["owner"] = owner
        else:
            # Zero is how tables leave out what the order tells.
            may_lack = ~np.isin(kind, (m.NEW, m.EXECUTE_HIDDEN))
            price = np.where(may_lack & (price == 0), m.UNTOLD, price)
            size = np.where(may_lack & (size == 0), m.UNTOLD, size)
        records["price"], records["size"] = price, size
        times = read_times(reading.columns[names.time], mapping.time.format, ZoneInfo(mapping.time.zone))
        shown = Shown(reading.columns[names.time])
        reading.check(times.state != WHOLE, "bad time", f"{{}} is no time in the format {mapping.time.format}", shown)
        records["time"] = times.nanoseconds
        return records, times.day

    def _check_sorted(self, reading: PartReading, latest: int) -> int:
        if not self.mapping.sorted_by:
            return latest
        value, state = reading.units(self.mapping.sorted_by, Fraction(1), self.mapping.sorted_by)
        value = np.where(state == WHOLE, value, np.iinfo(np.int64).min)
        before = np.maximum.accumulate(np.append(latest, value))
        detail = f"{self.mapping.sorted_by} {{}} comes after a larger one"
        reading.check((state == WHOLE) & (value < before[:-1]), "row out of order", detail, value)
        return int(before[-1])

    def _days(self, reading: PartReading, day: np.ndarray, told: str | None) -> np.ndarray:
        """Days since 1970: the date column's, else those of the whole file, else of the times."""
        shown: Any = reading.rows
        if self.mapping.columns.date:
            codes, words = reading.words(self.mapping.columns.date)
            day = np.array([*map(day_number, words), NO_DAY])[codes]
            shown = Shown(reading.columns[self.mapping.columns.date])
        elif told:
            day = np.full(len(reading.rows), day_number(told))
        reading.check(day == NO_DAY, "no date", "{}: neither a column nor the path or the time tells the date", shown)
        return day

    def _symbols(self, reading: PartReading, told: str | None) -> tuple[np.ndarray, list[str]]:
        """Each row's number of its symbol, and the symbols."""
        if self.mapping.columns.symbol:
            codes, words = reading.words(self.mapping.columns.symbol)
        else:
            codes, words = np.zeros(len(reading.rows), np.int64), [told or ""]
        bad = np.array([not is_symbol(word) for word in words] + [False])[codes]
        names = np.array([repr(word[:40]) for word in words] + [""])[codes] if bad.any() else codes
        reading.check(bad, "bad symbol", "{} cannot name an instrument", names)
        return codes, words


def _by_session(
    symbol: np.ndarray, names: Sequence[str], day: np.ndarray, records: np.ndarray, good: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    symbol, day, records = symbol[good], day[good], records[good]
    if not len(records):
        return
    days, which = np.unique(day, return_inverse=True)
    sessions, number = np.unique(symbol * len(days) + which, return_inverse=True)
    order = np.argsort(number, kind="stable")
    parts = np.split(records[order], np.cumsum(np.bincount(number))[:-1])
    for session, part in zip(sessions.tolist(), parts, strict=True):
        yield names[session // len(days)], iso_date(int(days[session % len(days)])), part


FEED = MappedFeed
