"""From files of Chinese level 2 to records by session, and from a session's records to its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mars_lmm.data.feeds import FeedSession
from mars_lmm.data.feeds.common.clock import IN_ORDER, Clock
from mars_lmm.data.feeds.common.columns.by_session import by_session
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, iso_date
from mars_lmm.data.feeds.common.columns.delimited import csv_header
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.tables import read_table, refusing
from mars_lmm.data.feeds.common.columns.times import CLOCK
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.level2.layouts import Layout
from mars_lmm.data.feeds.common.level2.messages import MAX_ID, RECORD, SUSPENSION, UNTOLD, Messages
from mars_lmm.data.feeds.common.level2.symbols import BAD, DIGITS, read_symbols
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.spool import read_records
from mars_lmm.market import types as t


class Market(NamedTuple):
    """What tells the two exchanges' tables apart.

    Attributes:
        suffixes: What may follow a symbol, of `symbols.SUFFIXES`.
        boards: Rule files by the first three digits of a symbol.
        layouts: The tables.
        messages: Given the A shares' rows of a table, its layout and the ledger: rows of one kind of messages, and
            what their records hold beside time, channel and, unless they have it, sequence, kind by kind.
    """

    suffixes: tuple[str, ...]
    boards: dict[int, str]
    layouts: tuple[Layout, ...]
    messages: Callable[[Fields, Layout, Ledger], Iterator[tuple[Fields, dict[str, np.ndarray]]]]


def read_sessions(
    file: RawFile, layout: Layout, market: Market, undated: str, ledger: Ledger
) -> Iterator[tuple[str, str, np.ndarray]]:
    """A table's messages by session, part by part.

    Args:
        file: The file.
        layout: One of the market's.
        market: Whose table it is.
        undated: The date of rows that tell none.
        ledger: Takes counts and bad rows.

    Yields:
        Symbol, ISO date, and records of `messages.RECORD`.

    Raises:
        DataError: The file cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    with refusing(file, ledger):
        columns = layout.find(csv_header(file), file, ledger)
        if columns is None:
            return
        for fields in read_table(file, list(dict.fromkeys(columns.values())), ledger):
            for own, told in market.messages(listed(fields.named(columns), market, ledger), layout, ledger):
                days, told["time"], _ = own.times("time", CLOCK)
                if "date" in own:
                    days = own.dates("date")
                if "sequence" not in told:
                    told["sequence"] = own.numbers("sequence", 1, 1, MAX_ID)
                told["channel"] = own.numbers("channel", 1, 0, t.MAX_SIZE)
                yield from named_sessions(own, market, days, undated, to_records(own, **told))


def listed(fields: Fields, market: Market, ledger: Ledger) -> Fields:
    """The rows of a market's A shares.

    Funds, bonds, B shares and what belongs to other markets have other ticks and other rules: they are counted as
    `other_instruments` and left out.

    Args:
        fields: N rows with a column "symbol".
        market: The market.
        ledger: Takes the count.

    Raises:
        DataError: A symbol is none, and the ledger says that this is an error.
    """
    symbols = read_symbols(fields["symbol"], market.suffixes)
    detail = f"{{!r}} is not a number of six digits, alone or with a suffix such as .{market.suffixes[0]}"
    fields.refuse(symbols == BAD, "not a symbol", detail, "symbol")
    own = np.isin(symbols // 1000, list(market.boards))
    ledger.counts["other_instruments"] += int(np.count_nonzero(fields.good & ~own))
    return fields.keep(own)


def to_records(fields: Fields, **columns: np.ndarray) -> np.ndarray:
    """The good ones of N rows as `messages.RECORD`; `executed` is UNTOLD unless it is given."""
    records = np.empty(int(np.count_nonzero(fields.good)), RECORD)
    for name, values in {"executed": np.full(len(fields), UNTOLD), "row": fields.rows, **columns}.items():
        records[name] = values[fields.good]
    return records


def named_sessions(
    fields: Fields, market: Market, days: np.ndarray, undated: str, records: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Records by session.

    Args:
        fields: N rows with a column "symbol".
        market: The market.
        days: int64[N], since 1970-01-01; NO_DAY where a row tells none.
        undated: The date of such rows.
        records: Those of the good rows.

    Yields:
        Symbol, ISO date, and its records in their order.
    """
    symbols = read_symbols(fields["symbol"], market.suffixes)
    for symbol, day, part in by_session(symbols[fields.good], days[fields.good], records):
        yield f"{symbol:0{DIGITS}d}", undated if day == NO_DAY else iso_date(day), part


def read_all(session: FeedSession) -> tuple[np.ndarray, np.ndarray]:
    """A session's records as they lie in its sources, and for each which source has it, int64[N]."""
    parts = [read_records(path, RECORD) for path in session.records]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def merge(session: FeedSession, ledger: Ledger) -> Messages:
    """A session's messages in the exchange's order.

    Args:
        session: The session.
        ledger: Takes messages of a second channel, repeated ones, and those whose time is out of order.

    Raises:
        DataError: There is such a message, and the ledger says that this is an error.
    """
    records, source = read_all(session)
    told = records["kind"] != SUSPENSION
    records, source = records[told], source[told]
    order = np.argsort(records["sequence"], kind="stable")
    columns = {name: records[name][order].astype(np.int64) for name in RECORD.names}
    channel = columns.pop("channel")
    messages = Messages(**columns, source=source[order])

    channels, counts = np.unique(channel, return_counts=True)
    main = channels[np.argmax(counts)] if len(channels) else 0
    detail = f"channel {{}} besides {main}: one stock's messages have one channel a day; split the file by day"
    good = ~refuse(session, messages, channel != main, "several channels", detail, channel, ledger)
    messages = messages.keep(good)

    twice = np.concatenate([[False], np.diff(messages.sequence) == 0])[: len(messages.sequence)]
    detail = "sequence number {} occurs twice; remove the repeated rows or files"
    messages = messages.keep(
        ~refuse(session, messages, twice, "repeated sequence number", detail, messages.sequence, ledger)
    )

    detail = "the time of the message with sequence number {} contradicts those around it; get the file again"
    wrong = Clock().judge(messages.time, messages.time[:0]) != IN_ORDER
    return messages.keep(~refuse(session, messages, wrong, "time out of order", detail, messages.sequence, ledger))


def refuse(
    session: FeedSession,
    messages: Messages,
    fault: np.ndarray,
    reason: str,
    detail: str,
    values: np.ndarray,
    ledger: Ledger,
) -> np.ndarray:
    """Refuse messages; see `Ledger.check`."""
    for number in np.unique(messages.source[fault]).tolist():
        own = fault & (messages.source == number)
        ledger.check(session.sources[number], messages.row, own, reason, detail, values)
    return fault


def refuse_misfits(session: FeedSession, messages: Messages, fits: np.ndarray, ledger: Ledger) -> None:
    """Refuse the messages that contradict the book before them, those where `fits`, bool[M], is false."""
    for i in np.flatnonzero(~fits).tolist():
        source = session.sources[messages.source[i]]
        ledger.refuse(source, int(messages.row[i]), "message does not fit the book", messages.describe(i))
