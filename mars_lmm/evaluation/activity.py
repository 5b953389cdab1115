"""What the orders look like, beside their prices: distributions, rates, and the fan of mid-prices."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.evaluation.facts.panel import Panel
from mars_lmm.evaluation.facts.statistics import returns
from mars_lmm.evaluation.grid import MINUTE
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT
from mars_lmm.simulation.output.fan import BAND_QUANTILES, start_label

SOURCES = (REPLAY, SIMULATION)
_MOST_SPREAD_BINS = 20
_SIZE_EDGES = np.unique(np.round(10 ** np.arange(0, 5.01, 0.25)))  # 1 to 100,000, four bins a decade
_WAIT_EDGES = 10 ** np.arange(-6, 2.01, 1 / 3)  # 1 microsecond to 100 seconds, three bins a decade


def activity(run: SimulationRun) -> dict:
    """Distributions of spread, order size, waiting time and order type, and rates per minute.

    Returns:
        For `spread`, `size`, `wait` (seconds): `edges` of the bins, each source's `shares`, and their
        `overlap` (1 less the total variation distance). For `type`: `labels` in place of edges. `rates`: for
        each source, orders, trades and traded size per minute of a path, and the mean spread in currency.
    """
    spread = {source: _spread(run.orders[source]) for source in SOURCES}
    most = int(np.quantile(np.concatenate(list(spread.values())), 0.99))
    spread_edges = np.arange(0.5, min(max(most, 3), _MOST_SPREAD_BINS) + 1)
    wait = {source: _wait(run, source) for source in SOURCES}
    size = {source: run.orders[source]["size"] for source in SOURCES}
    types = {source: _type(run.orders[source]) for source in SOURCES}
    tick_size = run.manifest["tick_size"]
    return {
        "spread": _histogram(spread, spread_edges) | {"edges": spread_edges * tick_size},
        "size": _histogram(size, _SIZE_EDGES),
        "wait": _histogram(wait, _WAIT_EDGES),
        "type": _compared({source: np.bincount(types[source], minlength=len(TYPES)) for source in SOURCES})
        | {"labels": TYPES},
        "rates": {source: _rates(run, source, spread[source]) for source in SOURCES},
    }


TYPES = ("buy, rests", "sell, rests", "buy, trades", "sell, trades", "cancel buy", "cancel sell")


def _type(orders: dict[str, np.ndarray]) -> np.ndarray:
    """Index into TYPES of each order."""
    cancel = (orders["kind"] == CANCEL) | (orders["kind"] == CANCEL_AT)
    group = np.where(cancel, 2, (orders["filled"] > 0).astype(np.int64))
    return 2 * group + (orders["side"] != BUY)


def _spread(orders: dict[str, np.ndarray]) -> np.ndarray:
    """Ticks between the best prices after each order, where both sides have one."""
    two_sided = (orders["bid"] > 0) & (orders["ask"] > 0)
    return (orders["ask"] - orders["bid"])[two_sided]


def _wait(run: SimulationRun, source: str) -> np.ndarray:
    """Seconds since the order before, or since the start."""
    orders = run.orders[source]
    start_time = np.array([start["time_ns"] for start in run.manifest["starts"]])
    before = np.roll(orders["time"], 1)
    path = run.path(source)
    first = np.flatnonzero(np.diff(path, prepend=-1))
    before[first] = start_time[orders["start"][first]]
    return (orders["time"] - before) / 1e9


def _rates(run: SimulationRun, source: str, spread: np.ndarray) -> dict:
    orders, manifest = run.orders[source], run.manifest
    minutes = len(manifest["starts"]) * run.num_rollouts(source) * manifest["horizon_ns"] / MINUTE
    return {
        "orders_per_minute": len(orders["time"]) / minutes,
        "trading_orders_per_minute": np.count_nonzero(orders["filled"]) / minutes,
        "volume_per_minute": orders["filled"].sum() / minutes,
        "mean_spread": (spread.mean() if len(spread) else np.nan) * manifest["tick_size"],
    }


def _histogram(samples: dict[str, np.ndarray], edges: np.ndarray) -> dict:
    """Values beyond the edges count in the outer bins."""
    last = len(edges) - 2
    bins = {
        source: np.clip(np.searchsorted(edges, values, side="right") - 1, 0, last) for source, values in samples.items()
    }
    counts = {source: np.bincount(index, minlength=last + 1) for source, index in bins.items()}
    return _compared(counts) | {"edges": edges}


def _compared(counts: dict[str, np.ndarray]) -> dict:
    shares = {source: count / max(count.sum(), 1) for source, count in counts.items()}
    return {"shares": shares, "overlap": np.minimum(shares[REPLAY], shares[SIMULATION]).sum()}


def tails(panels: dict[str, Panel]) -> dict:
    """How often one-minute returns exceed a multiple of their symbol's deviation.

    Returns:
        `multiples` [K], for each source the `shares` [K] beyond each, and the Gaussian's under `gaussian`.
    """
    multiples = np.arange(0, 8.01, 0.25)
    shares = {}
    for source, panel in panels.items():
        r = returns(panel.price_last).numpy(force=True)
        for index in range(len(panel.symbols)):
            rows = panel.symbol.numpy(force=True) == index
            known = r[rows][np.isfinite(r[rows])]
            deviation = known.std() if len(known) else 0.0
            r[rows] = r[rows] / deviation if deviation > 0 else np.nan
        sizes = np.abs(r[np.isfinite(r)])
        shares[source] = (sizes[:, None] > multiples).mean(axis=0) if len(sizes) else np.full(len(multiples), np.nan)
    gaussian = [math.erfc(multiple / math.sqrt(2)) for multiple in multiples]
    return {"multiples": multiples, "shares": shares, "gaussian": gaussian}


def fan(run: SimulationRun, bars: pa.Table, most_starts: int = 6, most_paths: int = 5) -> dict:
    """The mid-price of the rollouts of each start, as quantiles, against the replay's.

    Args:
        run: The simulation.
        bars: Its minute bars.
        most_starts: How many starts to draw, evenly spread over all of them.
        most_paths: How many rollouts to draw for each.

    Returns:
        `starts`: for each drawn start its label, the `replay` mid-price [M + 1], `quantiles` [5, M + 1] and
        some `paths`.
    """
    num_starts, num_rollouts = len(run.manifest["starts"]), run.manifest["rollouts"]
    mid = {source: bars.filter(pc.equal(bars["source"], source))["price_mid_last"].to_numpy() for source in SOURCES}
    replay = mid[REPLAY].reshape(num_starts, -1)
    rollouts = mid[SIMULATION].reshape(num_starts, num_rollouts, -1)
    quantiles = np.quantile(rollouts, BAND_QUANTILES, axis=1)  # [5, S, M + 1]
    drawn = np.unique(np.linspace(0, num_starts - 1, min(num_starts, most_starts)).round().astype(int))
    return {
        "starts": [
            {
                "label": start_label(run.manifest["starts"][start]),
                "replay": replay[start],
                "quantiles": quantiles[:, start],
                "paths": rollouts[start, :most_paths],
            }
            for start in drawn
        ],
    }
