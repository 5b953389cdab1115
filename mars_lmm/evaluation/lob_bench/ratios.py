"""How many times as far from the market one model is as another, with an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mars_lmm.evaluation.lob_bench.distances import interval


def ratio_interval(mine: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> tuple[float, float]:
    """The 99 % interval of the ratio of two mean distances over symbols.

    Replicates are divided one by one, so what two models that are drawn alike share (the real starts, and theirs) does
    not widen the interval. They are moved to have the number as their mean first, as for `interval`. Symbols are drawn
    apart: with the others held fixed, each moves the ends by a distance of its own, and these add up as standard errors
    do (Zou and Donner, Statistics in Medicine 27, 2008).

    Args:
        mine: Of each symbol a distance and its replicates, float64[1 + B].
        other: The same of the other model.

    Returns:
        The ends; NaN if a symbol has no replicates, or one in which the other model's distance is not above 0.
    """
    total, other_total = (sum(values[0] for values in side) for side in (mine, other))
    if not other_total > 0:
        return np.nan, np.nan
    value = total / other_total
    ends = []
    for values, other_values in zip(mine, other, strict=True):
        drawn = min(len(values), len(other_values))
        above, below = _moved(values[:drawn]) + total, _moved(other_values[:drawn]) + other_total
        if not (below > 0).all():
            return np.nan, np.nan
        ends.append(interval(above / below))
    low, high = np.array(ends).T
    return float(np.maximum(value - np.linalg.norm(value - low), 0)), float(value + np.linalg.norm(high - value))


def _moved(values: np.ndarray) -> np.ndarray:
    """How far each replicate is from their mean; the number itself, which comes first, counts as 0."""
    return np.append(0, values[1:] - values[1:].mean()) if len(values) > 1 else np.zeros(1)
