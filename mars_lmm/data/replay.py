"""Replay: a session's order flow through the exchange, observed order by order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, Columns, OrderFlow, Session, order_rows
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.market import session_rules
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.opening import open_books
from mars_lmm.market.repack import with_room
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.cpu import OBSERVING_ONE_BOOK

# Room on either side of the prices a session saw, so that a simulated continuation can leave its range.
LADDER_MARGIN = 4096
FIRST_ROOM = 1024  # orders and ticks of a book that will grow

_step = OBSERVING_ONE_BOOK.step
_snapshot, _refresh = VENUE.matching.snapshot, VENUE.matching.refresh


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
        observed: int64[N, NUM_OBSERVED], one row for each order (anonymous volume, hidden trades, and what came before
            the session's opening or after its close are none). The replayer's next part overwrites it.
        tape: int64[N, o.NUM_TAPE]; overwritten too.
        row: int64[N], the order's row in the part of the order flow.
        accepted: bool[M], which rows of the part the exchange accepted.
        state: The market after the last order.
    """

    observed: np.ndarray
    tape: np.ndarray
    row: np.ndarray
    accepted: np.ndarray
    state: MarketState


def is_order(session: Session, columns: Columns) -> np.ndarray:
    """Which rows of an order flow are orders that a model learns, bool[M]."""
    visible = columns["flags"] & (ANONYMOUS | HIDDEN) == 0
    return visible & (columns["time"] >= session.open_time) & (columns["time"] <= session.close_time)


def opening_state(flow: OrderFlow) -> MarketState:
    """An empty book with room for the whole session and what a simulation makes of it, before its first order."""
    prices = _prices(flow.columns)
    if len(prices) == 0:
        raise DataError(flow.session.source or flow.session.name, "the session holds no priced order")
    low = max(int(prices.min()) - LADDER_MARGIN, 1)
    ticks = int(prices.max()) + LADDER_MARGIN - low
    capacity = int(np.count_nonzero(_may_rest(flow.columns))) + 1
    return empty_state(flow.session, capacity, -(-ticks // 32) * 32, low)


class _Scratch(NamedTuple):
    """Memory that the compiled replay writes to; what makes no arrays of its own need not count references."""

    report: np.ndarray
    trades: np.ndarray
    snapshot: np.ndarray
    nobody: np.ndarray
    no_tape: np.ndarray

    @classmethod
    def new(cls) -> _Scratch:
        shapes = (t.NUM_REPORT_COLUMNS, (1, t.NUM_TRADE_COLUMNS), (2, t.DEPTH, 2), o.NUM_OBSERVED, o.NUM_TAPE)
        return cls(*(np.zeros(shape, dtype=np.int64) for shape in shapes))


class Replayer:
    """Puts a session through the exchange part by part; its book grows with the orders that rest.

    Args:
        session: The session.
        state: The market to go on from; the session's opening when None.
    """

    def __init__(self, session: Session, state: MarketState | None = None):
        self._session = session
        self.state = state
        # Memory that is used again costs no page faults.
        self._observed = np.empty((0, o.NUM_OBSERVED), dtype=np.int64)
        self._tape = np.empty((0, o.NUM_TAPE), dtype=np.int64)

    def put(self, columns: Columns, ledger: Ledger) -> Replay:
        """Replay the next M orders.

        Args:
            columns: The rows of the flow.
            ledger: Takes the orders that the exchange rejects: the flow is not what happened.

        Raises:
            DataError: The exchange rejected an order, and the ledger says that this is an error.
        """
        source = self._session.source or self._session.name
        prices = _prices(columns)
        num_rest = int(np.count_nonzero(_may_rest(columns)))
        if len(prices):
            low, high = int(prices.min()), int(prices.max())
            if self.state is None:
                self.state = empty_state(self._session, FIRST_ROOM, FIRST_ROOM, max(low - FIRST_ROOM // 2, 0))
            try:
                self.state.book = with_room(self.state.book[0], num_rest, low, high)[None]
            except ValueError as error:
                raise DataError(source, f"prices from {low} to {high} ticks: {error}") from error
        state = self.state or empty_state(self._session, FIRST_ROOM, FIRST_ROOM, 0)

        orders = order_rows(columns)
        visible = np.flatnonzero(columns["flags"] & HIDDEN == 0)
        learned = is_order(self._session, columns)
        # Without a schedule, the flow alone says which orders a call auction collects.
        collected = columns["flags"] & AUCTION != 0 if not self._session.rules else np.zeros(len(orders), bool)
        accepted = np.ones(len(orders), bool)
        count = int(np.count_nonzero(learned))
        if len(self._observed) < count:
            self._observed = np.empty((count, o.NUM_OBSERVED), dtype=np.int64)
            self._tape = np.empty((count, o.NUM_TAPE), dtype=np.int64)
        observed, tape = self._observed, self._tape
        scratch = _Scratch.new()
        first = n = 0
        while first < len(visible):
            failed, n = _replay(
                state.book[0],
                state.clock,
                orders,
                columns["time"],
                visible[first:],
                learned,
                collected,
                observed,
                tape,
                n,
                scratch,
            )
            if failed < 0:
                break
            row = int(visible[first + failed])
            outcome = t.OUTCOMES[scratch.report[t.OUTCOME]]
            detail = f"kind, side, price, size, id, owner: {orders[row].tolist()}"
            reason = f"the exchange rejects the order ({outcome})"
            ledger.refuse(source, int(columns["source_row"][row]), reason, detail)
            accepted[row] = False
            first += failed + 1
        return Replay(observed[:n], tape[:n], np.flatnonzero(learned & accepted), accepted, state)


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
    rows = slice(first, last)
    part = Replayer(flow.session, state or opening_state(flow)).put(
        {name: column[rows] for name, column in flow.columns.items()}, Ledger()
    )
    part.row += first
    return part


def empty_state(session: Session, num_orders: int, num_ticks: int, low: int) -> MarketState:
    """An empty book under the session's phases and auctions, and its clock at the opening.

    Args:
        session: The session.
        num_orders: Orders that the book has room for.
        num_ticks: Prices of its ladder.
        low: The lowest of them.
    """
    clock = np.zeros(o.NUM_CLOCK, dtype=np.int64)
    clock[[o.LAST_TIME, o.OPEN_TIME]] = session.open_time
    clock[[o.MID, o.BID, o.ASK]] = t.NO_PRICE
    if not session.rules:
        return MarketState(empty_books(1, num_orders, num_ticks, low), clock)
    day = session_rules(session.rules).day(session.reference_price)
    return MarketState(open_books(1, num_orders, num_ticks, low, day), clock)


def _prices(columns: Columns) -> np.ndarray:
    """The prices that a book has to know."""
    return columns["price"][(columns["flags"] & HIDDEN == 0) & (columns["price"] > 0)]


def _may_rest(columns: Columns) -> np.ndarray:
    """Which orders may take room in the book, bool[M]."""
    return (columns["flags"] & HIDDEN == 0) & (columns["kind"] != t.CANCEL) & (columns["kind"] != t.CANCEL_AT)


@kept_njit("market", "tokenizers", "data", _nrt=False)
def _replay(book, clock, orders, times, rows, learned, collected, observed, tape, n, scratch):
    """Put the rows through the book; return the place of the first that it rejects, or -1, and how many it observed."""
    report, trades, snapshot, nobody, no_tape = scratch
    _refresh(book, snapshot)  # forgets what has changed so far
    _snapshot(book, snapshot)
    for i in range(rows.shape[0]):
        row = rows[i]
        if collected[row]:
            put_in_call(book, 1, t.CALL)
        accepted = _step(
            book,
            clock,
            orders[row],
            times[row],
            not learned[row],
            t.OLDEST_FIRST,
            report,
            trades,
            snapshot,
            observed[n] if learned[row] else nobody,
            tape[n] if learned[row] else no_tape,
        )
        if collected[row]:
            put_in_call(book, 0, t.CONTINUOUS)
        if not accepted:
            return i, n
        n += learned[row]
    return -1, n


@numba.njit(nogil=True)
def put_in_call(book, enforced, mode):
    """Put a book without rules into a call auction, or back into continuous trading."""
    book[t.RULES + t.ENFORCED] = enforced
    book[book[t.PHASES_AT] + t.PHASE_MODE] = mode
