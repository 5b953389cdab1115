"""A fitted multivariate Hawkes process as an order flow: orders bring about orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.order_flow import (
    Drawn,
    OrderFlowAgent,
    cancel_weights,
    find,
    nanoseconds,
    placed,
    stack,
)
from mars_lmm.simulation.agents.protocol import View
from mars_lmm.simulation.fitting.hawkes import ACTIONS, MOST_DECAYS, Hawkes
from mars_lmm.simulation.fitting.orders import CANCEL


class HawkesAgent(OrderFlowAgent):
    """Sends orders whose types and times are a Hawkes process; formulas in `fitting.hawkes`.

    The next order is drawn exactly and without rejections (Dassios and Zhao 2013): until it comes, the intensity is a
    constant and one decaying exponential for each time scale, so it is the first of as many independent events, whose
    times have closed forms. Distance and size are those of a recorded order of its type; a cancel takes from one of the
    levels that the view shows, each as likely as in the model of Cont, Stoikov and Talreja. It begins as excited as it
    is on average. Only its own orders excite it.
    """

    model = "hawkes"
    num_draws = 4 + MOST_DECAYS  # the type, its mark, a level, the constant part, and each time scale

    def load(self, fits: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Keep parameters, and the marks of all instruments in one table."""
        self._decays, self._base = stack(fits, "decays", device), stack(fits, "base", device)
        excitation = stack(fits, "excitation", device)
        # Of each cause, by how much it raises the intensity of each type on each time scale: [S, cause, K, type].
        self._raise = (excitation * self._decays[:, None, None]).permute(0, 2, 3, 1).contiguous()
        fitted = [Hawkes(*(np.array(fit[key]) for key in ("base", "excitation", "decays"))) for fit in fits]
        self._excited = torch.from_numpy(np.stack([hawkes.mean_excitation for hawkes in fitted])).to(device)
        marks = [np.stack([mark["away"], mark["size"]], axis=1) for fit in fits for mark in fit["marks"]]
        length = np.array([len(mark) for mark in marks])
        tables = np.concatenate(marks), length, np.cumsum(length) - length
        self._marks, self._length, self._first = (
            torch.from_numpy(table.astype(np.int64)).to(device) for table in tables
        )
        self._takers_rest = torch.tensor([fit["takers_rest"] for fit in fits], device=device)
        self._edges = torch.tensor(fits[0]["edges"], device=device)
        self._cancel = stack(fits, "cancel", device)

    def begin(self, view: View) -> dict[str, Tensor]:
        """Excited, float64[B, K, D], as on average."""
        state = super().begin(view)
        return state | {"excited": self._excited[state["fit"]]}

    def draw(self, view: View, state: dict[str, Tensor]) -> Drawn:
        """Draw when the next order comes and of which type, and then its price and size."""
        fit, excited = state["fit"], state["excited"]
        wait, kind = self._first_event(view.draws[:, 3:], view.draws[:, 0], fit, excited)
        action, side = kind // 2, kind % 2
        table = fit * len(ACTIONS) + action
        row = self._first[table] + (view.draws[:, 1] * self._length[table]).to(torch.int64)
        away, size = self._marks[row].unbind(dim=1)
        order, price = placed(view, action, side, away, self._takers_rest[fit])
        price = torch.where(action == CANCEL, self._cancelled(view, fit, side, price), price)
        decayed = excited * torch.exp(-self._decays[fit] * wait[:, None])[..., None]
        return Drawn(nanoseconds(wait), order, side, price, size, {"excited": decayed + self._raise[fit, kind]})

    def _first_event(self, times: Tensor, which: Tensor, fit: Tensor, excited: Tensor) -> tuple[Tensor, Tensor]:
        """The first of the constant part's event and one for each time scale: seconds until then, and its type."""
        decays, base = self._decays[fit], self._base[fit].cumsum(dim=1)
        until = torch.cat([base[:, None], excited.cumsum(dim=2)], dim=1)  # [B, 1 + K, D]
        total = until[..., -1]
        unit = -torch.log1p(-times[:, : total.shape[1]])
        constant = unit[:, :1] / total[:, :1]
        # All that a time scale still brings about may come to less than was drawn: then nothing comes of it.
        share = unit[:, 1:] * decays / total[:, 1:]
        decaying = torch.where(share < 1, -torch.log1p(-share.clamp(max=1)) / decays, torch.inf)
        wait, part = torch.cat([constant, decaying], dim=1).min(dim=1)
        of_part = until.gather(1, part[:, None, None].expand(-1, 1, until.shape[2]))[:, 0]
        return wait, find(of_part, which * of_part[:, -1])

    def _cancelled(self, view: View, fit: Tensor, side: Tensor, otherwise: Tensor) -> Tensor:
        """The price of a level to cancel from; `otherwise` where no level is ever cancelled from."""
        of_side = side[:, None, None].expand(-1, 1, t.DEPTH)
        weights = cancel_weights(view, self._edges, self._cancel[fit]).gather(1, of_side)[:, 0].cumsum(dim=1)
        level = find(weights, view.draws[:, 2] * weights[:, -1])
        price = view.levels[..., 0].gather(1, of_side)[:, 0].gather(1, level[:, None])[:, 0]
        return torch.where(weights[:, -1] > 0, price, otherwise)
