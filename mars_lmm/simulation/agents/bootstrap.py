"""The empirical bootstrap: recorded orders drawn with replacement, each independent of all before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mars_lmm.simulation.agents.order_flow import Drawn, OrderFlowAgent, placed
from mars_lmm.simulation.agents.protocol import View
from mars_lmm.simulation.fitting.bootstrap import COLUMNS


class BootstrapAgent(OrderFlowAgent):
    """Sends whole recorded orders: what, on which side, how far from the other side, how much, and after how long."""

    model = "bootstrap"
    num_draws = 1

    def load(self, fits: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Lay the orders of all instruments out in one table."""
        tables = [np.stack([fit[name] for name in COLUMNS], axis=1).astype(np.int64) for fit in fits]
        length = np.array([len(table) for table in tables])
        first = np.cumsum(length) - length
        self._orders, self._length, self._first = (
            torch.from_numpy(array).to(device) for array in (np.concatenate(tables), length, first)
        )
        self._takers_rest = torch.tensor([fit["takers_rest"] for fit in fits], device=device)

    def draw(self, view: View, state: dict[str, Tensor]) -> Drawn:
        """Draw one of the recorded orders."""
        fit = state["fit"]
        row = self._first[fit] + (view.draws[:, 0] * self._length[fit]).to(torch.int64)
        action, side, away, size, wait = self._orders[row].unbind(dim=1)
        kind, price = placed(view, action, side, away, self._takers_rest[fit])
        return Drawn(wait, kind, side, price, size, {})
