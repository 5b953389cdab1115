"""How a model's rollouts read: what it knows of each book's history after every order.

`ring`: keys and values of the last orders are kept, and each layer attends to those of its window. Exact for models
trained with a sliding window, as ours are. `window`: the last `window` orders are read anew after every order, from
position 0 and with nothing before them, as released MarS models were trained and serve. Each is an approximation for
the other's models: in a ring, deeper layers look further back, through what earlier orders knew.

Shape letters: B books, T orders, F market features, D width, W window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.ring_cache import RingCache


class Reader(ABC):
    """What a model knows of B histories.

    Attributes:
        hidden: [B, D], the model's state after each book's last order.
    """

    hidden: Tensor

    @classmethod
    @abstractmethod
    def begin(cls, model: OrderModel, token: Tensor, market: Tensor, length: Tensor) -> Reader:
        """Read whole histories.

        Args:
            model: In eval mode.
            token: int64 [B, T], padded on the right by any valid token.
            market: int16 [B, T, F].
            length: int64 [B], orders of each.
        """

    @abstractmethod
    def select(self, books: Tensor) -> Reader:
        """Copy into a new reader whose book i is books[i], int64 [N]; a book named twice is forked."""

    @abstractmethod
    def read(self, token: np.ndarray, market: np.ndarray, accepted: np.ndarray, replaced: np.ndarray) -> None:
        """Read one more order of some books.

        Args:
            token: int64 [B].
            market: int16 [B, F].
            accepted: bool [B]; the others stay as they are, and their token and market are those of their last order.
            replaced: bool [B]; the order takes the place of the one before.
        """


class RingReader(Reader):
    """Keeps keys and values."""

    def __init__(self, model: OrderModel, cache: RingCache, hidden: Tensor):
        self._model, self._cache, self.hidden = model, cache, hidden

    @classmethod
    def begin(cls, model: OrderModel, token: Tensor, market: Tensor, length: Tensor) -> RingReader:  # noqa: D102
        hidden, cache = model.prefill(token, market, length)
        return cls(model, cache, hidden)

    def select(self, books: Tensor) -> RingReader:  # noqa: D102
        return RingReader(self._model, self._cache.select(books), self.hidden[books])

    def read(self, token: np.ndarray, market: np.ndarray, accepted: np.ndarray, replaced: np.ndarray) -> None:  # noqa: D102
        device = self.hidden.device
        # A book without a new order reads its last one once more, at the same place of its ring.
        self._cache.rewind(torch.from_numpy(~accepted | replaced).to(device))
        self.hidden = self._model.step(
            torch.from_numpy(token).to(device), torch.from_numpy(market).to(device), self._cache
        )


class WindowReader(Reader):
    """Keeps the last orders, and reads them all after each.

    Args:
        model: In eval mode.
        token: int64 [B, W], the last orders, padded on the right.
        market: int16 [B, W, F].
        length: int64 [B].
        hidden: [B, D].
    """

    def __init__(self, model: OrderModel, token: Tensor, market: Tensor, length: Tensor, hidden: Tensor):
        self._model, self.hidden = model, hidden
        self._token, self._market, self._length = token, market, length

    @classmethod
    def begin(cls, model: OrderModel, token: Tensor, market: Tensor, length: Tensor) -> WindowReader:  # noqa: D102
        window = model.config.window
        first = (length - window).clamp(min=0)
        place = (first[:, None] + torch.arange(window, device=length.device)).clamp(max=token.shape[1] - 1)
        book = torch.arange(len(token), device=length.device)
        token, market = token[book[:, None], place], market[book[:, None], place]
        reader = cls(model, token, market, length.clamp(max=window), torch.empty(0))
        reader.hidden = reader._read(book)
        return reader

    def select(self, books: Tensor) -> WindowReader:  # noqa: D102
        return WindowReader(
            self._model, self._token[books], self._market[books], self._length[books], self.hidden[books]
        )

    def read(self, token: np.ndarray, market: np.ndarray, accepted: np.ndarray, replaced: np.ndarray) -> None:  # noqa: D102
        if not accepted.any():
            return
        device = self.hidden.device
        moved = torch.from_numpy(np.flatnonzero(accepted)).to(device)
        added = torch.from_numpy(~replaced[accepted]).to(device)
        full = moved[added & (self._length[moved] == self._token.shape[1])]
        for history in (self._token, self._market):
            history[full] = history[full].roll(-1, dims=1)
        self._length[moved] += added.long()
        self._length.clamp_(max=self._token.shape[1])
        last = self._length[moved] - 1
        self._token[moved, last] = torch.from_numpy(token[accepted]).to(device)
        self._market[moved, last] = torch.from_numpy(market[accepted]).to(device)
        self.hidden[moved] = self._read(moved)

    def _read(self, books: Tensor) -> Tensor:
        hidden = self._model(self._token[books], self._market[books])
        return hidden[torch.arange(len(books), device=books.device), self._length[books] - 1]


READERS: dict[str, type[Reader]] = {"ring": RingReader, "window": WindowReader}
