"""Rotary angles against their definition; blocks as the compiler sees them."""

import pytest
import torch
from torch.testing import assert_close

from mars_lmm.models.transformer import ROPE_BASE, RotaryAngles, rotate


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
