"""Databento's market by order (MBO), of any venue that it sells: DBN or CSV files.

A session is one local day of an instrument. A feed that trades through midnight, such as CME's, is better cut where
the vendor's files and their snapshots begin: `zone: UTC`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Source
from mars_lmm.data.feeds.common.by_order.messages import RECORD
from mars_lmm.data.feeds.common.by_order.order_feed import OrderFeed, OrderFeedOptions
from mars_lmm.data.feeds.common.columns.delimited import csv_header
from mars_lmm.data.feeds.common.columns.times import DAY, zone_offsets
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.feeds.databento import events
from mars_lmm.data.feeds.databento.csv import REQUIRED, read_csv
from mars_lmm.data.feeds.databento.dbn import DbnFile, read_dbn
from mars_lmm.data.feeds.databento.receipts import ReceiptOrder, Span
from mars_lmm.data.feeds.databento.records import PRICE_UNITS, Part, count_records, good_records, no_records
from mars_lmm.data.feeds.databento.symbols import SymbolTable
from mars_lmm.data.ledger import Ledger

DBN_SUFFIX, CSV_SUFFIX = ".dbn", ".csv"
COMPANIONS = ("condition", "manifest", "metadata", "symbology")  # how names of files beside the data begin

# Where a dataset's venue keeps its clock, by the first part of the dataset's name.
NEW_YORK = ["ARCX", "BATS", "BATY", "DBEQ", "EDGA", "EDGX", "EPRL", "EQUS", "IEXG", "IFUS", "MEMX", "OCEA", "OPRA"]
NEW_YORK += ["XASE", "XBOS", "XCHI", "XCIS", "XNAS", "XNYS", "XPSX"]
ZONES = {
    **dict.fromkeys(NEW_YORK, "America/New_York"),
    **dict.fromkeys(["GLBX", "XCBF"], "America/Chicago"),
    **dict.fromkeys(["IFEU", "IFLL"], "Europe/London"),
    "NDEX": "Europe/Amsterdam",
    **dict.fromkeys(["XEEE", "XEUR"], "Europe/Berlin"),
}


@dataclass
class DatabentoOptions(OrderFeedOptions):
    """Settings of the Databento feed."""

    zone: str | None = None
    """Where the exchange keeps its clock: "America/New_York". By default what the file's dataset tells."""
    publisher: int | None = None
    """Read this publisher's records only; needed where a file holds those of several venues."""


class DatabentoFeed(OrderFeed):
    """Reads Databento's files of MBO records."""

    Options = DatabentoOptions
    price_units = PRICE_UNITS
    knows_all_orders = False  # a file may begin at any time of day, without a snapshot

    def __init__(self, options: Mapping[str, Any] | None = None):
        super().__init__(options)
        self._zone = _zone(self.options.zone) if self.options.zone else None

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find DBN files and CSV files; each is a source, but those without any column of MBO records are foreign.

        Raises:
            DataError: A path does not exist, or holds no such file.
        """
        sources = []
        for path in paths:
            files = list_files(path, (DBN_SUFFIX, CSV_SUFFIX))
            if not files:
                raise DataError(path, "no Databento files; expected .dbn, or .csv with the columns of MBO records")
            sources += map(_source, files)
        return sources

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """Read a file once; see `SortedFeed.decode`."""
        (file,) = source.files
        symbols = SymbolTable()
        with _opened(file, symbols, ledger) as content:
            if content is None:
                return
            zone = self._zone or _zone_of(content.dataset, file)
            receipts, books = ReceiptOrder(content.span, file, ledger), events.Books(ledger)
            publisher = self.options.publisher
            for part in content.parts:
                if publisher is None and len(part.row):
                    publisher = int(part.records["publisher_id"][0])
                part = good_records(self._own(part, publisher, file, ledger), file, ledger)
                part = receipts.keep(part)
                count_records(part, ledger)
                yield from _sessions(*books.read(part), symbols, zone)
            part = receipts.keep(no_records(), last=True)
            count_records(part, ledger)
            yield from _sessions(*books.read(part, last=True), symbols, zone)

    def _own(self, part: Part, publisher: int | None, file: RawFile, ledger: Ledger) -> Part:
        """The records of one publisher."""
        publishers = part.records["publisher_id"]
        others = publishers != publisher
        if self.options.publisher is None:
            detail = f"{{}} beside {publisher}: a book is one venue's; choose with the option publisher"
            ledger.check(file, part.row, others, "a second publisher", detail, publishers)
        else:
            ledger.counts["other_publishers"] += int(np.count_nonzero(others))
        return part.where(~others)


FEED = DatabentoFeed


def _source(file: RawFile) -> Source:
    if not _is_csv(file):
        return Source((file,))
    if file.name.lower().startswith(COMPANIONS):
        return Source((file,), foreign="the vendor puts it beside the data; it holds no records")
    try:
        names = csv_header(file)
    except DataError as error:
        return Source((file,), fault=error.reason)
    lacks = ", ".join(REQUIRED)
    strange = names and not set(names) & set(REQUIRED)
    return Source((file,), foreign=f"its first line names none of the columns {lacks}" if strange else "")


def _is_csv(file: RawFile) -> bool:
    return file.name.lower().endswith(CSV_SUFFIX)


@contextmanager
def _opened(file: RawFile, symbols: SymbolTable, ledger: Ledger) -> Iterator[DbnFile | None]:
    """A file's content; of CSV without the dataset, which it does not tell."""
    if _is_csv(file):
        yield DbnFile("", Span(), read_csv(file, symbols, ledger))
    else:
        with file.open() as stream:
            yield read_dbn(stream, file, symbols, ledger)


def _sessions(
    messages: np.ndarray, part: Part, symbols: SymbolTable, zone: ZoneInfo
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Cut messages where the instrument or the day changes.

    Args:
        messages: int64[M, events.NUM_COLUMNS].
        part: The records that they were made of.
        symbols: Names the instruments.
        zone: The exchange's clock.

    Yields:
        Symbol, ISO date and RECORD[K].
    """
    utc, origin = messages[:, events.TIME], messages[:, events.RECORD]
    day, time = np.divmod(utc + zone_offsets(utc, zone), DAY)
    symbol = part.symbol[origin]
    records = np.empty(len(messages), RECORD)
    records["time"], records["row"] = time, part.row[origin]
    for name, column in (
        ("order_id", events.ORDER_ID),
        ("price", events.PRICE),
        ("size", events.SIZE),
        ("kind", events.KIND),
        ("side", events.SIDE),
    ):
        records[name] = messages[:, column]
    if len(records) == 0:
        return
    starts = np.flatnonzero((np.diff(symbol, prepend=-1) != 0) | (np.diff(day, prepend=-1) != 0))
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(records)], strict=True):
        yield symbols.symbols[symbol[first]], str(np.datetime64(int(day[first]), "D")), records[first:end]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"zone={name!r}: no such time zone; write one as America/New_York") from error


def _zone_of(dataset: str, file: RawFile) -> ZoneInfo:
    name = ZONES.get(dataset.partition(".")[0])
    if name is None:
        told = f"dataset {dataset!r} is none that this feed knows" if dataset else "it does not tell its dataset"
        raise DataError(str(file), f"{told}; say where the exchange keeps its clock with the option zone")
    return _zone(name)
