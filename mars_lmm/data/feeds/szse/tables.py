"""Shenzhen level 2 in CSV files with a header: orders, trades (with the cancels among them), or both in one table.

Column names are those of the exchange's messages and DataYes' files, with other vendors' spellings beside them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds.common.csv_blocks import Layout, read_csv
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.level2 import (
    ADD,
    DELETE,
    MARKET_ORDER,
    MAX_ID,
    MAX_TICKS,
    OWN_BEST_ORDER,
    TRADE,
    UNTOLD,
)
from mars_lmm.data.feeds.common.level2_records import listed, to_sessions
from mars_lmm.data.feeds.common.text_fields import Fields
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

SUFFIX = ".SZ"  # some vendors' of the symbol
BOARDS = dict.fromkeys(range(5), "szse_main") | {300: "szse_chinext", 301: "szse_chinext"}

KEY = {
    "symbol": ("SecurityID", "SecurityCode", "Code"),
    "date": ("MDDate", "TradeDate", "TradingDay", "Date"),
    "time": ("TransactTime", "MDTime", "OrderTime", "TradeTime", "Time"),
    "channel": ("ChannelNo", "Channel", "ChannelID"),
    "sequence": ("ApplSeqNum",),
}
ORDERS = Layout(
    "orders",
    ("OrdType",),
    {
        **KEY,
        "type": ("OrdType",),
        "price": ("Price", "OrderPrice"),
        "size": ("OrderQty", "Qty"),
        "side": ("Side", "OrderBSFlag"),
    },
    frozenset({"date"}),
)
TRADES = Layout(
    "trades",
    ("ExecType",),
    {
        **KEY,
        "type": ("ExecType",),
        "price": ("LastPx", "TradePrice", "Price"),
        "size": ("LastQty", "TradeQty", "Qty"),
        "buyer": ("BidApplSeqNum", "TradeBuyNo", "BuyNo"),
        "seller": ("OfferApplSeqNum", "TradeSellNo", "SellNo"),
    },
    frozenset({"date"}),
)
UNIFIED = Layout(
    "orders and trades",
    ("SourceType",),
    {
        **KEY,
        "source": ("SourceType",),
        "type": ("Type",),
        "price": ("Price",),
        "size": ("Qty",),
        "side": ("BSFlag",),
        "buyer": ("BuyNo",),
        "seller": ("SellNo",),
    },
    frozenset({"date"}),
)
LAYOUTS = (UNIFIED, TRADES, ORDERS)

# Codes are digits, letters, or either as ASCII numbers.
ORDER_TYPES = {"1": MARKET_ORDER, "49": MARKET_ORDER, "2": ADD, "50": ADD, "U": OWN_BEST_ORDER, "85": OWN_BEST_ORDER}
TRADE_TYPES = {"F": TRADE, "70": TRADE, "4": DELETE, "52": DELETE}
SIDES = {"1": t.BUY, "49": t.BUY, "B": t.BUY, "66": t.BUY, "2": t.SELL, "50": t.SELL, "S": t.SELL, "83": t.SELL}
# Those of the unified table.
SOURCES = {"0": 0, "1": 1}
UNIFIED_ORDER_TYPES = {"1": MARKET_ORDER, "2": ADD, "3": OWN_BEST_ORDER}
UNIFIED_TRADE_TYPES = {"0": TRADE, "1": DELETE}
UNIFIED_PRICE_UNITS = 100  # in a tick


def read(file: RawFile, layout: Layout, date: str, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
    """A file's messages by session, part by part.

    Args:
        file: The file.
        layout: One of `LAYOUTS`.
        date: The date of rows that tell none.
        ledger: Takes counts and bad rows.

    Yields:
        Symbol, ISO date, and records of `level2.RECORD`.

    Raises:
        DataError: The file cannot be read; or a row is bad, and the ledger says that this is an error.
    """
    for fields in read_csv(file, layout, ledger):
        fields = listed(fields, BOARDS, SUFFIX, ledger)
        if layout is UNIFIED:
            sources = fields.codes("source", SOURCES)
            halves = (fields.keep(sources == 0), UNIFIED_ORDER_TYPES), (fields.keep(sources == 1), UNIFIED_TRADE_TYPES)
        else:
            halves = ((fields, TRADE_TYPES if layout is TRADES else ORDER_TYPES),)
        prices = {"unit": UNIFIED_PRICE_UNITS} if layout is UNIFIED else {"unit": 1, "decimals": 2}
        for half, codes in halves:
            types = half.codes("type", codes)
            for kind in dict.fromkeys(codes.values()):
                own = half.keep(types == kind)
                yield from to_sessions(own, SUFFIX, date, **_columns(own, kind, prices))


def _columns(fields: Fields, kind: int, prices: dict[str, int]) -> dict[str, np.ndarray]:
    """The columns of one kind of messages."""
    columns = {"kind": np.full(len(fields), kind), "size": fields.numbers("size", 1, 1, t.MAX_SIZE)}
    if kind in (ADD, TRADE):
        columns["price"] = fields.numbers("price", least=1, most=MAX_TICKS, **prices)
    else:  # what such messages say of it has no meaning
        columns["price"] = np.full(len(fields), UNTOLD)
    if kind in (TRADE, DELETE):
        buyer, seller = (fields.numbers(name, 1, kind == TRADE, MAX_ID) for name in ("buyer", "seller"))
        if kind == DELETE:
            detail = "a cancel names the buyer or the seller, and not both; the buyer is {}"
            fields.refuse((buyer == 0) == (seller == 0), "cancel of no order", detail, buyer)
        side = np.where(seller > buyer, t.SELL, t.BUY)  # of a trade, the later order's: the aggressor
    else:
        side = fields.codes("side", SIDES)
        order = fields.numbers("sequence", 1, 1, MAX_ID)
        buyer, seller = np.where(side == t.BUY, order, 0), np.where(side == t.BUY, 0, order)
    return {**columns, "side": side, "buy_id": buyer, "sell_id": seller}
