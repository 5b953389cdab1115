"""A snapshot that a person can read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mars_lmm.market import types as t


@dataclass
class Levels:
    """The best levels of a book.

    Attributes:
        levels: int64[2, DEPTH, 2], [side][level][price, size]; sides are `t.SELL` (asks) and `t.BUY` (bids).
        last_price: Of the last trade, ticks; 0 before the first.
        time: Nanoseconds since midnight.
    """

    levels: np.ndarray
    last_price: int
    time: int

    @property
    def bid(self) -> int:
        """Best bid, ticks; `t.NO_PRICE` if there is none."""
        return int(self.levels[t.BUY, 0, 0])

    @property
    def ask(self) -> int:
        """Best ask, ticks; `t.NO_PRICE` if there is none."""
        return int(self.levels[t.SELL, 0, 0])

    def __str__(self) -> str:
        rows = [f"{'bid size':>10} {'price':>9} {'ask size':>10}"]
        for price, size in self.levels[t.SELL, ::-1]:
            if price != t.NO_PRICE:
                rows.append(f"{'':>10} {price:>9} {size:>10}")
        rows.append(f"{'':>10} {'-' * 9} {'':>10}  last {self.last_price}")
        for price, size in self.levels[t.BUY]:
            if price != t.NO_PRICE:
                rows.append(f"{size:>10} {price:>9}")
        return "\n".join(rows)

    __repr__ = __str__
