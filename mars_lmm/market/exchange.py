"""The exchange: a batch of books on the CPU, stepped in lockstep or fed a whole stream."""

from typing import NamedTuple, Self

import numba
import numpy as np

from mars_lmm.market.book import BookState
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.types import (
    ACCEPTED,
    ACTED_PRICE,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BOOK_FULL,
    DEPTH,
    DUPLICATE_ID,
    IDLE,
    KIND,
    LIVE_ORDERS,
    MAX_SIZE,
    NO_LIQUIDITY,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    NUM_FILLS,
    NUM_ORDER_COLUMNS,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    OLDEST_FIRST,
    ORDER_ID,
    OUTCOME,
    OUTCOME_COUNTS,
    OUTCOMES,
    OWNER,
    PRICE,
    SIDE,
    SIZE,
    UNKNOWN_ID,
)

execute, snapshot, view = MATCHING.execute, MATCHING.snapshot, MATCHING.view

ADVICE = {
    BAD_KIND: "use LIMIT, MARKET, IOC, CANCEL or CANCEL_AT",
    BAD_SIDE: "use SELL or BUY",
    BAD_SIZE: f"sizes are 1 to {MAX_SIZE}; a CANCEL may also say 0",
    BAD_PRICE: "allocate books whose ladder holds it (base_price, num_ticks)",
    DUPLICATE_ID: "an id may be used again only when its order is gone",
    BOOK_FULL: "allocate books with more num_orders",
    UNKNOWN_ID: "the order was filled or cancelled before, or never rested",
    NOTHING_TO_CANCEL: "the owner has no order on that side",
    NO_LIQUIDITY: "the other side is empty",
}


class MarketError(ValueError):
    """An order was rejected. The book is as it was before the order.

    Attributes:
        book: the book's number.
        order: the order's number in the stream; in lockstep the same as `book`.
        outcome: why; an index into `OUTCOMES`.
    """

    def __init__(self, book: int, order: int, row: np.ndarray, outcome: int):
        names = ("kind", "side", "price", "size", "id", "owner")
        fields = ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True))
        super().__init__(
            f"book {book}, order {order} ({fields}): {OUTCOMES[outcome]}: {ADVICE[outcome]}, "
            'or count rejections with on_reject="count"'
        )
        self.book, self.order, self.outcome = book, order, outcome


class Stream(NamedTuple):
    """What became of a stream of N orders.

    Attributes:
        reports: int64[N, NUM_REPORT_COLUMNS].
        trades: int64[T, NUM_TRADE_COLUMNS], in order; order i made `reports[i, NUM_FILLS]` of them.
        snapshots: int64[N, 2, DEPTH, 2] after each order, [side][level][price, size]; None if not asked for.
    """

    reports: np.ndarray
    trades: np.ndarray
    snapshots: np.ndarray | None


class Exchange:
    """B books that trade on their own.

    Args:
        state: the books, from `empty_books`; the exchange changes them in place.
        queue_rule: which end of a price's queue CANCEL_AT takes first, OLDEST_FIRST or NEWEST_FIRST.
        on_reject: "raise" a `MarketError` for a rejected order, or "count" it and go on.

    Attributes:
        state: the books; `state.header` holds last prices, volumes and counters.
        snapshots: int64[B, 2, DEPTH, 2], [book][side][level][price, size], as of the last `step` or `run`.
        trades: int64[B, S, NUM_TRADE_COLUMNS], the trades of the last `step`: an order makes S at most.
        num_trades: int64[B], how many rows of `trades` each book used.
    """

    def __init__(self, state: BookState, queue_rule: int = OLDEST_FIRST, on_reject: str = "raise"):
        if on_reject not in ("raise", "count"):
            raise ValueError(f'on_reject must be "raise" or "count", got {on_reject!r}')
        self.state = state
        self.queue_rule = queue_rule
        self.on_reject = on_reject
        num_books, num_orders = state.orders.shape[:2]
        self.snapshots = np.empty((num_books, 2, DEPTH, 2), np.int64)
        for b in range(num_books):
            snapshot(view(state, b), self.snapshots[b])
        # Left uninitialised: the operating system provides memory for the rows that are used, and no others.
        self.trades = np.empty((num_books, num_orders, NUM_TRADE_COLUMNS), np.int64)
        self.num_trades = np.zeros(num_books, np.int64)

    @property
    def num_books(self) -> int:
        """B, how many books there are."""
        return len(self.state.header)

    @property
    def outcome_counts(self) -> np.ndarray:
        """int64[B, len(OUTCOMES)]: orders so far by outcome."""
        return self.state.header[:, OUTCOME_COUNTS : OUTCOME_COUNTS + len(OUTCOMES)]

    def step(self, orders: np.ndarray) -> np.ndarray:
        """Execute one order in each book.

        Args:
            orders: integers [B, NUM_ORDER_COLUMNS]; a book whose kind is IDLE sits the step out.

        Returns:
            int64[B, NUM_REPORT_COLUMNS]. An idle book reports zeros and NO_PRICE.

        Raises:
            MarketError: a book rejected its order; the other books have executed theirs.
        """
        orders = _order_rows(orders)
        if len(orders) != self.num_books:
            raise ValueError(f"a step takes one order a book: got {len(orders)} for {self.num_books} books")
        reports = np.empty((self.num_books, NUM_REPORT_COLUMNS), np.int64)
        _step(self.state, orders, self.queue_rule, reports, self.snapshots, self.trades, self.num_trades)
        if self.on_reject == "raise" and reports[:, OUTCOME].any():
            b = int(np.flatnonzero(reports[:, OUTCOME])[0])
            raise MarketError(b, b, orders[b], int(reports[b, OUTCOME]))
        return reports

    def run(self, orders: np.ndarray, book: int = 0, snapshots: bool = False) -> Stream:
        """Execute a stream of orders in one book. No trade is lost, however many there are.

        Args:
            orders: integers [N, NUM_ORDER_COLUMNS].
            book: which book.
            snapshots: whether to take a snapshot after every order.

        Raises:
            MarketError: an order was rejected; those before it have been executed.
        """
        if not 0 <= book < self.num_books:
            raise ValueError(f"book must be 0 to {self.num_books - 1}, got {book}")
        orders = _order_rows(orders)
        reports = np.empty((len(orders), NUM_REPORT_COLUMNS), np.int64)
        taken = np.empty((len(orders) if snapshots else 0, 2, DEPTH, 2), np.int64)
        # Room for every trade: each one uses up a resting order or the incoming one.
        live = self.state.header[book, LIVE_ORDERS]
        trades = np.empty((live + len(orders), NUM_TRADE_COLUMNS), np.int64)
        stop = self.on_reject == "raise"
        rejected, num_trades = _run(self.state, book, orders, self.queue_rule, stop, reports, taken, trades)
        snapshot(view(self.state, book), self.snapshots[book])
        if rejected >= 0:
            raise MarketError(book, rejected, orders[rejected], int(reports[rejected, OUTCOME]))
        return Stream(reports, trades[:num_trades], taken if snapshots else None)

    def fork(self, n: int) -> Self:
        """A new exchange with n copies of every book: those of book b are b * n to b * n + n - 1."""
        state = BookState(*(np.repeat(array, n, axis=0) for array in self.state))
        return type(self)(state, self.queue_rule, self.on_reject)

    def copy(self) -> Self:
        """A new exchange with the same books, on its own from here on."""
        return self.fork(1)


def _order_rows(orders: np.ndarray) -> np.ndarray:
    orders = np.asarray(orders)
    if orders.ndim != 2 or orders.shape[1] != NUM_ORDER_COLUMNS or orders.dtype.kind not in "iu":
        raise ValueError(
            f"orders must be integers of shape [N, {NUM_ORDER_COLUMNS}], got {orders.dtype} {orders.shape}"
        )
    return np.ascontiguousarray(orders, np.int64)


@numba.njit(nogil=True)
def _step(books, orders, queue_rule, reports, snapshots, trades, num_trades):
    for b in range(orders.shape[0]):
        order, report = orders[b], reports[b]
        if order[KIND] == IDLE:
            report[:] = 0
            report[ACTED_PRICE] = NO_PRICE
            num_trades[b] = 0
            continue
        book = view(books, b)
        execute(
            book,
            order[KIND],
            order[SIDE],
            order[PRICE],
            order[SIZE],
            order[ORDER_ID],
            order[OWNER],
            queue_rule,
            report,
            trades[b],
        )
        num_trades[b] = report[NUM_FILLS]
        snapshot(book, snapshots[b])


@numba.njit(nogil=True)
def _run(books, b, orders, queue_rule, stop_at_rejection, reports, snapshots, trades):
    """Execute a stream; return the order whose rejection stopped it, or -1, and how many trades there are."""
    book = view(books, b)
    num_trades = 0
    for i in range(orders.shape[0]):
        order, report = orders[i], reports[i]
        execute(
            book,
            order[KIND],
            order[SIDE],
            order[PRICE],
            order[SIZE],
            order[ORDER_ID],
            order[OWNER],
            queue_rule,
            report,
            trades[num_trades:],
        )
        num_trades += report[NUM_FILLS]
        if snapshots.shape[0] > 0:
            snapshot(book, snapshots[i])
        if stop_at_rejection and report[OUTCOME] != ACCEPTED:
            return i, num_trades
    return -1, num_trades
