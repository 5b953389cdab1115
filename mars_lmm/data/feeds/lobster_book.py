"""A LOBSTER session through our own book, compared with the vendor's book after every message.

The vendor shows L levels a side, so orders that never stood within them are unknown. What our book holds is
predicted from the messages alone, with one exception: when a level leaves and the window moves outwards, the
prices that it newly covers are set to what the vendor shows there. Volume that our book missed is `revealed`,
volume that it should no longer have is `stale`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.levels import (
    apply_order,
    copy_levels,
    describe_difference,
    empty_book,
    holds,
    is_worse,
)
from mars_lmm.data.feeds.lobster_files import LobsterSession
from mars_lmm.data.feeds.lobster_read import EXECUTE, NEW, Messages
from mars_lmm.market import types as t
from mars_lmm.market.cpu import MATCHING

_jit = numba.njit(nogil=True)
_find, _level_size, _next_price = MATCHING.find, MATCHING.level_size, MATCHING.next_price

MAX_EXAMPLES = 5  # mismatching rows that are described

# Counters of `_rebuild`.
MISMATCHES, UNKNOWN_IDS, REVEALED_LEVELS, STALE_LEVELS, NUM_CHANGES = range(5)
NUM_COUNTERS = 5


@dataclass
class Rebuilt:
    """A session as our book saw it.

    Attributes:
        opening: int64[K, NUM_ORDER_COLUMNS], the book before the first message as anonymous orders.
        changes: int64[C, NUM_ORDER_COLUMNS], what the window revealed: anonymous orders, and stale volume to
            cancel at its price. The ids of `opening` and `changes` are -1, -2, ... without a gap.
        change_row: int64[C], the message (from 0) at which it was revealed.
        counts: `mismatches`, `unknown_ids`, `revealed_levels`, `stale_levels`.
        examples: The first mismatching rows in words.
        seconds: Time that the comparison took.
    """

    opening: np.ndarray
    changes: np.ndarray
    change_row: np.ndarray
    counts: dict[str, int]
    examples: list[str]
    seconds: float


class _Outputs(NamedTuple):
    """What `_rebuild` writes."""

    changes: np.ndarray
    change_row: np.ndarray
    counters: np.ndarray
    example_row: np.ndarray
    examples: np.ndarray
    report: np.ndarray
    trades: np.ndarray


def rebuild(session: LobsterSession, messages: Messages, books: np.ndarray, price_tick: int) -> Rebuilt:
    """Put a session's messages through our book and compare every row.

    Args:
        session: Where the data came from.
        messages: The N messages.
        books: int64[N, 2, L, 2], the vendor's book after each.
        price_tick: LOBSTER price units per tick.

    Raises:
        DataError: A new order's id is still live, or its size is out of range.
    """
    orders = _book_orders(messages, price_tick)
    opening = _opening(orders[0], books[0])
    newly_covered = _count_newly_covered(books)
    # Each price that comes into view brings at most one anonymous order.
    num_orders = len(opening) + int(np.count_nonzero(orders[:, t.KIND] == t.LIMIT)) + newly_covered
    out = _outputs(num_orders + newly_covered, first_id=-1 - len(opening), shape=books.shape[1:])
    visible = orders[:, t.SIZE] > 0
    prices = np.concatenate([orders[visible, t.PRICE], books[..., 0].ravel()])
    book = empty_book(prices, num_orders)

    _rebuild(book, opening[:0], orders[:0], books[:0], out)  # compiles, so that the time is the work's alone
    started = time.perf_counter()
    failed = _rebuild(book, opening, orders, books, out)
    seconds = time.perf_counter() - started
    if failed >= 0:
        outcome = t.OUTCOMES[out.report[t.OUTCOME]]
        reason = f"our book rejects this new order ({outcome}); the feed contradicts itself"
        raise DataError(str(session.message), reason, failed + 1)

    num_changes = int(out.counters[NUM_CHANGES])
    names = ("mismatches", "unknown_ids", "revealed_levels", "stale_levels")
    described = zip(out.example_row[: out.counters[MISMATCHES]].tolist(), out.examples, strict=False)
    return Rebuilt(
        opening,
        out.changes[:num_changes],
        out.change_row[:num_changes],
        dict(zip(names, out.counters.tolist(), strict=False)),
        [describe_difference(str(session.orderbook), row + 1, books[row], ours) for row, ours in described],
        seconds,
    )


def _book_orders(messages: Messages, price_tick: int) -> np.ndarray:
    """Each message as what it does to the book: int64[N, NUM_ORDER_COLUMNS]; size 0 where it does nothing."""
    orders = np.zeros((len(messages.time), t.NUM_ORDER_COLUMNS), dtype=np.int64)
    orders[:, t.KIND] = np.where(messages.kind == NEW, t.LIMIT, t.CANCEL)
    orders[:, t.SIDE] = np.where(messages.direction == 1, t.BUY, t.SELL)
    orders[:, t.PRICE] = messages.price // price_tick
    orders[:, t.SIZE] = np.where(messages.kind <= EXECUTE, messages.size, 0)
    orders[:, t.ORDER_ID] = messages.order_id
    orders[:, t.OWNER] = t.BACKGROUND
    return orders


def _opening(first: np.ndarray, book: np.ndarray) -> np.ndarray:
    """The book before the first message, best levels first, as anonymous orders with ids -1, -2, ..."""
    levels = {(side, price): size for side in (t.SELL, t.BUY) for price, size in book[side].tolist() if size > 0}
    if first[t.SIZE] > 0:
        at = int(first[t.SIDE]), int(first[t.PRICE])
        added = int(first[t.SIZE]) if first[t.KIND] == t.LIMIT else -int(first[t.SIZE])
        levels[at] = levels.get(at, 0) - added
    rows = [(t.LIMIT, *at, size, 0, t.BACKGROUND) for at, size in levels.items() if size > 0]
    opening = np.array(rows, dtype=np.int64).reshape(-1, t.NUM_ORDER_COLUMNS)
    opening[:, t.ORDER_ID] = -1 - np.arange(len(opening))
    return opening


def _count_newly_covered(books: np.ndarray) -> int:
    """How many levels come into view because the window moved outwards."""
    worst = books[:-1, :, -1:, 0]  # [N-1, 2, 1]
    price = books[1:, :, :, 0]  # [N-1, 2, L]
    beyond = (price - worst) * np.array([[1], [-1]]) > 0  # SELL, BUY
    return int(np.count_nonzero(beyond & (price != t.NO_PRICE) & (worst != t.NO_PRICE)))


def _outputs(num_changes: int, first_id: int, shape: tuple[int, ...]) -> _Outputs:
    changes = np.zeros((num_changes, t.NUM_ORDER_COLUMNS), dtype=np.int64)
    changes[:, t.ORDER_ID] = first_id - np.arange(num_changes)
    changes[:, t.OWNER] = t.BACKGROUND
    return _Outputs(
        changes,
        change_row=np.zeros(num_changes, dtype=np.int64),
        counters=np.zeros(NUM_COUNTERS, dtype=np.int64),
        example_row=np.zeros(MAX_EXAMPLES, dtype=np.int64),
        examples=np.zeros((MAX_EXAMPLES, *shape), dtype=np.int64),
        report=np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64),
        trades=np.zeros((1, t.NUM_TRADE_COLUMNS), dtype=np.int64),
    )


@kept_njit("market", "tokenizers", "data")
def _rebuild(book, opening, orders, books, out):
    """Fill the outputs; return the first row whose new order our book rejects, or -1."""
    report = out.report
    agreed = np.ones(2, dtype=np.bool_)
    for i in range(len(opening)):
        apply_order(book, opening[i], report, out.trades)
    for row in range(len(orders)):
        order = orders[row]
        crossed = missing = False
        if order[t.SIZE] > 0:
            if order[t.KIND] == t.CANCEL:
                out.counters[UNKNOWN_IDS] += _find(book, order[t.ORDER_ID]) < 0
            apply_order(book, order, report, out.trades)
            missing = order[t.KIND] == t.CANCEL and report[t.CANCELLED] < order[t.SIZE]
            if report[t.OUTCOME] != t.ACCEPTED and not missing:
                return row
            crossed = report[t.FILLED] > 0
        for side in range(2):
            before, after = books[max(row - 1, 0), side], books[row, side]
            # A side that neither the message nor the vendor changed agrees, or disagrees, as before.
            if row > 0 and side != order[t.SIDE] and not crossed and _same(before, after):
                continue
            _cover(book, side, before, after, row, out)
            agreed[side] = holds(book, side, after)
        if missing or not (agreed[t.SELL] and agreed[t.BUY]):
            if out.counters[MISMATCHES] < MAX_EXAMPLES:
                out.example_row[out.counters[MISMATCHES]] = row
                copy_levels(book, out.examples[out.counters[MISMATCHES]])
            out.counters[MISMATCHES] += 1
    return -1


@_jit
def _same(levels, other):
    for level in range(len(levels)):
        if levels[level, 0] != other[level, 0] or levels[level, 1] != other[level, 1]:
            return False
    return True


@_jit
def _cover(book, side, before, after, row, out):
    """Settle the prices of a side that the window covers after a row but did not before."""
    edge, end = before[-1, 0], after[-1, 0]
    if edge == t.NO_PRICE or (end != t.NO_PRICE and not is_worse(side, end, edge)):
        return  # every level was in view, or the window did not move outwards
    level = 0
    price = _next_price(book, side, edge)
    while price != t.NO_PRICE and (end == t.NO_PRICE or not is_worse(side, price, end)):
        while level < len(after) and after[level, 0] != t.NO_PRICE and is_worse(side, price, after[level, 0]):
            level += 1
        if level == len(after) or after[level, 0] != price:
            _set_level(book, side, price, 0, row, out)
        price = _next_price(book, side, price)
    for level in range(len(after)):
        if after[level, 0] != t.NO_PRICE and is_worse(side, after[level, 0], edge):
            _set_level(book, side, after[level, 0], after[level, 1], row, out)


@_jit
def _set_level(book, side, price, size, row, out):
    """Make a newly covered price hold `size`; note what that took."""
    held = _level_size(book, side, price)
    if held == size:
        return
    revealed = held < size
    out.counters[REVEALED_LEVELS if revealed else STALE_LEVELS] += 1
    change = out.changes[out.counters[NUM_CHANGES]]
    change[t.KIND] = t.LIMIT if revealed else t.CANCEL_AT
    change[t.SIDE] = side
    change[t.PRICE] = price
    change[t.SIZE] = abs(size - held)
    out.change_row[out.counters[NUM_CHANGES]] = row
    out.counters[NUM_CHANGES] += 1
    apply_order(book, change, out.report, out.trades)
