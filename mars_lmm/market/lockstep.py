"""The kernels compiled for the CPU, and their loops over the books of a batch."""

from collections.abc import Callable
from typing import NamedTuple

import numba

from mars_lmm.compilation import kept_njit
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.market.kernels import make_kernels
from mars_lmm.market.read_ahead import read_ahead

KERNELS = make_kernels(kept_njit("market", _nrt=False), VENUE)

_snapshot = VENUE.matching.snapshot


class Lockstep(NamedTuple):
    """A kernel compiled for many books; the arguments behind `books` are the kernel's."""

    part: Callable  # (low, high, books, *arguments): books `low` to `high - 1`
    shared: Callable  # (num_threads, books, *arguments): all books, in as many parts as there are threads


def make_lockstep(name: str, kernel: Callable, prepare: Callable) -> Lockstep:
    """Compile `kernel(books, b, *arguments)` for many books, each after `prepare(high, books, b, *arguments)`."""

    @kept_njit("market", name=name, _nrt=False)
    def part(low, high, books, *arguments):
        for b in range(low, high):
            prepare(high, books, b, *arguments)
            kernel(books, b, *arguments)

    @kept_njit("market", name=name, parallel=True)
    def shared(num_threads, books, *arguments):
        for i in numba.prange(num_threads):
            part(i * len(books) // num_threads, (i + 1) * len(books) // num_threads, books, *arguments)

    return Lockstep(part, shared)


@scalar_njit
def _nothing(high, books, b, times, snapshots, trades, num_trades):
    pass


@kept_njit("market")
def take_snapshots(books, snapshots):
    """Write the snapshots int64[B, 2, DEPTH, 2] of the books int64[B, N]."""
    for b in range(len(books)):
        _snapshot(books[b], snapshots[b])


STEP = make_lockstep("step", KERNELS.step, read_ahead)
ADVANCE = make_lockstep("advance", KERNELS.advance, _nothing)
