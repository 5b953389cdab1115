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
from mars_lmm.data.feeds.common.by_order import messages as m
from mars_lmm.data.feeds.common.by_order.order_feed import OrderFeed, OrderFeedOptions
from mars_lmm.data.feeds.common.columns.by_session import by_session
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, day_number, iso_date
from mars_lmm.data.feeds.common.columns.delimited import CsvForm
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.numbers import LARGEST_ID, WHOLE
from mars_lmm.data.feeds.common.columns.parquet import PARQUET
from mars_lmm.data.feeds.common.columns.tables import CSV, read_table
from mars_lmm.data.feeds.common.columns.text import MAX_SHOWN
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.common.value_types import check_types
from mars_lmm.data.feeds.mapped.mapping import IGNORE, MESSAGES, SORTED_BY, load_mapping, plain_values
from mars_lmm.data.feeds.mapped.order_log import ORDER, OrderLog
from mars_lmm.data.flow import Columns, Session
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol
from mars_lmm.market import types as t
from mars_lmm.market.quantities import decimal

SUFFIXES = (CSV, ".txt", PARQUET)
TICK_DECIMALS = 4  # decimals of a tick that prices may have: those of hidden executions lie between ticks
MAX_DECIMALS = 18  # of a price unit
BOOKLESS = (m.CROSS, m.HALT, m.CLEAR)  # messages whose price and size mean nothing to the book


@dataclass
class MappedOptions(OrderFeedOptions):
    """What reading a table must be told."""

    mapping: Any = field(default=None)
    """What the columns mean: a YAML file, the name of one in conf/mapping, or what it would hold; see `FileMapping`."""


class MappedFeed(OrderFeed):
    """Reads CSV and parquet files by a mapping."""

    Options = MappedOptions

    def __init__(self, options: Mapping[str, Any] | None = None):
        options = options or {}
        if not options.get("mapping"):
            raise ValueError("mapping: say what the columns mean, in a YAML file or here")
        check_types(MappedOptions, options)
        self.mapping = load_mapping(options["mapping"])
        tick = decimal("tick", options.get("tick", MappedOptions.tick)).normalize()
        decimals = max(-tick.as_tuple().exponent, 0) + TICK_DECIMALS
        if decimals > MAX_DECIMALS:
            raise ValueError(f"tick={options['tick']}: must be at least {10.0 ** (TICK_DECIMALS - MAX_DECIMALS)}")
        self.price_units = 10**decimals
        self._submitted = self.mapping.view != MESSAGES
        if self._submitted:
            self.record = ORDER
        super().__init__(options)

    def recipe(self) -> dict[str, Any]:
        """See `Feed.recipe`; the mapping is what it says, not the file that it stands in."""
        told = super().recipe()
        return told | {"options": told["options"] | {"mapping": plain_values(self.mapping)}}

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find tables; each is a source, with the symbol and the date that its path tells."""
        files = list(dict.fromkeys(file for path in paths for file in list_files(path, SUFFIXES)))
        if not files:
            raise DataError(
                ", ".join(map(str, paths)), f"no table; names of files end in {', '.join(SUFFIXES)}, or .gz"
            )
        return [Source((file,), **(self._told_by_path(file) or {})) for file in files]

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
        if self._told_by_path(file) is None:
            ledger.refuse(file, None, "path does not fit the pattern", self.mapping.path_pattern)
            return
        told = self.mapping.date or source.date
        if told and day_number(told) == NO_DAY:
            ledger.refuse(
                file, None, "not a date", f"the path tells the date {told!r}; it must be YYYY-MM-DD or YYYYMMDD"
            )
            return
        form = CsvForm(self.mapping.delimiter, self.mapping.names)
        latest = np.iinfo(np.int64).min
        for fields in read_table(file, list(dict.fromkeys(self.mapping.names_by_role.values())), ledger, form):
            fields = fields.named(self.mapping.names_by_role)
            kind = fields.codes("kind", self.mapping.kind_codes)
            ledger.counts["ignored"] += int(np.count_nonzero(kind == IGNORE))
            kept = fields.good & (kind != IGNORE)
            fields, kind = fields.keep(kept), kind[kept]
            records, day = self._records(fields, kind)
            latest = self._check_sorted(fields, latest)
            day = self._days(fields, day, told)
            symbol, names = self._symbols(fields, self.mapping.symbol or source.symbol)
            for number, of_day, part in by_session(symbol[fields.good], day[fields.good], records[fields.good]):
                yield names[number], iso_date(of_day), part

    def _told_by_path(self, file: RawFile) -> dict[str, str] | None:
        """The symbol and date of a whole file, as far as its path tells them; None if it does not fit the pattern."""
        if self.mapping.path_pattern is None:
            return {}
        found = re.search(self.mapping.path_pattern, str(file))
        return None if found is None else {key: found.groupdict().get(key) or "" for key in ("symbol", "date")}

    def _records(self, fields: Fields, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows as records, and the days since 1970 that their times tell."""
        mapping = self.mapping
        records = np.zeros(len(kind), self.record)
        records["kind"], records["row"] = kind, fields.rows
        records["side"] = fields.codes("side", mapping.side_codes)
        records["order_id"] = fields.units("order_id", largest=LARGEST_ID).value
        per_price = Fraction(decimal("price_unit", mapping.price_unit)) * self.price_units
        # A float is a multiple of the tick if it is so within a millionth of it.
        price = fields.units("price", per_price, self.price_tick / 10**6).value
        size = fields.units("size", mapping.units_per_size).value
        in_book = ~np.isin(kind, BOOKLESS) | self._submitted
        fields.refuse(in_book & (price < 0), "price is negative", "{}", price)
        fields.refuse(in_book & (size < 0), "size is negative", "{}", size)
        if self._submitted:
            if "owner" in fields:
                records["owner"] = fields.numbers("owner", 1, 0, t.MAX_SIZE)
        else:
            # Zero is how tables leave out what the order tells.
            may_lack = ~np.isin(kind, (m.NEW, m.EXECUTE_HIDDEN))
            price = np.where(may_lack & (price == 0), m.UNTOLD, price)
            size = np.where(may_lack & (size == 0), m.UNTOLD, size)
        records["price"], records["size"] = price, size
        times = fields.times("time", mapping.time.format, ZoneInfo(mapping.time.zone))
        records["time"] = times.nanoseconds
        return records, times.day

    def _check_sorted(self, fields: Fields, latest: int) -> int:
        """Refuse rows out of the order that the mapping states; the largest number so far."""
        if SORTED_BY not in fields:
            return latest
        value, state = fields.units(SORTED_BY)
        value = np.where(state == WHOLE, value, np.iinfo(np.int64).min)
        before = np.maximum.accumulate(np.append(latest, value))
        detail = f"{self.mapping.sorted_by} {{}} comes after a larger one"
        fields.refuse((state == WHOLE) & (value < before[:-1]), "row out of order", detail, value)
        return int(before[-1])

    def _days(self, fields: Fields, day: np.ndarray, told: str) -> np.ndarray:
        """Days since 1970: the date column's, else those of the whole file, else of the times."""
        if "date" in fields:
            return fields.dates("date")
        if told:
            day = np.full(len(fields), day_number(told))
        fields.refuse(day == NO_DAY, "no date", "neither a column nor the path or the time tells it")
        return day

    def _symbols(self, fields: Fields, told: str) -> tuple[np.ndarray, list[str]]:
        """Each row's number of its symbol, and the symbols."""
        if "symbol" not in fields:
            codes, words = np.zeros(len(fields), np.int64), [told]
        else:
            codes, words = fields.words("symbol")
        bad = np.array([not is_symbol(word) for word in words] + [False])[codes]
        names = np.array([repr(word[:MAX_SHOWN]) for word in words] + [""])[codes] if bad.any() else codes
        fields.refuse(bad, "bad symbol", "{} cannot name an instrument", names)
        return codes, words
