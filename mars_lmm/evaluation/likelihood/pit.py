"""Where observations fall among the members of an ensemble: probability integral transforms without a draw.

An observation among R members that are like it is as probably on any of the R + 1 ranks. Its transform is spread
evenly over the cell of its rank, [rank, rank + 1] / (R + 1), and over all ranks that it shares with equal members
(Czado, Gneiting and Held, Biometrics 65(4), 2009). So it is uniform for a calibrated ensemble of any size, with ties or
without, and nothing depends on a seed.
"""

from __future__ import annotations

import numpy as np


def pit_cells(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each path among all the others.

    Args:
        paths: float64[S, P, M], the observation and the members alike.

    Returns:
        Lower and upper ends of the cells, each float64[S, P, M].
    """
    num_paths = paths.shape[1]
    order = np.argsort(paths, axis=1, kind="stable")
    ranked = np.take_along_axis(paths, order, axis=1)
    place = np.arange(num_paths)[None, :, None]
    new = np.diff(ranked, axis=1) != 0
    edge = np.ones_like(new[:, :1])
    first = np.maximum.accumulate(np.where(np.concatenate([edge, new], axis=1), place, 0), axis=1)
    last = np.where(np.concatenate([new, edge], axis=1), place, num_paths)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    ends = np.empty((2, *paths.shape))
    for end, rank in zip(ends, (first, last + 1), strict=True):
        np.put_along_axis(end, order, rank / num_paths, axis=1)
    return ends[0], ends[1]


def share_below(low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """The share of each cell that lies below a level."""
    return np.clip((level - low) / (high - low), 0, 1)


def histograms(low: np.ndarray, high: np.ndarray, known: np.ndarray, bins: int) -> np.ndarray:
    """The histogram of each path's transforms over its minutes.

    Args:
        low: float64[S, P, M], lower ends of the cells.
        high: float64[S, P, M], upper ends.
        known: bool[S, M], which minutes count.
        bins: Bins of equal width over [0, 1].

    Returns:
        Shares float64[S, P, bins]; NaN of a start without a minute.
    """
    counted = known.sum(axis=1)[:, None]
    with np.errstate(invalid="ignore"):
        below = [
            np.where(known[:, None], share_below(low, high, level), 0).sum(axis=2) / counted
            for level in np.arange(bins + 1) / bins
        ]
    return np.diff(np.stack(below, axis=-1), axis=-1)


def uniformity(shares: np.ndarray, weights: np.ndarray, draws: int, seed: int) -> tuple[float, np.ndarray]:
    """An exact test of whether the observed path of each start is like the others.

    If it is, any path of a start might as well have been the observed one, with all its minutes, however these depend
    on each other. So the squared distance of the mean histogram from the uniform one is held against that of paths
    drawn at random, one for each start.

    Args:
        shares: float64[S, P, K], histograms of each path among the others; path 0 is the observed one.
        weights: float64[S], how much each start counts; they add up to 1.
        draws: How many times to draw.
        seed: Seed of the draws.

    Returns:
        The p-value; and the mean histograms of the draws, float64[draws, K].
    """
    num_starts, num_paths, bins = shares.shape
    chosen = np.random.default_rng(seed).integers(num_paths, size=(draws, num_starts))
    drawn = np.einsum("s,dsk->dk", weights, shares[np.arange(num_starts), chosen])
    distance = ((drawn - 1 / bins) ** 2).sum(axis=1)
    observed = ((weights @ shares[:, 0] - 1 / bins) ** 2).sum()
    # Histograms that are equal differ by rounding.
    as_far = np.count_nonzero(distance >= observed * (1 - 1e-9) - 1e-15)
    return (1 + as_far) / (1 + draws), drawn
