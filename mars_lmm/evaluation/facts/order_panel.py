"""The orders of one source as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mars_lmm.evaluation.trajectories import SimulationRun

DAY = "datetime64[D]"


@dataclass(frozen=True)
class OrderPanel:
    """N orders on P paths, in the order of paths and times.

    Attributes:
        symbols: Names of the symbols, sorted.
        symbol: Which of them each path belongs to, int64[P].
        session: The day of each path, int64[P].
        start: The start of each path, int64[P].
        begin: When each path begins, nanoseconds since midnight, int64[P].
        end: When it ends, int64[P].
        path: The path of each order, int64[N].
        time: When it came, nanoseconds since midnight, int64[N].
        kind: One of `mars_lmm.market.types`, int64[N].
        side: `SELL` or `BUY`, int64[N].
        price: Ticks, int64[N].
        size: Its size, int64[N].
        filled: How much of it traded at once, int64[N].
        bid: The best bid before the order, not positive where there is none, int64[N].
        ask: The best ask before it, int64[N].
    """

    symbols: list[str]
    symbol: Tensor
    session: Tensor
    start: Tensor
    begin: Tensor
    end: Tensor
    path: Tensor
    time: Tensor
    kind: Tensor
    side: Tensor
    price: Tensor
    size: Tensor
    filled: Tensor
    bid: Tensor
    ask: Tensor

    @classmethod
    def from_run(cls, run: SimulationRun, source: str) -> OrderPanel:
        """The orders of one source of a simulation."""
        starts, orders, path = run.manifest["starts"], run.orders[source], run.path(source)
        rollouts = run.num_rollouts(source)
        symbols, symbol = np.unique([start["symbol"] for start in starts], return_inverse=True)
        session = np.array([start["date"] for start in starts], dtype=DAY).astype(np.int64)
        begin = np.array([start["time_ns"] for start in starts], dtype=np.int64)
        of_starts = {
            "symbol": symbol,
            "session": session,
            "start": np.arange(len(starts)),
            "begin": begin,
            "end": begin + run.manifest["horizon_ns"],
        }
        columns = {name: np.repeat(column, rollouts) for name, column in of_starts.items()}
        columns |= {name: orders[name] for name in ("time", "kind", "side", "price", "size", "filled")} | {"path": path}
        first = np.flatnonzero(np.diff(path, prepend=-1))
        for side in ("bid", "ask"):
            before = np.roll(orders[side], 1)
            before[first] = np.array([start[side] for start in starts])[orders["start"][first]]
            columns[side] = before
        tensors = {name: torch.from_numpy(column.astype(np.int64)) for name, column in columns.items()}
        return cls(symbols.tolist(), **tensors)

    def of_symbol(self, number: int) -> OrderPanel:
        """The orders of one symbol; paths keep their numbers."""
        kept = self.symbol[self.path] == number
        return replace(self, **{name: getattr(self, name)[kept] for name in _ORDER_COLUMNS})


_ORDER_COLUMNS = ("path", "time", "kind", "side", "price", "size", "filled", "bid", "ask")
