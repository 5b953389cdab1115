"""Executions that a feed tells twice, once for each order: which belong together, and which order came in."""

from __future__ import annotations

import numpy as np

from mars_lmm.compilation import kept_njit

LOOK_BACK = 256  # executions; more are never open at once


@kept_njit("data")
def pair_executions(
    time: np.ndarray, order_id: np.ndarray, side: np.ndarray, size: np.ndarray, horizon: int
) -> np.ndarray:
    """Find the other half of each execution: of the other side, the same size, and about the same time.

    Args:
        time: int64[F], never falling.
        order_id: int64[F].
        side: int64[F].
        size: int64[F].
        horizon: How far apart in time two halves may be.

    Returns:
        int64[F], the other half's place; -1 where there is none. Of several the nearest counts.
    """
    other = np.full(len(time), -1)
    for i in range(len(time)):
        for j in range(i - 1, max(i - LOOK_BACK, 0) - 1, -1):
            if time[i] - time[j] > horizon:
                break
            if other[j] < 0 and side[j] != side[i] and size[j] == size[i] and order_id[j] != order_id[i]:
                other[i], other[j] = j, i
                break
    return other
