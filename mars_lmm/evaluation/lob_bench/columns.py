"""Columns that several scores share, computed once for each set of sequences."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mars_lmm.evaluation.sequences.sequences import ASK_PRICE, ASK_SIZE, BID_PRICE, BID_SIZE, Sequences


class Columns:
    """Messages of sequences, N in all, with what follows from their books.

    Args:
        sequences: The sequences.
        levels: How many levels of the books count.
    """

    def __init__(self, sequences: Sequences, levels: int):
        self.sequences = sequences
        self.levels = levels
        self.offsets = sequences.offsets
        self.time = sequences.time
        self.type = sequences.type
        self.price = sequences.price
        self.book = sequences.book[:, :levels]

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def sequence(self) -> np.ndarray:
        """The sequence of each message, int64[N]."""
        return self.sequences.sequence

    @cached_property
    def place(self) -> np.ndarray:
        """The place of each message in its sequence, from 0, int64[N]."""
        return np.arange(len(self)) - self.offsets[:-1][self.sequence]

    @cached_property
    def touch(self) -> np.ndarray:
        """The best ask price, ask size, bid price and bid size, int64[4, N]."""
        return np.ascontiguousarray(self.book[:, 0].T)

    @cached_property
    def two_sided(self) -> np.ndarray:
        """Whether both sides of the book hold orders, bool[N]."""
        return (self.touch[ASK_SIZE] > 0) & (self.touch[BID_SIZE] > 0)

    @cached_property
    def mid(self) -> np.ndarray:
        """The middle of the best prices, float64[N]; NaN where a side is empty."""
        return np.where(self.two_sided, (self.touch[ASK_PRICE] + self.touch[BID_PRICE]) / 2, np.nan)

    @cached_property
    def spread(self) -> np.ndarray:
        """Best ask less best bid, float64[N]; NaN where a side is empty."""
        return np.where(self.two_sided, self.touch[ASK_PRICE] - self.touch[BID_PRICE], np.nan)
