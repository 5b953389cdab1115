"""Intervals by drawing whole units, such as starts, with replacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mars_lmm.evaluation.grid import ratio
from mars_lmm.evaluation.resampling import (
    REPLICATES,
    bootstrap_weights,
    mean_over_symbols,
    percentile_interval,
    tail_probability,
)


class Bootstrap:
    """Replicates of statistics of independent units; the first is the plain statistic.

    Args:
        symbols: The symbol of each of U units; they are drawn within each symbol.
        seed: Seed of the draw.

    Attributes:
        members: For each symbol int64[n], the units that are its.
        weights: float64[1 + B, U], how often each unit counts in each replicate.
    """

    def __init__(self, symbols: Sequence[str], seed: int = 0):
        names, symbol = np.unique(np.asarray(symbols), return_inverse=True)
        self.members = [np.flatnonzero(symbol == number) for number in range(len(names))]
        self.weights = bootstrap_weights(np.arange(len(symbol)), symbol, REPLICATES, seed)
        self._fewest = min(len(member) for member in self.members)
        self._tail = tail_probability(self._fewest)

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Sum over sum of each symbol's units, averaged over the symbols that have one.

        Args:
            numerator: float64[U, ...].
            denominator: float64[U, ...]; a sum of 0 gives no ratio.

        Returns:
            float64[1 + B, ...].
        """
        per_symbol = [
            ratio(
                *(np.tensordot(self.weights[:, member], values[member], axes=1) for values in (numerator, denominator))
            )
            for member in self.members
        ]
        return mean_over_symbols(np.stack(per_symbol, axis=-1))

    def percentile(self, replicates: np.ndarray) -> dict[str, float]:
        """`value`, `low` and `high` of the expanded percentile interval; no ends where a symbol has one unit."""
        if self._fewest < 2:
            return {"value": replicates[0], "low": np.nan, "high": np.nan}
        return dict(zip(("value", "low", "high"), percentile_interval(replicates, self._tail), strict=True))

    def reflected(self, replicates: np.ndarray) -> dict[str, float]:
        """As `percentile`, turned about the value: the basic bootstrap, for a statistic that noise makes smaller.

        Drawing with replacement adds as much noise again as the sample has, so that the replicates lie as far below the
        value as that lies below the truth.
        """
        found = self.percentile(replicates)
        return found | {"low": 2 * found["value"] - found["high"], "high": 2 * found["value"] - found["low"]}
