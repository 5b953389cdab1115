"""The last orders of books while an engine steps, for whoever wants a start in the middle of a rollout."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from mars_lmm.simulation.engine.batch import Batch
from mars_lmm.simulation.starts.start import Start


class Memory:
    """The last orders of B books, as the model reads them.

    Args:
        starts: What the books began with, B of them.
        length: How many orders to keep of each.
    """

    def __init__(self, starts: Sequence[Start], length: int):
        self._orders = [deque(zip(start.token.tolist(), start.market, strict=True), maxlen=length) for start in starts]
        self._types = [(start.token.dtype, start.market.dtype, start.market.shape[1:]) for start in starts]

    def note(self, batch: Batch) -> None:
        """Take up the orders of the engine's last step; to be called after every step."""
        market = batch.market
        for b in batch.rollout.accepted.nonzero()[:, 0].tolist():
            token = int(market.token[b])
            if token < 0:  # the first order of a session says nothing to some codings
                continue
            if market.replaced[b]:
                self._orders[b].pop()
            self._orders[b].append((token, market.market[b].cpu().numpy().copy()))

    def select(self, books: Sequence[int]) -> Memory:
        """Copy into a memory whose book i is books[i]; a book named twice is forked."""
        chosen = Memory((), 0)
        chosen._orders = [self._orders[b].copy() for b in books]
        chosen._types = [self._types[b] for b in books]
        return chosen

    def history(self, b: int) -> tuple[np.ndarray, np.ndarray]:
        """A book's orders int[H] and the market after each int16[H, F], oldest first."""
        token_type, market_type, shape = self._types[b]
        orders = self._orders[b]
        token = np.array([token for token, _ in orders], dtype=token_type)
        market = np.array([market for _, market in orders], dtype=market_type).reshape(len(orders), *shape)
        return token, market
