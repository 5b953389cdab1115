"""Minute bars of rollouts and of their replay."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mars_lmm.evaluation.grid import MINUTE, Grid, carry_forward, num_minutes, price_or_nan, ratio
from mars_lmm.evaluation.trajectories import SimulationRun


def minute_bars(run: SimulationRun) -> pa.Table:
    """Cut every path into minutes counted from its start.

    Bar 0 is the state at the start; bar k covers the orders after minute k - 1 up to and including minute k.
    `price_last` and `price_mid_last` are the last trade price and mid-price, `price_mean` the mean trade
    price weighted by size, `price_mid` the mean of the mid-prices after each order, all in currency. What a
    minute does not have is carried forward; a price that has never been is NaN. Orders past the last whole
    minute are left out.

    Args:
        run: Simulations and their replay: S starts, R rollouts each, M whole minutes.

    Returns:
        For the replay, and then each simulated source, S * R * (M + 1) rows: `source`, `symbol`, `start`, `rollout`
        (numbered over all starts; a replay bears the number of its start's first rollout), `minute_index` (0..M),
        `time_ns` (since 1970), the four prices, `volume` (traded size).

    Raises:
        ValueError: The horizon is shorter than one minute.
    """
    num_minutes(run)
    return pa.concat_tables(_source_bars(run, source) for source in run.orders)


def _source_bars(run: SimulationRun, source: str) -> pa.Table:
    manifest, grid = run.manifest, Grid(run, source, MINUTE)
    starts, orders, num_rollouts, shape = manifest["starts"], grid.orders, grid.num_rollouts, grid.shape

    volume = grid.total(orders["filled"])
    trade_mean = ratio(grid.total(orders["fill_value"]), volume)
    trade_mean[:, 0] = grid.at_start([price_or_nan(start["last_price"]) for start in starts])

    last = grid.last(price_or_nan(orders["last_price"]))
    last[:, 0] = trade_mean[:, 0]

    start = np.repeat(np.arange(len(starts)), num_rollouts)
    most_rollouts = max(run.num_rollouts(name) for name in run.orders)
    rollout = start * most_rollouts + np.tile(np.arange(num_rollouts), len(starts))
    midnight = np.array([np.datetime64(s["date"], "ns").astype(np.int64) for s in starts])
    minutes = np.arange(shape[1])
    tick_size = np.repeat([s["tick_size"] for s in starts], num_rollouts * shape[1])
    begin = midnight + np.array([start["time_ns"] for start in starts])
    time = begin[start][:, None] + minutes * MINUTE
    symbol = pa.array([s["symbol"] for s in starts]).take(pa.array(np.repeat(start, shape[1])))
    return pa.table(
        {
            "source": pa.repeat(source, shape[0] * shape[1]),
            "symbol": symbol,
            "start": np.repeat(start, shape[1]),
            "rollout": np.repeat(rollout, shape[1]),
            "minute_index": np.tile(minutes, shape[0]),
            "time_ns": time.ravel(),
            "price_last": carry_forward(last).ravel() * tick_size,
            "price_mean": carry_forward(trade_mean).ravel() * tick_size,
            "price_mid": grid.mid_mean().ravel() * tick_size,
            "price_mid_last": grid.mid_last().ravel() * tick_size,
            "volume": volume.ravel(),
        }
    )
