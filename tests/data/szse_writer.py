"""Writes Shenzhen level-2 files from messages, and makes days of messages with the reference venue.

A message is (kind, "HHMMSSmmm", side, price in ticks, size, buy id, sell id); its place in the list, from 1, is its
sequence number and, of an order, its id.
"""

import random
from pathlib import Path

from mars_lmm.data.feeds.common.level2.messages import (
    ADD,
    CLOSE,
    DELETE,
    MARKET_ORDER,
    OPENING_CALL,
    OWN_BEST_ORDER,
    TRADE,
)
from mars_lmm.data.market import session_rules
from mars_lmm.market import types as t
from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.types import BUY, SELL

PREVIOUS_CLOSE = 1000
SECOND = 10**9
ORDERS = "ChannelNo,ApplSeqNum,MDStreamID,SecurityID,SecurityIDSource,Price,OrderQty,Side,TransactTime,OrdType"
TRADES = (
    "ChannelNo,ApplSeqNum,MDStreamID,BidApplSeqNum,OfferApplSeqNum,SecurityID,SecurityIDSource,LastPx,LastQty,ExecType,"
    "TransactTime"
)
UNIFIED = "SecurityID,MDDate,MDTime,SourceType,Type,Price,Qty,BSFlag,BuyNo,SellNo,ApplSeqNum,ChannelNo"
ORDER_TYPES = {ADD: "2", MARKET_ORDER: "1", OWN_BEST_ORDER: "U"}


def write_messages(folder: Path, layout: str, messages, symbol="000001", date="20240102"):
    """Write messages in a layout: "letters" and "ascii" (two tables), or "unified" (one). Returns the folder."""
    folder.mkdir(exist_ok=True)
    tables = _unified(messages, symbol, date) if layout == "unified" else _split(layout, messages, symbol, date)
    for name, rows in tables.items():
        (folder / name).write_text("".join(f"{row}\n" for row in rows))
    return folder


def _split(layout, messages, symbol, date):
    def code(letter):
        return str(ord(letter)) if layout == "ascii" else letter

    orders, trades = [ORDERS], [TRADES]
    for sequence, (kind, time, side, price, size, buy, sell) in enumerate(messages, start=1):
        moment = f"{time[:2]}:{time[2:4]}:{time[4:6]}.{time[6:]}" if layout == "ascii" else f"{date}{time}"
        head = f"2013,{sequence},011"
        if kind in (TRADE, DELETE):
            kind_code = code("F" if kind == TRADE else "4")
            trades.append(f"{head},{buy},{sell},{symbol},102 ,{price / 100},{size},{kind_code},{moment}")
        else:
            shown = f"{price / 100:.4f}" if kind == ADD else "-1"
            side_code = code("1" if side == BUY else "2")
            orders.append(f"{head},{symbol},102 ,{shown},{size}.00,{side_code},{moment},{code(ORDER_TYPES[kind])}")
    return {"mdl_6_33_0.csv": orders, "mdl_6_36_0.csv": trades}


def _unified(messages, symbol, date):
    rows = [UNIFIED]
    for sequence, (kind, time, side, price, size, buy, sell) in enumerate(messages, start=1):
        moment = f"{time[:2]}:{time[2:4]}:{time[4:6]}.{time[6:]}"
        is_trade = kind in (TRADE, DELETE)
        types = {TRADE: 0, DELETE: 1, MARKET_ORDER: 1, ADD: 2, OWN_BEST_ORDER: 3}
        shown = price * 100 if kind in (TRADE, ADD) else 0
        day = f"{date[:4]}.{date[4:6]}.{date[6:]}"
        flag = 0 if is_trade else 1 if side == BUY else 2
        rows.append(
            f"{symbol}.SZ,{day},{moment},{int(is_trade)},{types[kind]},{shown},{size},{flag},"
            f"{buy if is_trade else 0},{sell if is_trade else 0},{sequence},2013"
        )
    return {"ticks.csv": rows}


def random_messages(seed: int, count: int) -> list[tuple]:
    """A day of about `count` orders and cancels, as the exchange would publish what the reference venue does."""
    rng = random.Random(seed)
    day = session_rules("szse_main").day(PREVIOUS_CLOSE)
    venue = ReferenceVenue(10 * count, 400, 800, day.row.tolist(), day.schedule.tolist())
    messages = []

    def tell_trades(trades, time):
        for trade in trades:
            incoming_buys = trade.incoming_side != SELL
            buy, sell = trade.incoming_id, trade.resting_id
            buy, sell = (buy, sell) if incoming_buys else (sell, buy)
            messages.append((TRADE, clock(time), t.NO_SIDE, trade.price, trade.size, buy, sell))

    def run_clock(time):
        for start in [row[t.PHASE_START] for row in venue.schedule if venue.clock < row[t.PHASE_START] <= time]:
            tell_trades(venue.advance(start), start)

    for time in sorted(_times(rng, count)):
        run_clock(time)
        mode = venue.mode
        cancels = venue.schedule[venue.phase][t.PHASE_CANCELS]
        if cancels and venue.live and rng.random() < 0.35:
            order_id = rng.choice(list(venue.live)[-40:])
            side = venue.live[order_id].side
            report, trades = venue.submit(t.CANCEL, side, 0, 0, order_id, 0, time)
            assert not trades
            messages.append(_cancel(time, side, report.cancelled, order_id))
            continue
        kinds = [t.LIMIT] * 24 + [t.BEST_FIVE] * 4 + [t.OPPOSITE_BEST, t.OWN_BEST] * 2 + [t.MARKET, t.MARKET_FOK]
        kind = rng.choice(kinds) if mode == t.CONTINUOUS else t.LIMIT
        side = rng.choice([SELL, BUY])
        price = PREVIOUS_CLOSE + rng.randint(-4, 16) * (1 if side == SELL else -1)
        large = rng.randint(20, 80) * (1 if kind == t.LIMIT else rng.choice([1, 2, 4]))
        size = 100 * (rng.randint(1, 5) if rng.random() < (0.8 if kind == t.LIMIT else 0.4) else large)
        order_id = len(messages) + 1
        told = {t.LIMIT: ADD, t.OWN_BEST: OWN_BEST_ORDER}.get(kind, MARKET_ORDER)
        ids = (order_id, 0) if side == BUY else (0, order_id)
        messages.append((told, clock(time), side, price if kind == t.LIMIT else 0, size, *ids))
        report, trades = venue.submit(kind, side, price if kind == t.LIMIT else 0, size, order_id, 0, time)
        tell_trades(trades, time)
        if report.outcome in (t.NO_LIQUIDITY, t.UNFILLABLE):
            messages.append(_cancel(time, side, size, order_id))
        elif report.cancelled:
            messages.append(_cancel(time, side, report.cancelled, order_id))
    run_clock(CLOSE)
    return messages


def _times(rng, count):
    opening, continuous, closing = OPENING_CALL, 9.5 * 3600 * SECOND, (14 * 60 + 57) * 60 * SECOND
    for _ in range(count):
        part = rng.random()
        if part < 0.1:
            yield opening + rng.randrange(15 * 60 * SECOND)  # the last of it queues
        elif part < 0.95:
            yield int(continuous) + rng.randrange(2 * 3600 * SECOND)
        else:
            yield closing + rng.randrange(3 * 60 * SECOND)


def _cancel(time, side, size, order_id):
    ids = (order_id, 0) if side == BUY else (0, order_id)
    return (DELETE, clock(time), side, 0, size, *ids)


def clock(time: int) -> str:
    """HHMMSSmmm of nanoseconds since midnight."""
    milliseconds = time // 10**6
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}{minutes % 60:02d}{rest:05d}"
