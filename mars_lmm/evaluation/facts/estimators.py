"""Statistics of samples that come in paths, for any weighting of the paths.

Samples are float64[..., P, K]: P paths of K values, NaN where a path has no value. Weights float64[R, P] say how often
each path counts, and give values [..., R]: a row of ones is the plain statistic, rows of bootstrap counts are its
replicates. Samples are reduced to power sums per path first, so replicates cost one matrix product. A value that the
sample cannot give is NaN. Everything stays on the device of the samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A spread this small beside its second moment is rounding, not spread.
_ROUNDING = 1e-12


def correlation(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Pearson correlation of the pairs (x, y), pooled over paths; needs three pairs."""
    valid = x.isfinite() & y.isfinite()
    x, y = _centred(x, valid), _centred(y, valid)
    n, sx, sy, sxx, syy, sxy = _weighted_sums(weights, valid, x, y, x * x, y * y, x * y)
    vxx, vyy, vxy = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
    defined = (n >= 3) & (vxx > _ROUNDING * sxx) & (vyy > _ROUNDING * syy)
    return _where(defined, vxy / torch.sqrt(vxx * vyy))


def kurtosis(x: Tensor, weights: Tensor) -> Tensor:
    """Bias-corrected excess kurtosis (G2), pooled over paths; needs four values."""
    n, m2, _, m4, defined = _central_moments(x, weights)
    scale = (n - 2) * (n - 3)
    value = n * (n + 1) * (n - 1) * m4 / (scale * m2**2) - 3 * (n - 1) ** 2 / scale
    return _where(defined & (n >= 4), value)


def skewness(x: Tensor, weights: Tensor) -> Tensor:
    """Bias-corrected skewness (G1), pooled over paths; needs three values."""
    n, m2, m3, _, defined = _central_moments(x, weights)
    value = torch.sqrt(n * (n - 1)) / (n - 2) * (m3 / n) / (m2 / n) ** 1.5
    return _where(defined & (n >= 3), value)


def fano_factor(counts: Tensor, weights: Tensor) -> Tensor:
    """Variance (ddof 1) over mean of one count for each unit.

    Args:
        counts: Events in each unit, float64[U].
        weights: How often each unit counts, [R, U].

    Returns:
        float64[R]; 1 for a Poisson process, more where events come in bursts.
    """
    n = weights.sum(dim=1)
    mean = weights @ counts / n
    variance = (weights @ (counts * counts) / n - mean**2) * n / (n - 1)
    return _where((n >= 2) & (mean > 0), variance / mean)


def power_law_exponent(curve: Tensor, lags: Tensor | None = None) -> Tensor:
    """Exponent b of the least-squares fit a * lag**-b with a > 0, on a grid of -1 to 3 in steps of 0.01.

    Args:
        curve: Values at the lags, float64[R, L].
        lags: The lags [L]; 1, 2, ..., L if None.

    Returns:
        float64[R]; NaN where fewer than five lags have a value or no positive fit exists.
    """
    valid = curve.isfinite().all(dim=0)
    if valid.sum() < 5:
        return curve.new_full((len(curve),), torch.nan)
    lags = torch.arange(1, curve.shape[1] + 1) if lags is None else lags
    exponents = torch.linspace(-1, 3, 401, dtype=curve.dtype, device=curve.device)
    shapes = lags.to(curve)[valid, None] ** -exponents
    shapes /= torch.linalg.vector_norm(shapes, dim=0)
    explained, best = (curve[:, valid] @ shapes).max(dim=1)  # the best positive fit is the longest projection
    return _where(explained > 0, exponents[best])


def quantile(values: Tensor, q: float) -> Tensor:
    """Quantile along the first axis by linear interpolation, of any number of values; NaN values sort last."""
    ordered = values.sort(dim=0).values
    place = q * (len(values) - 1)
    below = int(place)
    return torch.lerp(ordered[below], ordered[min(below + 1, len(values) - 1)], place - below)


def mean_over_symbols(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the last axis of the values that are there; NaN where none is.

    Args:
        values: float64[..., S].
        weights: How often each symbol counts, [..., S]; every symbol once if None.
    """
    counted = values.isfinite().to(values.dtype)
    counted = counted if weights is None else counted * weights
    total = (torch.where(counted > 0, values, 0.0) * counted).sum(dim=-1)
    return total / counted.sum(dim=-1)


def _where(defined: Tensor, values: Tensor) -> Tensor:
    return torch.where(defined, values, torch.nan)


def _centred(x: Tensor, valid: Tensor) -> Tensor:
    """Values less their pooled mean, which keeps power sums exact; 0 where not valid."""
    x = torch.where(valid, x, 0.0)
    count = valid.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    return torch.where(valid, x - x.sum(dim=(-2, -1), keepdim=True) / count, 0.0)


def _weighted_sums(weights: Tensor, *values: Tensor) -> Tensor:
    """Sums of each kind of values [..., P, K] over paths that count by their weights: float64[kinds, ..., R]."""
    return torch.stack([kind.sum(dim=-1, dtype=torch.float64) for kind in values]) @ weights.T


def _central_moments(x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Count, sums of squared, cubed and fourth-power deviations, and whether there is any spread."""
    valid = x.isfinite()
    x = _centred(x, valid)
    squared = x * x
    n, s1, s2, s3, s4 = _weighted_sums(weights, valid, x, squared, squared * x, squared * squared)
    mean = s1 / n
    m2 = s2 - n * mean**2
    m3 = s3 - 3 * mean * s2 + 2 * n * mean**3
    m4 = s4 - 4 * mean * s3 + 6 * mean**2 * s2 - 3 * n * mean**4
    return n, m2, m3, m4, m2 > _ROUNDING * s2
