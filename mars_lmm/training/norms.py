"""Norms over all parameters or gradients, also of tensors that ranks share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_, get_total_norm


def clip_norm(parameters: Iterable[Tensor], largest: float) -> Tensor:
    """Scale the gradients down to a norm of at most `largest`; returns the norm before, on the device."""
    return _whole(clip_grad_norm_(parameters, largest))


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite; waits for the device."""
    return bool(torch.isfinite(_whole(get_total_norm(tensors))))


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
