"""TWAP in two stages, as in the paper (arXiv 2409.07486, appendix H)."""

from __future__ import annotations

import torch
from torch import Tensor

from mars_lmm.simulation.agents.parent_order import Intent, ParentOrder, check_level, check_positive, check_share
from mars_lmm.simulation.agents.protocol import NANOS, View
from mars_lmm.simulation.engine import columns as c


class TwapAgent(ParentOrder):
    """Trades a target evenly over its time, passively first and then aggressively in each slice.

    In a slice's passive stage it cancels what does not lie at its side's best price, and keeps up to `passive_ratio` of
    the target there. In the aggressive stage it compares what is done with the schedule, target * (elapsed +
    aggressive seconds) / seconds, once; if it is behind, it sends the shortfall at the other side's
    `aggressive_level`-th best price, after cancelling as many of its passive orders as could exceed the target. Sizes
    are whole lots, the last order's excepted. At the end it cancels everything.

    Args:
        target: Units.
        side: buy or sell.
        seconds: Its time, from the rollout's beginning; whole slices.
        passive_seconds: Of a slice's passive stage.
        aggressive_seconds: Of its aggressive stage.
        passive_ratio: The paper's PVR; 0: no passive orders.
        aggressive_level: The paper's AP, 1 to 5; 0: no aggressive orders.
        aggressive_ratio: The most that one slice's aggressive order may be of the target.
        refresh: Seconds between two looks at the book.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        target: int,
        side: str = "buy",
        seconds: float = 300.0,
        passive_seconds: float = 25.0,
        aggressive_seconds: float = 5.0,
        passive_ratio: float = 0.1,
        aggressive_level: int = 1,
        aggressive_ratio: float = 1.0,
        refresh: float = 1.0,
    ):
        super().__init__(side, target, seconds, refresh)
        check_positive("seconds", seconds)
        check_positive("passive_seconds", passive_seconds)
        check_positive("aggressive_seconds", aggressive_seconds)
        check_share("passive_ratio", passive_ratio)
        check_share("aggressive_ratio", aggressive_ratio)
        check_level("aggressive_level", aggressive_level)
        self._passive = int(passive_seconds * NANOS)
        self._slice = self._passive + int(aggressive_seconds * NANOS)
        if self._total % self._slice:
            raise ValueError(
                f"seconds={seconds}: give a multiple of passive_seconds + aggressive_seconds = "
                f"{passive_seconds + aggressive_seconds:g}"
            )
        self._level = aggressive_level
        self._most_passive, self._most_aggressive = self.share(passive_ratio), self.share(aggressive_ratio)

    def begin(self, view: View) -> dict[str, Tensor]:
        """The last slice whose aggressive stage is done with."""
        return {"slice": view.full(-1)}

    def intend(self, view: View, filled: Tensor, state: dict[str, Tensor]) -> Intent:
        """What to keep and to send in the stage that it is in."""
        elapsed, left = view.time - view.begin, self.target - filled
        number = elapsed // self._slice
        passive = elapsed % self._slice < self._passive
        at_best = self.at_best(view)

        want = torch.minimum(self.up_to_lot(view, self._most_passive), left)
        resting = torch.where(at_best & view.on_side(self.side), view.orders[..., c.OWN_SIZE], 0).sum(dim=1)

        urgent = self._shortfall(view, number, filled)
        urgent = torch.where(state["slice"] == number, 0, urgent)
        price = view.nth_price(1 - self.side, max(self._level, 1))
        urgent = torch.where(price > 0, torch.minimum(urgent, left), 0)

        done = ~passive & (price > 0)
        stage_end = view.begin + number * self._slice + torch.where(passive, self._passive, self._slice)
        return Intent(
            keep=torch.where(passive, want, left - urgent),
            among=at_best | ~passive[:, None],
            price=torch.where(passive, view.levels[:, self.side, 0, 0], price),
            size=torch.where(passive, want - resting, urgent),
            state={"slice": torch.where(done, number, state["slice"])},
            wake=torch.minimum(view.time + self._refresh, stage_end),
        )

    def _shortfall(self, view: View, number: Tensor, filled: Tensor) -> Tensor:
        """Units that the slice's aggressive stage has to catch up with, in lots; not above 0 where there are none."""
        if self._level == 0:
            return torch.zeros_like(filled)
        # At the stage's beginning, elapsed + aggressive seconds is the slice's end.
        end = ((number + 1) * self._slice).clamp(max=self._total)
        due = torch.floor(self.target * (end.double() / self._total) + 0.5).to(torch.int64)
        return self.up_to_lot(view, (due - filled).clamp(min=0, max=self._most_aggressive))
