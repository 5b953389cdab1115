"""Muon for the hidden matrices and AdamW for the rest, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) on some matrices, AdamW on all else.

    Muon's update of a matrix [R, C] is its orthogonalised Nesterov momentum times 0.2 * sqrt(max(R, C)), which has the
    size of AdamW's (Liu et al. 2025, arXiv 2502.16982): both share learning rate and weight decay. A weight that holds
    several matrices one above the other, such as queries, keys and values, counts as one matrix; orthogonalising the
    parts was no better (docs/log.md).

    Args:
        hidden: Muon's parameters [R, C].
        groups: AdamW's parameter groups.
        lr: Learning rate.
        weight_decay: Decoupled weight decay of the hidden matrices; AdamW's groups have their own.
        momentum: Decay rate of Muon's mean of gradients.
        betas: AdamW's decay rates.
        fused: Use AdamW's fused kernel; None lets torch choose.
    """

    def __init__(
        self,
        hidden: list[Tensor],
        groups: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float,
        betas: tuple[float, float],
        fused: bool | None = None,
    ):
        self._muon = Muon(hidden, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw")
        self._adamw = AdamW(groups, lr, betas, fused=fused)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {"lr": lr})
        self._share()

    def _share(self) -> None:
        # Schedulers, checkpoints and gradient scalers see this optimiser alone; the two work on its groups and state.
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update all parameters that have a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss
