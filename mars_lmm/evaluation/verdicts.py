"""One number, one interval and one verdict for each stylized fact and source.

A fact is a region of its headline number. The 95 % interval decides: inside the region the fact is present,
outside it is absent, and an interval that straddles the border cannot tell. Intervals come from drawing whole
starts with replacement, since the rollouts of one start are not independent, and are widened for few starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np

from mars_lmm.evaluation import estimators
from mars_lmm.evaluation import facts as f
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION

PRESENT, ABSENT, CANNOT_TELL = "present", "absent", "cannot tell"
REPLICATES = 2000
LEVEL = 0.95
# With fewer, a null effect has the same sign in all starts more often than once in twenty: 2 * 0.5**5 > 0.05.
FEWEST_STARTS = 6
FEWEST_RETURNS_PER_CLOCK_MINUTE = 10  # below, the minute's own deviation is noise that rules the kurtosis
FEWEST_EXTREMES = 20  # their number is fixed by the quantile, so that few of them cannot come in bursts
FIRST_LAGS = slice(0, 5)  # lags 1 to 5

Estimate = tuple[float, float, float]  # headline number and the ends of its interval


@dataclass(frozen=True)
class Fact:
    """How one fact is judged.

    Attributes:
        number: Its number in the list of eleven.
        name: What it says.
        measure: The headline number in words.
        region: The open interval of headline numbers in which the fact is present.
        estimate: From the replicates of all curves and the tail probability of an interval, the headline
            number and its interval.
    """

    number: int
    name: str
    measure: str
    region: tuple[float, float]
    estimate: Callable[[dict[str, np.ndarray], float], Estimate]

    def verdict(self, estimate: Estimate, num_starts: int) -> str:
        """Present, absent or cannot tell."""
        _, low, high = estimate
        if num_starts < FEWEST_STARTS or not (np.isfinite(low) and np.isfinite(high)):
            return CANNOT_TELL
        if self.region[0] < low and high < self.region[1]:
            return PRESENT
        return ABSENT if high <= self.region[0] or low >= self.region[1] else CANNOT_TELL


def tail_probability(num_starts: int) -> float:
    """Share of replicates to leave out at either end of a 95 % interval.

    The expanded percentile interval (Hesterberg, The American Statistician 69(4), 2015): drawing n units from n
    makes an interval too narrow, by the factor sqrt((n - 1) / n) and by the normal quantile in place of
    Student's. The latter comes from its series in 1 / (n - 1) (Abramowitz and Stegun 26.7.5).
    """
    if num_starts < FEWEST_STARTS:
        return (1 - LEVEL) / 2
    z, v = NormalDist().inv_cdf((1 + LEVEL) / 2), num_starts - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return NormalDist().cdf(-t * math.sqrt(num_starts / v))


def interval(replicates: np.ndarray, tail: float) -> Estimate:
    """Percentile interval.

    Args:
        replicates: The number itself, then its bootstrap replicates, float64[1 + B].
        tail: Share of the replicates to leave out at either end.
    """
    drawn = replicates[1:]
    if not np.isfinite(replicates[0]) or np.isfinite(drawn).mean() < LEVEL:
        return replicates[0], np.nan, np.nan
    return replicates[0], *np.nanquantile(drawn, [tail, 1 - tail])


def strongest(curve: np.ndarray, tail: float) -> Estimate:
    """The point farthest from 0 in standard errors, within a band that holds at all points at once.

    The band is as wide as the largest deviation over the points, in standard errors, that a share of 2 * tail
    of the replicates exceeds; so choosing the strongest point does not make it significant.

    Args:
        curve: float64[1 + B, L].
        tail: Half the share of the replicates to leave out.
    """
    curve = curve[:, np.isfinite(curve).all(axis=0)]
    if curve.shape[1] == 0 or (error := curve[1:].std(axis=0)).min() == 0:
        return np.nan, np.nan, np.nan
    width = np.quantile((np.abs(curve[1:] - curve[0]) / error).max(axis=1), 1 - 2 * tail)
    chosen = np.abs(curve[0] / error).argmax()
    value = curve[0, chosen]
    return value, value - width * error[chosen], value + width * error[chosen]


def _slope(curve: np.ndarray) -> np.ndarray:
    """Least-squares slope of a curve against its point number, over the points that have values."""
    valid = np.isfinite(curve[0])
    points = np.arange(curve.shape[1])[valid]
    if len(points) < 3:
        return np.full(len(curve), np.nan)
    points = points - points.mean()
    return curve[:, valid] @ points / (points**2).sum()


def _aggregation(curves: dict[str, np.ndarray], tail: float) -> Estimate:
    """The slope of kurtosis against the length of the return, which means something only from heavy tails."""
    slopes = _slope(curves["kurtosis"])
    heavy = interval(curves["kurtosis"][:, 0], tail)[1] > 0
    return interval(slopes, tail) if heavy else (slopes[0], np.nan, np.nan)


def _decay(curves: dict[str, np.ndarray], tail: float) -> Estimate:
    """The exponent of decay, which means something only where volatility clusters."""
    exponents = estimators.power_law_exponent(curves["clustering"])
    clustered = interval(curves["clustering"][:, FIRST_LAGS].mean(axis=1), tail)[1] > 0
    return interval(exponents, tail) if clustered else (exponents[0], np.nan, np.nan)


def _mean_of_present(curve: np.ndarray) -> np.ndarray:
    return curve[:, np.isfinite(curve[0])].mean(axis=1) if np.isfinite(curve[0]).any() else curve[:, 0]


FACTS = (
    Fact(
        1,
        "No autocorrelation of returns",
        "strongest correlation of returns 2 to 10 minutes apart",
        (-0.1, 0.1),
        lambda c, tail: strongest(c["autocorrelation"][:, 1:], tail),
    ),
    Fact(
        2,
        "Heavy tails",
        "excess kurtosis of 1-minute returns",
        (0, math.inf),
        lambda c, tail: interval(c["kurtosis"][:, 0], tail),
    ),
    Fact(
        3,
        "Gain/loss asymmetry",
        "mean skewness of 1- to 20-minute returns",
        (-math.inf, 0),
        lambda c, tail: interval(_mean_of_present(c["skewness"]), tail),
    ),
    Fact(
        4,
        "Aggregational Gaussianity",
        "slope of excess kurtosis per minute of return length",
        (-math.inf, 0),
        _aggregation,
    ),
    Fact(
        5,
        "Intermittency",
        "Fano factor of extreme returns per path",
        (1, math.inf),
        lambda c, tail: interval(c["fano"][:, 0], tail),
    ),
    Fact(
        6,
        "Volatility clustering",
        "mean correlation of absolute returns 1 to 5 minutes apart",
        (0, math.inf),
        lambda c, tail: interval(c["clustering"][:, FIRST_LAGS].mean(axis=1), tail),
    ),
    Fact(
        7,
        "Conditional heavy tails",
        "excess kurtosis of 1-minute returns over their clock minute's deviation",
        (0, math.inf),
        lambda c, tail: interval(c["conditional_kurtosis"][:, 0], tail),
    ),
    Fact(
        8,
        "Slow decay of volatility clustering",
        "exponent of the decay of fact 6 with the lag",
        (0, 1),
        _decay,
    ),
    Fact(
        9,
        "Leverage effect",
        "mean correlation of a return with absolute returns 1 to 5 minutes later",
        (-math.inf, 0),
        lambda c, tail: interval(c["leverage"][:, FIRST_LAGS].mean(axis=1), tail),
    ),
    Fact(
        10,
        "Volume and volatility",
        "mean correlation of volume with absolute returns 1 to 5 minutes later",
        (0, math.inf),
        lambda c, tail: interval(c["volume"][:, FIRST_LAGS].mean(axis=1), tail),
    ),
    Fact(
        11,
        "Asymmetry in timescales",
        "mean over lags 1 to 10 of the coarse/fine correlation less its mirror image",
        (-math.inf, 0),
        lambda c, tail: interval(_mean_of_present(c["asymmetry"][:, 1:]), tail),
    ),
)


@dataclass(frozen=True)
class Judgement:
    """What `judge` finds for one source.

    Attributes:
        num_paths: Paths of the source.
        num_starts: Starts of the symbol that has the fewest.
        estimates: For each fact, its headline number, interval and verdict.
        curves: For each curve, the mean over symbols and its pointwise 95 % band.
    """

    num_paths: int
    num_starts: int
    estimates: list[dict]
    curves: dict[str, dict]


# The curves that the facts are read from. Fact 7 leaves out clock minutes with too few returns.
CURVES = {
    "autocorrelation": f.RETURN_AUTOCORRELATION,
    "kurtosis": f.KURTOSIS,
    "skewness": f.SKEWNESS,
    "clustering": f.VOLATILITY_CLUSTERING,
    "conditional_kurtosis": replace(
        f.CONDITIONAL_KURTOSIS, samples=partial(f.conditional_returns, fewest=FEWEST_RETURNS_PER_CLOCK_MINUTE)
    ),
    "leverage": f.LEVERAGE,
    "volume": f.VOLUME_VOLATILITY,
    "coarse_fine": f.TIMESCALE_ASYMMETRY,
}


def judge(panel: f.Panel, seed: int = 0) -> Judgement:
    """Judge all facts on one source.

    Args:
        panel: The source.
        seed: Seed of the bootstrap.
    """
    num_starts = min(len(np.unique(panel.start[panel.symbol == s])) for s in range(len(panel.symbols)))
    tail = tail_probability(num_starts)
    curves = _replicates(panel, estimators.bootstrap_weights(panel.start, panel.symbol, REPLICATES, seed))
    estimates = []
    for fact in FACTS:
        estimate = fact.estimate(curves, tail)
        value, low, high = estimate
        estimates.append({"value": value, "low": low, "high": high, "verdict": fact.verdict(estimate, num_starts)})
    bands = {}
    for name, curve in curves.items():
        points = CURVES[name].points if name in CURVES else range(curve.shape[1])
        ends = np.array([interval(column, tail) for column in curve.T])
        bands[name] = {"points": list(points), "value": ends[:, 0], "low": ends[:, 1], "high": ends[:, 2]}
    return Judgement(len(panel.symbol), num_starts, estimates, bands)


def _replicates(panel: f.Panel, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over symbols of each curve and of its replicates, float64[1 + B, L]."""
    curves = {name: estimators.mean_over_symbols(statistic.curve(panel, weights)) for name, statistic in CURVES.items()}
    curves["asymmetry"] = f.asymmetry_difference(curves["coarse_fine"])
    # One count a path: the number of extremes in an hour would depend on how many paths share the hour.
    counts = f.extremes(panel)[0].sum(axis=1)
    rows = [panel.symbol == index for index in range(len(panel.symbols))]
    fano = [
        np.where(counts[r].sum() < FEWEST_EXTREMES, np.nan, estimators.fano_factor(counts[r], weights[:, r]))
        for r in rows
    ]
    curves["fano"] = estimators.mean_over_symbols(np.stack(fano, axis=-1))[:, None]
    return curves


def compare(judgements: dict[str, Judgement]) -> dict:
    """The facts of replay and simulation side by side.

    Returns:
        `facts`: for each fact its number, name, measure, region, what was found for each source, and whether
        the simulation agrees (None where the replay does not show the fact); `shown_by_replay`; `agreed`.
    """
    facts = []
    for index, fact in enumerate(FACTS):
        sources = {source: judgement.estimates[index] for source, judgement in judgements.items()}
        shown = sources[REPLAY]["verdict"] == PRESENT
        facts.append(
            {
                "number": fact.number,
                "name": fact.name,
                "measure": fact.measure,
                "region": fact.region,
                "sources": sources,
                "agrees": sources[SIMULATION]["verdict"] == PRESENT if shown else None,
            }
        )
    return {
        "facts": facts,
        "shown_by_replay": sum(fact["agrees"] is not None for fact in facts),
        "agreed": sum(fact["agrees"] is True for fact in facts),
    }
