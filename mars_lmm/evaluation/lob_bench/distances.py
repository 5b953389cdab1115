"""L1 and Wasserstein distances between real and generated values, with those of bootstrap replicates in the same pass.

A replicate draws whole sequences; the bins and the scale stay those of the full data. So it is a weighting of the
sequences, and one walk over the sorted values serves all replicates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.evaluation.lob_bench.binning import cut
from mars_lmm.evaluation.lob_bench.scores import Sample
from mars_lmm.evaluation.resampling import bootstrap_weights
from mars_lmm.evaluation.sequences.sequences import Sequences

_TAIL = 0.005  # left out at either end of a 99 % interval


class Draws(NamedTuple):
    """How often each sequence counts: once, in the first row, and as drawn, in the B others.

    Attributes:
        real: float64[1 + B, real sequences].
        generated: float64[1 + B, generated sequences].
    """

    real: np.ndarray
    generated: np.ndarray

    @classmethod
    def of_both(cls, real: np.ndarray, generated: np.ndarray) -> Draws:
        """Two sides as `draw` gives them; without replicates, and so without any interval, if one side has none."""
        rows = min(len(real), len(generated))
        return cls(real[:rows], generated[:rows])


def draw(sequences: Sequences, replicates: int, seed: int) -> np.ndarray:
    """Draw starts, with all sequences of each, with replacement.

    Returns:
        How often each sequence counts, as in `Draws`: float64[1 + replicates, S]. If less than two starts have
        messages, float64[1, S]: every draw would be the same, and say that nothing varies.
    """
    if len(np.unique(sequences.start[np.diff(sequences.offsets) > 0])) < 2:
        replicates = 0
    return bootstrap_weights(sequences.start, np.zeros(len(sequences)), replicates, seed)


class Distances(NamedTuple):
    """Distances, the first from all data, the others from replicates.

    Attributes:
        l1: Half the sum over bins of the differences of shares (total variation), float64[1 + B]; 1 if one of the sides
            has no value, NaN if neither has.
        wasserstein: Integral of the difference of the distribution functions of the values in pooled standard
            deviations, float64[1 + B]; NaN if a side has no value.
        rows: How many values there are, float64[1 + B].
        num_thresholds: Of the bins.
    """

    l1: np.ndarray
    wasserstein: np.ndarray
    rows: np.ndarray
    num_thresholds: int


def compare(real: Sample, generated: Sample, bins: str, draws: Draws) -> Distances:
    """Distances between two samples.

    Args:
        real: Its sequences are columns of `draws.real`.
        generated: Its sequences are columns of `draws.generated`.
        bins: One of the ways of `binning`.
        draws: The weights of the sequences.
    """
    num_real = draws.real @ np.bincount(real.sequence, minlength=draws.real.shape[1])
    num_generated = draws.generated @ np.bincount(generated.sequence, minlength=draws.generated.shape[1])
    values = np.concatenate([real.values, generated.values])
    l1, wasserstein = np.zeros(len(num_real)), np.zeros(len(num_real))
    num_thresholds = 0
    if len(values):
        order = np.argsort(values, kind="stable")  # a merge, as both are sorted
        values = values[order]
        column = np.concatenate([real.sequence, generated.sequence + draws.real.shape[1]])[order]
        # Differences of shares times both numbers of values: whole numbers, so that no sum is rounded.
        weights = np.concatenate([draws.real * num_generated[:, None], -draws.generated * num_real[:, None]], axis=1)
        group, num_thresholds = cut(values, bins)
        ends_group = np.append(group[1:] != group[:-1], True)
        _walk(column, ends_group, np.diff(values, append=values[-1]), np.ascontiguousarray(weights.T), l1, wasserstein)
    scale = values.std(ddof=1) if len(values) > 1 else 0.0
    pairs = num_real * num_generated
    with np.errstate(divide="ignore", invalid="ignore"):
        l1 = np.where(pairs > 0, l1 / (2 * pairs), np.where(num_real + num_generated > 0, 1.0, np.nan))
        wasserstein = np.where(pairs > 0, wasserstein / pairs / scale if scale > 0 else 0.0, np.nan)
    return Distances(l1, wasserstein, num_real + num_generated, num_thresholds)


@kept_njit()
def _walk(column, ends_group, gap, weights, l1, wasserstein):
    """Walk over sorted values with the difference of the two distributions so far, of all replicates side by side."""
    num = weights.shape[1]
    difference, before = np.zeros(num), np.zeros(num)
    for i in range(len(column)):
        weight = weights[column[i]]
        for r in range(num):
            difference[r] += weight[r]
        if gap[i] > 0:
            for r in range(num):
                wasserstein[r] += abs(difference[r]) * gap[i]
        if ends_group[i]:
            for r in range(num):
                l1[r] += abs(difference[r] - before[r])
                before[r] = difference[r]


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 99 % interval of a number and its replicates, float64[1 + B]; NaN without the number or any replicate.

    Drawing twice makes two samples differ more than drawing once, so that replicates of a distance are larger than it.
    They are moved to have the number itself as their mean before quantiles are taken; so the interval tells how far
    the number would vary from sample to sample.
    """
    replicates = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(replicates):
        return np.nan, np.nan
    low, high = np.quantile(replicates - replicates.mean(), [_TAIL, 1 - _TAIL]) + values[0]
    return float(low), float(high)


def band(curves: np.ndarray) -> dict[str, list[float]]:
    """The `low` and `high` ends of the intervals along a curve and its replicates, float64[1 + B, points]."""
    low, high = zip(*map(interval, curves.T), strict=True)
    return {"low": list(low), "high": list(high)}


def distance_interval(values: np.ndarray) -> tuple[float, float]:
    """The interval of what is never below 0."""
    low, high = interval(values)
    return float(np.maximum(low, 0.0)), high


def estimate(name: str, values: np.ndarray) -> dict[str, float]:
    """A distance and its interval as `name`, `name_low` and `name_high`."""
    low, high = distance_interval(values)
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
