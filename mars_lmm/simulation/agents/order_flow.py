"""What the baseline order flows share: one order at a time, drawn from a fitted law and the book as it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.protocol import NANOS, Agent, Decision, View
from mars_lmm.simulation.fitting.files import read_fits
from mars_lmm.simulation.fitting.orders import CANCEL, TAKE
from mars_lmm.simulation.starts.recorded import Moment

if TYPE_CHECKING:
    from mars_lmm.simulation.starts.start import Start

LONGEST = 86_400.0  # seconds: who waits for longer waits until the rollout's end


class Drawn(NamedTuple):
    """The next order in B books.

    Attributes:
        wait: int64[B], nanoseconds until it comes.
        kind: int64[B], of `mars_lmm.market.types`.
        side: int64[B].
        price: int64[B], ticks.
        size: int64[B], units.
        state: What the one after it is drawn from; as it is now where trading ends before the order comes.
    """

    wait: Tensor
    kind: Tensor
    side: Tensor
    price: Tensor
    size: Tensor
    state: dict[str, Tensor]


class OrderFlowAgent(Agent):
    """A fitted order flow that is the background of a rollout, instead of the model's.

    It draws its next order as soon as the one before has been executed, and puts it on its way to arrive when it is
    due: alone in the market, it meets the book that it was drawn for. It trades while trading is continuous, which is
    what it was fitted to; where an auction or a break comes first, it draws anew when trading begins again.

    Args:
        parameters: The file of its parameters: see `mars_lmm.simulation.fitting`.

    Attributes:
        model: Its name among the fits.

    Raises:
        ValueError: The file does not hold its parameters.
    """

    background, open_orders, under_way = True, 1, 2
    model: str

    def __init__(self, parameters: str | Path):
        path = Path(parameters).expanduser()
        self.files = (path,)
        self._fits = read_fits(path, self.model)

    def meet(self, starts: Sequence[Start], start_of: Tensor) -> None:
        """Lay out the parameters of the books: those of their start, else of their instrument.

        Raises:
            ValueError: Neither has been fitted.
        """
        names = [self._name(starts[index]) for index in start_of.tolist()]
        distinct = sorted(set(names))
        missing = [name for name in distinct if name not in self._fits]
        if missing:
            raise ValueError(
                f"{self.files[0]} has no parameters of {', '.join(missing)}: it was fitted to "
                f"{', '.join(sorted(self._fits))}"
            )
        self._fit = torch.tensor([distinct.index(name) for name in names], device=start_of.device)
        self.load([self._fits[name] for name in distinct], start_of.device)

    def _name(self, start: Start) -> str:
        session = start.session
        moment = str(Moment(session.symbol, session.date, start.time))
        return moment if moment in self._fits else session.symbol

    def begin(self, view: View) -> dict[str, Tensor]:
        """Which parameters hold in each book."""
        return {"fit": self._fit.clone()}

    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Send the next order."""
        drawn = self.draw(view, state)
        # The order before came a nanosecond ago.
        time = torch.maximum(view.time - 1 + drawn.wait, view.time)
        comes = view.trading & (time < view.phase_end)
        touch = torch.where(drawn.side == t.BUY, view.bid, view.ask)
        sent = comes & (drawn.size > 0) & (drawn.price > 0) & ((drawn.kind != t.CANCEL_AT) | (touch != t.NO_PRICE))
        order = view.order(drawn.kind, drawn.side, drawn.price, drawn.size, at=time, where=sent)
        after = {
            name: torch.where(comes.view(-1, *(1,) * (old.dim() - 1)), drawn.state.get(name, old), old)
            for name, old in state.items()
        }
        return Decision(torch.where(comes, time + 1, view.phase_end), [order], after)

    @abstractmethod
    def load(self, fits: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Keep some parameters as tensors; `state["fit"]` counts them."""

    @abstractmethod
    def draw(self, view: View, state: dict[str, Tensor]) -> Drawn:
        """Draw the next order."""


def nanoseconds(seconds: Tensor) -> Tensor:
    """Seconds, float64[B], as nanoseconds, int64[B]; at most a day."""
    return (seconds.clamp(max=LONGEST) * NANOS).to(torch.int64)


def best_prices(view: View) -> tuple[Tensor, Tensor]:
    """Best bid and ask, int64[B] each; a side that is empty stands next to the other, or to the last price."""
    bid, ask = view.bid, view.ask
    no_bid, no_ask = bid == t.NO_PRICE, ask == t.NO_PRICE
    bid = torch.where(no_bid, torch.where(no_ask, view.last_price, ask - 1), bid)
    return bid, torch.where(no_ask, bid + 1, ask)


def placed(view: View, action: Tensor, side: Tensor, away: Tensor, takers_rest: Tensor) -> tuple[Tensor, Tensor]:
    """Kind and price, int64[B] each, of recorded orders in the books as they are now.

    Prices are counted from the other side's best. Counted from their own side's, orders drawn without regard to the
    book would go on narrowing a spread that is narrow already.

    Args:
        view: The market.
        action: int64[B], of `mars_lmm.simulation.fitting.orders`.
        side: int64[B].
        away: int64[B], as `SessionOrders` has it.
        takers_rest: bool[B].
    """
    bid, ask = best_prices(view)
    price = torch.where(side == t.BUY, ask - away, bid + away)
    taker = torch.where(takers_rest, t.LIMIT, t.IOC)
    return torch.where(action == CANCEL, t.CANCEL_AT, torch.where(action == TAKE, taker, t.LIMIT)), price


def stack(fits: Sequence[Mapping[str, Any]], key: str, device: torch.device) -> Tensor:
    """A parameter of all instruments, float64[S, ...]."""
    return torch.from_numpy(np.array([fit[key] for fit in fits], dtype=np.float64)).to(device)


def find(until: Tensor, value: Tensor) -> Tensor:
    """Which of the intervals that end at `until` [B, N] each value [B] lies in, int64[B]."""
    place = torch.searchsorted(until, value[:, None], right=True)[:, 0]
    return place.clamp(max=until.shape[1] - 1)


def cancel_weights(view: View, edges: Tensor, rates: Tensor) -> Tensor:
    """How fast what rests at each level is cancelled in the model of Cont, Stoikov and Talreja.

    Args:
        view: The market.
        edges: int64[N + 1], its bands.
        rates: float64[B, N], of each unit that rests in a band.

    Returns:
        float64[B, 2, DEPTH]: rate times size, 0 where there is no such level.
    """
    bid, ask = best_prices(view)
    price, size = view.levels[..., 0], view.levels[..., 1]
    away = torch.stack([price[:, t.SELL] - bid[:, None], ask[:, None] - price[:, t.BUY]], dim=1)
    band = (torch.searchsorted(edges, away, right=True) - 1).clamp(0, len(edges) - 2)
    return rates.gather(1, band.flatten(1)).view_as(away) * size
