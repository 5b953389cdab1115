"""The curves behind the eleven stylized facts of returns, as MarS defines them, on minute bars.

r(i) is the log return from bar i to bar i + 1. Bar 0 is not used as a start, statistics pool all paths of one
symbol and one source without centring, and a pair never spans two paths. Formulas: `docs/realism.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mars_lmm.evaluation.facts import estimators
from mars_lmm.evaluation.facts.panel import DAY, MINUTE, Panel

WINDOW = 5  # minutes of a coarse window, fact 11
KURTOSIS_LIMIT, SKEWNESS_LIMIT = 0.5, 0.05  # returns of this size or more are dropped
EXTREME_QUANTILE = 0.99


@dataclass(frozen=True)
class Statistic:
    """One fact as a curve: a statistic of samples at each point of an axis.

    Attributes:
        key: Name of the fact.
        axis: What the points are: `lag` or `delta_t`, in minutes.
        name: Name of the statistic.
        points: The points of the axis.
        samples: From a panel and a point, the samples that the estimator takes, each [P, K].
        estimator: One of `estimators`: samples and weights to values.
    """

    key: str
    axis: str
    name: str
    points: Sequence[int]
    samples: Callable[[Panel, int], tuple[Tensor, ...]]
    estimator: Callable[..., Tensor]

    def curve(self, panel: Panel, weights: Tensor | None = None) -> Tensor:
        """The statistic by symbol.

        Args:
            panel: One source.
            weights: How often each path counts, float64[R, P]; every path once if None (R = 1).

        Returns:
            float64[R, points, symbols]; NaN where the sample is too small.
        """
        weights = panel.price_last.new_ones((1, len(panel.symbol))) if weights is None else weights
        per_point = [self.samples(panel, point) for point in self.points]
        samples = [_stack(arrays) for arrays in zip(*per_point, strict=True)]
        values = []
        for number in range(len(panel.symbols)):
            rows = panel.symbol == number
            values.append(self.estimator(*(x[:, rows] for x in samples), weights[:, rows]).T)
        return torch.stack(values, dim=-1)


def _stack(arrays: Sequence[Tensor]) -> Tensor:
    """Samples [P, K] of several points, K differing, as one tensor [points, P, most K] with NaN for the rest."""
    stacked = arrays[0].new_full((len(arrays), len(arrays[0]), max(x.shape[1] for x in arrays)), torch.nan)
    for row, x in zip(stacked, arrays, strict=True):
        row[:, : x.shape[1]] = x
    return stacked


def returns(price: Tensor, minutes: int = 1, limit: float = math.inf) -> Tensor:
    """Overlapping log returns log(p[i + minutes] / p[i]), i = 1, 2, ...

    Args:
        price: float64[P, n].
        minutes: Length of the return.
        limit: Returns of this absolute size or more become NaN.

    Returns:
        float64[P, max(n - 1 - minutes, 0)].
    """
    values = torch.log(price[:, minutes:] / price[:, :-minutes])[:, 1:]
    return torch.where(values.abs() < limit, values, torch.nan) if math.isfinite(limit) else values


def conditional_returns(panel: Panel, minutes: int, fewest: int = 2) -> tuple[Tensor]:
    """Returns over the standard deviation of all returns that start in the same clock minute (fact 7).

    The deviation is taken over all symbols, dates and paths of the source; the mean stays in.

    Args:
        panel: One source.
        minutes: Length of the returns.
        fewest: Clock minutes with fewer returns give NaN.
    """
    values = returns(panel.price_last, minutes, KURTOSIS_LIMIT)
    clock = (panel.time[:, 1 : 1 + values.shape[1]] % DAY) // MINUTE
    valid = values.isfinite()
    known = values[valid]
    cell, count = clock[valid].unique(return_inverse=True, return_counts=True)[1:]
    deviation = known - (torch.bincount(cell, known) / count)[cell]
    scale = torch.sqrt(torch.bincount(cell, deviation**2) / (count - 1))
    scaled = known / torch.where(count >= fewest, scale, torch.nan)[cell]
    values[valid] = torch.where(scaled.isfinite(), scaled, torch.nan)
    return (values,)


def extremes(panel: Panel) -> tuple[Tensor, Tensor]:
    """One-minute returns beyond their symbol's 0.99 quantile of absolute size (fact 5).

    Returns:
        bool[P, n - 2] whether a return is extreme, and whether it is there at all.
    """
    size = returns(panel.price_last).abs()
    valid, extreme = size.isfinite(), torch.zeros_like(size, dtype=torch.bool)
    for number in range(len(panel.symbols)):
        rows = panel.symbol == number
        if valid[rows].any():
            extreme[rows] = size[rows] > estimators.quantile(size[rows][valid[rows]], EXTREME_QUANTILE)
    return extreme, valid


def _pair(x: Tensor, y: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """x[i] with y[i + lag]."""
    return x[:, : max(x.shape[1] - lag, 0)], y[:, lag:]


def _coarse_and_fine(panel: Panel, lag: int) -> tuple[Tensor, Tensor]:
    """coarse(i + lag) with fine(i), i >= 1; coarse alone may use the window that starts at bar 0."""
    one_minute = torch.log(panel.price_last[:, 1:] / panel.price_last[:, :-1])
    windows = max(one_minute.shape[1] - WINDOW + 1, 0)
    parts = [one_minute[:, shift : shift + windows] for shift in range(WINDOW)]
    fine, coarse = sum(part.abs() for part in parts), sum(parts).abs()
    i = torch.arange(max(1, -lag), max(min(windows, windows - lag), max(1, -lag)), device=one_minute.device)
    return coarse[:, i + lag], fine[:, i]


def _return_pairs(price: str) -> Callable:
    def samples(panel: Panel, lag: int):
        r = returns(getattr(panel, price))
        return _pair(r, r, lag)

    return samples


def _absolute_pairs(panel: Panel, lag: int):
    size = returns(panel.price_last).abs()
    return _pair(size, size, lag)


def _leverage_pairs(panel: Panel, lag: int):
    r = returns(panel.price_last)
    return _pair(r, r.abs(), lag)


def _volume_pairs(panel: Panel, lag: int):
    return _pair(panel.volume[:, 1:-1], returns(panel.price_last).abs(), lag)


def _correlation(key: str, points: Sequence[int], samples: Callable, name: str = "corr") -> Statistic:
    return Statistic(key, "lag", name, points, samples, estimators.correlation)


def _moment(key: str, name: str, samples: Callable, estimator: Callable) -> Statistic:
    return Statistic(key, "delta_t", name, range(1, 21), samples, estimator)


RETURN_AUTOCORRELATION = _correlation("1_return_autocorrelation_price_last", range(1, 11), _return_pairs("price_last"))
KURTOSIS = _moment(
    "2_4_return_kurtosis_price_last",
    "kurtosis",
    lambda panel, minutes: (returns(panel.price_last, minutes, KURTOSIS_LIMIT),),
    estimators.kurtosis,
)
SKEWNESS = _moment(
    "3_return_skewness",
    "skew",
    lambda panel, minutes: (returns(panel.price_last, minutes, SKEWNESS_LIMIT),),
    estimators.skewness,
)
VOLATILITY_CLUSTERING = _correlation("6_8_volatility_clustering", range(1, 21), _absolute_pairs)
CONDITIONAL_KURTOSIS = _moment("7_conditional_kurtosis", "kurtosis", conditional_returns, estimators.kurtosis)
LEVERAGE = _correlation("9_leverage", range(1, 21), _leverage_pairs)
VOLUME_VOLATILITY = _correlation("10_volume_volatility", range(1, 21), _volume_pairs)
TIMESCALE_ASYMMETRY = _correlation("11_timescale_asymmetry", range(-10, 11), _coarse_and_fine, name="cf_corr")
STATISTICS = (
    RETURN_AUTOCORRELATION,
    _correlation("1_return_autocorrelation_price_mean", range(1, 11), _return_pairs("price_mean")),
    KURTOSIS,
    _moment(
        "2_4_return_kurtosis_price_mean",
        "kurtosis",
        lambda panel, minutes: (returns(panel.price_mean, minutes, KURTOSIS_LIMIT),),
        estimators.kurtosis,
    ),
    SKEWNESS,
    VOLATILITY_CLUSTERING,
    CONDITIONAL_KURTOSIS,
    LEVERAGE,
    VOLUME_VOLATILITY,
    TIMESCALE_ASYMMETRY,
)


def asymmetry_difference(curve: Tensor) -> Tensor:
    """Value at lag less value at -lag, lags 0, 1, ...

    Args:
        curve: Values at lags -L..L along axis 1.
    """
    middle = curve.shape[1] // 2
    return curve[:, middle:] - curve[:, : middle + 1].flip(1)
