"""Replay: a session's order flow through the exchange, observed order by order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS, HIDDEN, OrderFlow
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.cpu import OBSERVING

# Room on either side of the prices a session saw, so that a simulated continuation can leave its range.
LADDER_MARGIN = 4096

_step = OBSERVING.step


@dataclass
class MarketState:
    """One book and where its stream of orders stands.

    Attributes:
        book: int64[1, N], a batch of one book.
        clock: int64[NUM_CLOCK].
    """

    book: np.ndarray
    clock: np.ndarray


@dataclass
class Replay:
    """A replayed part of a session.

    Attributes:
        observed: int64[N, NUM_OBSERVED], one row for each order (anonymous volume and hidden trades are none).
        tape: int64[N, o.NUM_TAPE].
        row: int64[N], the order's row in the order flow.
        state: The market after the last order.
    """

    observed: np.ndarray
    tape: np.ndarray
    row: np.ndarray
    state: MarketState


def opening_state(flow: OrderFlow) -> MarketState:
    """An empty book with room for the whole session, before its first order."""
    visible = flow.flags & HIDDEN == 0
    prices = flow.price[visible & (flow.price > 0)]
    if len(prices) == 0:
        raise DataError(flow.session.source or flow.session.name, "the session holds no priced order")
    low = max(int(prices.min()) - LADDER_MARGIN, 1)
    ticks = int(prices.max()) + LADDER_MARGIN - low
    capacity = int(np.count_nonzero(visible & (flow.kind == t.LIMIT))) + 1
    clock = np.zeros(o.NUM_CLOCK, dtype=np.int64)
    clock[[o.LAST_TIME, o.OPEN_TIME]] = flow.session.open_time
    clock[[o.MID, o.BID, o.ASK]] = t.NO_PRICE
    return MarketState(empty_books(1, capacity, -(-ticks // 32) * 32, low), clock)


def replay(flow: OrderFlow, state: MarketState | None = None, first: int = 0, last: int | None = None) -> Replay:
    """Put rows [first, last) of an order flow through the exchange.

    Args:
        flow: The session.
        state: The market before row `first`, changed in place; a new session when None.
        first: First row.
        last: Row to stop before; the end of the flow when None.

    Raises:
        DataError: The exchange rejected an order, so the flow is not what happened; names the feed's row.
    """
    state = state or opening_state(flow)
    last = len(flow) if last is None else last
    visible = np.flatnonzero(flow.flags[first:last] & HIDDEN == 0) + first
    anonymous = flow.flags[visible] & ANONYMOUS != 0
    count = int(np.count_nonzero(~anonymous))
    observed = np.empty((count, o.NUM_OBSERVED), dtype=np.int64)
    tape = np.empty((count, o.NUM_TAPE), dtype=np.int64)
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    failed = _replay(
        state.book[0], state.clock, flow.orders()[visible], flow.time[visible], anonymous, report, observed, tape
    )
    if failed >= 0:
        row = int(visible[failed])
        raise DataError(
            flow.session.source or flow.session.name,
            f"the exchange rejected this order ({t.OUTCOMES[report[t.OUTCOME]]}): {flow.orders()[row].tolist()}",
            row=int(flow.source_row[row]),
        )
    return Replay(observed, tape, visible[~anonymous], state)


@kept_njit("market", "tokenizers", "data")
def _replay(book, clock, orders, times, anonymous, report, observed, tape):
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
    nobody = np.empty((2, max(observed.shape[1], tape.shape[1])), dtype=np.int64)
    n = 0
    for i in range(orders.shape[0]):
        accepted = _step(
            book,
            clock,
            orders[i],
            times[i],
            anonymous[i],
            t.OLDEST_FIRST,
            report,
            trades,
            snapshot,
            nobody[0] if anonymous[i] else observed[n],
            nobody[1] if anonymous[i] else tape[n],
        )
        if not accepted:
            return i
        n += not anonymous[i]
    return -1
