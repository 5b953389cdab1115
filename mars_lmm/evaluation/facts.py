"""The eleven stylized facts of returns, as MarS defines them, on minute bars.

r(i) is the log return from bar i to bar i + 1. Bar 0 is not used as a start, statistics pool all paths of one
symbol and one source without centring, and a pair never spans two paths. Formulas: `docs/realism.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import estimators
from mars_lmm.evaluation.plain import dumps

HOUR, DAY, MINUTE = 3600 * 10**9, 86400 * 10**9, 60 * 10**9  # nanoseconds
WINDOW = 5  # minutes of a coarse window, fact 11
KURTOSIS_LIMIT, SKEWNESS_LIMIT = 0.5, 0.05  # returns of this size or more are dropped
EXTREME_QUANTILE = 0.99

_COLUMNS = ("source", "symbol", "rollout", "minute_index", "time_ns", "price_last", "price_mean", "volume")


@dataclass(frozen=True)
class Panel:
    """The bars of one source as matrices: P paths of n bars, NaN where a path has no bar.

    Attributes:
        symbols: Names of the symbols, sorted.
        symbol: Which of them each path belongs to, int64[P].
        start: The start of each path (the path itself where the bars name no starts), int64[P].
        time: Nanoseconds since 1970, int64[P, n].
        price_last: Last trade price, float64[P, n].
        price_mean: Mean trade price, float64[P, n].
        volume: Traded size, float64[P, n].
    """

    symbols: list[str]
    symbol: np.ndarray
    start: np.ndarray
    time: np.ndarray
    price_last: np.ndarray
    price_mean: np.ndarray
    volume: np.ndarray

    @classmethod
    def from_bars(cls, bars: pa.Table) -> Panel:
        """Arrange the bars of one source; `start` is optional among the columns."""
        names = bars["symbol"].to_numpy()
        symbols, symbol = np.unique(names.astype(str), return_inverse=True)
        rollout, minute = bars["rollout"].to_numpy(), bars["minute_index"].to_numpy()
        start = bars["start"].to_numpy() if "start" in bars.column_names else rollout
        _, first, path = np.unique(np.stack([symbol, rollout], axis=1), axis=0, return_index=True, return_inverse=True)

        def matrix(name: str, missing=np.nan) -> np.ndarray:
            values = np.full((len(first), minute.max() + 1), missing)
            values[path.ravel(), minute] = bars[name].to_numpy()
            return values

        return cls(
            symbols=symbols.tolist(),
            symbol=symbol[first],
            start=start[first],
            time=matrix("time_ns", missing=0),
            price_last=matrix("price_last"),
            price_mean=matrix("price_mean"),
            volume=matrix("volume"),
        )


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
    samples: Callable[[Panel, int], tuple[np.ndarray, ...]]
    estimator: Callable[..., np.ndarray]

    def curve(self, panel: Panel, weights: np.ndarray | None = None) -> np.ndarray:
        """The statistic by symbol.

        Args:
            panel: One source.
            weights: How often each path counts, [R, P]; every path once if None (R = 1).

        Returns:
            float64[R, points, symbols]; NaN where the sample is too small.
        """
        weights = np.ones((1, len(panel.symbol))) if weights is None else weights
        values = np.full((len(weights), len(self.points), len(panel.symbols)), np.nan)
        per_point = [self.samples(panel, point) for point in self.points]
        samples = [_stack(arrays) for arrays in zip(*per_point, strict=True)]
        for number in range(len(panel.symbols)):
            rows = panel.symbol == number
            values[:, :, number] = self.estimator(*(x[:, rows] for x in samples), weights[:, rows]).T
        return values


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Samples [P, K] of several points, K differing, as one array [points, P, most K] with NaN for the rest."""
    stacked = np.full((len(arrays), len(arrays[0]), max(x.shape[1] for x in arrays)), np.nan)
    for row, x in zip(stacked, arrays, strict=True):
        row[:, : x.shape[1]] = x
    return stacked


def returns(price: np.ndarray, minutes: int = 1, limit: float = np.inf) -> np.ndarray:
    """Overlapping log returns log(p[i + minutes] / p[i]), i = 1, 2, ...

    Args:
        price: float64[P, n].
        minutes: Length of the return.
        limit: Returns of this absolute size or more become NaN.

    Returns:
        float64[P, max(n - 1 - minutes, 0)].
    """
    values = np.log(price[:, minutes:] / price[:, :-minutes])[:, 1:]
    return np.where(np.abs(values) < limit, values, np.nan) if np.isfinite(limit) else values


def conditional_returns(panel: Panel, minutes: int, fewest: int = 2) -> tuple[np.ndarray]:
    """Returns over the standard deviation of all returns that start in the same clock minute (fact 7).

    The deviation is taken over all symbols, dates and paths of the source; the mean stays in.

    Args:
        panel: One source.
        minutes: Length of the returns.
        fewest: Clock minutes with fewer returns give NaN.
    """
    values = returns(panel.price_last, minutes, KURTOSIS_LIMIT)
    clock = (panel.time[:, 1 : 1 + values.shape[1]] % DAY) // MINUTE
    valid = np.isfinite(values)
    _, cell = np.unique(clock[valid], return_inverse=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.bincount(cell)
        deviation = values[valid] - (np.bincount(cell, values[valid]) / count)[cell]
        scale = np.sqrt(np.bincount(cell, deviation**2) / (count - 1))
        scaled = values[valid] / np.where(count >= fewest, scale, np.nan)[cell]
    values[valid] = np.where(np.isfinite(scaled), scaled, np.nan)
    return (values,)


def extremes(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """One-minute returns beyond their symbol's 0.99 quantile of absolute size (fact 5).

    Returns:
        bool[P, n - 2] whether a return is extreme, and whether it is there at all.
    """
    size = np.abs(returns(panel.price_last))
    valid, extreme = np.isfinite(size), np.zeros(size.shape, dtype=bool)
    for number in range(len(panel.symbols)):
        rows = panel.symbol == number
        if valid[rows].any():
            extreme[rows] = size[rows] > np.quantile(size[rows][valid[rows]], EXTREME_QUANTILE)
    return extreme, valid


def _pair(x: np.ndarray, y: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """x[i] with y[i + lag]."""
    return x[:, : max(x.shape[1] - lag, 0)], y[:, lag:]


def _coarse_and_fine(panel: Panel, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """coarse(i + lag) with fine(i), i >= 1; coarse alone may use the window that starts at bar 0."""
    one_minute = np.log(panel.price_last[:, 1:] / panel.price_last[:, :-1])
    windows = max(one_minute.shape[1] - WINDOW + 1, 0)
    parts = [one_minute[:, shift : shift + windows] for shift in range(WINDOW)]
    fine, coarse = sum(np.abs(part) for part in parts), np.abs(sum(parts))
    i = np.arange(max(1, -lag), min(windows, windows - lag))
    return coarse[:, i + lag], fine[:, i]


def _return_pairs(price: str) -> Callable:
    def samples(panel: Panel, lag: int):
        r = returns(getattr(panel, price))
        return _pair(r, r, lag)

    return samples


def _absolute_pairs(panel: Panel, lag: int):
    size = np.abs(returns(panel.price_last))
    return _pair(size, size, lag)


def _leverage_pairs(panel: Panel, lag: int):
    r = returns(panel.price_last)
    return _pair(r, np.abs(r), lag)


def _volume_pairs(panel: Panel, lag: int):
    return _pair(panel.volume[:, 1:-1], np.abs(returns(panel.price_last)), lag)


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


def asymmetry_difference(curve: np.ndarray) -> np.ndarray:
    """Value at lag less value at -lag, lags 0, 1, ...

    Args:
        curve: Values at lags -L..L along axis 1.
    """
    middle = curve.shape[1] // 2
    return curve[:, middle:] - curve[:, middle::-1]


def panels(bars: pa.Table) -> dict[str, Panel]:
    """The bars of each source, by its name."""
    return {
        source: Panel.from_bars(bars.filter(pc.equal(bars["source"], source)))
        for source in sorted(bars["source"].unique().to_pylist())
    }


def stylized_facts(sources: dict[str, Panel]) -> dict:
    """All facts of all sources.

    Args:
        sources: What `panels` gives.

    Returns:
        For each fact `axis`, `statistic`, `values[source][point][symbol]` and
        `mean_over_symbols[source][point]` (fact 5 has no axis); NaN marks a value that the bars cannot give.
    """
    facts = {}
    for statistic in STATISTICS:
        curves = {source: statistic.curve(panel)[0] for source, panel in sources.items()}
        facts[statistic.key] = _entry(statistic.axis, statistic.name, statistic.points, curves, sources)
        if statistic is TIMESCALE_ASYMMETRY:
            differences = {source: asymmetry_difference(curve[None])[0] for source, curve in curves.items()}
            facts["11_timescale_asymmetry_difference"] = _entry("lag", "diff", range(11), differences, sources)
    facts["5_intermittency_fano"] = _intermittency(sources)
    facts["about_data_distribution"] = _distribution(sources)
    return facts


def _entry(axis, name, points, curves: dict[str, np.ndarray], sources: dict[str, Panel]) -> dict:
    values = {
        source: {
            str(point): {symbol: float(v) for symbol, v in zip(sources[source].symbols, row, strict=True)}
            for point, row in zip(points, curve, strict=True)
        }
        for source, curve in curves.items()
    }
    means = {
        source: {str(point): float(v) for point, v in zip(points, estimators.mean_over_symbols(curve), strict=True)}
        for source, curve in curves.items()
    }
    return {"axis": axis, "statistic": name, "values": values, "mean_over_symbols": means}


def _intermittency(sources: dict[str, Panel]) -> dict:
    values, means = {}, {}
    for source, panel in sources.items():
        extreme, valid = extremes(panel)
        hour = panel.time[:, 1 : 1 + extreme.shape[1]] // HOUR
        values[source] = {}
        for index, symbol in enumerate(panel.symbols):
            rows = panel.symbol == index
            _, cell = np.unique(hour[rows][valid[rows]], return_inverse=True)
            counts = np.bincount(cell, extreme[rows][valid[rows]])
            values[source][symbol] = {
                "mean_extreme_count": counts.mean() if len(counts) else np.nan,
                "var_extreme_count": counts.var(ddof=1) if len(counts) > 1 else np.nan,
                "fano_factor": estimators.fano_factor(counts, np.ones((1, len(counts))))[0],
            }
        factors = [v["fano_factor"] for v in values[source].values()]
        means[source] = float(estimators.mean_over_symbols(np.array(factors)))
    return {"axis": None, "statistic": "fano_factor", "values": values, "mean_over_symbols": means}


def _distribution(sources: dict[str, Panel]) -> dict:
    """Paths by start date and by symbol; a replay and the rollouts that bear its number count once."""
    per_date: dict[str, int] = {}
    per_symbol: dict[str, int] = {}
    panel = max(sources.values(), key=lambda panel: len(panel.symbol))
    for symbol, time in zip(panel.symbol, panel.time[:, 0], strict=True):
        date = str(np.datetime64(int(time), "ns").astype("datetime64[D]"))
        per_date[date] = per_date.get(date, 0) + 1
        per_symbol[panel.symbols[symbol]] = per_symbol.get(panel.symbols[symbol], 0) + 1
    return {"rollouts_per_date": dict(sorted(per_date.items())), "rollouts_per_symbol": per_symbol}


def read_bars(path: Path) -> pa.Table:
    """Read minute bars.

    Raises:
        DataError: The file is missing or unreadable, or lacks a column.
    """
    try:
        bars = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"not a readable parquet file ({error}); give a file of minute bars") from error
    missing = [name for name in _COLUMNS if name not in bars.column_names]
    if missing:
        raise DataError(path, f"lacks the columns {', '.join(missing)}; minute bars have them")
    return bars


def main() -> None:
    """Print the facts of a file of minute bars as one line of JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("bars", type=Path, help="parquet file of minute bars")
    arguments = parser.parse_args()
    print(dumps({"facts": stylized_facts(panels(read_bars(arguments.bars)))}))


if __name__ == "__main__":
    main()
