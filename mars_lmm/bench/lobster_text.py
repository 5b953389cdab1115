"""A synthetic session as LOBSTER would publish it: text for the preparation to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mars_lmm.data.feeds.common.by_order.messages import DELETE, EXECUTE, NEW
from mars_lmm.data.feeds.lobster.read import MISSING_PRICE
from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session
from mars_lmm.data.flow import ANONYMOUS, OrderFlow
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.exchange import Exchange

UNITS = 100  # LOBSTER price units a tick
MINUTES = 390
SECOND = 10**9
NAME = "SYN_{date}_34200000_57600000_{content}_{levels}.csv"


def write_lobster(folder: Path, num_messages: int, seed: int = 0) -> int:
    """Write a session's message and orderbook file, ten levels a side.

    Args:
        folder: Where to.
        num_messages: About how many messages there should be.
        seed: Of the session.

    Returns:
        How many there are.
    """
    rate = num_messages / (MINUTES * 60)
    flow = synthetic_session(SyntheticConfig(1, MINUTES, rate, seed), 0)
    messages, orders = _messages(flow)
    books = _exchange(flow).run(orders, snapshots=True).snapshots
    # LOBSTER publishes what changes the levels that it shows.
    published = messages[:, 1] > 0
    published[1:] &= (books[1:] != books[:-1]).any(axis=(1, 2, 3))
    messages, books = messages[published], books[published]
    columns = [_seconds(messages[:, 0]), *(pa.array(column) for column in messages[:, 1:].T)]
    _write(folder, flow, "message", columns)
    missing = np.where(np.arange(2) == t.SELL, MISSING_PRICE, -MISSING_PRICE)[:, None]
    books[..., 0] = np.where(books[..., 0] == t.NO_PRICE, missing, books[..., 0] * UNITS)
    # Level by level: ask price, ask size, bid price, bid size.
    _write(folder, flow, "orderbook", [pa.array(column) for column in books.swapaxes(1, 2).reshape(len(books), -1).T])
    return len(messages)


def _exchange(flow: OrderFlow) -> Exchange:
    low, high = int(flow.price.min()), int(flow.price.max())
    return Exchange(empty_books(1, len(flow), high - low + 1, low))


def _messages(flow: OrderFlow) -> tuple[np.ndarray, np.ndarray]:
    """The feed's messages, and orders that make the book after each.

    Returns:
        int64[N, 6]: time, type, id, size, price and direction; type 0 for the opening book, which no message tells.
        And int64[N, NUM_ORDER_COLUMNS].
    """
    stream = _exchange(flow).run(flow.orders())
    num_fills, resting = stream.reports[:, t.NUM_FILLS], stream.reports[:, t.RESTING]
    is_limit = flow.kind == t.LIMIT
    count = num_fills + (~is_limit | (resting > 0))
    first = np.cumsum(count) - count
    of_order = np.repeat(np.arange(len(flow)), count)
    messages = np.zeros((len(of_order), 6), np.int64)
    messages[:, 0] = flow.time[of_order]
    direction = np.where(flow.side == t.BUY, 1, -1)

    last = (first + count - 1)[count > num_fills]
    rest = np.flatnonzero(count > num_fills)
    anonymous = flow.flags & ANONYMOUS != 0
    kind = np.where(is_limit, NEW, DELETE)  # the synthetic market cancels whole orders
    kind[anonymous] = 0
    size = np.where(is_limit, resting, flow.size)
    for column, values in enumerate((kind, flow.order_id, size, flow.price * UNITS, direction), start=1):
        messages[last, column] = values[rest]

    within = np.arange(len(of_order)) - first[of_order]
    fills = np.flatnonzero(within < num_fills[of_order])
    trades = stream.trades
    messages[fills, 1] = EXECUTE
    messages[fills, 2] = trades[:, t.RESTING_ID]
    messages[fills, 3] = trades[:, t.TRADE_SIZE]
    messages[fills, 4] = trades[:, t.TRADE_PRICE] * UNITS
    messages[fills, 5] = -direction[of_order[fills]]

    orders = np.zeros((len(messages), t.NUM_ORDER_COLUMNS), np.int64)
    orders[:, t.KIND] = np.where(messages[:, 1] <= NEW, t.LIMIT, t.CANCEL)
    orders[:, t.SIDE] = np.where(messages[:, 5] == 1, t.BUY, t.SELL)
    orders[:, t.PRICE] = messages[:, 4] // UNITS
    orders[:, t.SIZE] = messages[:, 3]
    orders[:, t.ORDER_ID] = messages[:, 2]
    return messages, orders


def _seconds(time: np.ndarray) -> pa.Array:
    """Times as LOBSTER writes them."""
    fraction = pc.utf8_lpad(pa.array(time % SECOND).cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise(pa.array(time // SECOND).cast(pa.string()), fraction, ".")


def _write(folder: Path, flow: OrderFlow, content: str, columns: list[pa.Array]) -> None:
    path = folder / NAME.format(date=flow.session.date, content=content, levels=t.DEPTH)
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(pa.table(columns, [str(i) for i in range(len(columns))]), path, options)
