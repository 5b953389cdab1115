"""Shanghai level 2 in CSV files with a header: split tables of orders and of trades, and the merged stream.

Until the end of 2023 the exchange published orders and trades apart; since then one stream has both, and the status of
the product. Column names are those of DolphinDB's and DataYes' files, with other vendors' spellings beside them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.level2.layouts import Layout
from mars_lmm.data.feeds.common.level2.messages import (
    ADD,
    DELETE,
    MAX_ID,
    MAX_TICKS,
    PER_YUAN,
    SUSPENSION,
    TRADE,
    UNTOLD,
)
from mars_lmm.data.feeds.common.level2.records import Market
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

BOARDS = {600: "sse_main", 601: "sse_main", 603: "sse_main", 605: "sse_main", 688: "sse_star", 689: "sse_star"}
STATUS = 3  # of the product: a kind of message that is about no order
SUSPENDED = "SUSP"  # a status; it stands where other messages have the side

KEY = {
    "symbol": ("SecurityID", "SecurityCode", "Code"),
    "date": ("MDDate", "TradeDate", "TradingDay", "Date"),
    "time": ("MDTime", "TickTime", "TradeTime", "OrderTime", "TransactTime", "Time"),
    "channel": ("ChannelNo", "Channel", "ChannelID"),
}
ORDERS = Layout(
    "orders",
    ("OrderBSFlag",),
    {
        **KEY,
        "sequence": ("BizIndex", "ApplSeqNum"),
        "type": ("OrderType", "OrdType"),
        "price": ("OrderPrice", "Price"),
        "size": ("OrderQty", "Balance", "Qty"),
        "side": ("OrderBSFlag",),
        "order": ("OrderNO", "OrderID"),
    },
)
TRADES = Layout(
    "trades",
    ("TradeBSFlag",),
    {
        **KEY,
        "sequence": ("BizIndex", "ApplSeqNum"),
        "buyer": ("TradeBuyNo", "BidApplSeqNum", "BuyNo"),
        "seller": ("TradeSellNo", "OfferApplSeqNum", "SellNo"),
        "price": ("TradePrice", "LastPx", "Price"),
        "size": ("TradeQty", "LastQty", "Qty"),
        "side": ("TradeBSFlag",),
    },
)
MERGED = Layout(
    "orders and trades",
    ("TickBSFlag",),
    {
        **KEY,
        "sequence": ("BizIndex", "TickIndex", "ApplSeqNum"),
        "type": ("Type", "TickType"),
        "buyer": ("BuyOrderNO", "BuyNo"),
        "seller": ("SellOrderNO", "SellNo"),
        "price": ("Price", "TickPrice"),
        "size": ("Qty", "TickQty", "Volume"),
        "executed": ("TradeMoney", "Money", "Amount"),
        "side": ("TickBSFlag",),
    },
)

# Codes are digits, letters, or letters as ASCII numbers.
ORDER_TYPES = {"2": ADD, "A": ADD, "65": ADD, "10": DELETE, "D": DELETE, "68": DELETE}
TICK_TYPES = {
    **{code: ORDER_TYPES[code] for code in ("A", "65", "D", "68")},
    **{"T": TRADE, "84": TRADE, "S": STATUS, "83": STATUS},
}
SIDES = {"1": t.BUY, "B": t.BUY, "66": t.BUY, "2": t.SELL, "S": t.SELL, "83": t.SELL}
AGGRESSORS = {**SIDES, "0": t.NO_SIDE, "N": t.NO_SIDE, "78": t.NO_SIDE}
MAX_EXECUTED = 10**12


def messages(fields: Fields, layout: Layout, ledger: Ledger) -> Iterator[tuple[Fields, dict[str, np.ndarray]]]:
    """The rows of a table, kind by kind; see `Market.messages`."""
    if layout is TRADES:
        yield fields, _trade(fields)
        return
    types = fields.codes("type", ORDER_TYPES if layout is ORDERS else TICK_TYPES)
    for kind in (ADD, DELETE):
        own = fields.keep(types == kind)
        yield own, _order(own, kind)
    if layout is MERGED:
        own = fields.keep(types == TRADE)
        yield own, _trade(own)
        ledger.counts["statuses"] += int(np.count_nonzero(types == STATUS))
        own = fields.keep(types == STATUS)
        numbers, words = own.words("side")
        own = own.keep(np.isin(numbers, [i for i, word in enumerate(words) if word == SUSPENDED]))
        yield own, _suspension(own)


def _order(fields: Fields, kind: int) -> dict[str, np.ndarray]:
    """The columns of new orders or of deletes. A delete need not repeat the price."""
    side = fields.codes("side", SIDES)
    buys = side == t.BUY
    if "order" in fields:
        order = fields.numbers("order", 1, 1, MAX_ID)
    else:
        buyer, seller = (fields.numbers(name, 1, 0, MAX_ID, 0) for name in ("buyer", "seller"))
        order = np.where(buys, buyer, seller)
        fields.refuse(order == 0, "order without a number", "the number of its side is {}", order)
    least, empty = (0, 0) if kind == DELETE else (1, None)
    columns = {
        "kind": np.full(len(fields), kind),
        "side": side,
        "price": fields.numbers("price", PER_YUAN, least, MAX_TICKS, empty),
        "size": fields.numbers("size", 1, 1, t.MAX_SIZE),
        "buy_id": np.where(buys, order, 0),
        "sell_id": np.where(buys, 0, order),
    }
    if kind == DELETE:
        columns["price"] = np.where(columns["price"] == 0, UNTOLD, columns["price"])
    elif "executed" in fields:
        columns["executed"] = fields.numbers("executed", 1, 0, MAX_EXECUTED)
    return columns


def _trade(fields: Fields) -> dict[str, np.ndarray]:
    """The columns of trades."""
    return {
        "kind": np.full(len(fields), TRADE),
        "side": fields.codes("side", AGGRESSORS),
        "price": fields.numbers("price", PER_YUAN, 1, MAX_TICKS),
        "size": fields.numbers("size", 1, 1, t.MAX_SIZE),
        "buy_id": fields.numbers("buyer", 1, 1, MAX_ID),
        "sell_id": fields.numbers("seller", 1, 1, MAX_ID),
    }


def _suspension(fields: Fields) -> dict[str, np.ndarray]:
    """The columns of suspensions. Only their time matters: not all vendors give them a place in the sequence."""
    nothing = np.zeros(len(fields), np.int64)
    return {
        "kind": np.full(len(fields), SUSPENSION),
        "side": np.full(len(fields), t.NO_SIDE),
        "price": np.full(len(fields), UNTOLD),
        **dict.fromkeys(("size", "buy_id", "sell_id", "sequence"), nothing),
    }


MARKET = Market(("SH", "XSHG"), BOARDS, (ORDERS, MERGED, TRADES), messages)
