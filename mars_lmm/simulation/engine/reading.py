"""How a model's rollouts read: what it knows of each book's history after every order.

`ring`: keys and values of the last orders are kept, and each layer attends to those of its window. Exact for models
trained with a sliding window, as ours are. `window`: the last `window` orders are read anew after every order, from
position 0 and with nothing before them, as released MarS models were trained and serve. Each is an approximation for
the other's models: in a ring, deeper layers look further back, through what earlier orders knew.

Shape letters: B books, T orders, F market features, D width, W window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.ring_cache import RingCache

ORDERS_AT_ONCE = 1 << 16
"""Orders that a window is read anew with in one pass: what lies between the layers takes room."""


class Reader(ABC):
    """What a model knows of B histories.

    Attributes:
        hidden: [B, D], the model's state after each book's last order; written in place.
        fixed_shapes: Whether reading has the same shapes in every step, as a CUDA graph needs.
    """

    hidden: Tensor
    fixed_shapes: bool

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

    @classmethod
    @abstractmethod
    def concatenate(cls, readers: Sequence[Reader]) -> Reader:
        """One reader of the books of several."""

    @abstractmethod
    def read(self, token: Tensor, market: Tensor, accepted: Tensor, replaced: Tensor) -> None:
        """Read one more order of some books.

        Args:
            token: int64 [B].
            market: int16 [B, F].
            accepted: bool [B]; the others stay as they are, and their token and market are those of their last order.
            replaced: bool [B]; the order takes the place of the one before.
        """


class RingReader(Reader):
    """Keeps keys and values."""

    fixed_shapes = True

    def __init__(self, model: OrderModel, cache: RingCache, hidden: Tensor):
        self._model, self._cache, self.hidden = model, cache, hidden

    @classmethod
    def begin(cls, model: OrderModel, token: Tensor, market: Tensor, length: Tensor) -> RingReader:  # noqa: D102
        hidden, cache = model.prefill(token, market, length)
        return cls(model, cache, hidden)

    def select(self, books: Tensor) -> RingReader:  # noqa: D102
        return RingReader(self._model, self._cache.select(books), self.hidden[books])

    @classmethod
    def concatenate(cls, readers: Sequence[RingReader]) -> RingReader:  # noqa: D102
        cache = RingCache.concatenate([reader._cache for reader in readers])
        return cls(readers[0]._model, cache, torch.cat([reader.hidden for reader in readers]))

    def read(self, token: Tensor, market: Tensor, accepted: Tensor, replaced: Tensor) -> None:  # noqa: D102
        # A book without a new order reads its last one once more, at the same place of its ring.
        self._cache.rewind(~accepted | replaced)
        self.hidden.copy_(self._model.step(token, market, self._cache))


class WindowReader(Reader):
    """Keeps the last orders, and reads them all after each.

    Args:
        model: In eval mode.
        token: int64 [B, W], the last orders, padded on the right.
        market: int16 [B, W, F].
        length: int64 [B].
        hidden: [B, D].
    """

    fixed_shapes = False

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

    @classmethod
    def concatenate(cls, readers: Sequence[WindowReader]) -> WindowReader:  # noqa: D102
        parts = zip(*((r._token, r._market, r._length, r.hidden) for r in readers), strict=True)
        return cls(readers[0]._model, *(torch.cat(part) for part in parts))

    def read(self, token: Tensor, market: Tensor, accepted: Tensor, replaced: Tensor) -> None:  # noqa: D102
        moved = accepted.nonzero()[:, 0]
        if not len(moved):
            return
        added = ~replaced[moved]
        full = moved[added & (self._length[moved] == self._token.shape[1])]
        for history in (self._token, self._market):
            history[full] = history[full].roll(-1, dims=1)
        self._length[moved] += added.long()
        self._length.clamp_(max=self._token.shape[1])
        last = self._length[moved] - 1
        self._token[moved, last] = token[moved]
        self._market[moved, last] = market[moved]
        self.hidden[moved] = self._read(moved)

    def _read(self, books: Tensor) -> Tensor:
        some = max(ORDERS_AT_ONCE // self._token.shape[1], 1)
        return torch.cat([self._read_some(part) for part in books.split(some)])

    def _read_some(self, books: Tensor) -> Tensor:
        hidden = self._model(self._token[books], self._market[books])
        return hidden[torch.arange(len(books), device=books.device), self._length[books] - 1]


READERS: dict[str, type[Reader]] = {"ring": RingReader, "window": WindowReader}
