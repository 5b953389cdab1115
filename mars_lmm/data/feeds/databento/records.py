"""The MBO record: its layout, its codes, and the checks that one record alone must pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

# A record as it lies in a DBN file, whatever the version; CSV files are read into it too.
MBO = np.dtype(
    [
        ("length", "u1"),  # in words of four bytes
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),  # nanoseconds since 1970, UTC: when the exchange acted
        ("order_id", "<u8"),
        ("price", "<i8"),  # 1e-9 of the currency
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<u8"),  # when the vendor received it; the file is in this order
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
PRICE_UNITS = 10**9  # per unit of currency

# Actions and sides.
ADD, CANCEL, MODIFY, CLEAR, TRADE, FILL, NOTHING = (ord(letter) for letter in "ACMRTFN")
ACTIONS = {
    ADD: "adds",
    CANCEL: "cancels",
    MODIFY: "modifications",
    CLEAR: "book_clears",
    TRADE: "trades_told",
    FILL: "fills_told",
    NOTHING: "empty_records",
}
ASK, BID, NO_SIDE = (ord(letter) for letter in "ABN")

# Flags.
TOP_OF_BOOK, SNAPSHOT, PRICE_LEVEL, BAD_RECEIPT, MAYBE_BAD_BOOK = 64, 32, 16, 8, 4

# Values that say "none".
NO_PRICE = 2**63 - 1
NO_SIZE = 2**32 - 1
LARGEST = 2**63 - 1  # time or order id; the value for "no time" lies beyond

CLOCK_ERROR = 60 * 10**9  # by which an exchange's clock may run ahead of the vendor's


def _one_of(*codes: int) -> np.ndarray:
    return np.isin(np.arange(256), codes)


_KNOWN_ACTION, _KNOWN_SIDE = _one_of(*ACTIONS), _one_of(ASK, BID, NO_SIDE)
_ON_ORDER, _ENTERS = _one_of(ADD, CANCEL, MODIFY, FILL), _one_of(ADD, MODIFY)


class Part(NamedTuple):
    """Some of a file's records, in order.

    Attributes:
        records: MBO[N].
        row: int64[N], their numbers in the file, counted from 1.
        symbol: int64[N], the place of each one's symbol in `SymbolTable.symbols`.
    """

    records: np.ndarray
    row: np.ndarray
    symbol: np.ndarray

    def where(self, kept: np.ndarray) -> Part:
        """The records that a mask, bool[N], keeps."""
        return self if kept.all() else Part(*(column[kept] for column in self))

    def part(self, first: int, end: int | None = None) -> Part:
        """The records [first, end)."""
        return Part(*(column[first:end] for column in self))

    def then(self, other: Part) -> Part:
        """These records and those that follow them."""
        return other if len(self.row) == 0 else Part(*map(np.concatenate, zip(self, other, strict=True)))


def no_records() -> Part:
    """A part of no records."""
    return Part(np.empty(0, MBO), np.empty(0, np.int64), np.empty(0, np.int64))


def good_records(part: Part, source: Any, ledger: Ledger) -> Part:
    """The records that can be understood; the others are refused.

    Args:
        part: N records.
        source: Their file.
        ledger: Takes bad rows.

    Raises:
        DataError: A record is bad, and the ledger says that this is an error.
    """
    records = part.records
    action, side, price, size, flags = (records[name] for name in ("action", "side", "price", "size", "flags"))
    on_order, enters = _ON_ORDER[action], _ENTERS[action]
    counted = on_order | (action == TRADE)
    bad = np.zeros(len(records), np.bool_)

    def refuse(fault: np.ndarray, reason: str, detail: str, values: np.ndarray) -> None:
        bad[:] |= ledger.check(source, part.row, fault & ~bad, reason, detail, values)

    refuse(~_KNOWN_ACTION[action], "unknown action", "action {:c} is none of A C M R T F N", action)
    refuse(~_KNOWN_SIDE[side] | (enters & (side == NO_SIDE)), "unknown side", "side {:c} is none of A and B", side)
    levels = on_order & (flags & (PRICE_LEVEL | TOP_OF_BOOK) != 0)
    refuse(levels, "a price level, not an order", "flags {}: the venue shows levels; orders are needed", flags)
    order_id = records["order_id"]
    refuse(on_order & (order_id == 0), "no order id", "{} names no order", order_id)
    beyond = on_order & (order_id > LARGEST)
    refuse(beyond, "order_id is too large", "order_id is {}; 2**63 - 1 is the largest", order_id)
    refuse(counted & (price <= 0), "price not positive", "price {} (1e-9)", price)
    refuse((enters | (action == TRADE)) & (price == NO_PRICE), "no price", "action {:c} needs a price", action)
    whole = (action == CANCEL) & (size == NO_SIZE)
    refuse(counted & ~whole & ((size < 1) | (size > t.MAX_SIZE)), "size out of range", "size {}", size)
    event, receipt = records["ts_event"], records["ts_recv"]
    refuse(np.maximum(event, receipt) > LARGEST, "no time", "ts_event or ts_recv is missing; ts_event is {}", event)
    ahead = (flags & BAD_RECEIPT == 0) & (event > receipt) & (event - receipt > CLOCK_ERROR)
    refuse(ahead, "a time after receipt", "ts_event {} is over a minute past ts_recv", event)
    return part.where(~bad)


def count_records(part: Part, ledger: Ledger) -> None:
    """Count good records by action and flags."""
    action, flags = part.records["action"], part.records["flags"]
    for code, count in zip(*np.unique(action, return_counts=True), strict=True):
        ledger.counts[ACTIONS[int(code)]] += int(count)
    ledger.counts["snapshot_records"] += int(np.count_nonzero(flags & SNAPSHOT))
    ledger.counts["maybe_bad_book"] += int(np.count_nonzero(flags & MAYBE_BAD_BOOK))
