"""What agents that work one large order have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.protocol import NANOS, NEVER, Agent, Decision, View
from mars_lmm.simulation.engine import columns as c

SIDES = {"buy": t.BUY, "sell": t.SELL}
MAX_LEVEL = 5


@dataclass
class Intent:
    """What an agent that works a large order wants its orders in the book to be.

    Attributes:
        keep: int64[B], units that may stay in the book.
        among: bool[B, M], which of its orders may stay at all.
        price: int64[B], of the order to send once no other is left.
        size: int64[B], its size; not above 0: none.
        state: What to remember once it is sent, or there was none to send.
        wake: int64[B], when to look again.
    """

    keep: Tensor
    among: Tensor
    price: Tensor
    size: Tensor
    state: dict[str, Tensor]
    wake: Tensor


class ParentOrder(Agent):
    """Works a large order, one step at a time.

    It decides anew only when it knows what became of all that it has sent, and it sends nothing before the orders that
    have to give way are out of the book. So the target is never exceeded, whatever the latency. It trades while trading
    is continuous, and has finished when the target is reached or its time is over and no order of its own is left.

    Args:
        side: buy or sell.
        target: Units.
        seconds: Its time, from the rollout's beginning; None: no limit.
        refresh: Seconds between two looks at the book.

    Raises:
        ValueError: A number is out of range.
    """

    num_draws = 0

    def __init__(self, side: str, target: int, seconds: float | None, refresh: float):
        if side not in SIDES:
            raise ValueError(f"side={side!r}: choose {' or '.join(SIDES)}")
        if isinstance(target, bool) or not isinstance(target, int) or not 0 < target <= t.MAX_SIZE:
            raise ValueError(f"target={target}: give units above 0 and at most {t.MAX_SIZE}")
        if seconds is not None:
            check_positive("seconds", seconds)
        check_positive("refresh", refresh)
        self.side, self.target = SIDES[side], target
        self._total = NEVER if seconds is None else int(seconds * NANOS)
        self._refresh = int(refresh * NANOS)

    @abstractmethod
    def intend(self, view: View, filled: Tensor, state: dict[str, Tensor]) -> Intent:
        """Say what its orders should be, in books where it goes on.

        Args:
            view: The market.
            filled: int64[B], units done.
            state: As the last intent left it.
        """

    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Make way, or send an order."""
        filled = view.bought if self.side == t.BUY else view.sold
        over = (filled >= self.target) | (view.time - view.begin >= self._total)
        ready, trading = view.under_way == 0, view.trading
        intent = self.intend(view, filled, state)
        keep = torch.where(over, 0, torch.minimum(intent.keep, self.target - filled))
        cancels = view.reduce(self.side, keep, intent.among, where=ready & trading)
        making_way = torch.stack([cancel[:, t.KIND] != t.IDLE for cancel in cancels], dim=1).any(dim=1)
        sends = ready & trading & ~making_way & ~over
        room = self.target - filled - view.resting(self.side)
        order = view.limit(self.side, intent.price, torch.minimum(intent.size, room), where=sends)
        gone = over & ready & (view.resting(self.side) == 0)
        wake = torch.where(making_way, view.time, intent.wake)
        wake = torch.where(over & ~making_way, view.time + self._refresh, wake)
        wake = torch.where(gone, NEVER, torch.where(ready, wake, view.answered))
        remembered = {name: torch.where(sends, new, state[name]) for name, new in intent.state.items()}
        return Decision(wake, [*cancels, order], remembered)

    def at_best(self, view: View) -> Tensor:
        """Which of its orders lie at the best price of its side, bool[B, M]."""
        return view.orders[..., c.OWN_PRICE] == view.levels[:, self.side, 0, 0][:, None]

    def up_to_lot(self, view: View, size: Tensor | int) -> Tensor:
        """A size rounded up to whole lots, int64[B]."""
        return -(-view.full(size) // view.lot) * view.lot

    def share(self, part: float) -> int:
        """A share of the target in units, rounded up."""
        # 0.07 * 100 is a little more than 7.
        return math.ceil(round(part * self.target, 6))


def check_positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not value > 0 or not math.isfinite(value):
        raise ValueError(f"{name}={value}: it must be above 0")


def check_share(name: str, value: float) -> None:
    """Refuse what is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value}: it must be between 0 and 1")


def check_level(name: str, value: int) -> None:
    """Refuse what is not a level of the other side, or 0 for none."""
    if value not in range(MAX_LEVEL + 1):
        raise ValueError(f"{name}={value}: choose 1 to {MAX_LEVEL}, or 0 for none")
