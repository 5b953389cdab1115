"""The eleven facts as a metric that accumulates over batches and ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mars_lmm.evaluation.facts.eleven import judge
from mars_lmm.evaluation.facts.panel import Panel


class StylizedFacts(Metric):
    """Judges the paths of one source, however they are spread over batches and ranks.

    All paths are kept, in float64 whatever the module around is cast to. A rank that has no paths has to update with
    none, tensors of zero rows, before anything is computed.
    """

    is_differentiable = False
    full_state_update = False
    values: list[Tensor]
    labels: list[Tensor]

    def __init__(self, seed: int = 0, **kwargs: Any):
        """Start empty.

        Args:
            seed: Seed of the bootstrap.
            kwargs: Those of `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.seed = seed
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, price: Tensor, volume: Tensor, time: Tensor, symbol: Tensor, start: Tensor) -> None:
        """Add P paths of n one-minute bars, n the same in all batches.

        Args:
            price: Last trade price, [P, n]; NaN where a path has no bar.
            volume: Traded size, [P, n].
            time: Nanoseconds since 1970, int64[P, n]; 0 where a path has no bar.
            symbol: The symbol of each path, any integer, int64[P].
            start: Its start, the same number on all ranks, int64[P].

        Raises:
            ValueError: The shapes do not fit each other or the batches before.
        """
        n = self.values[0].shape[2] if self.values else price.shape[-1]
        paths = len(symbol)
        if not price.shape == volume.shape == time.shape == (paths, n) or start.shape != symbol.shape:
            raise ValueError(
                f"price {tuple(price.shape)}, volume {tuple(volume.shape)} and time {tuple(time.shape)} have to be "
                f"[{paths}, {n}], symbol {tuple(symbol.shape)} and start {tuple(start.shape)} [{paths}]; fill short "
                "paths with NaN"
            )
        self.values.append(torch.stack([price.double(), volume.double()], dim=1))
        self.labels.append(torch.cat([symbol[:, None], start[:, None], time], dim=1).long())

    def compute(self) -> dict:
        """What `judge` finds, its fields as a dict.

        Raises:
            ValueError: There are no paths.
        """
        values, labels = dim_zero_cat(self.values), dim_zero_cat(self.labels)
        if not len(values):
            raise ValueError("there are no paths to judge; update with some")
        present, symbol = labels[:, 0].unique(return_inverse=True)
        price, volume = values[:, 0], values[:, 1]
        names = [str(number) for number in present.tolist()]
        panel = Panel(names, symbol, labels[:, 1], labels[:, 2:], price, price, volume)
        return vars(judge(panel, self.seed))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> StylizedFacts:
        """Follow moves to other devices, but keep the dtype: sums of fourth powers need float64."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), exclude_state)
