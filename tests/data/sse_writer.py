"""Writes Shanghai level-2 files in all three layouts from messages."""

from pathlib import Path

from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE
from mars_lmm.market.types import BUY, DEPTH, NO_SIDE, SELL

HEAD = (
    "SecurityIDSource=101 MsgType={} MsgLen=64 SecurityID={}           ChannelNo=6 ApplSeqNum=1         TradingPhase=0"
)
ORDERS = (
    "MDDate,MDTime,SecurityType,Symbol,OrderIndex,OrderType,OrderPrice,OrderQty,OrderBSFlag,ChannelNo,"
    "ApplSeqNum,OrderNO,SecurityID"
)
TRADES = (
    "MDDate,MDTime,Symbol,TradingPhaseCode,TradeIndex,TradeBuyNo,TradeSellNo,TradeType,TradeBSFlag,TradePrice,"
    "TradeQty,TradeMoney,ChannelNo,ApplSeqNum,SecurityID"
)
MERGED = (
    "BizIndex,Channel,SecurityID,TickTime,Type,BuyOrderNO,SellOrderNO,Price,Qty,TradeMoney,TickBSFlag,LocalTime,SeqNo"
)


def log_line(sequence, message, symbol="600000"):
    """A message as a line of the log: (kind, "HHMMSScc", side, price, size, buy id, sell id)."""
    kind, time, side, price, size, buy, sell = message
    head = HEAD.format(191 if kind == TRADE else 192, symbol)
    if kind == TRADE:
        code = ord({BUY: "B", SELL: "S", NO_SIDE: "N"}[side])
        body = (
            f"BidApplSeqNum={buy} OfferApplSeqNum={sell}   LastPx={price * 10} LastQty={size * 1000}    ExecType={code}"
        )
    else:
        code = f"OrdType={ord('A' if kind == ADD else 'D')} Side={ord('B' if side == BUY else 'S')}"
        body = f"OrderNo={buy or sell}   Price={price * 10} OrderQty={size * 1000}     {code}"
    return f"//{head} {body} TransactTime={int(time)} resv=      BizIndex={sequence}      "


def snapshot_line(time, figures, asks=(), bids=(), symbol="600000"):
    """A snapshot as a line of the log: "HHMMSS"; trades, volume, value, open, last, high, low; levels."""
    trades, volume, value, first, last, high, low = figures
    sides = {"Bid": bids, "Ask": asks}
    levels = " ".join(
        f"{side}Level[{i}].Price={price * 10} {side}Level[{i}].Qty={size * 1000}  "
        for side, levels in sides.items()
        for i, (price, size) in enumerate([*levels, *[(0, 0)] * (DEPTH - len(levels))])
    )
    return (
        f"//{HEAD.format(111, symbol)} NumTrades={trades} TotalVolumeTrade={volume * 1000} "
        f"TotalValueTrade={value * 1000} PrevClosePx=10000 LastPx={last * 10} OpenPx={first * 10} HighPx={high * 10} "
        f"LowPx={low * 10}  BidWeightPx=0 BidWeightSize=0   AskWeightPx=0 AskWeightSize=0  DataTimeStamp={int(time)} "
        f"{levels} TradingPhaseCodePack=69 resv=     "
    )


def write_log(path: Path, lines: list[str]) -> Path:
    """Write a log."""
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path


def table_rows(messages, symbol="600000", date="2024.01.02"):
    """Messages as the rows of the two tables, with their headers."""
    orders, trades = [ORDERS], [TRADES]
    for sequence, (kind, time, side, price, size, buy, sell) in enumerate(messages, start=1):
        clock = f"{time[:2]}:{time[2:4]}:{time[4:6]}.{time[6:]}0"
        if kind == TRADE:
            code = {BUY: 1, SELL: 2, NO_SIDE: 0}[side]
            trades.append(
                f"{date},{clock},甲,,1,{buy},{sell},0,{code},{price / 100!r},{size},{price * size / 100},1,{sequence},"
                f"{symbol}.SH"
            )
        else:
            code = f"{10 if kind == DELETE else 2},{price / 100!r},{size},{1 if side == BUY else 2}"
            orders.append(f"{date},{clock},2,甲,1,{code},1,{sequence},{buy or sell},{symbol}.SH")
    return orders, trades


def merged_rows(messages, symbol="600000"):
    """Messages as the rows of the merged stream, with its header; the status of the product before and behind them."""
    status = "{},1,{},09:15:00.000,S,0,0,0.000,0,0.000,{},09:15:00.001,1"
    rows = [MERGED, status.format(0, symbol, "OCALL")]
    aggressor, filled = 0, 0
    for sequence, (kind, time, side, price, size, buy, sell) in enumerate(messages, start=1):
        money = "0.000"
        if kind == TRADE:
            code, flag = "T", {BUY: "B", SELL: "S", NO_SIDE: "N"}[side]
            money = f"{price * size / 100:.3f}"
            active = {BUY: buy, SELL: sell, NO_SIDE: 0}[side]
            aggressor, filled = active, size + filled * (active == aggressor)
        else:
            code, flag = ("A" if kind == ADD else "D"), ("B" if side == BUY else "S")
            if kind == ADD and aggressor and (buy or sell) == aggressor:
                money = f"{filled}.000"
            aggressor = 0
        clock = f"{time[:2]}:{time[2:4]}:{time[4:6]}.{time[6:]}0"
        rows.append(
            f"{sequence},1,{symbol},{clock},{code},{buy},{sell},{price // 100}.{price % 100:02d}0,{size},{money},"
            f"{flag},{clock},{sequence}"
        )
    return [*rows, status.format(len(messages) + 1, symbol, "CLOSE")]


def write_merged(folder: Path, rows: list[str]) -> Path:
    """Write the merged stream into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "mdl_4_24_0.csv").write_text("".join(f"{row}\n" for row in rows))
    return folder


def write_tables(folder: Path, orders: list[str], trades: list[str]) -> Path:
    """Write the two tables into a folder."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("orders", orders), ("trades", trades)):
        (folder / f"{name}.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder
