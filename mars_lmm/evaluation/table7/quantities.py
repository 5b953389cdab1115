"""The ten quantities, for every path and minute."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.grid import MINUTE, SECOND, Grid
from mars_lmm.evaluation.trajectories import SimulationRun
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT

LONGEST_RETURN = 5  # minutes
RETURNS = tuple(f"return_{minutes}" for minutes in range(1, LONGEST_RETURN + 1))
LABELS = {
    "volatility": "volatility (bp)",
    "spread": "spread (ticks)",
    "order_volume": "mean order volume",
    "aggressive_ratio": "aggressive order ratio",
    "buy_ratio": "buy order ratio",
} | {name: f"{minutes}-minute return (bp)" for minutes, name in enumerate(RETURNS, 1)}
_BASIS_POINTS = 1e4


def quantities(run: SimulationRun, source: str) -> dict[str, np.ndarray]:
    """The rows of the table; MarS names them and defines the buy ratio, the other definitions are ours.

    A *submitted* order is any but a cancel. In each minute:

    - volatility: standard deviation of the 60 log returns of the mid-price from second to second, in basis points. At
      equal steps of time, how many orders come does not enter it.
    - spread: mean over the orders of the spread after each, in ticks; a minute without orders has that before it.
    - order volume: mean size of the submitted orders.
    - aggressive ratio: share of the submitted orders that trade on arrival.
    - buy ratio: share of the submitted orders that buy.

    Returns are log returns of the mid-price over 1 to 5 minutes, in basis points, from every minute on: the first
    window begins at the start. A mid-price is carried forward while it does not change or a side is empty.

    Args:
        run: S starts, M whole minutes.
        source: One of its sources, with R paths for each start.

    Returns:
        By name, float64[S, R, M], of a return over k minutes float64[S, R, M - k + 1]; NaN where a minute has none.
        Returns longer than the horizon are left out.
    """
    grid = Grid(run, source, MINUTE)
    orders, volatility = grid.orders, _volatility(run, source)
    submitted = (orders["kind"] != CANCEL) & (orders["kind"] != CANCEL_AT)
    found = {
        "volatility": volatility,
        "spread": grid.spread_mean()[:, 1:],
        "order_volume": grid.mean(orders["size"], submitted)[:, 1:],
        "aggressive_ratio": grid.mean(orders["filled"] > 0, submitted)[:, 1:],
        "buy_ratio": grid.mean(orders["side"] == BUY, submitted)[:, 1:],
    }
    price = np.log(grid.mid_last())
    for minutes, name in enumerate(RETURNS[: price.shape[1] - 1], 1):
        found[name] = _BASIS_POINTS * (price[:, minutes:] - price[:, :-minutes])
    shape = (len(run.manifest["starts"]), grid.num_rollouts)
    return {name: values.reshape(*shape, -1) for name, values in found.items()}


def _volatility(run: SimulationRun, source: str) -> np.ndarray:
    """Float64[P, M]."""
    per_minute = MINUTE // SECOND
    returns = np.diff(np.log(Grid(run, source, SECOND).mid_last()), axis=1)
    minutes = returns.shape[1] // per_minute
    steps = returns[:, : minutes * per_minute].reshape(len(returns), minutes, per_minute)
    return _BASIS_POINTS * steps.std(axis=2)
