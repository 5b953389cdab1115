"""A market maker: quotes on both sides, leaning against what it holds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.parent_order import check_positive
from mars_lmm.simulation.agents.protocol import NANOS, Agent, Decision, View
from mars_lmm.simulation.engine import columns as c

PLACES = ("touch", "mid")


class MarketMaker(Agent):
    """Quotes both sides around the market that the others make.

    Its inventory is what it bought less what it sold since the rollout began. Quotes shift by `skew` ticks for each
    `size` units of inventory, downwards when it holds more, and never meet the other side. A quote is left alone while
    its price stands, is filled up to its size, and gives way when the price moves: first the old quotes are cancelled,
    and when it knows that they are gone, new ones are sent. So the inventory stays within `limit`, whatever the
    latency. It quotes while trading is continuous and the others have orders on both sides.

    Args:
        size: Units of a quote.
        limit: Units that it holds at most, and is short at most.
        around: touch: quotes lie `distance` ticks behind the others' best prices; mid: `distance` ticks from the middle
            between them, rounded away from it.
        distance: Ticks; 0 at the touch joins the best prices.
        skew: Ticks for each `size` units of inventory.
        refresh: Seconds between two looks at the market.
        on_order: It also looks after every order of somebody else.

    Raises:
        ValueError: A number is out of range.
    """

    num_draws = 0

    def __init__(
        self,
        size: int = 100,
        limit: int = 1000,
        around: str = "touch",
        distance: float = 0.0,
        skew: float = 0.0,
        refresh: float = 1.0,
        on_order: bool = False,
    ):
        for name, value in (("size", size), ("limit", limit)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= t.MAX_SIZE:
                raise ValueError(f"{name}={value}: give units above 0 and at most {t.MAX_SIZE}")
        if around not in PLACES:
            raise ValueError(f"around={around!r}: choose {' or '.join(PLACES)}")
        for name, value in (("distance", distance), ("skew", skew)):
            if not value >= 0 or not math.isfinite(value):
                raise ValueError(f"{name}={value}: ticks must not be negative")
        check_positive("refresh", refresh)
        self._size, self._limit, self._around = size, limit, around
        self._distance, self._skew = float(distance), float(skew)
        self._refresh, self._on_order = int(refresh * NANOS), bool(on_order)

    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Cancel quotes that have to move, or send those that are missing."""
        inventory = view.bought - view.sold
        bid, ask = _others_best(view, t.BUY), _others_best(view, t.SELL)
        quotes = view.trading & (bid != t.NO_PRICE) & (ask != t.NO_PRICE)
        ready = (view.under_way == 0) & view.trading
        prices = self._prices(view, bid, ask, inventory)
        cancels, orders = [], []
        for side, held in ((t.BUY, inventory), (t.SELL, -inventory)):
            most = (self._limit - held).clamp(min=0, max=self._size) // view.lot * view.lot
            keep = torch.where(quotes, most, 0)
            at_price = view.orders[..., c.OWN_PRICE] == prices[side][:, None]
            cancels += view.reduce(side, keep, at_price, where=ready)
            orders.append((side, keep - view.resting(side)))
        making_way = torch.stack([cancel[:, t.KIND] != t.IDLE for cancel in cancels], dim=1).any(dim=1)
        sends = ready & quotes & ~making_way
        sent = [view.limit(side, prices[side], missing, where=sends) for side, missing in orders]
        wake = torch.where(making_way, view.time, view.time + self._refresh)
        wake = torch.where(view.under_way == 0, wake, view.answered)
        return Decision(wake, cancels + sent, on_order=self._on_order)

    def _prices(self, view: View, bid: Tensor, ask: Tensor, inventory: Tensor) -> dict[int, Tensor]:
        """The quotes' prices by side, int64[B] each."""
        tick, shift = view.tick.double(), self._skew * inventory.double() / self._size
        low, high = bid / tick, ask / tick
        if self._around == "mid":
            low = high = (low + high) / 2
        lowest, highest = view.price_limits
        buy = (torch.floor(low - self._distance - shift) * tick).to(torch.int64)
        sell = (torch.ceil(high + self._distance - shift) * tick).to(torch.int64)
        buy = torch.minimum(buy, ask - view.tick)
        sell = torch.maximum(torch.maximum(sell, bid + view.tick), buy + view.tick)
        # Beyond the day's limits there is no quote: a price of none is not sent.
        return {
            t.BUY: torch.where((buy >= lowest) & (buy <= highest), buy, t.NO_PRICE),
            t.SELL: torch.where((sell >= lowest) & (sell <= highest), sell, t.NO_PRICE),
        }


def _others_best(view: View, side: int) -> Tensor:
    """The best of the levels shown that holds more than its own orders, int64[B]; `t.NO_PRICE` if none does."""
    levels, own = view.levels[:, side], view.orders
    here = view.on_side(side)[:, None, :] & (own[:, None, :, c.OWN_PRICE] == levels[:, :, 0, None])
    mine = torch.where(here, own[:, None, :, c.OWN_SIZE], 0).sum(dim=2)
    price = torch.full_like(view.time, t.NO_PRICE)
    for level in reversed(range(levels.shape[1])):
        found = (levels[:, level, 0] != t.NO_PRICE) & (levels[:, level, 1] > mine[:, level])
        price = torch.where(found, levels[:, level, 0], price)
    return price
