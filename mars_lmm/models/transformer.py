"""A LLaMA-style decoder in which every layer attends to the last `window` orders.

The blocks are the same in training, prefill and decoding. What differs is only how queries meet keys, so
that is passed in as a function `attend(layer, q, k, v)`: `WindowAttention` here, or `RingCache.attend()`.

Shape letters: B books, T orders, D width, H query heads, K key/value heads, C channels of a head, W window.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROPE_BASE = 10_000.0
NORM_EPS = 1e-6

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q[B, H, T, C], k[B, K, T, C], v[B, K, T, C]) -> [B, H, T, C]."""


class RotaryAngles(nn.Module):
    """The rotation of each pair of channels at a position (RoPE, Su et al. 2021).

    A session can have millions of orders, where `position * frequency` in float32 is off by hundredths of a
    radian. So frequencies are integers, in 2**-32 turns per order: whole turns drop out of the product
    exactly, and an angle is as good at any position as at the first. An integer buffer also survives
    `model.bfloat16()`.
    """

    def __init__(self, head_dim: int):
        super().__init__()
        turns = [ROPE_BASE ** (-channel / head_dim) / (2 * math.pi) for channel in range(0, head_dim, 2)]
        frequency = torch.tensor([round(turn * 2**32) for turn in turns])
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, float32 [..., C/2], of int64 positions [...] below 2**31."""
        turn = position.unsqueeze(-1) * self.frequency % 2**32
        angle = turn.float() * (2 * math.pi / 2**32)
        return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channel pairs (c, c + C/2) of x [..., C]; the pairing of the published LLaMA weights."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).type_as(x)


class WindowAttention:
    """Causal attention within a whole history: order t attends to orders t-W+1..t, of its own segment.

    Args:
        window: W.
        length: T.
        device: Where the history is.
        segment: int [B, T], one number for the orders of a book that attend to each other; None: all do.
    """

    def __init__(self, window: int, length: int, device: torch.device, segment: Tensor | None = None):
        # A block of W queries sees the W keys before it and its own: cost and memory grow with T * W instead of T * T.
        # One band serves all blocks and layers.
        self.blocks: list[tuple[slice, slice, Tensor | None]] = []
        band = None
        if length > window:
            band = torch.ones(window, 2 * window, dtype=torch.bool, device=device).triu(1).tril(window)
        for start in range(0, length, window):
            stop = min(start + window, length)
            queries, keys = slice(start, stop), slice(max(start - window, 0), stop)
            # The first block sees no keys but its own; that needs no mask, and has faster kernels.
            mask = None if start == 0 else band[: stop - start, : stop - start + window]
            if segment is not None:
                if mask is None:
                    mask = torch.ones(stop, stop, dtype=torch.bool, device=device).tril()
                mask = (segment[:, None, queries, None] == segment[:, None, None, keys]) & mask
            self.blocks.append((queries, keys, mask))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend; every layer does the same."""
        gqa = q.shape[1] != k.shape[1]
        attended = [
            F.scaled_dot_product_attention(
                q[:, :, queries], k[:, :, keys], v[:, :, keys], mask, is_causal=mask is None, enable_gqa=gqa
            )
            for queries, keys, mask in self.blocks
        ]
        return attended[0] if len(attended) == 1 else torch.cat(attended, dim=2)


class Attention(nn.Module):
    """Multi-head attention, with grouped queries where kv_heads < heads."""

    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        head_dim = width // heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * head_dim, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, layer: int) -> Tensor:
        """Hidden states x [B, T, D] -> [B, T, D]."""
        B, T, D = x.shape
        H, K = self.heads, self.kv_heads
        qk, v = self.qkv(x).view(B, T, H + 2 * K, -1).split((H + K, K), dim=2)
        q, k = rotate(qk, cos, sin).split((H, K), dim=2)
        y = attend(layer, q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(y.transpose(1, 2).reshape(B, T, D))


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer 2020)."""

    def __init__(self, width: int, mlp_width: int):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * mlp_width, bias=False)
        self.down = nn.Linear(mlp_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states x [..., D] -> [..., D]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """One pre-norm layer: attention, then the MLP, each added to the residual stream."""

    def __init__(self, width: int, heads: int, kv_heads: int, mlp_width: int, dropout: float):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.attention = Attention(width, heads, kv_heads)
        self.mlp_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.mlp = SwiGLU(width, mlp_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, layer: int) -> Tensor:
        """Hidden states x [B, T, D] -> [B, T, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cos, sin, attend, layer))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """The stack of blocks and the final norm."""

    def __init__(self, width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, dropout: float):
        super().__init__()
        self.angles = RotaryAngles(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, mlp_width, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)

    def forward(self, x: Tensor, position: Tensor, attend: Attend) -> Tensor:
        """Embedded orders x [B, T, D] at int64 positions [T] or [B, T] -> normed hidden states [B, T, D]."""
        cos, sin = (table.unsqueeze(-2) for table in self.angles(position))  # broadcast over heads
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, attend, layer)
        return self.norm(x)
