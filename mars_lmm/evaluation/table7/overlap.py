"""How much two distributions have in common: the overlap coefficient, its floor and its ceiling."""

from __future__ import annotations

import math

import numpy as np

from mars_lmm.evaluation.grid import ratio
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.resampling import mean_over_symbols

SPLITS = 500


def overlaps(replay: np.ndarray, simulation: np.ndarray, starts: Bootstrap, seed: int = 0) -> dict:
    """The overlap coefficient of a quantity's distributions, the area under the lower of the two densities.

    Densities are histograms of all starts, paths and minutes of a symbol, over bins that hold equal shares of the
    even mixture of replay and simulation: `num_bins` of them, so that long tails and the number of rollouts do not
    decide. Missing values do not count. Numbers are means over symbols.

    Two samples of one law overlap by less than 1, the less the fewer they are. Two numbers tell what to expect: the
    `floor`, real against real; and the `ceiling`, what the model would score were it the truth.

    Args:
        replay: float64[S, 1, W].
        simulation: float64[S, R, W].
        starts: Draws the S starts.
        seed: Seed of the splits.

    Returns:
        `overlap`: value, low, high. `floor`: the mean overlap of random halves of the replay's starts, with half as
        many minutes on either side. `ceiling`: each rollout of all starts in turn as the replay, held against the
        others; mean, and the ends that 95 % of them lie between. NaN where there is nothing to compare.
    """
    per_symbol = [
        _of_symbol(replay[member], simulation[member], starts.weights[:, member], seed) for member in starts.members
    ]
    found, floor, held_out = (mean_over_symbols(np.stack(parts, axis=-1)) for parts in zip(*per_symbol, strict=True))
    overlap = starts.reflected(found)
    known = held_out[np.isfinite(held_out)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return {
        "overlap": overlap | {"high": np.minimum(overlap["high"], 1)},
        "floor": floor.mean(),
        "ceiling": {"value": known.mean() if len(known) else np.nan, "low": low, "high": high},
    }


def num_bins(size: int) -> int:
    """Bins for two samples, the smaller of this size: 2 n^(1/3), the Rice rule."""
    return max(2, math.ceil(2 * size ** (1 / 3)))


def _of_symbol(
    replay: np.ndarray, simulation: np.ndarray, weights: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlap in each replicate [1 + B], of the replay's halves [SPLITS], and of each rollout with the others [R]."""
    edges = _edges(replay[np.isfinite(replay)], simulation[np.isfinite(simulation)])
    real, simulated = _counts(replay, edges)[:, 0], _counts(simulation, edges)
    found = _overlap(weights @ real, weights @ simulated.sum(axis=1))
    half = np.random.default_rng(seed).permuted(np.tile(np.arange(len(real)) % 2, (SPLITS, 1)), axis=1)
    rollouts = simulated.sum(axis=0)
    return found, _overlap(half @ real, (1 - half) @ real), _overlap(rollouts, rollouts.sum(axis=0) - rollouts)


def _edges(replay: np.ndarray, simulation: np.ndarray) -> np.ndarray:
    """Inner edges of the bins: quantiles of the mixture in which both samples weigh alike."""
    if not (len(replay) and len(simulation)):
        return np.zeros(0)
    values = np.concatenate([replay, simulation])
    weight = np.repeat([0.5 / len(replay), 0.5 / len(simulation)], [len(replay), len(simulation)])
    order = np.argsort(values, kind="stable")
    bins = num_bins(min(len(replay), len(simulation)))
    place = np.searchsorted(np.cumsum(weight[order]), np.arange(1, bins) / bins)
    return np.unique(values[order][place])


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of each path's values [S, R, W] lie in each bin, float64[S, R, K]; an edge belongs to the bin below."""
    bins = len(edges) + 1
    starts, paths, _ = values.shape
    path = np.broadcast_to(np.arange(starts * paths).reshape(starts, paths, 1), values.shape)
    known = np.isfinite(values)
    cell = path[known] * bins + np.searchsorted(edges, values[known])
    return np.bincount(cell, minlength=starts * paths * bins).reshape(starts, paths, bins).astype(np.float64)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Overlap of pairs of histograms [..., K]; NaN where one is empty."""
    return np.minimum(*(ratio(counts, counts.sum(axis=-1, keepdims=True)) for counts in (a, b))).sum(axis=-1)
