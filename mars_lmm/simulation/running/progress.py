"""A simulation's line while it runs: simulated time, time left, and orders a second."""

from __future__ import annotations

import time

import numpy as np
from tqdm import tqdm

from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.rollout_engine import RolloutEngine
from mars_lmm.tokenizers import observation as o

NANOS_PER_MINUTE = 60 * 10**9
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:,.1f}/{total:,.1f} market min [{elapsed}<{remaining}{postfix}]"


def market_time(engine: RolloutEngine) -> np.ndarray:
    """Nanoseconds of open market until each rollout's last order, from any fixed moment on, int64[B]."""
    clock = engine.batch.market.clock[:, [o.LAST_TIME, o.CLOSED_TIME]].cpu().numpy()
    return clock[:, 0] - clock[:, 1]


class SimulationProgress:
    """One line over all rollouts that this process makes.

    Args:
        num_rollouts: How many those are.
        minutes: Market minutes of each.
        num_processes: How many processes share the work; the line tells of this one.
        shown: Whether there is a line.
    """

    def __init__(self, num_rollouts: int, minutes: float, num_processes: int = 1, shown: bool = True):
        shared = f" (1 of {num_processes} processes)" if num_processes > 1 else ""
        self._bar = tqdm(total=num_rollouts * minutes, desc=f"simulate{shared}", bar_format=_FORMAT, disable=not shown)
        self._minutes, self._orders, self._began = minutes, 0, time.perf_counter()
        self._finished = 0.0  # market minutes of the batches before
        self._begin = np.zeros(0, dtype=np.int64)

    def begin_batch(self, engine: RolloutEngine) -> None:
        """A batch begins."""
        self._finished = self._bar.n
        self._begin = market_time(engine)

    def chunk(self, engine: RolloutEngine, orders: int) -> None:
        """The batch has made some more orders."""
        self._orders += orders
        minutes = np.minimum((market_time(engine) - self._begin) / NANOS_PER_MINUTE, self._minutes)
        # Whatever ended a rollout, it is done.
        minutes[(engine.progress[:, c.END] != c.RUNNING).cpu().numpy()] = self._minutes
        self._bar.set_postfix_str(f"{self._orders / (time.perf_counter() - self._began):,.0f} orders/s", refresh=False)
        self._bar.update(self._finished + minutes.sum() - self._bar.n)

    def close(self) -> None:
        """The line is over."""
        self._bar.close()
