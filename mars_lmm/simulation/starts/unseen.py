"""What a feed's window hides: orders beyond the levels that it shows, made up for rollouts.

A LOBSTER file shows the best ten levels, say. When one of them goes, another comes into sight, without a message: it
was there. A rollout that knew only what was seen before would have hundreds of levels on the side that prices came
from, and few on the other, which its cancels soon empty. So beyond the window both sides get levels alike, with gaps
and sizes as the session's outermost shown levels have had them so far. The real continuation does without: its feed
reveals the rest.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from mars_lmm.data.flow import Session
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, sections
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.repack import with_room
from mars_lmm.simulation.engine.columns import FIRST_SIMULATED_ID
from mars_lmm.tokenizers import observation as o

NUM_LEVELS = 200  # a side: more than rollouts of hours use up
_RECENT = 20_000  # orders whose books tell gaps and sizes


def unseen_orders(session: Session, book: np.ndarray, observed: np.ndarray, time: int) -> np.ndarray:
    """Orders that make of a book as the feed showed it one to roll out from.

    Args:
        session: The instrument and day.
        book: int64[N], the market at a start.
        observed: int64[M, NUM_OBSERVED], the orders before it.
        time: Nanoseconds since midnight; with the session it decides what is drawn.

    Returns:
        int64[K, NUM_ORDER_COLUMNS]: cancels of what lies beyond the window, which was seen some time ago, and limit
        orders in its place. None where the feed shows the whole book.
    """
    nothing = np.zeros((0, t.NUM_ORDER_COLUMNS), dtype=np.int64)
    gaps, sizes = _outermost(observed[-_RECENT:], session.levels) if session.levels else (nothing, nothing)
    if not len(gaps):
        return nothing
    generator = np.random.default_rng([time, crc32(session.name.encode())])
    live = sections(book).index[0]
    live = live[live[:, 1] != NO_SLOT, 1]
    side, price = book[live + t.SIDE], book[live + t.PRICE]
    rows = [nothing]
    for which, sign in ((t.SELL, 1), (t.BUY, -1)):
        prices = np.unique(price[side == which])[::sign]
        if not len(prices):
            continue
        edge = prices[min(session.levels, len(prices)) - 1]
        beyond = (side == which) & (sign * (price - edge) > 0)
        drawn = generator.integers(0, len(gaps), NUM_LEVELS)
        made = edge + sign * np.cumsum(gaps[drawn])
        inside = (made >= max(book[t.BASE_PRICE], 1)) & (made < book[t.BASE_PRICE] + book[t.NUM_TICKS])
        ids = FIRST_SIMULATED_ID - 1 - (which * NUM_LEVELS + np.arange(NUM_LEVELS))
        rows.append(
            _rows(t.CANCEL, which, price[beyond], 0, book[live + t.ORDER_ID][beyond], book[live + t.OWNER][beyond])
        )
        rows.append(_rows(t.LIMIT, which, made[inside], sizes[drawn][inside], ids[inside], t.BACKGROUND))
    return np.concatenate(rows)


def completed(book: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """A copy of a book, int64[N], with room for and after the orders of `unseen_orders`."""
    limits = orders[orders[:, t.KIND] == t.LIMIT]
    if not len(limits):
        return book.copy()
    book = with_room(book, len(limits), int(limits[:, t.PRICE].min()), int(limits[:, t.PRICE].max())).copy()
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.zeros((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    counts = slice(t.OUTCOME_COUNTS, t.OUTCOME_COUNTS + len(t.OUTCOMES))
    before = book[counts].copy()
    for order in orders:
        MATCHING.execute(book, *order.tolist(), t.OLDEST_FIRST, report, trades)
        assert report[t.OUTCOME] == t.ACCEPTED
    book[counts] = before  # nobody sent them
    return book


def _outermost(observed: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps to the level before, and sizes, of the last level that is shown; int64[M] each, of both sides."""
    last = max(levels, 2) - 1  # the best level has no gap
    shown = observed[:, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
    distance, size = shown[:, :, 0], shown[:, :, 1]
    there = distance[:, :, last] >= 0
    return (distance[:, :, last] - distance[:, :, last - 1])[there], size[:, :, last][there]


def _rows(kind: int, side: int, price: np.ndarray, size, order_id: np.ndarray, owner) -> np.ndarray:
    rows = np.empty((len(price), t.NUM_ORDER_COLUMNS), dtype=np.int64)
    rows[:, t.KIND], rows[:, t.SIDE], rows[:, t.PRICE] = kind, side, price
    rows[:, t.SIZE], rows[:, t.ORDER_ID], rows[:, t.OWNER] = size, order_id, owner
    return rows
