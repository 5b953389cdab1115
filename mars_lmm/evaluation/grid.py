"""Paths cut into equal steps of time: what the orders of each step come to."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.trajectories import SimulationRun

SECOND = 10**9  # nanoseconds
MINUTE = 60 * SECOND


class Grid:
    """The orders of one source by path and step of time.

    Step 0 is the state at the start; step k covers the orders after time (k - 1) * step up to and including k * step,
    counted from the start. Orders past the last whole step are left out.

    Args:
        run: S starts.
        source: One of its sources, with R paths for each start.
        step: Nanoseconds.

    Attributes:
        shape: S * R paths, and T + 1 steps of time.
        orders: The columns of the orders inside, as `SimulationRun.orders` has them, [N].
        cell: int64[N], path and step of each of them as one number, not falling.
    """

    def __init__(self, run: SimulationRun, source: str, step: int):
        orders, starts = run.orders[source], run.manifest["starts"]
        self._starts = starts
        self.num_rollouts = run.num_rollouts(source)
        self.shape = (len(starts) * self.num_rollouts, run.manifest["horizon_ns"] // step + 1)
        begin = np.array([start["time_ns"] for start in starts])
        # Ceiling division; an order at the very time of the start still belongs to the first step.
        place = np.maximum(-((begin[orders["start"]] - orders["time"]) // step), 1)
        inside = place < self.shape[1]
        # Seldom is any outside, and millions of orders are slow to copy.
        self.orders = orders if inside.all() else {name: column[inside] for name, column in orders.items()}
        self.cell = (run.path(source) * self.shape[1] + place)[inside]
        self._quoted = (self.orders["bid"] > 0) & (self.orders["ask"] > 0)

    def total(self, weights: np.ndarray | None = None, where: np.ndarray | None = None) -> np.ndarray:
        """Sum of the orders' weights [N] in each cell, or their count, of all or of those where bool[N]; [P, T + 1]."""
        cell = self.cell
        if where is not None:
            cell, weights = cell[where], weights if weights is None else weights[where]
        counted = np.bincount(cell, weights, minlength=self.shape[0] * self.shape[1])
        return counted.astype(np.float64).reshape(self.shape)

    def mean(self, values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Mean of the orders' values [N] in each cell, NaN where it has none; [P, T + 1]."""
        return ratio(self.total(values, where), self.total(None, where))

    def last(self, values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """The last of the orders' values [N] in each cell, NaN where it has none; [P, T + 1]."""
        cell = self.cell
        if where is not None:
            cell, values = cell[where], values[where]
        end = np.flatnonzero(np.diff(cell, append=-1))
        found = np.full(self.shape[0] * self.shape[1], np.nan)
        found[cell[end]] = values[end]
        return found.reshape(self.shape)

    def mid_last(self) -> np.ndarray:
        """Mid-price at the end of each step, ticks, [P, T + 1]; as it last was when both sides had orders."""
        mid = self.last((self.orders["bid"] + self.orders["ask"]) / 2, self._quoted)
        mid[:, 0] = self.at_start([mid_price(start["bid"], start["ask"]) for start in self._starts])
        return carry_forward(mid)

    def mid_mean(self) -> np.ndarray:
        """Mean of the mid-prices after each order, ticks, [P, T + 1]; of a step without orders, that at its end."""
        mean = self.mean((self.orders["bid"] + self.orders["ask"]) / 2, self._quoted)
        return np.where(np.isfinite(mean), mean, self.mid_last())

    def spread_mean(self) -> np.ndarray:
        """Mean of the spreads after each order, ticks, [P, T + 1]; of a step without orders, that at its end."""
        spread = self.orders["ask"] - self.orders["bid"]
        last = self.last(spread, self._quoted)
        last[:, 0] = self.at_start([price_or_nan(s["ask"]) - price_or_nan(s["bid"]) for s in self._starts])
        mean = self.mean(spread, self._quoted)
        return np.where(np.isfinite(mean), mean, carry_forward(last))

    def at_start(self, per_start: np.ndarray) -> np.ndarray:
        """A number of each start [S] for each of its paths, float64[P]."""
        return np.repeat(np.array(per_start, dtype=np.float64), self.num_rollouts)


def num_minutes(run: SimulationRun) -> int:
    """Whole minutes of a horizon.

    Raises:
        ValueError: There is none.
    """
    minutes = run.manifest["horizon_ns"] // MINUTE
    if not minutes:
        raise ValueError(
            f"simulation.json: the horizon of {run.manifest['horizon_ns']} ns is shorter than a minute, so "
            "there are no minute bars; simulate a longer horizon"
        )
    return minutes


def price_or_nan(price) -> np.ndarray:
    """Prices as float64; what is not a price (0 before the first trade, -1 on an empty side) as NaN."""
    return np.where(np.asarray(price) > 0, price, np.nan)


def mid_price(bid, ask) -> np.ndarray:
    """Mid-prices, NaN where a side is empty."""
    return (price_or_nan(bid) + price_or_nan(ask)) / 2


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    missing = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=missing, where=denominator > 0)


def carry_forward(values: np.ndarray) -> np.ndarray:
    """Replace each NaN by the value before it in the same path; [P, T + 1]."""
    column = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(column, axis=1), axis=1)
