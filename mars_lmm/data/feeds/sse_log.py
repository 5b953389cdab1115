"""AXOrderBook's text log of a Shanghai stock-day: a line a message, `Key=value` pairs in a fixed sequence.

The log interleaves three streams as they arrived: orders, trades and snapshots. `BizIndex` puts the orders and
trades in the exchange's sequence. Prices are in thousandths, sizes in thousandths of a share, times HHMMSScc.
"""

from __future__ import annotations

import re

import numpy as np

from mars_lmm.data.feeds.lobster_files import CsvFile
from mars_lmm.data.feeds.sse_messages import (
    ADD,
    DELETE,
    HOUR,
    MINUTE,
    NUM_FIGURES,
    SECOND,
    TRADE,
    Messages,
    Snapshots,
    in_order,
    refuse,
)
from mars_lmm.market import types as t

START = b"//SecurityIDSource=101 MsgType="  # 101 is Shanghai
SYMBOL = re.compile(rb" SecurityID=(\d{6}) ")

ORDER, TRADE_TYPE, SNAPSHOT = 192, 191, 111
HEAD = "SecurityIDSource MsgType MsgLen SecurityID ChannelNo ApplSeqNum TradingPhase"
FIELDS = {
    ORDER: f"{HEAD} OrderNo Price OrderQty OrdType Side TransactTime resv BizIndex".split(),
    TRADE_TYPE: f"{HEAD} BidApplSeqNum OfferApplSeqNum LastPx LastQty ExecType TransactTime resv BizIndex".split(),
    SNAPSHOT: (
        f"{HEAD} NumTrades TotalVolumeTrade TotalValueTrade PrevClosePx LastPx OpenPx HighPx LowPx BidWeightPx "
        "BidWeightSize AskWeightPx AskWeightSize DataTimeStamp ".split()
        + [f"{side}Level[{i}].{what}" for side in ("Bid", "Ask") for i in range(t.DEPTH) for what in ("Price", "Qty")]
        + ["TradingPhaseCodePack", "resv"]
    ),
}
# What the codes of orders and trades (ASCII) mean.
ORDER_TYPES = {ord("A"): ADD, ord("D"): DELETE}
SIDES = {ord("B"): t.BUY, ord("S"): t.SELL}
AGGRESSORS = {**SIDES, ord("N"): t.NO_SIDE}

PRICE_UNITS, SIZE_UNITS, VALUE_UNITS = 10, 1000, 1000  # of the log, in a tick, a share, and a tick times a share
MAX_DIGITS = 18


class _Lines:
    """The lines of one message type.

    Attributes:
        source: The file.
        rows: int64[N], the lines' numbers, counted from 1.
    """

    def __init__(self, source: str, text: np.ndarray, rows: np.ndarray, equals: np.ndarray, names: list[str]):
        self.source, self.rows = source, rows
        self._text, self._equals, self._names = text, equals, names

    def keep(self, kept: np.ndarray) -> _Lines:
        """Those lines for which `kept`, bool[N], is true."""
        return _Lines(self.source, self._text, self.rows[kept], self._equals[kept], self._names)

    def integers(self, name: str) -> np.ndarray:
        """A field's values, int64[N].

        Raises:
            DataError: The field is not where it should be, or holds no number.
        """
        equals = self._equals[:, self._names.index(name)]
        key = np.frombuffer(name.encode(), np.uint8)
        named = (self._text[equals[:, None] + np.arange(-len(key), 0)] == key).all(axis=1)
        refuse(self.source, self.rows, ~named, f"the field {name} is not where this kind of line has it", self.rows)
        value, good = _integers(self._text, equals + 1)
        refuse(self.source, self.rows, ~good, f"{name} is not a number of at most {MAX_DIGITS} digits", self.rows)
        return value

    def coded(self, name: str, codes: dict[int, int]) -> np.ndarray:
        """A field's values translated by `codes`, int64[N].

        Raises:
            DataError: As `integers`, or a value is no code.
        """
        value = self.integers(name)
        translated = np.full(len(value), -2, np.int64)
        for code, meaning in codes.items():
            translated[value == code] = meaning
        listed = ", ".join(map(str, codes))
        refuse(self.source, self.rows, translated == -2, f"{name} {{}} is not one of {listed}", value)
        return translated

    def units(self, name: str, unit: int, least: int) -> np.ndarray:
        """A field's values in units of `unit`, int64[N].

        Raises:
            DataError: As `integers`, or a value is no multiple, or below `least` units.
        """
        value = self.integers(name)
        refuse(self.source, self.rows, value % unit != 0, f"{name} {{}} is not a multiple of {unit}", value)
        refuse(self.source, self.rows, value < least * unit, f"{name} {{}} is not positive", value)
        return value // unit

    def times(self, name: str, per_second: int) -> np.ndarray:
        """A field's times of day, HHMMSS and fractions, in nanoseconds since midnight, int64[N].

        Raises:
            DataError: As `integers`, or a value is no time of day.
        """
        value = self.integers(name)
        clock, fraction = np.divmod(value, per_second)
        hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
        fault = (hours > 23) | (minutes > 59) | (seconds > 59)
        refuse(self.source, self.rows, fault, f"{name} {{}} is not a time of day", value)
        return hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction * (SECOND // per_second)


def symbols(file: CsvFile) -> list[str]:
    """The stocks in a log."""
    return sorted({match.decode() for match in SYMBOL.findall(file.read())})


def read(file: CsvFile, symbol: str) -> tuple[Messages, Snapshots]:
    """One stock's messages and snapshots.

    Args:
        file: The log.
        symbol: The stock.

    Raises:
        DataError: The log is damaged; names the row and what is wrong with it.
    """
    orders, trades, snapshots = (
        lines.keep(lines.integers("SecurityID") == int(symbol)) for lines in _split(str(file), file.read())
    )
    buys = orders.coded("Side", SIDES) == t.BUY
    ids = orders.integers("OrderNo")
    columns = (
        (orders.coded("OrdType", ORDER_TYPES), np.full(len(trades.rows), TRADE)),
        (orders.integers("BizIndex"), trades.integers("BizIndex")),
        (orders.times("TransactTime", 100), trades.times("TransactTime", 100)),
        (np.where(buys, t.BUY, t.SELL), trades.coded("ExecType", AGGRESSORS)),
        (orders.units("Price", PRICE_UNITS, 1), trades.units("LastPx", PRICE_UNITS, 1)),
        (orders.units("OrderQty", SIZE_UNITS, 1), trades.units("LastQty", SIZE_UNITS, 1)),
        (np.where(buys, ids, 0), trades.integers("BidApplSeqNum")),
        (np.where(buys, 0, ids), trades.integers("OfferApplSeqNum")),
    )
    channels = np.concatenate([orders.integers("ChannelNo"), trades.integers("ChannelNo")])
    messages = in_order(str(file), channels, Messages(*map(np.concatenate, columns)))
    return messages, _snapshots(snapshots)


def _snapshots(lines: _Lines) -> Snapshots:
    figures = np.empty((len(lines.rows), NUM_FIGURES), np.int64)
    names = ("NumTrades", "TotalVolumeTrade", "TotalValueTrade", "OpenPx", "LastPx", "HighPx", "LowPx")
    units = (1, SIZE_UNITS, VALUE_UNITS, *[PRICE_UNITS] * 4)
    for column, (name, unit) in enumerate(zip(names, units, strict=True)):
        figures[:, column] = lines.units(name, unit, 0)
    levels = np.empty((len(lines.rows), 2, t.DEPTH, 2), np.int64)
    for side, word in ((t.SELL, "Ask"), (t.BUY, "Bid")):
        for level in range(t.DEPTH):
            price = lines.units(f"{word}Level[{level}].Price", PRICE_UNITS, 0)
            levels[:, side, level, 0] = np.where(price == 0, t.NO_PRICE, price)
            levels[:, side, level, 1] = lines.units(f"{word}Level[{level}].Qty", SIZE_UNITS, 0)
    return Snapshots(lines.times("DataTimeStamp", 1), figures, levels)


def _split(source: str, data: bytes) -> list[_Lines]:
    """The lines by type: orders, trades, snapshots."""
    if not data.endswith(b"\n"):
        data += b"\n"
    text = np.frombuffer(data, np.uint8)
    equals = np.flatnonzero(text == ord("="))
    ends = np.flatnonzero(text == ord("\n"))
    first = np.searchsorted(equals, np.concatenate([[0], ends[:-1]]))  # of each line, among `equals`
    fields = np.diff(first, append=len(equals))
    rows = np.arange(1, len(ends) + 1)
    refuse(source, rows, fields < 2, "not a line of this log; it has {} fields", fields)
    kinds, _ = _integers(text, equals[first + 1] + 1)
    refuse(source, rows, ~np.isin(kinds, list(FIELDS)), "MsgType {} is not one of 192, 191, 111", kinds)
    lines = []
    for kind, names in FIELDS.items():
        own = kinds == kind
        reason = f"{{}} fields instead of {len(names)}: the line is cut, get the file again"
        refuse(source, rows[own], fields[own] != len(names), reason, fields[own])
        at = equals[first[own][:, None] + np.arange(len(names))]
        lines.append(_Lines(source, text, rows[own], at, names))
    return lines


def _integers(text: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integers that begin at places of a text.

    Args:
        text: uint8[...], which ends with a line's end.
        starts: int64[N].

    Returns:
        int64[N], and bool[N]: whether there is an integer that blank space follows.
    """
    value = np.zeros(len(starts), np.int64)
    going = np.ones(len(starts), bool)
    good = np.zeros(len(starts), bool)
    for place in range(MAX_DIGITS + 1):
        characters = text[np.minimum(starts + place, len(text) - 1)]
        digit = characters - np.uint8(ord("0"))  # wraps round below "0"
        stops = going & (digit > 9)
        good |= stops & (characters <= ord(" ")) & (place > 0)
        going &= ~stops
        if not going.any():
            break
        value = np.where(going, value * 10 + digit, value)
    return value, good
