"""Draws of whole units with replacement, and intervals from what they give."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

REPLICATES = 2000
LEVEL = 0.95
# With fewer, a null effect has the same sign in all units more often than once in twenty: 2 * 0.5**5 > 0.05.
FEWEST_UNITS = 6


def bootstrap_weights(unit: np.ndarray, stratum: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Draw whole units with replacement within each stratum.

    Args:
        unit: The unit that each path belongs to; its paths are drawn together, [P].
        stratum: The stratum of each path, the same for all paths of a unit, [P].
        replicates: How many times to draw.
        seed: Seed of the draw.

    Returns:
        float64[1 + replicates, P]; the first row is all ones, the plain statistic.
    """
    generator = np.random.default_rng(seed)
    weights = np.ones((1 + replicates, len(unit)))
    for member in np.unique(stratum):
        rows = np.flatnonzero(stratum == member)
        units, index = np.unique(unit[rows], return_inverse=True)
        drawn = generator.multinomial(len(units), np.full(len(units), 1 / len(units)), size=replicates)
        weights[1:, rows] = drawn[:, index]
    return weights


def tail_probability(num_units: int) -> float:
    """Share of replicates to leave out at either end of a 95 % interval.

    The expanded percentile interval (Hesterberg, The American Statistician 69(4), 2015): drawing n units from n
    makes an interval too narrow, by the factor sqrt((n - 1) / n) and by the normal quantile in place of
    Student's. The latter comes from its series in 1 / (n - 1) (Abramowitz and Stegun 26.7.5).
    """
    if num_units < FEWEST_UNITS:
        return (1 - LEVEL) / 2
    z, v = NormalDist().inv_cdf((1 + LEVEL) / 2), num_units - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return NormalDist().cdf(-t * math.sqrt(num_units / v))


def percentile_interval(replicates: np.ndarray, tail: float) -> tuple[float, float, float]:
    """The number itself and the ends of its percentile interval; NaN ends where too few replicates have a value.

    Args:
        replicates: The number itself, then its bootstrap replicates, float64[1 + B].
        tail: Share of the replicates to leave out at either end.
    """
    drawn = replicates[1:]
    if not np.isfinite(replicates[0]) or np.isfinite(drawn).mean() < LEVEL:
        return replicates[0], np.nan, np.nan
    return replicates[0], *np.nanquantile(drawn, [tail, 1 - tail])


def mean_over_symbols(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are there; NaN where none is."""
    valid = np.isfinite(values)
    total = np.where(valid, values, 0).sum(axis=-1)
    return total / np.where(valid.any(axis=-1), valid.sum(axis=-1), np.nan)
