"""The order flow of Cont, Stoikov and Talreja (2010): Poisson arrivals whose rates depend on the distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.order_flow import (
    Drawn,
    OrderFlowAgent,
    best_prices,
    cancel_weights,
    find,
    nanoseconds,
    stack,
)
from mars_lmm.simulation.agents.protocol import View

# The first kinds of events; then come cancels, level by level.
LIMIT_EVENTS, MARKET_EVENTS = 2, 4  # by side: events before these numbers


class ContStoikovTalrejaAgent(OrderFlowAgent):
    """Sends orders of one size as competing Poisson processes; formulas in `fitting.cont_stoikov_talreja`.

    The next order is drawn exactly: between two orders all rates are constant, so it comes after an exponential time,
    and is of each kind as often as that kind's share of the sum of rates. Cancels take from the levels that the view
    shows, each at theta(i) times its size in units.
    """

    model = "cst"
    num_draws = 4

    def load(self, fits: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Keep rates by band, and limit orders' summed up."""
        self._edges = torch.tensor(fits[0]["edges"], device=device)
        self._limit = stack(fits, "limit", device).cumsum(dim=1)
        self._cancel, self._market = stack(fits, "cancel", device), stack(fits, "market", device)
        self._unit = torch.tensor([fit["unit"] for fit in fits], device=device)

    def draw(self, view: View, state: dict[str, Tensor]) -> Drawn:
        """Draw what happens first."""
        fit = state["fit"]
        uniform_wait, uniform_event, uniform_band, uniform_distance = view.draws.unbind(dim=1)
        bid, ask = best_prices(view)
        unit, limit = self._unit[fit], self._limit[fit]

        cancels = cancel_weights(view, self._edges, self._cancel[fit]).flatten(1) / unit[:, None]
        each = torch.stack([limit[:, -1], limit[:, -1], self._market[fit], self._market[fit]], dim=1)
        until = torch.cat([each, cancels], dim=1).cumsum(dim=1)
        wait = -torch.log1p(-uniform_wait) / until[:, -1]
        event = find(until, uniform_event * until[:, -1])

        band = find(limit, uniform_band * limit[:, -1])
        width = self._edges[band + 1] - self._edges[band]
        away = self._edges[band] + (uniform_distance * width).to(torch.int64)
        is_cancel = event >= MARKET_EVENTS
        level = (event - MARKET_EVENTS).clamp(min=0)
        side = torch.where(is_cancel, level // t.DEPTH, event % 2)
        buys = side == t.BUY
        resting = torch.where(buys, ask - away, bid + away)
        # A unit meets whatever it takes: the worst price in sight.
        other = torch.where(buys, view.nth_price(t.SELL, t.DEPTH), view.nth_price(t.BUY, t.DEPTH))
        cancelled = view.levels[..., 0].flatten(1).gather(1, level[:, None])[:, 0]
        price = torch.where(event < LIMIT_EVENTS, resting, torch.where(is_cancel, cancelled, other))
        kind = torch.where(event < LIMIT_EVENTS, t.LIMIT, torch.where(is_cancel, t.CANCEL_AT, t.IOC))
        return Drawn(nanoseconds(wait), kind, side, price, unit, {})
