"""How far the mid moves with the imbalance of trades in a window (Vyetrenko et al., ICAIF 2020)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.distances import Draws, band, estimate
from mars_lmm.evaluation.sequences.sequences import BUY, EXECUTION

WINDOW_NS = 60 * 10**9
NUM_BINS = 10  # of equal width over imbalances of 0 to 1


class WindowSums(NamedTuple):
    """Moves of the mid in windows, added up for each sequence and bin of the imbalance.

    Attributes:
        total: In ticks, float64[S, bins].
        windows: float64[S, bins].
    """

    total: np.ndarray
    windows: np.ndarray

    def curve(self, weights: np.ndarray) -> np.ndarray:
        """Mean move for weights [R, S] of the sequences, float64[R, bins]; NaN for bins without a window."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return weights @ self.total / (weights @ self.windows)


def window_sums(columns: Columns) -> WindowSums:
    """Cut sequences into windows from their first messages, and take those with a trade.

    A window's imbalance is abs(V_buy - V_sell) / (V_buy + V_sell) of the sizes that buyers and sellers took; its move
    is the last mid of the window less that of the window before, along the side that took more.
    """
    row = np.flatnonzero(columns.two_sided)
    shape = (len(columns.sequences), NUM_BINS)
    if not len(row):
        return WindowSums(np.zeros(shape), np.zeros(shape))
    sequence = columns.sequence[row]
    window = (columns.time[row] - columns.time[columns.offsets[sequence]]) // WINDOW_NS
    first = np.flatnonzero((np.diff(window, prepend=-1) != 0) | (np.diff(sequence, prepend=-1) != 0))
    last = np.append(first[1:], len(row)) - 1
    begins_sequence = np.diff(sequence[first], prepend=-1) != 0
    mid = columns.mid[row]
    moved = mid[last] - mid[np.where(begins_sequence, first, first - 1)]

    executed = np.where(columns.type[row] == EXECUTION, columns.sequences.size[row], 0)
    # The direction is that of the order that rested.
    signed = np.where(columns.sequences.direction[row] == BUY, -executed, executed)
    volume, net = np.add.reduceat(executed, first), np.add.reduceat(signed, first)
    traded = volume > 0
    imbalance = np.abs(net[traded]) / volume[traded]
    bin_ = np.minimum((imbalance * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    cell = sequence[first][traded] * NUM_BINS + bin_
    size = shape[0] * NUM_BINS
    total = np.bincount(cell, (moved * np.sign(net))[traded] / columns.sequences.tick, size)
    return WindowSums(total.reshape(shape), np.bincount(cell, minlength=size).reshape(shape))


def macro_impact(real: WindowSums, generated: WindowSums, draws: Draws) -> dict:
    """Compare the two curves.

    Returns:
        `edges` of the imbalance; by side the `mean` move in ticks of each bin, its interval and its number of
        `windows`; `difference`: the mean distance over the bins that both sides have.
    """
    edges = np.linspace(0, 1, NUM_BINS + 1)
    curves = {"real": real.curve(draws.real), "generated": generated.curve(draws.generated)}
    distance = np.abs(curves["real"] - curves["generated"])
    both = np.isfinite(distance)
    with np.errstate(invalid="ignore"):
        difference = np.where(both, distance, 0).sum(axis=1) / both.sum(axis=1)
    result = {"window_seconds": WINDOW_NS / 1e9, "edges": edges.tolist(), **estimate("difference", difference)}
    for side, sums in (("real", real), ("generated", generated)):
        windows = sums.windows.sum(axis=0).astype(int)
        result[side] = {"mean": curves[side][0].tolist(), **band(curves[side]), "windows": windows.tolist()}
    return result
