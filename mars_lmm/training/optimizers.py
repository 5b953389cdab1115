"""AdamW or Muon, with weight decay where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mars_lmm.models.order_model import OrderModel
from mars_lmm.training.muon import MuonAdamW

OPTIMIZERS = ("adamw", "muon")


@dataclass
class OptimConfig:
    """The optimiser and its hyper-parameters."""

    name: str = "adamw"
    """"adamw" (Loshchilov & Hutter 2019), or "muon": Muon for the matrices of the blocks, AdamW for the rest."""
    learning_rate: float | None = 3e-4
    """Full learning rate, reached after the warm-up; None: by the model's size, `rules.learning_rate`."""
    weight_decay: float = 0.1
    """Decoupled weight decay of the matrices; tables and norms have none."""
    beta1: float = 0.9
    """AdamW's decay rate of the mean of gradients."""
    beta2: float = 0.95
    """AdamW's decay rate of the mean of squared gradients."""
    momentum: float = 0.95
    """Muon's decay rate of the mean of gradients."""
    mirror: bool = False
    """Train on each row as it is or with buys and sells exchanged, as chance has it. Few days lean to one side, and a
    model learns to; over many days it is needless."""

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise ValueError(f"name is {self.name!r}; choose one of {', '.join(OPTIMIZERS)}")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0, or null for one by size")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must not be negative")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")


def decay_groups(model: nn.Module, weight_decay: float, hidden: Sequence[Tensor] = ()) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices with weight decay, the rest without.

    A row of an embedding table gets a gradient only when it is looked up, but would decay at every step; rare
    orders would be forgotten.

    Args:
        model: The model.
        weight_decay: Of the matrices.
        hidden: Parameters to leave out.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    left_out = {id(parameter) for parameter in hidden}
    matrices, others = [], []
    for parameter in model.parameters():
        if id(parameter) not in left_out:
            is_matrix = parameter.ndim == 2 and id(parameter) not in tables
            (matrices if is_matrix else others).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def hidden_matrices(model: OrderModel) -> list[Tensor]:
    """The matrices of the blocks, which Muon is for; tables, heads and norms are not."""
    return [parameter for parameter in model.transformer.blocks.parameters() if parameter.ndim == 2]


def build_optimizer(model: OrderModel, config: OptimConfig, fused: bool) -> Optimizer:
    """The optimiser over a model's parameters.

    Args:
        model: The model, on its device.
        config: Hyper-parameters, with a learning rate.
        fused: Use AdamW's fused kernel; otherwise torch chooses between the others.
    """
    settings = {"lr": config.learning_rate, "betas": (config.beta1, config.beta2), "fused": fused or None}
    if config.name == "adamw":
        return AdamW(decay_groups(model, config.weight_decay), **settings)
    hidden = hidden_matrices(model)
    others = decay_groups(model, config.weight_decay, hidden)
    return MuonAdamW(hidden, others, weight_decay=config.weight_decay, momentum=config.momentum, **settings)
