"""Snapshots: the best levels of a book, taken anew or brought up to date."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.book import UNCHANGED_BUY, UNCHANGED_SELL, Queues
from mars_lmm.market.types import BEST_PRICE, CHANGED, DEPTH, NO_PRICE, SELL


class Snapshots(NamedTuple):
    """The compiled functions of the snapshots; `out` is int64[2, DEPTH, 2] = [side][level][price, size]."""

    snapshot: Callable  # (book, out): the best levels
    refresh: Callable  # (book, out): the same, where `out` holds them as of the last `refresh`


def make_snapshots(jit: Callable, queues: Queues) -> Snapshots:
    """Compile the snapshots with `jit`."""
    level_size, next_price = queues.level_size, queues.next_price

    @jit
    def fill(book, out, side, level, price):
        """Write the levels from number `level` on, which is at the occupied price `price`, or NO_PRICE."""
        while level < DEPTH and price != NO_PRICE:
            out[side, level, 0] = price
            out[side, level, 1] = level_size(book, side, price)
            level += 1
            if level < DEPTH:
                price = next_price(book, side, price)
        while level < DEPTH:
            out[side, level, 0] = NO_PRICE
            out[side, level, 1] = 0
            level += 1

    @jit
    def snapshot(book, out):
        for side in range(2):
            fill(book, out, side, 0, book[BEST_PRICE + side])

    @jit
    def refresh(book, out):
        for side in range(2):
            price = book[CHANGED + side]
            unchanged = UNCHANGED_SELL if side == SELL else UNCHANGED_BUY
            if price == unchanged:
                continue
            book[CHANGED + side] = unchanged
            # The levels better than the change stand.
            level = 0
            while level < DEPTH:
                shown = out[side, level, 0]
                if shown == NO_PRICE or (shown >= price if side == SELL else shown <= price):
                    gone = level_size(book, side, price) == 0
                    fill(book, out, side, level, next_price(book, side, price) if gone else price)
                    break
                level += 1

    return Snapshots(snapshot, refresh)
