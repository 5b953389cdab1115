"""The kernels compiled for the CPU, and their loops over the books of a batch."""

from collections.abc import Callable
from typing import NamedTuple

import numba

from mars_lmm.compilation import kept_njit
from mars_lmm.market.book import NUM_LEVEL_COLUMNS
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.kernels import make_kernels
from mars_lmm.market.prefetch import prefetch
from mars_lmm.market.types import BUY, CANCEL, FREE_SLOT, KIND, LEVELS_AT, ORDER_ID, PRICE, SELL, SIDE

KERNELS = make_kernels(kept_njit("market", _nrt=False), VENUE)

# So many books ahead, memory is asked for: fewer, and it comes too late; more, and it is pushed out before its use.
AHEAD = 3

_home, _find, _snapshot = VENUE.queues.home, VENUE.queues.find, VENUE.matching.snapshot


class Lockstep(NamedTuple):
    """A kernel compiled for many books; the arguments behind `books` are the kernel's."""

    part: Callable  # (low, high, books, *arguments): books `low` to `high - 1`
    shared: Callable  # (num_threads, books, *arguments): all books, in as many parts as there are threads


def make_lockstep(name: str, kernel: Callable, look_ahead: Callable) -> Lockstep:
    """Compile `kernel(books, b, *arguments)` for many books; `look_ahead` gets the arguments of a book to come."""

    @kept_njit("market", name=name, _nrt=False)
    def part(low, high, books, *arguments):
        for b in range(low, high):
            if b + AHEAD < high:
                look_ahead(books, b + AHEAD, *arguments)
            kernel(books, b, *arguments)

    @kept_njit("market", name=name, parallel=True)
    def shared(num_threads, books, *arguments):
        for i in numba.prange(num_threads):
            part(i * len(books) // num_threads, (i + 1) * len(books) // num_threads, books, *arguments)

    return Lockstep(part, shared)


@numba.njit(nogil=True, _nrt=False)
def _fetch_for_order(books, b, orders, times, queue_rule, reports, snapshots, trades, num_trades):
    """Fetch what the order of a book will touch; the row of its id's slot comes one stage earlier."""
    if b + AHEAD < len(books):
        prefetch(books[b + AHEAD], _home(books[b + AHEAD], orders[b + AHEAD, ORDER_ID]))
    book, order = books[b], orders[b]
    if order[KIND] == CANCEL:
        prefetch(book, _find(book, order[ORDER_ID]))
    elif order[SIDE] == SELL or order[SIDE] == BUY:
        prefetch(book, book[FREE_SLOT])
        prefetch(book, book[LEVELS_AT + order[SIDE]] + order[PRICE] * NUM_LEVEL_COLUMNS)


@numba.njit(nogil=True, _nrt=False)
def _fetch_nothing(books, b, times, snapshots, trades, num_trades):
    pass


@kept_njit("market")
def take_snapshots(books, snapshots):
    """Write the snapshots int64[B, 2, DEPTH, 2] of the books int64[B, N]."""
    for b in range(len(books)):
        _snapshot(books[b], snapshots[b])


STEP = make_lockstep("step", KERNELS.step, _fetch_for_order)
ADVANCE = make_lockstep("advance", KERNELS.advance, _fetch_nothing)
