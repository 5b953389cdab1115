"""The exchange on a GPU: one thread a book, the same source as on the CPU."""

from typing import Any, Self

import numpy as np
import torch
from numba import config, cuda

from mars_lmm.market.book import aligned
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.kernels import make_kernels
from mars_lmm.market.lockstep import take_snapshots
from mars_lmm.market.types import (
    DEPTH,
    ENFORCED,
    NUM_ORDER_COLUMNS,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    OLDEST_FIRST,
    OUTCOME_COUNTS,
    OUTCOMES,
    RULES,
)
from mars_lmm.market.venue import make_venue

_device_function = cuda.jit(device=True)
VENUE = make_venue(_device_function)
KERNELS = make_kernels(_device_function, VENUE)
_step_one, _stream_one, _advance_one = KERNELS.step, KERNELS.stream, KERNELS.advance

# Books take different paths; the fewer share a warp, the less they wait for each other.
THREADS = 8


@cuda.jit
def step_kernel(books, orders, times, queue_rule, reports, snapshots, trades, num_trades):
    """One message in each book; shapes as in `Kernels.step`."""
    b = cuda.grid(1)
    if b < books.shape[0]:
        _step_one(books, b, orders, times, queue_rule, reports, snapshots, trades, num_trades)


@cuda.jit
def stream_kernel(books, orders, times, queue_rule, reports, current, snapshots, trades, num_trades):
    """A whole stream in each book; shapes as in `Kernels.stream`."""
    b = cuda.grid(1)
    if b < books.shape[0]:
        _stream_one(books, b, orders, times, 0, queue_rule, 0, reports, current, snapshots, trades, num_trades)


@cuda.jit
def advance_kernel(books, times, snapshots, trades, num_trades):
    """Let time pass in each book."""
    b = cuda.grid(1)
    if b < books.shape[0]:
        _advance_one(books, b, times, snapshots, trades, num_trades)


class CudaExchange:
    """B books on a GPU. Everything goes in and comes out as torch tensors on the device, without a copy.

    Kernels start on torch's current stream and nothing waits for them; after one call of each (which compiles), a
    call can be captured in a CUDA graph. Rejections are counted in the books. Under numba's CUDA simulator
    (NUMBA_ENABLE_CUDASIM=1) the tensors are on the CPU.

    Args:
        books: int64[B, N], from `empty_books` or `open_books`; copied to the device.
        device: a CUDA device of torch's.
        queue_rule: what CANCEL_AT takes of a price's queue: OLDEST_FIRST, NEWEST_FIRST or CLOSEST_SIZE.
        trade_rows: K, rows for the trades of one step; further ones happen and count in TRADES_DROPPED.

    Attributes:
        books: int64[B, N], the books.
        reports: int64[B, NUM_REPORT_COLUMNS], of the last `step`.
        snapshots: int64[B, 2, DEPTH, 2], [book][side][level][price, size], as of the last call.
        trades: int64[B, K, NUM_TRADE_COLUMNS], the trades of the last `step` or `advance`.
        num_trades: int64[B], how many rows of `trades` each book used.
    """

    def __init__(
        self,
        books: np.ndarray | torch.Tensor,
        device: str | torch.device = "cuda",
        queue_rule: int = OLDEST_FIRST,
        trade_rows: int = 64,
    ):
        self.device = torch.device("cpu" if config.ENABLE_CUDASIM else device)
        self.queue_rule = queue_rule
        self.books = torch.as_tensor(books).to(self.device, copy=True)
        num_books = len(self.books)
        self.reports = self._zeros(num_books, NUM_REPORT_COLUMNS)
        snapshots = np.empty((num_books, 2, DEPTH, 2), np.int64)
        take_snapshots(self.books.cpu().numpy(), snapshots)
        self.snapshots = torch.from_numpy(snapshots).to(self.device)
        self.trades = self._zeros(num_books, trade_rows, NUM_TRADE_COLUMNS)
        self.num_trades = self._zeros(num_books)
        self._no_times = self._zeros(num_books)
        self._ruled = bool(self.books[:, RULES + ENFORCED].any())

    @property
    def num_books(self) -> int:
        """B, how many books there are."""
        return len(self.books)

    @property
    def outcome_counts(self) -> torch.Tensor:
        """int64[B, len(OUTCOMES)]: orders so far by outcome."""
        return self.books[:, OUTCOME_COUNTS : OUTCOME_COUNTS + len(OUTCOMES)]

    def step(self, orders: torch.Tensor, times: torch.Tensor | None = None) -> torch.Tensor:
        """Execute one order in each book.

        Args:
            orders: int64[B, NUM_ORDER_COLUMNS]; in a book whose kind is IDLE, only time passes.
            times: int64[B], nanoseconds since midnight; books without rules need none.

        Returns:
            `reports`, which the next step overwrites.
        """
        self._check("orders", orders, (self.num_books, NUM_ORDER_COLUMNS))
        times = self._times(times, (self.num_books,))
        answers = (self.reports, self.snapshots, self.trades, self.num_trades)
        self._launch(step_kernel, self.books, orders, times, self.queue_rule, *answers)
        return self.reports

    def advance(self, times: torch.Tensor) -> None:
        """Let time pass in each book: phases start, auctions trade, halts end. `times` is int64[B]."""
        self._check("times", times, (self.num_books,))
        self._launch(advance_kernel, self.books, times, self.snapshots, self.trades, self.num_trades)

    def run_all(
        self, orders: torch.Tensor, times: torch.Tensor | None = None, snapshots: bool = False, trade_rows: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Execute a stream of orders in each book.

        Args:
            orders: int64[B, N, NUM_ORDER_COLUMNS].
            times: int64[B, N].
            snapshots: whether to take a snapshot after every order.
            trade_rows: K, rows for the trades of each stream; 0: one for each order. Further trades happen and count in
                TRADES_DROPPED.

        Returns:
            reports int64[B, N, NUM_REPORT_COLUMNS], snapshots int64[B, N or 0, 2, DEPTH, 2], trades
            int64[B, K, NUM_TRADE_COLUMNS] and num_trades int64[B].
        """
        num_books, num = self.num_books, orders.shape[1]
        self._check("orders", orders, (num_books, num, NUM_ORDER_COLUMNS))
        times = self._times(times, (num_books, num))
        reports = self._zeros(num_books, num, NUM_REPORT_COLUMNS)
        taken = self._zeros(num_books, num if snapshots else 0, 2, DEPTH, 2)
        trades = self._zeros(num_books, trade_rows or num, NUM_TRADE_COLUMNS)
        num_trades = self._zeros(num_books)
        answers = (reports, self.snapshots, taken, trades, num_trades)
        self._launch(stream_kernel, self.books, orders, times, self.queue_rule, *answers)
        return reports, taken, trades, num_trades

    def fork(self, n: int) -> Self:
        """A new exchange with n copies of every book: those of book b are b * n to b * n + n - 1."""
        return self._like(self.books.repeat_interleave(n, dim=0))

    def copy(self) -> Self:
        """A new exchange with the same books, on its own from here on."""
        return self._like(self.books)

    def to(self, device: str | torch.device) -> "Self | Exchange":
        """A new exchange with copies of the books on a device; "cpu" gives an `Exchange`."""
        if str(device) == "cpu":
            return Exchange(aligned(self.books.cpu().numpy()), self.queue_rule, on_reject="count")
        return type(self)(self.books, device, self.queue_rule, self.trades.shape[1])

    def _like(self, books: torch.Tensor) -> Self:
        return type(self)(books, self.device, self.queue_rule, self.trades.shape[1])

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def _times(self, times: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor:
        if times is not None:
            self._check("times", times, shape)
            return times
        if self._ruled:
            raise ValueError("these books are under rules: give the times of the messages, in ns since midnight")
        return self._no_times if len(shape) == 1 else self._zeros(*shape)

    def _check(self, name: str, values: torch.Tensor, shape: tuple[int, ...]) -> None:
        right_place = values.device.type == self.device.type
        if values.shape != shape or values.dtype != torch.int64 or not right_place or not values.is_contiguous():
            raise ValueError(
                f"{name} must be contiguous int64 {list(shape)} on {self.device}, "
                f"got {values.dtype} {list(values.shape)} on {values.device}"
            )

    def _launch(self, kernel: Any, *arguments: Any) -> None:
        blocks = -(-self.num_books // THREADS)
        arrays = [_array(value) if isinstance(value, torch.Tensor) else value for value in arguments]
        if config.ENABLE_CUDASIM:
            kernel[blocks, THREADS](*arrays)
            return
        with torch.cuda.device(self.device):
            stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
            kernel[blocks, THREADS, stream](*arrays)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.numpy() if config.ENABLE_CUDASIM else cuda.as_cuda_array(tensor, sync=False)
