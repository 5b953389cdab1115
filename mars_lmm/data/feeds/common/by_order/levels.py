"""Our book beside the levels that a feed shows, int64[2, L, 2] = [side][level][price in ticks, size]."""

from __future__ import annotations

import numba
import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.cpu import MATCHING, VENUE
from mars_lmm.market.resolve import make_resolving

_jit = numba.njit(nogil=True, _nrt=False)
_apply = make_resolving(_jit, VENUE).apply
_clear, _collect, _close = MATCHING.clear, MATCHING.collect, MATCHING.close
_best, _level_size, _next_price = MATCHING.best, MATCHING.level_size, MATCHING.next_price


@_jit
def apply_order(book, order, report, trades):
    """Execute an order row, int64[NUM_ORDER_COLUMNS], by the rules of `resolve.apply`."""
    _apply(
        book,
        order[t.KIND],
        order[t.SIDE],
        order[t.PRICE],
        order[t.SIZE],
        order[t.ORDER_ID],
        order[t.OWNER],
        0,
        t.OLDEST_FIRST,
        report,
        trades,
    )


@_jit
def rest_order(book, order, report, trades):
    """Let a limit order rest without trading, as in a call auction."""
    _clear(book, report)
    outcome = _collect(
        book, t.LIMIT, order[t.SIDE], order[t.PRICE], order[t.SIZE], order[t.ORDER_ID], order[t.OWNER], report, trades
    )
    _close(book, outcome, report)


@_jit
def is_worse(side, price, other):
    """Whether a price stands behind another on its side."""
    return price > other if side == t.SELL else price < other


@_jit
def holds(book, side, levels):
    """Whether the best L levels of one side are `levels`, int64[L, 2]."""
    price = _best(book, side)
    for level in range(levels.shape[0]):
        if level > 0:
            price = _next_price(book, side, price)
        if price != levels[level, 0]:
            return False
        if price == t.NO_PRICE:
            return True
        if _level_size(book, side, price) != levels[level, 1]:
            return False
    return True


@_jit
def copy_levels(book, out):
    """Write the best L levels of both sides to `out`, int64[2, L, 2]."""
    for side in range(2):
        price = _best(book, side)
        for level in range(out.shape[1]):
            out[side, level, 0] = price
            out[side, level, 1] = 0
            if price != t.NO_PRICE:
                out[side, level, 1] = _level_size(book, side, price)
                price = _next_price(book, side, price)


def describe_difference(source: str, row: int, shown: np.ndarray, ours: np.ndarray) -> str:
    """A mismatching row in words: the first level that differs.

    Args:
        source: The file that shows the levels.
        row: Its row, counted from 1.
        shown: int64[2, L, 2].
        ours: int64[2, L, 2].
    """
    if (shown == ours).all():
        return f"{source}, row {row}: the message takes volume that neither book has, or adds an id that is live"
    side, level, _ = np.argwhere(shown != ours)[0]
    return (
        f"{source}, row {row}: {'bid' if side == t.BUY else 'ask'} level {level + 1} is "
        f"{shown[side, level].tolist()} (price in ticks, size), our book has {ours[side, level].tolist()}"
    )
