"""Rollouts with weights of fewer bits, and what that does to the model's loss on held-out orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.prepared import VALIDATION, PreparedSet
from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.precision import loss_change, lower_precision
from mars_lmm.simulation.engine.coding import Coding, OrderCoding
from mars_lmm.simulation.starts.start import Start

FLOAT32 = "float32"
LOSS = "loss.json"
_ROWS, _ROWS_AT_ONCE = 64, 8


@dataclass
class Lowering:
    """A precision, and the orders by which its price is told.

    Attributes:
        precision: One of `mars_lmm.models.precision.PRECISIONS`.
        prepared: The prepared set.
        coding: The model's.
        starts: Where the rollouts begin.
    """

    precision: str
    prepared: PreparedSet
    coding: Coding
    starts: Sequence[Start]

    @property
    def lowers(self) -> bool:
        """Whether anything is to do."""
        return self.precision != FLOAT32

    def lower(self, model: OrderModel) -> OrderModel:
        """A copy of the model with other weights, on its device.

        Raises:
            ValueError: torchao is not installed, or the device has no float8.
        """
        return lower_precision(model, self.precision)

    def price(self, model: OrderModel, lowered: OrderModel) -> dict[str, float]:
        """Nats per order before and after, and the change, over the same held-out orders."""
        before, after = loss_change(model, lowered, self._batches())
        return {"float32": before, self.precision: after, "change": after - before}

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Rows of the validation split, evenly spread; for a model of another coding, the histories of its starts."""
        if not isinstance(self.coding, OrderCoding):
            for start in self.starts:
                token = torch.from_numpy(start.token.astype(np.int64))[None]
                scored = torch.ones_like(token[:, 1:], dtype=torch.bool)
                yield {"token": token, "market": torch.from_numpy(start.market)[None], "scored": scored}
            return
        rows = OrderRows(self.prepared, VALIDATION)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).round().astype(int)).tolist()
        for first in range(0, len(chosen), _ROWS_AT_ONCE):
            yield rows.__getitems__(chosen[first : first + _ROWS_AT_ONCE])
