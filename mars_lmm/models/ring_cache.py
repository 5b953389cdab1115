"""The key/value cache of a sliding-window decoder: a ring of W slots for each layer, written at `position % W`.

W is the layer's own window. RoPE is applied before keys are cached, so the order of the slots does not matter.
Shapes are fixed, writes are in place and positions are tensors: a decode step can be captured as a CUDA graph.

Shape letters: B books, T orders, H query heads, K key/value heads, C channels of a head, W window.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mars_lmm.models.window_attention import Attend


class RingCache:
    """Keys and values of the last orders of B books, each book at its own position.

    Attributes:
        k: For each layer [B, K, W, C], RoPE applied.
        v: For each layer [B, K, W, C].
        position: int64 [B], number of orders already in.
        full: Known to hold a whole window of every book, so that nothing has to be masked: GPUs have faster attention
            without a mask.
    """

    def __init__(self, k: list[Tensor], v: list[Tensor], position: Tensor, full: bool = False):
        self.k, self.v, self.position, self.full = k, v, position, full

    @classmethod
    def empty(
        cls,
        windows: Sequence[int],
        batch: int,
        kv_heads: int,
        head_dim: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "RingCache":
        """A cache without orders, with a ring of `windows[i]` slots for layer i."""
        k, v = (
            [torch.zeros(batch, kv_heads, window, head_dim, device=device, dtype=dtype) for window in windows]
            for _ in range(2)
        )
        return cls(k, v, torch.zeros(batch, dtype=torch.int64, device=device))

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, all of which one decode step reads."""
        return sum(ring.nbytes for ring in (*self.k, *self.v))

    def select(self, books: Tensor) -> "RingCache":
        """Copy into a new cache whose book i is books[i], int64 [N]; a book named twice is forked."""
        k, v = ([ring.index_select(0, books) for ring in rings] for rings in (self.k, self.v))
        return RingCache(k, v, self.position[books], self.full)

    @classmethod
    def concatenate(cls, caches: Sequence["RingCache"]) -> "RingCache":
        """One cache of the books of several."""
        k = [torch.cat(rings) for rings in zip(*(cache.k for cache in caches), strict=True)]
        v = [torch.cat(rings) for rings in zip(*(cache.v for cache in caches), strict=True)]
        return cls(k, v, torch.cat([cache.position for cache in caches]), all(cache.full for cache in caches))

    def rewind(self, mask: Tensor) -> None:
        """Take back the last order of the books where mask [B] is true, so that another can take its place.

        In each ring the order taken back overwrote the one W before it, which its replacement does not attend to
        either. For the same reason only one order can be taken back once a ring is full.
        """
        self.position.sub_(mask.to(torch.int64))

    def store(self, length: Tensor) -> Callable[[int, Tensor, Tensor], None]:
        """Set the positions to length [B], and return a function that stores a layer's whole history.

        That function takes (layer, k[B, K, T, C], v[B, K, T, C]), padded on the right, and keeps the last
        min(length, W) orders of each book.
        """
        self.position.copy_(length)
        self.full = bool((length >= max(self._windows())).all())
        last = self.position[:, None] - 1
        # The newest order whose position is the slot modulo W; negative where the slot is still empty.
        sources = {W: (last - (last - torch.arange(W, device=last.device)) % W).clamp(min=0) for W in self._windows()}

        def store_layer(layer: int, k: Tensor, v: Tensor) -> None:
            index = sources[self.k[layer].shape[2]][:, None, :, None].expand_as(self.k[layer])
            self.k[layer].copy_(k.gather(2, index))
            self.v[layer].copy_(v.gather(2, index))

        return store_layer

    def attend(self) -> list[Attend]:
        """One order's attention, for each layer: write its key and value at the position, then attend to the ring."""
        windows = {W: self._slots(W) for W in self._windows()}
        return [self._attend_layer(k, v, *windows[k.shape[2]]) for k, v in zip(self.k, self.v, strict=True)]

    def _windows(self) -> set[int]:
        return {ring.shape[2] for ring in self.k}

    def _slots(self, window: int) -> tuple[Tensor, Tensor | None]:
        """Of rings of this size: the row of each (book, head) to write, and the bias [B, 1, 1, W] of empty slots."""
        B, K = self.k[0].shape[:2]
        device = self.position.device
        ring = torch.arange(B * K, device=device).view(B, K) * window
        row = (ring + (self.position % window)[:, None]).view(-1)
        if self.full:
            return row, None
        filled = torch.arange(window, device=device) <= self.position[:, None]
        # As numbers, once for all layers: SDPA would turn a boolean mask into these in every layer.
        bias = torch.zeros(B, window, device=device, dtype=self.k[0].dtype).masked_fill_(~filled, -torch.inf)
        return row, bias.view(B, 1, 1, window)

    @staticmethod
    def _attend_layer(keys: Tensor, values: Tensor, row: Tensor, bias: Tensor | None) -> Attend:
        B, K, _, C = keys.shape

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys.view(-1, C).index_copy_(0, row, k.reshape(-1, C))
            values.view(-1, C).index_copy_(0, row, v.reshape(-1, C))
            # Query heads that share a key head become its queries: nothing is repeated for grouped queries.
            y = F.scaled_dot_product_attention(q.reshape(B, K, -1, C), keys, values, attn_mask=bias)
            return y.view(B, -1, 1, C)

        return attend
