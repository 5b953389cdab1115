"""The exchange on the CPU: a batch of books, stepped in lockstep or fed whole streams."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from mars_lmm.market.book import aligned
from mars_lmm.market.kernels import STOP_AT_REJECTION, STOP_WHEN_CRAMPED
from mars_lmm.market.lockstep import ADVANCE, KERNELS, STEP, Lockstep, take_snapshots
from mars_lmm.market.rejections import MarketError
from mars_lmm.market.repack import enlarge
from mars_lmm.market.types import (
    DEPTH,
    ENFORCED,
    KIND,
    LIVE_ORDERS,
    NUM_ORDER_COLUMNS,
    NUM_REPORT_COLUMNS,
    NUM_SLOTS,
    NUM_TRADE_COLUMNS,
    OLDEST_FIRST,
    OUTCOME,
    OUTCOME_COUNTS,
    OUTCOMES,
    PRICE,
    RULES,
)


class Stream(NamedTuple):
    """What became of a stream of N orders.

    Attributes:
        reports: int64[N, NUM_REPORT_COLUMNS].
        trades: int64[T, NUM_TRADE_COLUMNS], in order, those of auctions included.
        snapshots: int64[N, 2, DEPTH, 2] after each order, [side][level][price, size]; None if not asked for.
    """

    reports: np.ndarray
    trades: np.ndarray
    snapshots: np.ndarray | None


class Exchange:
    """B books that trade on their own.

    Orders are integers int64[..., NUM_ORDER_COLUMNS] with the columns KIND, SIDE, PRICE, SIZE, ORDER_ID, OWNER.
    Times are nanoseconds since midnight; books without rules need none. Where orders come as a torch tensor on the
    CPU, they are read, and answered by tensors, without a copy.

    Args:
        books: int64[B, N], from `empty_books` or `open_books`; the exchange changes them in place.
        queue_rule: what CANCEL_AT takes of a price's queue: OLDEST_FIRST, NEWEST_FIRST or CLOSEST_SIZE.
        on_reject: "raise" a `MarketError` for a rejected order, or "count" it and go on.
        num_threads: how many threads share the books. More than one: not in a process that was forked from one that
            did so, and not from several Python threads at once unless numba has OpenMP or TBB.
        grows: whether full books, and ladders that miss a price, are enlarged; otherwise their orders are rejected.

    Attributes:
        books: the books; `mars_lmm.market.book.sections` gives their parts.
        snapshots: int64[B, 2, DEPTH, 2], [book][side][level][price, size], as of the last call.
        trades: int64[B, K, NUM_TRADE_COLUMNS], the trades of the last `step` or `advance`.
        num_trades: int64[B], how many rows of `trades` each book used.
    """

    def __init__(
        self,
        books: np.ndarray,
        queue_rule: int = OLDEST_FIRST,
        on_reject: str = "raise",
        num_threads: int = 1,
        grows: bool = False,
    ):
        if on_reject not in ("raise", "count"):
            raise ValueError(f'on_reject must be "raise" or "count", got {on_reject!r}')
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        self.books = books
        self.queue_rule = queue_rule
        self.on_reject = on_reject
        self.num_threads = num_threads
        self.grows = grows
        self.snapshots = np.empty((len(books), 2, DEPTH, 2), np.int64)
        take_snapshots(books, self.snapshots)
        self.num_trades = np.zeros(len(books), np.int64)
        self._ruled = bool(books[:, RULES + ENFORCED].any())
        self._allocate_trades()

    @property
    def num_books(self) -> int:
        """B, how many books there are."""
        return len(self.books)

    @property
    def outcome_counts(self) -> np.ndarray:
        """int64[B, len(OUTCOMES)]: orders so far by outcome."""
        return self.books[:, OUTCOME_COUNTS : OUTCOME_COUNTS + len(OUTCOMES)]

    def step(self, orders: Any, times: Any = None) -> Any:
        """Execute one order in each book.

        Args:
            orders: [B, NUM_ORDER_COLUMNS]; in a book whose kind is IDLE, only time passes.
            times: [B].

        Returns:
            int64[B, NUM_REPORT_COLUMNS]. An idle book reports zeros and NO_PRICE.

        Raises:
            MarketError: a book rejected its order; the other books have executed theirs.
            ValueError: the arrays do not fit, or the books would have to grow to a price too far away.
        """
        like, orders = orders, _integers("orders", orders, (self.num_books, NUM_ORDER_COLUMNS))
        times = self._times(times, (self.num_books,))
        for b in range(self.num_books) if self.grows else ():
            while self._grow_for(b, orders[b]):  # an order may need both a slot and a price
                pass
        reports = np.empty((self.num_books, NUM_REPORT_COLUMNS), np.int64)
        arguments = (orders, times, self.queue_rule, reports, self.snapshots, self.trades, self.num_trades)
        self._each(STEP, *arguments)
        if self.on_reject == "raise" and reports[:, OUTCOME].any():
            b = int(np.flatnonzero(reports[:, OUTCOME])[0])
            raise MarketError(b, b, orders[b], int(reports[b, OUTCOME]))
        return _as(like, reports)

    def advance(self, times: Any) -> None:
        """Let time pass in each book: phases start, auctions trade, halts end.

        Args:
            times: [B].
        """
        times = self._times(times, (self.num_books,))
        arguments = (times, self.snapshots, self.trades, self.num_trades)
        self._each(ADVANCE, *arguments)

    def run(self, orders: Any, book: int = 0, snapshots: bool = False, times: Any = None) -> Stream:
        """Execute a stream of orders in one book. No trade is lost, however many there are.

        Args:
            orders: [N, NUM_ORDER_COLUMNS].
            book: which book.
            snapshots: whether to take a snapshot after every order.
            times: [N].

        Raises:
            MarketError: an order was rejected; those before it have been executed.
        """
        if not 0 <= book < self.num_books:
            raise ValueError(f"book must be 0 to {self.num_books - 1}, got {book}")
        orders = _integers("orders", orders, (None, NUM_ORDER_COLUMNS))
        times = self._times(times, (len(orders),))
        return self._run(book, orders, times, snapshots)

    def run_all(self, orders: Any, snapshots: bool = False, times: Any = None) -> list[Stream]:
        """Execute a stream of orders in each book; the threads share the books.

        Args:
            orders: [B, N, NUM_ORDER_COLUMNS].
            snapshots: whether to take a snapshot after every order.
            times: [B, N].

        Raises:
            MarketError: an order was rejected; the streams of the other books may have been executed or not.
        """
        orders = _integers("orders", orders, (self.num_books, None, NUM_ORDER_COLUMNS))
        times = self._times(times, orders.shape[:2])
        if self.grows:  # enlarging concerns all books, so no other may trade meanwhile
            return [self._run(b, orders[b], times[b], snapshots) for b in range(self.num_books)]
        with ThreadPoolExecutor(self.num_threads) as pool:
            return list(pool.map(lambda b: self._run(b, orders[b], times[b], snapshots), range(self.num_books)))

    def fork(self, n: int) -> Self:
        """A new exchange with n copies of every book: those of book b are b * n to b * n + n - 1."""
        return self._like(aligned(self.books, n))

    def copy(self) -> Self:
        """A new exchange with the same books, on its own from here on."""
        return self.fork(1)

    def to(self, device: str) -> "Exchange":
        """A new exchange with copies of the books on a device: "cpu", "cuda" or "cuda:N".

        On a GPU every rejection is counted and nothing grows.
        """
        if device == "cpu":
            return self.copy()
        from mars_lmm.market.cuda import CudaExchange  # needs torch

        return CudaExchange(self.books, device, self.queue_rule)

    def save(self, path: Path | str) -> None:
        """Write the books and their state to a .npz file."""
        np.savez(path, books=self.books, queue_rule=self.queue_rule)

    @classmethod
    def load(cls, path: Path | str, **options: Any) -> Self:
        """The exchange that `save` wrote; `options` are further arguments of the constructor."""
        with np.load(path) as saved:
            return cls(aligned(saved["books"]), int(saved["queue_rule"]), **options)

    def _like(self, books: np.ndarray) -> Self:
        return type(self)(books, self.queue_rule, self.on_reject, self.num_threads, self.grows)

    def _allocate_trades(self):
        # Room for the trades of any message: each uses up a live order or the incoming one. Left uninitialised: the
        # operating system provides memory for the rows that are used, and no others.
        self.trades = np.empty((self.num_books, int(self.books[0, NUM_SLOTS]) + 1, NUM_TRADE_COLUMNS), np.int64)

    def _times(self, times: Any, shape: tuple[int, ...]) -> np.ndarray:
        if times is not None:
            return _integers("times", times, shape)
        if self._ruled:
            raise ValueError("these books are under rules: give the times of the messages, in ns since midnight")
        return np.broadcast_to(np.int64(0), shape)

    def _each(self, kernel: Lockstep, *arguments: Any) -> None:
        """Call a kernel for every book, in as many parts as there are threads."""
        if self.num_threads == 1:
            kernel.part(0, self.num_books, self.books, *arguments)
        else:
            kernel.shared(self.num_threads, self.books, *arguments)

    def _run(self, b: int, orders: np.ndarray, times: np.ndarray, snapshots: bool) -> Stream:
        reports = np.empty((1, len(orders), NUM_REPORT_COLUMNS), np.int64)
        taken = np.empty((1, len(orders) if snapshots else 0, 2, DEPTH, 2), np.int64)
        # Room for every trade: each one uses up a live order or an incoming one.
        trades = np.empty((1, self.books[b, LIVE_ORDERS] + len(orders), NUM_TRADE_COLUMNS), np.int64)
        num_trades = np.zeros(1, np.int64)
        stops = STOP_AT_REJECTION * (self.on_reject == "raise") | STOP_WHEN_CRAMPED * self.grows
        at = 0
        while True:
            part = self.books[b : b + 1], 0, orders[None], times[None], at, self.queue_rule, stops
            at = KERNELS.stream(*part, reports, self.snapshots[b : b + 1], taken, trades, num_trades)
            if at < 0 or not self.grows or not self._grow_for(b, orders[at]):
                break
        if at >= 0:
            raise MarketError(b, at, orders[at], int(reports[0, at, OUTCOME]))
        return Stream(reports[0], trades[0, : num_trades[0]], taken[0] if snapshots else None)

    def _grow_for(self, b: int, order: np.ndarray) -> bool:
        """Enlarge the books if book `b` may be too small for an order; return whether that was so."""
        if not KERNELS.cramped(self.books[b], order[KIND], order[PRICE]):
            return False
        self.books = enlarge(self.books, b, int(order[PRICE]))
        self._allocate_trades()
        self.num_trades[:] = 0
        return True


def _integers(name: str, values: Any, shape: Sequence[int | None]) -> np.ndarray:
    values = np.asarray(values)
    fits = values.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, values.shape, strict=True))
    if not fits or values.dtype.kind not in "iu":
        wanted = ", ".join("N" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must be integers of shape [{wanted}], got {values.dtype} {list(values.shape)}")
    return np.ascontiguousarray(values, np.int64)


def _as(like: Any, values: np.ndarray) -> Any:
    """`values` as a tensor if `like` is one."""
    if type(like).__module__ != "torch":
        return values
    import torch  # the caller has done so

    return torch.from_numpy(values)
