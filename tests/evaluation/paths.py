"""Minute bars with planted properties."""

import numpy as np
import pyarrow as pa

from mars_lmm.evaluation.facts.panel import Panel

DAY, MINUTE = 86400 * 10**9, 60 * 10**9


def bars(returns, volume=None, source="Replay", symbol="A", rollouts_per_start=1):
    """Bars of paths with these one-minute log returns [P, n - 1], each start at 10:00 on a day of its own."""
    paths, minutes = returns.shape[0], returns.shape[1] + 1
    price = 100 * np.exp(np.concatenate([np.zeros((paths, 1)), np.cumsum(returns, axis=1)], axis=1))
    volume = np.ones((paths, minutes)) if volume is None else volume
    path, minute = np.divmod(np.arange(paths * minutes), minutes)
    start = path // rollouts_per_start
    return pa.table(
        {
            "source": pa.repeat(source, len(path)),
            "symbol": pa.repeat(symbol, len(path)),
            "start": start,
            "rollout": path,
            "minute_index": minute,
            "time_ns": start * DAY + 600 * MINUTE + minute * MINUTE,
            "price_last": price.ravel(),
            "price_mean": price.ravel(),
            "volume": volume.astype(np.float64).ravel(),
        }
    )


def gaussian(paths, minutes, seed=0):
    """Independent Gaussian returns."""
    return bars(1e-3 * np.random.default_rng(seed).standard_normal((paths, minutes)))


def garch_returns(paths, minutes, seed=0):
    """GARCH(1, 1) returns with alpha 0.3 and beta 0.6: heavy tails, clustering, no autocorrelation."""
    generator = np.random.default_rng(seed)
    variance = np.full(paths, 1e-6)
    returns = np.empty((paths, minutes))
    for minute in range(minutes):
        returns[:, minute] = np.sqrt(variance) * generator.standard_normal(paths)
        variance = 1e-7 + 0.3 * returns[:, minute] ** 2 + 0.6 * variance
    return returns


def panel(table):
    """The panel of a table of one source."""
    return Panel.from_bars(table)
