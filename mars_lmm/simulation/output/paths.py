"""Mid-prices of rollouts at equal steps of time, from files of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mars_lmm.market import types as t

_COLUMNS = ("start", "rollout", "time", "bid", "ask")


def mid_paths(path: Path, num_rollouts: int, begin: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """The mid-price of each rollout, as it last was when both sides had orders.

    Args:
        path: A trajectories' file, sorted by start, rollout and time. It is read a row group at a time.
        num_rollouts: From each start.
        begin: int64[S], nanoseconds since midnight at which each start's rollouts begin.
        end: int64[S], and when they end.
        steps: Equal steps of time between the two.

    Returns:
        float64[S, num_rollouts, steps + 1], ticks, at the end of each step; NaN before the first known.
    """
    mids = np.full((len(begin) * num_rollouts, steps + 1), np.nan)
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(_COLUMNS))
            start, rollout, time, bid, ask = (table[name].to_numpy().astype(np.int64) for name in _COLUMNS)
            passed, whole = time - begin[start], end[start] - begin[start]
            # The first step at whose end the order has happened.
            step = -(-passed * steps // whole)
            kept = (bid != t.NO_PRICE) & (ask != t.NO_PRICE) & (step >= 0) & (step <= steps)
            place = (start * num_rollouts + rollout)[kept] * (steps + 1) + step[kept]
            last = np.flatnonzero(np.diff(place, append=-1))
            mids.reshape(-1)[place[last]] = (bid[kept] + ask[kept])[last] / 2
    known = np.where(np.isfinite(mids), np.arange(steps + 1), 0)
    latest = np.maximum.accumulate(known, axis=1)
    return np.take_along_axis(mids, latest, axis=1).reshape(len(begin), num_rollouts, steps + 1)
