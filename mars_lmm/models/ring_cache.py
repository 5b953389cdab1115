"""The key/value cache of a sliding-window decoder: a ring of W slots a layer, written at `position % W`.

RoPE is applied before keys are cached, so the order of the slots does not matter. Shapes are fixed, writes
are in place and positions are tensors: a decode step can be captured as a CUDA graph.

Shape letters: L layers, B books, T orders, H query heads, K key/value heads, C channels of a head, W window.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mars_lmm.models.transformer import Attend


class RingCache:
    """Keys and values of the last W orders of B books, each at its own position.

    Attributes:
        k: [L, B, K, W, C], RoPE applied.
        v: [L, B, K, W, C].
        position: int64 [B], number of orders already in.
    """

    def __init__(self, k: Tensor, v: Tensor, position: Tensor):
        self.k, self.v, self.position = k, v, position

    @classmethod
    def empty(
        cls,
        layers: int,
        batch: int,
        kv_heads: int,
        window: int,
        head_dim: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "RingCache":
        """A cache without orders."""
        k = torch.zeros(layers, batch, kv_heads, window, head_dim, device=device, dtype=dtype)
        return cls(k, torch.zeros_like(k), torch.zeros(batch, dtype=torch.int64, device=device))

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, all of which one decode step reads."""
        return self.k.nbytes + self.v.nbytes

    def select(self, books: Tensor) -> "RingCache":
        """Copy into a new cache whose book i is books[i], int64 [N]; a book named twice is forked."""
        return RingCache(self.k.index_select(1, books), self.v.index_select(1, books), self.position[books])

    def rewind(self, mask: Tensor) -> None:
        """Take back the last order of the books where mask [B] is true, so that another can take its place.

        The order taken back overwrote the one W before it, which its replacement does not attend to either.
        For the same reason only one order can be taken back once the ring is full.
        """
        self.position.sub_(mask.to(torch.int64))

    def store(self, length: Tensor) -> Callable[[int, Tensor, Tensor], None]:
        """Set the positions to length [B], and return a function that stores a layer's whole history.

        That function takes (layer, k[B, K, T, C], v[B, K, T, C]), padded on the right, and keeps the last
        min(length, W) orders of each book.
        """
        _, B, K, W, C = self.k.shape
        self.position.copy_(length)
        last = self.position[:, None] - 1
        # The newest order whose position is the slot modulo W; negative where the slot is still empty.
        source = last - (last - torch.arange(W, device=last.device)) % W
        index = source.clamp(min=0)[:, None, :, None].expand(B, K, W, C)

        def store_layer(layer: int, k: Tensor, v: Tensor) -> None:
            self.k[layer].copy_(k.gather(2, index))
            self.v[layer].copy_(v.gather(2, index))

        return store_layer

    def attend(self) -> Attend:
        """One order's attention: write its key and value at the position, then attend to the valid slots."""
        _, B, K, W, C = self.k.shape
        device = self.position.device
        ring = torch.arange(B * K, device=device).view(B, K) * W
        row = (ring + (self.position % W)[:, None]).view(-1)
        filled = torch.arange(W, device=device) <= self.position[:, None]
        # As numbers, once for all layers: SDPA would turn a boolean mask into these in every layer.
        bias = torch.zeros(B, W, device=device, dtype=self.k.dtype).masked_fill_(~filled, -torch.inf).view(B, 1, 1, W)

        def attend_layer(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.k[layer].view(-1, C).index_copy_(0, row, k.reshape(-1, C))
            self.v[layer].view(-1, C).index_copy_(0, row, v.reshape(-1, C))
            # Query heads that share a key head become its queries: nothing is repeated for grouped queries.
            y = F.scaled_dot_product_attention(q.reshape(B, K, -1, C), self.k[layer], self.v[layer], attn_mask=bias)
            return y.view(B, -1, 1, C)

        return attend_layer
