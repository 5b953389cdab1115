"""The records of a session in its spool, chunk by chunk; and the prices that its book has to hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mars_lmm.data.feeds import FeedSession, Source
from mars_lmm.data.feeds.common.by_order.messages import COLLECT, NEW, RECORD
from mars_lmm.data.spool import read_records
from mars_lmm.market import types as t
from mars_lmm.market.repack import MAX_GROWN_TICKS

CHUNK = 1 << 16  # records

# An order so far from the others is never met: a market maker's stub, or a mistake. Half of what a ladder may grow to,
# so that a replay, too, has room around it.
MAX_TICKS = MAX_GROWN_TICKS // 2


def record_chunks(session: FeedSession, dtype: np.dtype = RECORD) -> Iterator[tuple[Source, np.ndarray]]:
    """Yield a session's sources with records[N], N at most `CHUNK`; sources in the order of their first time."""
    parts = []
    for source, path in zip(session.sources, session.records, strict=True):
        head = read_records(path, dtype, 0, 1)
        if len(head):
            parts.append((int(head["time"][0]), source, path))
    for _, source, path in sorted(parts, key=lambda part: part[0]):
        first = 0
        while len(records := read_records(path, dtype, first, CHUNK)):
            yield source, records
            first += len(records)


def price_span(session: FeedSession, price_tick: int) -> tuple[int, int]:
    """The lowest and the highest price that the session's book has to hold, in ticks.

    All prices of orders if they span no more than `MAX_TICKS`, else those so near to the median. A session without
    orders needs one price.
    """
    lows, highs, medians = [], [], []
    for _, records in record_chunks(session):
        prices = _order_prices(records, price_tick)
        if len(prices):
            lows.append(prices.min())
            highs.append(prices.max())
            medians.append(_median(prices))
    if not lows:
        return 1, 1
    low, high = int(min(lows)), int(max(highs))
    if high - low < MAX_TICKS:
        return low, high
    middle = int(_median(np.array(medians)))
    near_low, near_high = middle - MAX_TICKS // 2, middle + MAX_TICKS // 2 - 1
    low, high = middle, middle
    for _, records in record_chunks(session):
        prices = _order_prices(records, price_tick)
        prices = prices[(prices >= near_low) & (prices <= near_high)]
        low, high = int(prices.min(initial=low)), int(prices.max(initial=high))
    return low, high


def _median(prices: np.ndarray) -> np.int64:
    """The median; the lower of two, for between them there may be no order."""
    middle = (len(prices) - 1) // 2
    return np.partition(prices, middle)[middle]


def _order_prices(records: np.ndarray, price_tick: int) -> np.ndarray:
    """The prices of new orders in ticks, where they are prices at all."""
    entered = (records["kind"] == NEW) | (records["kind"] == COLLECT)
    prices = records["price"][entered] // price_tick
    return prices[(prices > 0) & (prices <= t.MAX_PRICE)]
