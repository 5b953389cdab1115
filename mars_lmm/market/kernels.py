"""One book's part in a batch: the same source for a loop on the CPU and for a thread on a GPU."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.book import NO_SLOT
from mars_lmm.market.types import (
    ACCEPTED,
    CANCEL,
    CANCEL_AT,
    DEPTH,
    ENFORCED,
    FREE_SLOT,
    IDLE,
    KIND,
    LIMIT,
    LIMIT_DOWN,
    LIMIT_UP,
    MAX_PRICE,
    ORDER_ID,
    OUTCOME,
    OWNER,
    POST_ONLY,
    PRICE,
    REPLACE,
    RULES,
    SIDE,
    SIZE,
    TRADE_ROWS,
)
from mars_lmm.market.venue import Venue


class Kernels(NamedTuple):
    """Compiled functions; the arrays are those of the whole batch, and `b` is the book."""

    step: Callable
    """(books, b, orders, times, queue_rule, reports, snapshots, trades, num_trades): one message.

    Shapes: books [B, N], orders [B, 6], times [B], reports [B, 9], snapshots [B, 2, DEPTH, 2],
    trades [B, K, 7], num_trades [B].
    """
    stream: Callable
    """(books, b, orders, times, first, queue_rule, stops, reports, current, snapshots, trades, num_trades) -> int.

    A stream of messages from number `first` on; returns the number of the one that it stopped at, or -1: a rejected
    one if `stops` has bit 1, one that asks for a larger book, not yet carried out, if it has bit 2.
    Shapes: orders [B, N, 6], times [B, N], reports [B, N, 9], current [B, 2, DEPTH, 2], snapshots [B, N or 0, 2,
    DEPTH, 2], trades [B, K, 7], num_trades [B].
    """
    advance: Callable  # (books, b, times, snapshots, trades, num_trades): let time pass
    cramped: Callable  # (book, kind, price) -> whether the order may need a larger book


STOP_AT_REJECTION, STOP_WHEN_CRAMPED = 1, 2


def make_kernels(jit: Callable, venue: Venue) -> Kernels:
    """Compile one book's part in a batch with `jit`, over a compiled venue."""
    submit, advance_book, in_ladder = venue.submit, venue.advance, venue.queues.in_ladder
    refresh = venue.matching.refresh

    @jit
    def cramped(book, kind, price):
        if kind in (CANCEL, CANCEL_AT, IDLE):
            return False
        if book[FREE_SLOT] == NO_SLOT:
            return True
        names_level = kind in (LIMIT, POST_ONLY, REPLACE)
        allowed = book[RULES + LIMIT_DOWN] <= price <= book[RULES + LIMIT_UP]
        return names_level and allowed and 0 <= price <= MAX_PRICE and not in_ladder(book, price)

    @jit
    def send(book, order, time, queue_rule, report, trades):
        kind, side, price, size = order[KIND], order[SIDE], order[PRICE], order[SIZE]
        submit(book, kind, side, price, size, order[ORDER_ID], order[OWNER], time, queue_rule, report, trades)

    @jit
    def step(books, b, orders, times, queue_rule, reports, snapshots, trades, num_trades):
        book = books[b]
        send(book, orders[b], times[b], queue_rule, reports[b], trades[b])
        num_trades[b] = book[TRADE_ROWS]
        refresh(book, snapshots[b])

    @jit
    def stream(
        books, b, orders, times, first, queue_rule, stops, reports, current, snapshots, trades, num_trades
    ):  # fmt: skip
        book, levels = books[b], current[b]
        stopped_at = -1
        for i in range(first, orders.shape[1]):
            order, report = orders[b, i], reports[b, i]
            if stops & STOP_WHEN_CRAMPED and cramped(book, order[KIND], order[PRICE]):
                stopped_at = i
                break
            send(book, order, times[b, i], queue_rule, report, trades[b, num_trades[b] :])
            num_trades[b] += book[TRADE_ROWS]
            if snapshots.shape[1] > 0:
                refresh(book, levels)
                for side in range(2):
                    for level in range(DEPTH):
                        snapshots[b, i, side, level, 0] = levels[side, level, 0]
                        snapshots[b, i, side, level, 1] = levels[side, level, 1]
            if stops & STOP_AT_REJECTION and report[OUTCOME] != ACCEPTED:
                stopped_at = i
                break
        refresh(book, levels)
        return stopped_at

    @jit
    def advance(books, b, times, snapshots, trades, num_trades):
        book = books[b]
        book[TRADE_ROWS] = 0
        if book[RULES + ENFORCED] != 0:
            advance_book(book, times[b], trades[b])
        num_trades[b] = book[TRADE_ROWS]
        refresh(book, snapshots[b])

    return Kernels(step, stream, advance, cramped)
