"""The reference book: the matching rules in plain Python, slow and obviously right.

Tests and the bench compare the compiled book with it, report by report and trade by trade.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import NamedTuple

from mars_lmm.market.types import (
    ACCEPTED,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BOOK_FULL,
    BUY,
    CANCEL,
    CANCEL_AT,
    DEPTH,
    DUPLICATE_ID,
    IOC,
    LIMIT,
    MARKET,
    MAX_PRICE,
    MAX_SIZE,
    NEWEST_FIRST,
    NO_LIQUIDITY,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    OLDEST_FIRST,
    OUTCOMES,
    SELL,
    UNKNOWN_ID,
)


class Report(NamedTuple):
    """What became of an order; the columns of a report row."""

    outcome: int
    filled: int = 0
    resting: int = 0
    cancelled: int = 0
    acted_price: int = NO_PRICE
    fill_value: int = 0
    num_fills: int = 0


class Trade(NamedTuple):
    """One fill; the columns of a trade row."""

    price: int
    size: int
    resting_id: int
    resting_owner: int
    incoming_id: int
    incoming_owner: int
    incoming_side: int


@dataclass(slots=True)
class RestingOrder:
    """An order in the book."""

    side: int
    price: int
    size: int
    order_id: int
    owner: int


@dataclass(slots=True)
class Level:
    """The orders at one price, oldest first, by id."""

    queue: dict[int, RestingOrder] = field(default_factory=dict)
    total: int = 0


class ReferenceBook:
    """A limit order book with price-time priority.

    Args:
        num_orders: how many orders it can hold at once.
        num_ticks: how many prices its ladder has.
        base_price: the ladder's lowest price in ticks.
        queue_rule: which end of a price's queue CANCEL_AT takes first.
    """

    def __init__(self, num_orders: int, num_ticks: int, base_price: int, queue_rule: int = OLDEST_FIRST):
        self.num_orders = num_orders
        self.prices = range(base_price, base_price + num_ticks)
        self.queue_rule = queue_rule
        self.live: dict[int, RestingOrder] = {}
        self.levels: tuple[dict[int, Level], dict[int, Level]] = ({}, {})
        # Occupied prices, best first: a buy price is kept negative.
        self.ranks: tuple[list[int], list[int]] = ([], [])
        self.open_price = 0
        self.last_price = 0
        self.volume = 0
        self.num_trades = 0
        self.outcome_counts = [0] * len(OUTCOMES)

    def execute(
        self, kind: int, side: int, price: int, size: int, order_id: int, owner: int
    ) -> tuple[Report, list[Trade]]:
        """Execute one order; return its report and its trades."""
        trades: list[Trade] = []
        if kind == LIMIT:
            report = self._limit(side, price, size, order_id, owner, trades)
        elif kind == MARKET:
            any_price = MAX_PRICE if side == BUY else 0
            report = self._take(side, any_price, size, order_id, owner, trades)
        elif kind == IOC:
            report = self._take(side, price, size, order_id, owner, trades)
        elif kind == CANCEL:
            report = self._cancel(size, order_id)
        elif kind == CANCEL_AT:
            report = self._cancel_at(side, price, size, owner)
        else:
            report = Report(BAD_KIND)
        self.outcome_counts[report.outcome] += 1
        return report, trades

    def best(self, side: int) -> int:
        """The best price of a side, or NO_PRICE."""
        return abs(self.ranks[side][0]) if self.ranks[side] else NO_PRICE

    def queue(self, side: int, price: int) -> list[tuple[int, int, int]]:
        """The orders at a price, oldest first, as (order id, size, owner)."""
        level = self.levels[side].get(price, Level())
        return [(order.order_id, order.size, order.owner) for order in level.queue.values()]

    def snapshot(self) -> list[list[tuple[int, int]]]:
        """The best DEPTH levels of both sides, best first, as [side][level] = (price, size)."""
        sides = []
        for side in (SELL, BUY):
            levels = [(abs(rank), self.levels[side][abs(rank)].total) for rank in self.ranks[side][:DEPTH]]
            sides.append(levels + [(NO_PRICE, 0)] * (DEPTH - len(levels)))
        return sides

    def _limit(self, side, price, size, order_id, owner, trades):
        if side not in (SELL, BUY):
            return Report(BAD_SIDE)
        if not 0 < size <= MAX_SIZE:
            return Report(BAD_SIZE)
        if price not in self.prices:
            return Report(BAD_PRICE)
        if order_id in self.live:
            return Report(DUPLICATE_ID)
        if len(self.live) == self.num_orders and not self._makes_room(side, price, size):
            return Report(BOOK_FULL)
        left = self._match(side, price, size, order_id, owner, trades)
        if left:
            self._add(RestingOrder(side, price, left, order_id, owner))
        acted_price = trades[-1].price if trades else price
        return self._report(trades, resting=left, acted_price=acted_price)

    def _take(self, side, price, size, order_id, owner, trades):
        """A market or IOC order: it never rests."""
        if side not in (SELL, BUY):
            return Report(BAD_SIDE)
        if not 0 < size <= MAX_SIZE:
            return Report(BAD_SIZE)
        if not self._crosses(side, price):
            return Report(NO_LIQUIDITY)
        left = self._match(side, price, size, order_id, owner, trades)
        return self._report(trades, cancelled=left, acted_price=trades[-1].price)

    def _cancel(self, size, order_id):
        if size < 0:
            return Report(BAD_SIZE)
        if order_id not in self.live:
            return Report(UNKNOWN_ID)
        order = self.live[order_id]
        amount = min(size, order.size) if size else order.size
        self._reduce(order, amount)
        return Report(ACCEPTED, cancelled=amount, acted_price=order.price)

    def _cancel_at(self, side, price, size, owner):
        if side not in (SELL, BUY):
            return Report(BAD_SIDE)
        if size <= 0:
            return Report(BAD_SIZE)
        # Nearest first; of two equally near prices the better one, which has the lower rank.
        ranks = sorted(self.ranks[side], key=lambda rank: (abs(abs(rank) - price), rank))
        for rank in ranks:
            queue = self.levels[side][abs(rank)].queue.values()
            owned = [order for order in queue if order.owner == owner]
            if owned:
                break
        else:
            return Report(NOTHING_TO_CANCEL)
        if self.queue_rule == NEWEST_FIRST:
            owned.reverse()
        left = size
        for order in owned:
            amount = min(left, order.size)
            self._reduce(order, amount)
            left -= amount
            if not left:
                break
        return Report(ACCEPTED, cancelled=size - left, acted_price=abs(rank))

    def _report(self, trades, **fields):
        return Report(
            ACCEPTED,
            filled=sum(trade.size for trade in trades),
            fill_value=sum(trade.price * trade.size for trade in trades),
            num_fills=len(trades),
            **fields,
        )

    def _crosses(self, side, price):
        best = self.best(1 - side)
        return best != NO_PRICE and (best <= price if side == BUY else best >= price)

    def _makes_room(self, side, price, size):
        """Whether the order needs no slot or frees one: a dry run through the queues it would trade with."""
        left, freed = size, 0
        for rank in self.ranks[1 - side]:
            if abs(rank) > price if side == BUY else abs(rank) < price:
                break
            for resting in self.levels[1 - side][abs(rank)].queue.values():
                traded = min(left, resting.size)
                left -= traded
                freed += traded == resting.size
        return left == 0 or freed > 0

    def _match(self, side, price, size, order_id, owner, trades):
        """Trade with the other side while it is no worse than `price`; return what is left of `size`."""
        left = size
        while left and self._crosses(side, price):
            best = self.best(1 - side)
            resting = next(iter(self.levels[1 - side][best].queue.values()))
            traded = min(left, resting.size)
            trades.append(Trade(best, traded, resting.order_id, resting.owner, order_id, owner, side))
            self._reduce(resting, traded)
            left -= traded
        if trades:
            self.open_price = self.open_price if self.num_trades else trades[0].price
            self.last_price = trades[-1].price
            self.volume += size - left
            self.num_trades += len(trades)
        return left

    def _add(self, order):
        levels = self.levels[order.side]
        if order.price not in levels:
            levels[order.price] = Level()
            insort(self.ranks[order.side], order.price if order.side == SELL else -order.price)
        level = levels[order.price]
        level.queue[order.order_id] = order
        level.total += order.size
        self.live[order.order_id] = order

    def _reduce(self, order, amount):
        """Take `amount` off a resting order, and the order off the book when nothing is left."""
        level = self.levels[order.side][order.price]
        level.total -= amount
        order.size -= amount
        if order.size:
            return
        del level.queue[order.order_id]
        del self.live[order.order_id]
        if not level.queue:
            del self.levels[order.side][order.price]
            ranks = self.ranks[order.side]
            del ranks[bisect_left(ranks, order.price if order.side == SELL else -order.price)]
