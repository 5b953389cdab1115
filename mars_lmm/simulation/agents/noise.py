"""The noise agent: random orders around the last price, as MarS warms its simulations up.

Defaults are those of the noise agent in MarS's released code (github.com/microsoft/MarS).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.protocol import NANOS, Agent, Decision, View
from mars_lmm.simulation.engine import columns as c

KINDS = MappingProxyType({"buy": 0.4, "sell": 0.4, "cancel": 0.2})
OFFSETS = MappingProxyType(
    {0: 0.2} | {sign * n: p for n, p in ((1, 0.2), (2, 0.1), (3, 0.05), (4, 0.025), (5, 0.025)) for sign in (-1, 1)}
)
SIZES = MappingProxyType({100: 0.5, 200: 0.3, 500: 0.15, 1000: 0.025, 2000: 0.025})


class NoiseAgent(Agent):
    """Sends limit orders around the last price, and cancels of its own orders, at random times.

    A cancel takes one of its orders in the book, each as likely as any other; without one there, nothing is sent. Where
    it has as many orders in the book as it can keep track of, it cancels instead of adding to them.

    Args:
        price: Ticks; stands in for the last price before the first trade. None: the mid does.
        rate: Orders per second on average: waiting times are uniform in [0.5, 1.5) / rate.
        kinds: Probabilities of buy, sell and cancel.
        offsets: Probabilities of distances from the last price, in steps of the venue's tick, by distance.
        sizes: Probabilities of sizes in units, by size.
        open_orders: Orders that it may have in a book at once.

    Raises:
        ValueError: A number is out of range, or probabilities do not add up to 1.
    """

    num_draws = 5

    def __init__(
        self,
        price: int | None = None,
        rate: float = 1.0,
        kinds: Mapping[str, float] = KINDS,
        offsets: Mapping[int, float] = OFFSETS,
        sizes: Mapping[int, float] = SIZES,
        open_orders: int = 512,
    ):
        if not rate > 0 or not math.isfinite(rate):
            raise ValueError(f"rate={rate}: orders per second must be above 0")
        if price is not None and price < 1:
            raise ValueError(f"price={price}: give ticks above 0, or null for the mid")
        if open_orders < 1:
            raise ValueError(f"open_orders={open_orders}: it must be at least 1")
        if set(kinds) != set(KINDS):
            raise ValueError(f"kinds has {', '.join(map(str, kinds))}; give probabilities of {', '.join(KINDS)}")
        if any(size < 1 for size in sizes):
            raise ValueError(f"sizes has {min(sizes)}: sizes must be above 0")
        self.open_orders = open_orders
        self._price, self._rate = price, rate
        self._kinds = _Choice("kinds", {(t.BUY, t.SELL, t.CANCEL)[i]: kinds[name] for i, name in enumerate(KINDS)})
        self._offsets, self._sizes = _Choice("offsets", offsets), _Choice("sizes", sizes)

    def begin(self, view: View) -> dict[str, Tensor]:
        """Nothing is sent before the first waiting time has passed.

        Raises:
            ValueError: A book tells no price to begin at, and neither does `price`.
        """
        for choice in (self._kinds, self._offsets, self._sizes):
            choice.to(view.time.device)
        if not bool((self._middle(view) > 0).all()):
            raise ValueError("a book has neither trades nor quotes: give the noise agent a price to begin at, in ticks")
        return {"began": torch.zeros_like(view.time, dtype=torch.bool)}

    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Send one order, and draw when the next one comes."""
        which, offset, size, wait, chosen = view.draws.unbind(dim=1)
        ids = view.orders[..., c.OWN_ID]
        count = (ids != 0).sum(dim=1)
        began, full = state["began"], count == self.open_orders
        kind = torch.where(full, t.CANCEL, self._kinds.draw(which))
        price = self._middle(view) + self._offsets.draw(offset) * view.tick
        order = view.limit(kind, price, self._sizes.draw(size), where=began & (kind != t.CANCEL))
        row = (chosen * count).to(torch.int64).clamp(max=self.open_orders - 1)
        cancel = view.cancel(ids.gather(1, row[:, None])[:, 0], where=began & (kind == t.CANCEL))
        interval = ((0.5 + wait) * (NANOS / self._rate)).to(torch.int64)
        return Decision(view.time + interval, [order, cancel], {"began": torch.ones_like(began)})

    def _middle(self, view: View) -> Tensor:
        """Where prices are counted from: the last price, or what stands in for it; not above 0 if nothing does."""
        before = view.mid.to(torch.int64) if self._price is None else view.full(self._price)
        return torch.where(view.last_price > 0, view.last_price, before)


class _Choice:
    """A draw from a few integers by inverse cumulative distribution."""

    def __init__(self, name: str, probabilities: Mapping[int, float]):
        weights = [float(weight) for weight in probabilities.values()]
        if not weights or min(weights) < 0 or abs(sum(weights) - 1) > 1e-9:
            raise ValueError(f"{name}: probabilities must not be negative and must add up to 1, got {weights}")
        self._values = torch.tensor([int(value) for value in probabilities])
        self._ends = torch.tensor(weights, dtype=torch.float64).cumsum(0)[:-1]

    def to(self, device: torch.device) -> None:
        self._values, self._ends = self._values.to(device), self._ends.to(device)

    def draw(self, uniform: Tensor) -> Tensor:
        return self._values[torch.searchsorted(self._ends, uniform.contiguous(), right=True)]
