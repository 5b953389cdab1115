"""Minute bars of one source as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mars_lmm.data.errors import DataError

HOUR, DAY, MINUTE = 3600 * 10**9, 86400 * 10**9, 60 * 10**9  # nanoseconds

_COLUMNS = ("source", "symbol", "rollout", "minute_index", "time_ns", "price_last", "price_mean", "volume")


@dataclass(frozen=True)
class Panel:
    """The bars of one source as matrices: P paths of n bars, NaN where a path has no bar.

    All statistics are computed in float64 on the device of these tensors.

    Attributes:
        symbols: Names of the symbols, sorted.
        symbol: Which of them each path belongs to, int64[P].
        start: The start of each path (the path itself where the bars name no starts), int64[P].
        time: Nanoseconds since 1970, int64[P, n]; 0 where a path has no bar.
        price_last: Last trade price, float64[P, n].
        price_mean: Mean trade price, float64[P, n].
        volume: Traded size, float64[P, n].
    """

    symbols: list[str]
    symbol: Tensor
    start: Tensor
    time: Tensor
    price_last: Tensor
    price_mean: Tensor
    volume: Tensor

    @property
    def session(self) -> Tensor:
        """The day of each path, counted from 1970, int64[P]; symbol and day together name a session."""
        return self.time.amax(dim=1) // DAY

    def to(self, device: torch.device | str) -> Panel:
        """The same panel on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    @classmethod
    def from_bars(cls, bars: pa.Table) -> Panel:
        """Arrange the bars of one source; `start` is optional among the columns."""
        names = bars["symbol"].to_numpy()
        symbols, symbol = np.unique(names.astype(str), return_inverse=True)
        rollout, minute = bars["rollout"].to_numpy(), bars["minute_index"].to_numpy()
        start = bars["start"].to_numpy() if "start" in bars.column_names else rollout
        _, first, path = np.unique(np.stack([symbol, rollout], axis=1), axis=0, return_index=True, return_inverse=True)

        def matrix(name: str, missing: float = np.nan, dtype: type = np.float64) -> Tensor:
            values = np.full((len(first), minute.max() + 1), missing, dtype)
            values[path.ravel(), minute] = bars[name].to_numpy()
            return torch.from_numpy(values)

        return cls(
            symbols=symbols.tolist(),
            symbol=torch.from_numpy(symbol[first].astype(np.int64)),
            start=torch.from_numpy(start[first].astype(np.int64)),
            time=matrix("time_ns", 0, np.int64),
            price_last=matrix("price_last"),
            price_mean=matrix("price_mean"),
            volume=matrix("volume"),
        )


def panels(bars: pa.Table) -> dict[str, Panel]:
    """The bars of each source, by its name."""
    return {
        source: Panel.from_bars(bars.filter(pc.equal(bars["source"], source)))
        for source in sorted(bars["source"].unique().to_pylist())
    }


def read_bars(path: Path) -> pa.Table:
    """Read minute bars.

    Raises:
        DataError: The file is missing or unreadable, or lacks a column.
    """
    try:
        bars = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"not a readable parquet file ({error}); give a file of minute bars") from error
    missing = [name for name in _COLUMNS if name not in bars.column_names]
    if missing:
        raise DataError(path, f"lacks the columns {', '.join(missing)}; minute bars have them")
    return bars
