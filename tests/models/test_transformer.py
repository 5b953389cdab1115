"""Rotary angles and windowed attention against their definitions."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mars_lmm.models.transformer import ROPE_BASE, RotaryAngles, rotate
from mars_lmm.models.window_attention import BandedAttention


def test_angles_are_position_times_frequency():
    angles = RotaryAngles(16)
    position = torch.tensor([[0, 1, 2, 1023]])
    frequency = torch.tensor([ROPE_BASE ** (-2 * pair / 16) for pair in range(8)], dtype=torch.float64)
    expected = position.unsqueeze(-1) * frequency
    cos, sin = angles(position)
    assert cos.dtype == torch.float32
    assert_close(cos.double(), expected.cos(), atol=2e-6, rtol=0)
    assert_close(sin.double(), expected.sin(), atol=2e-6, rtol=0)


@pytest.mark.parametrize("offset", [1_000, 1_000_003, 2**31 - 100])
def test_only_the_distance_counts_at_any_position(offset):
    angles = RotaryAngles(16)
    q, k = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

    def score(position):
        return rotate(q, *angles(torch.tensor(position + 37))) @ rotate(k, *angles(torch.tensor(position)))

    assert_close(score(offset), score(0), atol=1e-5, rtol=0)


def test_rotation_is_by_the_angle():
    angle = torch.tensor([0.3, 1.1])
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    turned = torch.complex(x[:2], x[2:]) * torch.polar(torch.ones(2), angle)
    assert_close(rotate(x, angle.cos(), angle.sin()), torch.cat((turned.real, turned.imag)))


def dense_attention(q, k, v, window, segment=None):
    """Attention by its definition."""
    score = q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2) / math.sqrt(q.shape[-1])
    age = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])
    unseen = (age < 0) | (age >= window)
    if segment is not None:
        unseen = unseen | (segment[:, None, :, None] != segment[:, None, None, :])
    return F.softmax(score.masked_fill(unseen, -math.inf), -1) @ v.repeat_interleave(q.shape[1] // k.shape[1], 1)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 43])
def test_window_attention_equals_the_dense_definition(length, kv_heads):
    window, heads, channels = 8, 4, 6
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, heads, length, channels, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, length, channels, generator=generator)
    attention = BandedAttention(window, length, q.device)
    assert_close(attention(q, k, v), dense_attention(q, k, v, window), atol=1e-5, rtol=1e-5)
    segment = torch.stack([torch.arange(length) // 5, torch.arange(length) // 13]).to(torch.uint8)
    attention = BandedAttention(window, length, q.device, segment)
    assert_close(attention(q, k, v), dense_attention(q, k, v, window, segment), atol=1e-5, rtol=1e-5)
