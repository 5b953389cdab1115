"""The agents' protocol: what an agent sees, and what it does.

An agent trades in B books at once: all that it sees and sends are tensors with a row a book. It is asked in a step if
it is due in any book, and its answer counts only in the books where it is: what it wants to remember goes through
`Decision.state`, so that it need not care which books those are. On a GPU the same calls become part of a CUDA graph,
so decisions are made with `torch.where`, not with `if`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c

if TYPE_CHECKING:
    from mars_lmm.simulation.starts.start import Start

NANOS = 1_000_000_000
NEVER = c.NEVER
"""A time that does not come: an agent that wakes then has finished."""


class View:
    """The market in B books, as one agent sees it. Prices are ticks, `t.NO_PRICE` (-1) where there is none.

    Attributes:
        time: int64[B], the agent's clock, nanoseconds since midnight. All else is as of the latency of its market
            data earlier.
        begin: int64[B], when the rollouts began.
        levels: int64[B, 2, DEPTH, 2], [side][level][price, size]; sides are `t.SELL` (asks) and `t.BUY` (bids).
        orders: int64[B, M, 4], its orders in the book, oldest first: `OWN_ID`, `OWN_SIDE`, `OWN_PRICE`, `OWN_SIZE` of
            `mars_lmm.simulation.engine.columns`; rows without an id are empty.
        under_way: int64[B], orders that it has sent and that have not reached the exchange.
        answered: int64[B], when it will know, or knew, what became of the last of them, by its clock.
        draws: float64[B, num_draws], uniform random numbers of its own.
    """

    def __init__(
        self,
        books: Tensor,
        time: Tensor,
        begin: Tensor,
        levels: Tensor,
        orders: Tensor,
        under_way: Tensor,
        answered: Tensor,
        draws: Tensor,
        account_at: int,
        flags: int = 0,
    ):
        self._books, self._account_at, self._flags = books, account_at, flags
        self.time, self.begin = time, begin
        self.levels, self.orders, self.under_way, self.draws = levels, orders, under_way, draws
        self.answered = answered

    def __len__(self) -> int:
        return len(self.time)

    @property
    def bid(self) -> Tensor:
        """Best bid, int64[B]."""
        return self.levels[:, t.BUY, 0, 0]

    @property
    def ask(self) -> Tensor:
        """Best ask, int64[B]."""
        return self.levels[:, t.SELL, 0, 0]

    @property
    def mid(self) -> Tensor:
        """Middle of the touch in ticks, float64[B]; the last price where a side is empty."""
        both = (self.bid != t.NO_PRICE) & (self.ask != t.NO_PRICE)
        return torch.where(both, (self.bid + self.ask) / 2.0, self.last_price.double())

    @property
    def last_price(self) -> Tensor:
        """Price of the last trade, int64[B]; 0 before the first."""
        return self._books[:, t.LAST_PRICE]

    @property
    def volume(self) -> Tensor:
        """Units traded in the session so far, int64[B]."""
        return self._books[:, t.VOLUME]

    @property
    def tick(self) -> Tensor:
        """Prices are multiples of it, int64[B]."""
        return self._books[:, t.RULES + t.TICK].clamp(min=1)

    @property
    def lot(self) -> Tensor:
        """Sizes are multiples of it, int64[B]."""
        return self._books[:, t.RULES + t.LOT].clamp(min=1)

    @property
    def price_limits(self) -> tuple[Tensor, Tensor]:
        """The day's lowest and highest price, int64[B] each; 0 and `t.MAX_PRICE` where there is no limit."""
        highest = self._books[:, t.RULES + t.LIMIT_UP]
        return self._books[:, t.RULES + t.LIMIT_DOWN], torch.where(highest == 0, t.MAX_PRICE, highest)

    @property
    def trading(self) -> Tensor:
        """Where trading is continuous now, bool[B]; elsewhere an auction collects orders, or the venue rests."""
        first = self._books[:, t.PHASES_AT]
        place = first + self._books[:, t.PHASE] * t.NUM_PHASE_COLUMNS + t.PHASE_MODE
        mode = self._books.gather(1, place[:, None])[:, 0]
        return (mode == t.CONTINUOUS) & (self._books[:, t.HALTED_UNTIL] == 0)

    @property
    def phase_end(self) -> Tensor:
        """When the phase of the day ends, or the halt that interrupts it, int64[B]; `NEVER` if nothing follows."""
        following = (self._books[:, t.PHASE] + 1).clamp(max=self._books[:, t.NUM_PHASES] - 1)
        place = self._books[:, t.PHASES_AT] + following * t.NUM_PHASE_COLUMNS + t.PHASE_START
        start = self._books.gather(1, place[:, None])[:, 0]
        start = torch.where(following > self._books[:, t.PHASE], start, NEVER)
        halt = self._books[:, t.HALTED_UNTIL]
        return torch.where(halt > 0, torch.minimum(start, halt), start)

    def _account(self, column: int) -> Tensor:
        return self._books[:, self._account_at + column]

    @property
    def cash(self) -> Tensor:
        """Cash in ticks times units, int64[B]."""
        return self._account(t.CASH)

    @property
    def position(self) -> Tensor:
        """Units held, int64[B]; below 0 when short."""
        return self._account(t.POSITION)

    @property
    def sellable(self) -> Tensor:
        """Units that may be sold today and are not offered yet, int64[B]."""
        return self._account(t.SELLABLE) - self._account(t.RESERVED_SIZE)

    @property
    def free_cash(self) -> Tensor:
        """Cash that no order of its own is waiting to spend, int64[B]."""
        return self._account(t.CASH) - self._account(t.RESERVED_CASH)

    @property
    def fees(self) -> Tensor:
        """Fees paid in ticks times units, int64[B]."""
        return self._account(t.FEES_PAID)

    @property
    def bought(self) -> Tensor:
        """Units bought since the rollout began, int64[B]."""
        return self._account(t.BOUGHT)

    @property
    def bought_value(self) -> Tensor:
        """What they cost without fees, ticks times units, int64[B]."""
        return self._account(t.BOUGHT_VALUE)

    @property
    def sold(self) -> Tensor:
        """Units sold since the rollout began, int64[B]."""
        return self._account(t.SOLD)

    @property
    def sold_value(self) -> Tensor:
        """What they brought without fees, ticks times units, int64[B]."""
        return self._account(t.SOLD_VALUE)

    def on_side(self, side: int) -> Tensor:
        """Which rows of `orders` are orders on one side, bool[B, M]."""
        return (self.orders[..., c.OWN_ID] != 0) & (self.orders[..., c.OWN_SIDE] == side)

    def resting(self, side: int) -> Tensor:
        """Units in its orders on one side, int64[B]."""
        return torch.where(self.on_side(side), self.orders[..., c.OWN_SIZE], 0).sum(dim=1)

    def nth_price(self, side: int, n: int) -> Tensor:
        """The n-th best price of a side, int64[B]; the worst of those there are if they are fewer. n: 1 to DEPTH."""
        price = self.levels[:, side, 0, 0]
        for level in range(1, n):
            following = self.levels[:, side, level, 0]
            price = torch.where(following == t.NO_PRICE, price, following)
        return price

    def full(self, value: int | Tensor) -> Tensor:
        """A number as int64[B]."""
        if isinstance(value, Tensor):
            return value.to(torch.int64).expand(len(self))
        return torch.full_like(self.time, value)

    def order(
        self,
        kind: int | Tensor,
        side: int | Tensor,
        price: int | Tensor,
        size: int | Tensor,
        order_id: int | Tensor = 0,
        at: int | Tensor = 0,
        where: Tensor | None = None,
    ) -> Tensor:
        """Order rows of any kind, int64[B, NUM_QUEUED]; `limit`, `market` and `cancel` are the common ones.

        Args:
            kind: Of `mars_lmm.market.types`.
            side: `t.BUY` or `t.SELL`.
            price: Ticks.
            size: Units.
            order_id: The order to cancel or replace; 0: a new order.
            at: Send it then, by the agent's clock; 0: now.
            where: bool[B], the books where to send it; None: in all.
        """
        rows = torch.zeros(len(self), c.NUM_QUEUED, dtype=torch.int64, device=self.time.device)
        sent = torch.ones_like(self.time, dtype=torch.bool) if where is None else where
        rows[:, t.KIND] = torch.where(sent, kind, t.IDLE)
        for column, value in (
            (t.SIDE, side),
            (t.PRICE, price),
            (t.SIZE, size),
            (t.ORDER_ID, order_id),
            (c.ARRIVAL, at),
            (c.FLAGS, self._flags),
        ):
            rows[:, column] = value
        return rows

    def limit(
        self,
        side: int | Tensor,
        price: int | Tensor,
        size: int | Tensor,
        where: Tensor | None = None,
        at: int | Tensor = 0,
    ) -> Tensor:
        """Limit orders; none where the size is not above 0, or the price is none. Arguments as in `order`."""
        sent = (self.full(size) > 0) & (self.full(price) > 0)
        return self.order(t.LIMIT, side, price, size, at=at, where=sent if where is None else sent & where)

    def market(self, side: int | Tensor, size: int | Tensor, where: Tensor | None = None) -> Tensor:
        """Orders at any price, what does not fill is dropped; none where the size is not above 0."""
        sent = self.full(size) > 0
        return self.order(t.MARKET, side, 0, size, where=sent if where is None else sent & where)

    def cancel(self, order_id: Tensor, size: int | Tensor = 0, where: Tensor | None = None) -> Tensor:
        """Cancels of its own orders, by id; a size of 0 means all that is left. None where the id is 0."""
        sent = order_id != 0
        return self.order(t.CANCEL, 0, 0, size, order_id, where=sent if where is None else sent & where)

    def cancel_all(self, where: Tensor | None = None) -> list[Tensor]:
        """Cancels of all its orders; `where` is bool[B], or bool[B, M] to choose among `orders`."""
        chosen = torch.ones_like(self.orders[..., c.OWN_ID], dtype=torch.bool)
        if where is not None:
            chosen = chosen & where.reshape(len(self), -1)
        return self._cancels(chosen)

    def reduce(self, side: int, keep: Tensor, among: Tensor, where: Tensor | None = None) -> list[Tensor]:
        """Cancels that leave a part of its orders on one side, the oldest first.

        Args:
            side: `t.BUY` or `t.SELL`.
            keep: int64[B], how many units may stay.
            among: bool[B, M], which of `orders` may stay at all.
            where: bool[B], the books where to do so; None: in all.
        """
        on_side = self.on_side(side)
        size = torch.where(on_side & among, self.orders[..., c.OWN_SIZE], 0)
        before = size.cumsum(dim=1) - size
        kept = torch.minimum((keep[:, None] - before).clamp(min=0), size)
        excess = torch.where(on_side, self.orders[..., c.OWN_SIZE] - kept, 0)
        chosen = excess > 0 if where is None else (excess > 0) & where[:, None]
        return self._cancels(chosen, excess)

    def _cancels(self, chosen: Tensor, size: Tensor | int = 0) -> list[Tensor]:
        """Cancels of its orders where chosen, bool[B, M]; size, int64[B, M], of each, 0: all of it."""
        # All at once: on a GPU every operation of a decision takes its time in every step.
        ids = self.orders[..., c.OWN_ID]
        rows = ids.new_zeros(*ids.shape, c.NUM_QUEUED)
        rows[..., t.KIND] = torch.where(chosen & (ids != 0), t.CANCEL, t.IDLE)
        rows[..., t.SIZE] = size
        rows[..., t.ORDER_ID] = ids
        rows[..., c.FLAGS] = self._flags
        return list(rows.unbind(dim=1))


@dataclass
class Decision:
    """What an agent does.

    Attributes:
        wake: int64[B], when it decides next, by its clock; `NEVER` when it has finished.
        orders: Rows from the view's `limit`, `cancel` and so on. They are sent in this order.
        state: What it wants to find in the next decision; the same names and shapes [B, ...] as in `begin`.
        on_order: It also decides after the next order of anybody else.
    """

    wake: Tensor
    orders: Sequence[Tensor] = ()
    state: dict[str, Tensor] = field(default_factory=dict)
    on_order: bool = False


class Agent(ABC):
    """A trader in B books.

    Attributes:
        open_orders: M, how many of its orders may rest in a book at once.
        under_way: Q, how many of its orders may be on their way to the exchange at once.
        num_draws: Random numbers that a decision takes.
        background: Its orders are the background order flow: nobody's, as the model's are. They may cancel what rests
            (`t.CANCEL_AT`), pay no account, and are not among the view's `orders`.
        recorded: It follows the recorded session, and brings what the feed revealed: books begin as the feed showed
            them, without what is made up beyond.
        files: What it has read: an interrupted simulation begins anew where one has changed.
    """

    open_orders: int = 8
    under_way: int = 32
    num_draws: int = 1
    background: bool = False
    recorded: bool = False
    files: Sequence[Path] = ()

    def meet(self, starts: Sequence[Start], start_of: Tensor) -> None:  # noqa: B027 - few agents need it
        """Learn of the starts before the first step; start_of, int64[B], tells each book's.

        What belongs to a book goes into the state, through `begin`: books are forked and left out on the way.
        """

    def begin(self, view: View) -> dict[str, Tensor]:
        """What the first decision, at the rollout's beginning, finds in `state`: tensors [B, ...]."""
        return {}

    @abstractmethod
    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Decide, in all books at once."""
