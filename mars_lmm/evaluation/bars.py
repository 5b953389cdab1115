"""Minute bars of rollouts and of their replay."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun

MINUTE = 60 * 10**9  # nanoseconds


def minute_bars(run: SimulationRun) -> pa.Table:
    """Cut every path into minutes counted from its start.

    Bar 0 is the state at the start; bar k covers the orders after minute k - 1 up to and including minute k.
    `price_last` and `price_mid_last` are the last trade price and mid-price, `price_mean` the mean trade
    price weighted by size, `price_mid` the mean of the mid-prices after each order, all in currency. What a
    minute does not have is carried forward; a price that has never been is NaN. Orders past the last whole
    minute are left out.

    Args:
        run: The simulation and its replay: S starts, R rollouts each, M whole minutes.

    Returns:
        S * (1 + R) * (M + 1) rows: `source`, `symbol`, `start`, `rollout` (numbered over all starts; a
        replay bears the number of its start's first rollout), `minute_index` (0..M), `time_ns` (since 1970),
        the four prices, `volume` (traded size).

    Raises:
        ValueError: The horizon is shorter than one minute.
    """
    if run.manifest["horizon_ns"] < MINUTE:
        raise ValueError(
            f"simulation.json: the horizon of {run.manifest['horizon_ns']} ns is shorter than a minute, so "
            "there are no minute bars; simulate a longer horizon"
        )
    return pa.concat_tables(_source_bars(run, source) for source in (REPLAY, SIMULATION))


def _source_bars(run: SimulationRun, source: str) -> pa.Table:
    manifest, orders = run.manifest, run.orders[source]
    starts = manifest["starts"]
    num_rollouts = run.num_rollouts(source)
    shape = (len(starts) * num_rollouts, manifest["horizon_ns"] // MINUTE + 1)  # paths, bars

    start_time = np.array([start["time_ns"] for start in starts])
    # Ceiling division; an order at the very time of the start still belongs to the first minute.
    minute = np.maximum(-((start_time[orders["start"]] - orders["time"]) // MINUTE), 1)
    inside = minute < shape[1]
    cell = (run.path(source) * shape[1] + minute)[inside]
    orders = {name: column[inside] for name, column in orders.items()}

    def at_start(per_start) -> np.ndarray:
        return np.repeat(np.array(per_start, dtype=np.float64), num_rollouts)

    volume = _total(cell, orders["filled"], shape)
    trade_mean = _ratio(_total(cell, orders["fill_value"], shape), volume)
    trade_mean[:, 0] = at_start([_price_or_nan(start["last_price"]) for start in starts])

    last = _last(cell, _price_or_nan(orders["last_price"]), shape)
    last[:, 0] = trade_mean[:, 0]

    mid = (_price_or_nan(orders["bid"]) + _price_or_nan(orders["ask"])) / 2
    two_sided = np.isfinite(mid)
    mid_last = _last(cell[two_sided], mid[two_sided], shape)
    mid_last[:, 0] = at_start([(_price_or_nan(start["bid"]) + _price_or_nan(start["ask"])) / 2 for start in starts])
    mid_last = _carry_forward(mid_last)
    num_mids = _total(cell[two_sided], None, shape)
    mid_mean = _ratio(_total(cell[two_sided], mid[two_sided], shape), num_mids)
    mid_mean = np.where(num_mids > 0, mid_mean, mid_last)

    start = np.repeat(np.arange(len(starts)), num_rollouts)
    rollout = start * manifest["rollouts"] + np.tile(np.arange(num_rollouts), len(starts))
    midnight = np.array([np.datetime64(s["date"], "ns").astype(np.int64) for s in starts])
    minutes = np.arange(shape[1])
    tick_size = np.repeat([s["tick_size"] for s in starts], num_rollouts * shape[1])
    time = (midnight + start_time)[start][:, None] + minutes * MINUTE
    symbol = pa.array([s["symbol"] for s in starts]).take(pa.array(np.repeat(start, shape[1])))
    return pa.table(
        {
            "source": pa.repeat(source, shape[0] * shape[1]),
            "symbol": symbol,
            "start": np.repeat(start, shape[1]),
            "rollout": np.repeat(rollout, shape[1]),
            "minute_index": np.tile(minutes, shape[0]),
            "time_ns": time.ravel(),
            "price_last": _carry_forward(last).ravel() * tick_size,
            "price_mean": _carry_forward(trade_mean).ravel() * tick_size,
            "price_mid": mid_mean.ravel() * tick_size,
            "price_mid_last": mid_last.ravel() * tick_size,
            "volume": volume.ravel(),
        }
    )


def _price_or_nan(price) -> np.ndarray:
    """Prices as float64; what is not a price (0 before the first trade, -1 on an empty side) as NaN."""
    return np.where(np.asarray(price) > 0, price, np.nan)


def _total(cell: np.ndarray, weights: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Sum (or count) of the orders' weights in each cell, float64[paths, bars]."""
    return np.bincount(cell, weights, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _last(cell: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The last value in each cell, NaN where it has none; cells must be sorted."""
    end = np.searchsorted(cell, np.arange(shape[0] * shape[1] + 1))
    values = np.full(shape[0] * shape[1], np.nan)
    filled = end[1:] > end[:-1]
    values[filled] = value[end[1:][filled] - 1]
    return values.reshape(shape)


def _carry_forward(values: np.ndarray) -> np.ndarray:
    """Replace each NaN by the value before it in the same path."""
    column = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(column, axis=1), axis=1)
