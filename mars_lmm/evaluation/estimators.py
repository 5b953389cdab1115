"""Statistics of samples that come in paths, for any weighting of the paths.

Samples are [..., P, K]: P paths of K values, NaN where a path has no value. Weights [R, P] say how often each path
counts, and give values [..., R]: a row of ones is the plain statistic, rows of bootstrap counts are its replicates.
Samples are reduced to power sums per path first, so replicates cost one matrix product. A value that the sample
cannot give is NaN.
"""

from __future__ import annotations

import numpy as np

# A spread this small beside its second moment is rounding, not spread.
_ROUNDING = 1e-12


def correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation of the pairs (x, y), pooled over paths; needs three pairs."""
    valid = np.isfinite(x) & np.isfinite(y)
    x, y = _centred(x, valid), _centred(y, valid)
    n, sx, sy, sxx, syy, sxy = _weighted_sums(weights, valid, x, y, x * x, y * y, x * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        vxx, vyy, vxy = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
        defined = (n >= 3) & (vxx > _ROUNDING * sxx) & (vyy > _ROUNDING * syy)
        return np.where(defined, vxy / np.sqrt(vxx * vyy), np.nan)


def kurtosis(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bias-corrected excess kurtosis (G2), pooled over paths; needs four values."""
    n, m2, _, m4, defined = _central_moments(x, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (n - 2) * (n - 3)
        value = n * (n + 1) * (n - 1) * m4 / (scale * m2**2) - 3 * (n - 1) ** 2 / scale
    return np.where(defined & (n >= 4), value, np.nan)


def skewness(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bias-corrected skewness (G1), pooled over paths; needs three values."""
    n, m2, m3, _, defined = _central_moments(x, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.sqrt(n * (n - 1)) / (n - 2) * (m3 / n) / (m2 / n) ** 1.5
    return np.where(defined & (n >= 3), value, np.nan)


def fano_factor(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance (ddof 1) over mean of one count for each unit.

    Args:
        counts: Events in each unit, [U].
        weights: How often each unit counts, [R, U].

    Returns:
        float64[R]; 1 for a Poisson process, more where events come in bursts.
    """
    n = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weights @ counts / n
        variance = (weights @ (counts * counts) / n - mean**2) * n / (n - 1)
        return np.where((n >= 2) & (mean > 0), variance / mean, np.nan)


def power_law_exponent(curve: np.ndarray) -> np.ndarray:
    """Exponent b of the least-squares fit a * lag**-b with a > 0, on a grid of -1 to 3 in steps of 0.01.

    Args:
        curve: Values at lags 1, 2, ..., L, float64[R, L].

    Returns:
        float64[R]; NaN where fewer than five lags have a value or no positive fit exists.
    """
    valid = np.isfinite(curve).all(axis=0)
    if valid.sum() < 5:
        return np.full(len(curve), np.nan)
    exponents = np.linspace(-1, 3, 401)
    shapes = (np.arange(curve.shape[1])[valid, None] + 1.0) ** -exponents
    shapes /= np.sqrt((shapes**2).sum(axis=0))
    explained = curve[:, valid] @ shapes  # the best positive fit is the longest projection
    best = explained.argmax(axis=1)
    return np.where(explained.max(axis=1) > 0, exponents[best], np.nan)


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


def mean_over_symbols(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are there; NaN where none is."""
    valid = np.isfinite(values)
    total = np.where(valid, values, 0).sum(axis=-1)
    return total / np.where(valid.any(axis=-1), valid.sum(axis=-1), np.nan)


def _centred(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values less their pooled mean, which keeps power sums exact; 0 where not valid."""
    x = np.where(valid, x, 0.0)
    mean = x.sum(axis=(-2, -1), keepdims=True) / np.maximum(valid.sum(axis=(-2, -1), keepdims=True), 1)
    return np.where(valid, x - mean, 0.0)


def _weighted_sums(weights: np.ndarray, *values: np.ndarray) -> np.ndarray:
    """Sums of each kind of values [..., P, K] over paths that count by their weights: float64[kinds, ..., R]."""
    sums = np.stack([kind.sum(axis=-1, dtype=np.float64) for kind in values])
    return (sums.reshape(-1, sums.shape[-1]) @ weights.T).reshape(*sums.shape[:-1], len(weights))


def _central_moments(x: np.ndarray, weights: np.ndarray):
    """Count, sums of squared, cubed and fourth-power deviations, and whether there is any spread."""
    valid = np.isfinite(x)
    x = _centred(x, valid)
    squared = x * x
    n, s1, s2, s3, s4 = _weighted_sums(weights, valid, x, squared, squared * x, squared * squared)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = s1 / n
        m2 = s2 - n * mean**2
        m3 = s3 - 3 * mean * s2 + 2 * n * mean**3
        m4 = s4 - 4 * mean * s3 + 6 * mean**2 * s2 - 3 * n * mean**4
        return n, m2, m3, m4, m2 > _ROUNDING * s2
