"""Percentage of volume: an order worked along with what the others trade."""

from __future__ import annotations

import torch
from torch import Tensor

from mars_lmm.simulation.agents.parent_order import Intent, ParentOrder, check_level, check_share
from mars_lmm.simulation.agents.protocol import View


class PovAgent(ParentOrder):
    """Trades `rate` units for each unit that others trade among themselves, until its target is reached.

    What it lags behind lies at its side's best price. When that is more than `slack` of the target, it is sent at the
    other side's `aggressive_level`-th best price instead. Sizes are whole lots, the last order's excepted, so that it
    may be less than a lot ahead, never more.

    Args:
        target: Units.
        side: buy or sell.
        rate: Participation: its volume over the others'.
        seconds: Its time, from the rollout's beginning; None: until the target is reached.
        aggressive_level: How far it goes into the other side, 1 to 5; 0: it never crosses the spread.
        slack: The share of the target by which it may lag behind before it crosses the spread.
        refresh: Seconds between two looks at the market.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        target: int,
        side: str = "buy",
        rate: float = 0.1,
        seconds: float | None = None,
        aggressive_level: int = 1,
        slack: float = 0.02,
        refresh: float = 1.0,
    ):
        super().__init__(side, target, seconds, refresh)
        if not 0 < rate <= 100:
            raise ValueError(f"rate={rate}: it must be above 0 and at most 100")
        check_share("slack", slack)
        check_level("aggressive_level", aggressive_level)
        self._rate, self._level, self._slack = rate, aggressive_level, self.share(slack)

    def begin(self, view: View) -> dict[str, Tensor]:
        """The session's volume before the rollout."""
        return {"volume": view.volume.clone()}

    def intend(self, view: View, filled: Tensor, state: dict[str, Tensor]) -> Intent:
        """Let what it lags behind lie at the best price, or catch up."""
        others = view.volume - state["volume"] - filled
        due = torch.floor(self._rate * others.double() + 0.5).clamp(max=self.target).to(torch.int64)
        behind = (due - filled).clamp(min=0)
        want = torch.minimum(self.up_to_lot(view, behind), self.target - filled)
        urgent = (behind > self._slack) & (self._level > 0)
        price = view.nth_price(1 - self.side, max(self._level, 1))
        urgent = urgent & (price > 0)
        keep = torch.where(urgent, 0, want)
        # What is left of an order that crossed the spread lies at the best price too.
        return Intent(
            keep=keep,
            among=self.at_best(view),
            price=torch.where(urgent, price, view.levels[:, self.side, 0, 0]),
            size=torch.where(urgent, want, want - view.resting(self.side)),
            state=state,
            wake=view.time + self._refresh,
        )
