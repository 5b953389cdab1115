"""From files of Chinese level 2 to records by session, and from a session's records to its messages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds import FeedSession
from mars_lmm.data.feeds.common.level2 import MAX_ID, RECORD, UNTOLD, Messages
from mars_lmm.data.feeds.common.text_fields import Fields
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.spool import read_records
from mars_lmm.market import types as t


def listed(fields: Fields, boards: dict[int, str], suffix: str, ledger: Ledger) -> Fields:
    """The rows of a market's A shares.

    Funds, bonds, B shares and what belongs to other markets have other ticks and other rules: they are counted as
    `other_instruments` and left out.

    Args:
        fields: N rows with a column "symbol".
        boards: Rule files by the first three digits of a symbol.
        suffix: What may follow a symbol of this market.
        ledger: Takes the count.

    Raises:
        DataError: A symbol is none, and the ledger says that this is an error.
    """
    symbols = fields.symbols("symbol", suffix)
    own = np.isin(symbols // 1000, list(boards))
    ledger.counts["other_instruments"] += int(np.count_nonzero(fields.good & ~own))
    return fields.keep(own)


def to_sessions(
    fields: Fields, suffix: str, undated: str, **columns: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Records of a part of a CSV file, by session.

    Args:
        fields: N rows with the columns "symbol", "time", "sequence", "channel" and perhaps "date".
        suffix: What may follow a symbol of the market.
        undated: The date of rows that tell none.
        columns: What the records hold besides, [N].

    Yields:
        Symbol, ISO date, and its records.

    Raises:
        DataError: A row is bad, and the ledger says that this is an error.
    """
    symbols = fields.symbols("symbol", suffix)
    days, times = fields.moments("time")
    if "date" in fields:
        days = fields.days("date")
    dates = {0: undated, **fields.iso_dates(days)}
    columns["sequence"] = fields.numbers("sequence", 1, 1, MAX_ID)
    columns["channel"] = fields.numbers("channel", 1, 0, t.MAX_SIZE)
    records = to_records(fields, time=times, **columns)
    yield from by_session(symbols[fields.good], days[fields.good], dates, records)


def to_records(fields: Fields, **columns: np.ndarray) -> np.ndarray:
    """Records of the good rows; `executed` is UNTOLD unless it is given."""
    records = np.empty(int(np.count_nonzero(fields.good)), RECORD)
    for name, values in {"executed": np.full(len(fields), UNTOLD), "row": fields.rows, **columns}.items():
        records[name] = values[fields.good]
    return records


def by_session(
    symbols: np.ndarray, days: np.ndarray, dates: dict[int, str], records: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Split records by session.

    Args:
        symbols: int64[N], six digits as a number.
        days: int64[N], keys of `dates`.
        dates: ISO dates.
        records: [N].

    Yields:
        Symbol, ISO date, and its records in their order.
    """
    order = np.lexsort((days, symbols))
    symbols, days, records = symbols[order], days[order], records[order]
    starts = np.flatnonzero((np.diff(symbols, prepend=-1) != 0) | (np.diff(days, prepend=-1) != 0))
    for first, last in zip(starts, np.append(starts, len(order))[1:], strict=True):
        yield f"{symbols[first]:06d}", dates[int(days[first])], records[first:last]


def merge(session: FeedSession, ledger: Ledger) -> Messages:
    """A session's messages in the exchange's order.

    Args:
        session: The session.
        ledger: Takes messages of a second channel, repeated ones, and those whose time goes back.

    Raises:
        DataError: There is such a message, and the ledger says that this is an error.
    """
    parts = [read_records(path, RECORD) for path in session.records]
    records = np.concatenate(parts)
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
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

    back = messages.time < np.maximum.accumulate(messages.time) if len(messages.time) else np.zeros(0, bool)
    detail = "the message with sequence number {} is earlier than one before it"
    return messages.keep(~refuse(session, messages, back, "time goes back", detail, messages.sequence, ledger))


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
