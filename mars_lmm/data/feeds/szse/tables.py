"""Shenzhen level 2 in CSV files with a header: orders, trades (with the cancels among them), or both in one table.

Column names are those of the exchange's messages and DataYes' files, with other vendors' spellings beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.level2.layouts import Layout
from mars_lmm.data.feeds.common.level2.messages import (
    ADD,
    DELETE,
    MARKET_ORDER,
    MAX_ID,
    MAX_TICKS,
    OWN_BEST_ORDER,
    PER_YUAN,
    TRADE,
    UNTOLD,
)
from mars_lmm.data.feeds.common.level2.records import Market
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

BOARDS = dict.fromkeys(range(5), "szse_main") | dict.fromkeys((300, 301, 302), "szse_chinext")

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
)

# Codes are digits, letters, or either as ASCII numbers.
ORDER_TYPES = {"1": MARKET_ORDER, "49": MARKET_ORDER, "2": ADD, "50": ADD, "U": OWN_BEST_ORDER, "85": OWN_BEST_ORDER}
TRADE_TYPES = {"F": TRADE, "70": TRADE, "4": DELETE, "52": DELETE}
SIDES = {"1": t.BUY, "49": t.BUY, "B": t.BUY, "66": t.BUY, "2": t.SELL, "50": t.SELL, "S": t.SELL, "83": t.SELL}
# Those of the unified table.
SOURCES = {"0": 0, "1": 1}
UNIFIED_ORDER_TYPES = {"1": MARKET_ORDER, "2": ADD, "3": OWN_BEST_ORDER}
UNIFIED_TRADE_TYPES = {"0": TRADE, "1": DELETE}
UNIFIED_PRICE_UNITS = 100  # in a tick


def messages(fields: Fields, layout: Layout, _: Ledger) -> Iterator[tuple[Fields, dict[str, np.ndarray]]]:
    """The rows of a table, kind by kind; see `Market.messages`."""
    if layout is UNIFIED:
        sources = fields.codes("source", SOURCES)
        halves = (fields.keep(sources == 0), UNIFIED_ORDER_TYPES), (fields.keep(sources == 1), UNIFIED_TRADE_TYPES)
    else:
        halves = ((fields, TRADE_TYPES if layout is TRADES else ORDER_TYPES),)
    per_one = Fraction(1, UNIFIED_PRICE_UNITS) if layout is UNIFIED else PER_YUAN
    for half, codes in halves:
        types = half.codes("type", codes)
        for kind in dict.fromkeys(codes.values()):
            own = half.keep(types == kind)
            yield own, _columns(own, kind, per_one)


def _columns(fields: Fields, kind: int, per_one: Fraction | int) -> dict[str, np.ndarray]:
    """The columns of one kind of messages; `per_one` is how many ticks a price of 1 has."""
    columns = {"kind": np.full(len(fields), kind), "size": fields.numbers("size", 1, 1, t.MAX_SIZE)}
    if kind in (ADD, TRADE):
        columns["price"] = fields.numbers("price", per_one, 1, MAX_TICKS)
    else:  # what such messages say of it has no meaning
        columns["price"] = np.full(len(fields), UNTOLD)
    if kind in (TRADE, DELETE):
        empty = 0 if kind == DELETE else None  # a cancel need not name the other side
        buyer, seller = (fields.numbers(name, 1, kind == TRADE, MAX_ID, empty) for name in ("buyer", "seller"))
        if kind == DELETE:
            detail = "a cancel names the buyer or the seller, and not both; the buyer is {}"
            fields.refuse((buyer == 0) == (seller == 0), "cancel of no order", detail, buyer)
        side = np.where(seller > buyer, t.SELL, t.BUY)  # of a trade, the later order's: the aggressor
    else:
        side = fields.codes("side", SIDES)
        order = fields.numbers("sequence", 1, 1, MAX_ID)
        buyer, seller = np.where(side == t.BUY, order, 0), np.where(side == t.BUY, 0, order)
    return {**columns, "side": side, "buy_id": buyer, "sell_id": seller}


MARKET = Market(("SZ", "XSHE"), BOARDS, (UNIFIED, TRADES, ORDERS), messages)
