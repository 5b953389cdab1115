"""Means that do not depend on the precision of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import MeanMetric


class ExactMean(MeanMetric):
    """A weighted mean summed in float64, whatever becomes of the module that it is part of.

    In float32 the mean over millions of orders depends on the batch size. `set_dtype` alone does not last: with the
    module torchmetrics moves to bfloat16 (bf16-true), and after any move to a device it rounds what it adds to float32.
    A number that is not finite is a RuntimeError.
    """

    def __init__(self):
        super().__init__(nan_strategy="error")
        self.set_dtype(torch.float64)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> ExactMean:
        super()._apply(fn, exclude_state)
        return self if self.dtype == torch.float64 else self.set_dtype(torch.float64)
