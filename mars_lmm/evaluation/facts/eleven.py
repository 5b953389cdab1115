"""The eleven stylized facts of returns: one number, one interval and one verdict each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf

import torch
from torch import Tensor

from mars_lmm.evaluation.facts import estimators
from mars_lmm.evaluation.facts import statistics as s
from mars_lmm.evaluation.facts.bootstrap import Bootstrap, strongest
from mars_lmm.evaluation.facts.panel import Panel
from mars_lmm.evaluation.facts.verdicts import Curves, Fact, Judgement, conclude

FEWEST_RETURNS_PER_CLOCK_MINUTE = 30  # m of them bias the kurtosis by about -6/m, and few by chance much more
FEWEST_EXTREMES = 20  # their number is fixed by the quantile, so that few of them cannot come in bursts
FIRST_LAGS = slice(0, 5)  # lags 1 to 5


def _slope(curve: Tensor) -> Tensor:
    """Least-squares slope of a curve against its point number, over the points that have values."""
    valid = curve[0].isfinite()
    if valid.sum() < 3:
        return curve.new_full((len(curve),), torch.nan)
    points = torch.arange(curve.shape[1], dtype=curve.dtype, device=curve.device)[valid]
    points = points - points.mean()
    return curve[:, valid] @ points / (points**2).sum()


def _first_lags(name: str) -> Callable[[Curves], Tensor]:
    return lambda curves: curves[name][:, FIRST_LAGS].mean(dim=1)


def _mean_of_present(curve: Tensor) -> Tensor:
    valid = curve[0].isfinite()
    return curve[:, valid].mean(dim=1) if valid.any() else curve[:, 0]


FACTS = (
    Fact(
        1,
        "No autocorrelation of returns",
        "strongest correlation of returns 2 to 10 minutes apart",
        (-0.1, 0.1),
        0.0,
        headline=lambda curves: curves["autocorrelation"][:, 1:],
        estimate=strongest,
    ),
    Fact(
        2,
        "Heavy tails",
        "excess kurtosis of 1-minute returns",
        (0, inf),
        1.0,
        headline=lambda curves: curves["kurtosis"][:, 0],
    ),
    Fact(
        3,
        "Gain/loss asymmetry",
        "mean skewness of 1- to 20-minute returns",
        (-inf, 0),
        -0.2,
        headline=lambda curves: _mean_of_present(curves["skewness"]),
    ),
    Fact(
        4,
        "Aggregational Gaussianity",
        "slope of excess kurtosis per minute of return length",
        (-inf, 0),
        -0.05,
        premise=2,
        headline=lambda curves: _slope(curves["kurtosis"]),
    ),
    Fact(
        5,
        "Intermittency",
        "Fano factor of extreme returns per path",
        (1, inf),
        1.2,
        headline=lambda curves: curves["fano"][:, 0],
    ),
    Fact(
        6,
        "Volatility clustering",
        "mean correlation of absolute returns 1 to 5 minutes apart",
        (0, inf),
        0.05,
        headline=_first_lags("clustering"),
    ),
    Fact(
        7,
        "Conditional heavy tails",
        "excess kurtosis of 1-minute returns over their clock minute's deviation",
        (0, inf),
        1.0,
        headline=lambda curves: curves["conditional_kurtosis"][:, 0],
    ),
    Fact(
        8,
        "Slow decay of volatility clustering",
        "exponent of the decay of fact 6 with the lag",
        (0, 1),
        0.5,
        premise=6,
        headline=lambda curves: estimators.power_law_exponent(curves["clustering"]),
    ),
    Fact(
        9,
        "Leverage effect",
        "mean correlation of a return with absolute returns 1 to 5 minutes later",
        (-inf, 0),
        -0.05,
        headline=_first_lags("leverage"),
    ),
    Fact(
        10,
        "Volume and volatility",
        "mean correlation of volume with absolute returns 1 to 5 minutes later",
        (0, inf),
        0.05,
        headline=_first_lags("volume"),
    ),
    Fact(
        11,
        "Asymmetry in timescales",
        "mean over lags 1 to 10 of the coarse/fine correlation less its mirror image",
        (-inf, 0),
        -0.02,
        headline=lambda curves: _mean_of_present(curves["asymmetry"][:, 1:]),
    ),
)


# The curves that the facts are read from. Fact 7 leaves out clock minutes with too few returns.
CURVES = {
    "autocorrelation": s.RETURN_AUTOCORRELATION,
    "kurtosis": s.KURTOSIS,
    "skewness": s.SKEWNESS,
    "clustering": s.VOLATILITY_CLUSTERING,
    "conditional_kurtosis": replace(
        s.CONDITIONAL_KURTOSIS, samples=partial(s.conditional_returns, fewest=FEWEST_RETURNS_PER_CLOCK_MINUTE)
    ),
    "leverage": s.LEVERAGE,
    "volume": s.VOLUME_VOLATILITY,
    "coarse_fine": s.TIMESCALE_ASYMMETRY,
}


def judge(panel: Panel, seed: int = 0) -> Judgement:
    """Judge all facts on one source.

    Args:
        panel: The source; every symbol has a path.
        seed: Seed of the bootstrap.
    """
    bootstrap = Bootstrap.draw(panel.symbol, panel.session, panel.start, seed)
    points = {name: list(statistic.points) for name, statistic in CURVES.items()}
    return conclude(FACTS, _replicates(panel, bootstrap), points, bootstrap)


def _replicates(panel: Panel, bootstrap: Bootstrap) -> Curves:
    """Mean over symbols of each curve and of its replicates."""
    weights = bootstrap.paths
    curves = {
        name: estimators.mean_over_symbols(statistic.curve(panel, weights), bootstrap.symbols[:, None])
        for name, statistic in CURVES.items()
    }
    curves["asymmetry"] = s.asymmetry_difference(curves["coarse_fine"])
    # One count a path: the number of extremes in an hour would depend on how many paths share the hour.
    counts = s.extremes(panel)[0].sum(dim=1, dtype=torch.float64)
    fano = []
    for number in range(len(panel.symbols)):
        rows = panel.symbol == number
        factors = estimators.fano_factor(counts[rows], weights[:, rows])
        fano.append(factors if counts[rows].sum() >= FEWEST_EXTREMES else torch.full_like(factors, torch.nan))
    curves["fano"] = estimators.mean_over_symbols(torch.stack(fano, dim=-1), bootstrap.symbols)[:, None]
    return curves
