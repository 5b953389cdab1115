"""AXOrderBook's text log of a Shanghai day: a line a message, `Key=value` pairs in a fixed sequence.

The log interleaves three streams as they arrived: orders, trades and snapshots. `BizIndex` puts the orders and
trades in the exchange's sequence. Prices are in thousandths, sizes in thousandths of a share, times HHMMSScc. No line
tells the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.dates import NO_DAY
from mars_lmm.data.feeds.common.columns.delimited import read_lines
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.tables import refusing
from mars_lmm.data.feeds.common.columns.text import Text
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.level2.messages import DELETE, MAX_ID, MAX_TICKS, TRADE, UNTOLD
from mars_lmm.data.feeds.common.level2.records import listed, named_sessions, to_records
from mars_lmm.data.feeds.sse.snapshots import NUM_FIGURES, SNAPSHOT
from mars_lmm.data.feeds.sse.tables import AGGRESSORS, MARKET, ORDER_TYPES, SIDES
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

START = b"//SecurityIDSource=101 MsgType="  # 101 is Shanghai

ORDER, TRADE_TYPE, SNAPSHOT_TYPE = 192, 191, 111
HEAD = "SecurityIDSource MsgType MsgLen SecurityID ChannelNo ApplSeqNum TradingPhase"
FIELDS = {
    ORDER: f"{HEAD} OrderNo Price OrderQty OrdType Side TransactTime resv BizIndex".split(),
    TRADE_TYPE: f"{HEAD} BidApplSeqNum OfferApplSeqNum LastPx LastQty ExecType TransactTime resv BizIndex".split(),
    SNAPSHOT_TYPE: (
        f"{HEAD} NumTrades TotalVolumeTrade TotalValueTrade PrevClosePx LastPx OpenPx HighPx LowPx BidWeightPx "
        "BidWeightSize AskWeightPx AskWeightSize DataTimeStamp ".split()
        + [f"{side}Level[{i}].{what}" for side in ("Bid", "Ask") for i in range(t.DEPTH) for what in ("Price", "Qty")]
        + ["TradingPhaseCodePack", "resv"]
    ),
}
FIGURES = ("NumTrades", "TotalVolumeTrade", "TotalValueTrade", "OpenPx", "LastPx", "HighPx", "LowPx")
# Ticks, shares, and ticks times shares in a unit of the log.
PER_PRICE, PER_SIZE, PER_VALUE = Fraction(1, 10), Fraction(1, 1000), Fraction(1, 1000)


def read(file: RawFile, date: str, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
    """A log's messages and snapshots by session, part by part.

    Args:
        file: The log.
        date: Its day.
        ledger: Takes counts and bad rows.

    Yields:
        Symbol, ISO date, and records of `level2.RECORD` or of `snapshots.SNAPSHOT`.

    Raises:
        DataError: The file cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    with refusing(file, ledger), file.open() as stream:
        for first_row, block in read_lines(stream, file, 1, ledger):
            for kind, fields in _split(file, first_row, block, ledger):
                fields = listed(fields, MARKET, ledger)
                records = {ORDER: _orders, TRADE_TYPE: _trades, SNAPSHOT_TYPE: _snapshots}[kind](fields)
                yield from named_sessions(fields, MARKET, np.full(len(fields), NO_DAY), date, records)


def _orders(fields: Fields) -> np.ndarray:
    side = fields.codes("Side", SIDES)
    order = fields.numbers("OrderNo", 1, 1, MAX_ID)
    kind = fields.codes("OrdType", ORDER_TYPES)
    price = fields.numbers("Price", PER_PRICE, 0, MAX_TICKS, empty=0)
    fields.refuse((price == 0) & (kind != DELETE), "Price out of range", "Price is {}", price)
    return _messages(
        fields,
        kind=kind,
        side=side,
        price=np.where(price == 0, UNTOLD, price),
        size=fields.numbers("OrderQty", PER_SIZE, 1, t.MAX_SIZE),
        buy_id=np.where(side == t.BUY, order, 0),
        sell_id=np.where(side == t.BUY, 0, order),
    )


def _trades(fields: Fields) -> np.ndarray:
    return _messages(
        fields,
        kind=np.full(len(fields), TRADE),
        side=fields.codes("ExecType", AGGRESSORS),
        price=fields.numbers("LastPx", PER_PRICE, 1, MAX_TICKS),
        size=fields.numbers("LastQty", PER_SIZE, 1, t.MAX_SIZE),
        buy_id=fields.numbers("BidApplSeqNum", 1, 1, MAX_ID),
        sell_id=fields.numbers("OfferApplSeqNum", 1, 1, MAX_ID),
    )


def _messages(fields: Fields, **columns: np.ndarray) -> np.ndarray:
    columns["sequence"] = fields.numbers("BizIndex", 1, 1, MAX_ID)
    columns["channel"] = fields.numbers("ChannelNo", 1, 0, t.MAX_SIZE)
    columns["time"] = fields.times("TransactTime", "hhmmsscc").nanoseconds
    return to_records(fields, **columns)


def _snapshots(fields: Fields) -> np.ndarray:
    records = np.empty(len(fields), SNAPSHOT)
    units = (1, PER_SIZE, PER_VALUE, *[PER_PRICE] * (NUM_FIGURES - 3))
    for column, (name, unit) in enumerate(zip(FIGURES, units, strict=True)):
        records["figures"][:, column] = fields.numbers(name, unit, 0, MAX_ID)
    for side, word in ((t.SELL, "Ask"), (t.BUY, "Bid")):
        for level in range(t.DEPTH):
            price = fields.numbers(f"{word}Level[{level}].Price", PER_PRICE, 0, MAX_TICKS)
            records["levels"][:, side, level, 0] = np.where(price == 0, t.NO_PRICE, price)
            records["levels"][:, side, level, 1] = fields.numbers(f"{word}Level[{level}].Qty", PER_SIZE, 0, MAX_ID)
    records["time"] = fields.times("DataTimeStamp", "hhmmss").nanoseconds
    return records[fields.good]


def _split(file: RawFile, first_row: int, block: bytes, ledger: Ledger) -> Iterator[tuple[int, Fields]]:
    """The lines by type: orders, trades, snapshots."""
    text = np.frombuffer(block, np.uint8)
    equals = np.flatnonzero(text == ord("="))
    ends = np.flatnonzero(text == ord("\n"))
    first = np.searchsorted(equals, np.concatenate([[0], ends[:-1]]))  # of each line, among `equals`
    counts = np.diff(first, append=len(equals))
    types = np.minimum(first + 1, max(len(equals) - 1, 0))
    starts = equals[types] + 1 if len(equals) else np.zeros(len(ends), np.int64)
    lines = Fields(file, ledger, np.arange(first_row, first_row + len(ends)), {"MsgType": _values(text, starts)})
    begins = np.append(0, ends[:-1] + 1)
    lines.good &= (text[begins] != ord("\n")) & ((text[begins] != ord("\r")) | (ends - begins > 1))  # blank lines
    lines.refuse(counts < 2, "not a line of this log", "it has {} fields", counts)
    kinds = lines.codes("MsgType", {str(kind): kind for kind in FIELDS})
    for kind, names in FIELDS.items():
        own = kinds == kind
        detail = f"{{}} fields instead of {len(names)}; get the file again"
        lines.refuse(own & (counts != len(names)), "the line is cut", detail, counts)
        own &= lines.good
        at = equals[first[own] + np.arange(len(names))[:, None]]
        labels = ["symbol" if name == "SecurityID" else name for name in names]
        columns = {label: _values(text, starts) for label, starts in zip(labels, at + 1, strict=True)}
        fields = Fields(file, ledger, lines.rows[own], columns)
        for name, places in zip(names, at, strict=True):
            key = np.frombuffer(name.encode(), np.uint8)
            named = (text[places[:, None] + np.arange(-len(key), 0)] == key).all(axis=1)
            fields.refuse(~named, "fields in another order", f"the field {name} is not where such a line has it")
        yield kind, fields


def _values(text: np.ndarray, starts: np.ndarray) -> Text:
    """The values that begin at some places; a blank or the line's end ends them."""
    ends = starts.copy()
    _find_ends(text, ends)
    return Text(text, starts, ends)


@kept_njit("data", _nrt=False)
def _find_ends(text, ends):
    for i in range(len(ends)):
        while text[ends[i]] > ord(" "):
            ends[i] += 1
