"""AdamW with weight decay where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW


@dataclass
class OptimConfig:
    """Hyper-parameters of AdamW (Loshchilov & Hutter 2019)."""

    learning_rate: float = 3e-4
    """Full learning rate, reached after the warm-up."""
    weight_decay: float = 0.1
    """Decoupled weight decay of the matrices; tables and norms have none."""
    beta1: float = 0.9
    """Decay rate of the mean of gradients."""
    beta2: float = 0.95
    """Decay rate of the mean of squared gradients."""

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must not be negative")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices with weight decay, the rest without.

    A row of an embedding table gets a gradient only when it is looked up, but would decay at every step; rare
    orders would be forgotten.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices, others = [], []
    for parameter in model.parameters():
        is_matrix = parameter.ndim == 2 and id(parameter) not in tables
        (matrices if is_matrix else others).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def build_adamw(model: nn.Module, config: OptimConfig, fused: bool) -> AdamW:
    """AdamW over a model's parameters.

    Args:
        model: The model, on its device.
        config: Hyper-parameters.
        fused: Use the fused kernel; otherwise torch chooses between the others.
    """
    return AdamW(
        decay_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=fused or None,
    )
