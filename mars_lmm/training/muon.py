"""Muon for the hidden matrices and AdamW for the rest, as one optimiser.

Shape letters: N matrices, R rows, C columns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
EPS = 1e-7
ADAMW_RMS = 0.2
"""Root mean square of an entry of AdamW's update, as a rule; Muon's is brought there."""


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of each matrix near 1 (0.7 to 1.2), and leave its singular vectors.

    Five steps of the quintic Newton-Schulz iteration with Jordan's coefficients (Jordan et al. 2024), in bfloat16,
    for matrices of any scale.

    Args:
        matrices: [N, R, C].

    Returns:
        bfloat16 [N, R, C].
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPS)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) on some matrices, AdamW on all else.

    The update of a matrix [R, C] is its orthogonalised Nesterov momentum times 0.2 * sqrt(max(R, C)), which has the
    size of AdamW's (Liu et al. 2025, arXiv 2502.16982): both share learning rate and weight decay. A weight that
    holds several matrices one above the other is taken apart first: orthogonal is what each of them should become.
    Parts of one shape are orthogonalised together, in one batch of small products.

    Args:
        hidden: Muon's parameters [R, C], each with the rows of its parts.
        groups: AdamW's parameter groups.
        lr: Learning rate.
        weight_decay: Decoupled weight decay of the hidden matrices; AdamW's groups have their own.
        momentum: Decay rate of Muon's mean of gradients.
        betas: AdamW's decay rates.
        fused: Use AdamW's fused kernel; None lets torch choose.
    """

    def __init__(
        self,
        hidden: list[tuple[Tensor, tuple[int, ...]]],
        groups: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float,
        betas: tuple[float, float],
        fused: bool | None = None,
    ):
        self._rows = {parameter: rows for parameter, rows in hidden}
        self._adamw = AdamW(groups, lr=lr, betas=betas, fused=fused)
        muon = {"params": [*self._rows], "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([muon, *self._adamw.param_groups], {"lr": lr})
        self._share()

    def _share(self) -> None:
        # Schedulers, checkpoints and gradient scalers see this optimiser alone; AdamW works on its groups and state.
        self._adamw.param_groups = self.param_groups[1:]
        self._adamw.state = self.state

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
        self._muon_step(self.param_groups[0])
        self._adamw.step()
        return loss

    def _muon_step(self, group: dict[str, Any]) -> None:
        parts: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            mean = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            update = parameter.grad.lerp(mean, group["momentum"])
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            rows = self._rows[parameter]
            for part, direction in zip(parameter.split(rows), update.split(rows), strict=True):
                parts[part.shape].append((part, direction))
        for shape, pairs in parts.items():
            scale = ADAMW_RMS * math.sqrt(max(shape))
            updates = orthogonalize(torch.stack([direction for _, direction in pairs]))
            for (part, _), update in zip(pairs, updates.unbind(), strict=True):
                part.add_(update, alpha=-group["lr"] * scale)
