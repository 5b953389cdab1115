"""A LLaMA-style decoder in which each layer attends to the last orders of its window.

The blocks are the same in training, prefill and decoding. What differs is only how queries meet keys, so
that is passed in as a function `attend(q, k, v)` for each layer: from `window_attention`, or `RingCache.attend()`.

Shape letters: B books, T orders, D width, H query heads, K key/value heads, C channels of a head.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mars_lmm.models.window_attention import Attend

ROPE_BASE = 10_000.0
NORM_EPS = 1e-6


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


class Attention(nn.Module):
    """Multi-head attention, with grouped queries where kv_heads < heads."""

    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        head_dim = width // heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * head_dim, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Hidden states x [B, T, D] -> [B, T, D]."""
        B, T, D = x.shape
        H, K = self.heads, self.kv_heads
        qk, v = self.qkv(x).view(B, T, H + 2 * K, -1).split((H + K, K), dim=2)
        q, k = rotate(qk, cos, sin).split((H, K), dim=2)
        y = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Hidden states x [B, T, D] -> [B, T, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cos, sin, attend))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """The stack of blocks and the final norm."""

    def __init__(self, width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, dropout: float):
        super().__init__()
        self.angles = RotaryAngles(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, mlp_width, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)

    def forward(self, x: Tensor, position: Tensor, attends: Sequence[Attend]) -> Tensor:
        """Embedded orders x [B, T, D] at int64 positions [T] or [B, T] -> normed hidden states [B, T, D].

        `attends` holds each layer's attention.
        """
        cos, sin = (table.unsqueeze(-2) for table in self.angles(position))  # broadcast over heads
        for block, attend in zip(self.blocks, attends, strict=True):
            x = block(x, cos, sin, attend)
        return self.norm(x)
