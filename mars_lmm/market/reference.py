"""The reference book: the matching rules in plain Python, slow and obviously right.

Tests and the bench compare the compiled book with it, report by report and trade by trade. What a venue adds
(sessions, admission, accounts, auctions, halts) is in `reference_venue.py`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mars_lmm.market.types import (
    ACCEPTED,
    ALLOW,
    BACKGROUND,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BOOK_FULL,
    BUY,
    CANCEL,
    CANCEL_AT,
    CANCEL_BOTH,
    CANCEL_INCOMING,
    CANCEL_RESTING,
    CLOSEST_SIZE,
    DECREMENT,
    DEPTH,
    DUPLICATE_ID,
    FOK,
    HALT,
    IOC,
    KIND_NOT_TAKEN,
    LIMIT,
    MARKET,
    MARKET_FOK,
    MAX_PRICE,
    MAX_SIZE,
    NO_LIQUIDITY,
    NO_PRICE,
    NOT_OWNER,
    NOTHING_TO_CANCEL,
    OLDEST_FIRST,
    OPPOSITE_BEST,
    OUTCOMES,
    POST_ONLY,
    REPLACE,
    SELL,
    UNFILLABLE,
    UNKNOWN_ID,
    WOULD_TRADE,
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
    parked: int = 0
    prevented: int = 0


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
class LiveOrder:
    """An order that rests in the book or is held aside."""

    side: int
    price: int
    size: int
    order_id: int
    owner: int


@dataclass(slots=True)
class Level:
    """The orders at one price, oldest first, by id."""

    queue: dict[int, LiveOrder] = field(default_factory=dict)
    total: int = 0


def malformed(kind: int, side: int, size: int) -> int:
    """What is wrong with an order, whatever the book holds: BAD_KIND, BAD_SIDE, BAD_SIZE or ACCEPTED."""
    if not 0 <= kind < HALT:
        return BAD_KIND
    if side != SELL and side != BUY and kind not in (CANCEL, REPLACE):
        return BAD_SIDE
    if size < 0 or (size == 0 and kind != CANCEL) or (size > MAX_SIZE and kind not in (CANCEL, CANCEL_AT)):
        return BAD_SIZE
    return ACCEPTED


class ReferenceBook:
    """A limit order book with price-time priority.

    Args:
        num_orders: how many orders it can hold at once.
        num_ticks: how many prices its ladder has.
        base_price: the ladder's lowest price in ticks.
        queue_rule: what CANCEL_AT takes of a price's queue.
        self_trade: who gives way when an owner's order meets a resting one of its own.
    """

    def __init__(
        self,
        num_orders: int,
        num_ticks: int,
        base_price: int,
        queue_rule: int = OLDEST_FIRST,
        self_trade: int = ALLOW,
    ):
        self.num_orders = num_orders
        self.prices = range(base_price, base_price + num_ticks)
        self.queue_rule = queue_rule
        self.self_trade = self_trade
        self.live: dict[int, LiveOrder] = {}
        self.held_aside: dict[int, LiveOrder] = {}  # the live orders that are parked, oldest first
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
        outcome = malformed(kind, side, size)
        if outcome:
            report = Report(outcome)
        elif kind == LIMIT:
            report = self._limit(side, price, size, order_id, owner, trades)
        elif kind == CANCEL:
            report = self._cancel(size, order_id, owner)
        elif kind == CANCEL_AT:
            report = self._cancel_at(side, price, size, owner)
        elif kind in (MARKET, MARKET_FOK):
            any_price = MAX_PRICE if side == BUY else 0
            report = self._take(side, any_price, size, order_id, owner, trades, whole=kind == MARKET_FOK)
        elif kind in (IOC, FOK):
            report = self._take(side, price, size, order_id, owner, trades, whole=kind == FOK)
        elif kind == POST_ONLY:
            report = self._post_only(side, price, size, order_id, owner, trades)
        elif kind == REPLACE:
            report = self._replace(price, size, order_id, owner, trades)
        elif kind == BEST_FIVE:
            report = self._best_five(side, price, size, order_id, owner, trades)
        elif kind == BEST_FIVE_LIMIT:
            report = self._best_five_limit(side, price, size, order_id, owner, trades)
        elif kind == OPPOSITE_BEST:
            report = self._limit_at(self.best(1 - side), side, size, order_id, owner, trades)
        else:  # OWN_BEST
            report = self._limit_at(self.best(side), side, size, order_id, owner, trades)
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
        if price not in self.prices:
            return Report(BAD_PRICE)
        if order_id in self.live:
            return Report(DUPLICATE_ID)
        # An order that meets another leaves a free slot: either it or the other goes whole.
        if len(self.live) == self.num_orders and not self._crosses(side, price):
            return Report(BOOK_FULL)
        return self._enter(side, price, size, order_id, owner, trades)

    def _limit_at(self, price, side, size, order_id, owner, trades):
        """A limit order at a price that the book names."""
        if order_id in self.live:
            return Report(DUPLICATE_ID)
        if price == NO_PRICE:
            return Report(NO_LIQUIDITY)
        return self._limit(side, price, size, order_id, owner, trades)

    def _post_only(self, side, price, size, order_id, owner, trades):
        if price not in self.prices:
            return Report(BAD_PRICE)
        if order_id in self.live:
            return Report(DUPLICATE_ID)
        if self._crosses(side, price):
            return Report(WOULD_TRADE)
        return self._limit(side, price, size, order_id, owner, trades)

    def _take(self, side, bound, size, order_id, owner, trades, whole=False):
        """An order that never rests; `whole` if it fills whole or not at all."""
        if not self._crosses(side, bound):
            return Report(NO_LIQUIDITY)
        if whole and not self._fills_whole(side, bound, size, owner):
            return Report(UNFILLABLE)
        left, cancelled, prevented = self._match(side, bound, size, order_id, owner, trades)
        return self._report(trades, cancelled=cancelled + left, prevented=prevented)

    def _best_five(self, side, price, size, order_id, owner, trades):
        if not self.ranks[1 - side]:
            return Report(NO_LIQUIDITY)
        return self._take(side, self._best_five_bound(side, price), size, order_id, owner, trades)

    def _best_five_limit(self, side, price, size, order_id, owner, trades):
        if order_id in self.live:
            return Report(DUPLICATE_ID)
        if not self.ranks[1 - side]:
            return Report(NO_LIQUIDITY)
        bound = self._best_five_bound(side, price)
        if not self._crosses(side, bound):
            return Report(NO_LIQUIDITY)
        left, cancelled, prevented = self._match(side, bound, size, order_id, owner, trades)
        if not trades:
            return self._report(trades, cancelled=cancelled + left, prevented=prevented)
        if left:
            self._add(LiveOrder(side, trades[-1].price, left, order_id, owner))
        return self._report(trades, resting=left, cancelled=cancelled, prevented=prevented)

    def _best_five_bound(self, side, price):
        """The worst price that a best-five order takes; the other side is not empty."""
        fifth = abs(self.ranks[1 - side][:5][-1])
        if price <= 0:
            return fifth
        return min(fifth, price) if side == BUY else max(fifth, price)

    def _replace(self, price, size, order_id, owner, trades):
        outcome = self._replaceable(order_id, owner)
        if outcome:
            return Report(outcome)
        if price not in self.prices:
            return Report(BAD_PRICE)
        order = self.live[order_id]
        old_size = order.size
        if price == order.price and size <= old_size:
            self._reduce(order, old_size - size)
            return Report(ACCEPTED, resting=size, cancelled=old_size - size, acted_price=price)
        self._reduce(order, old_size)
        report = self._enter(order.side, price, size, order_id, owner, trades)
        return report._replace(cancelled=report.cancelled + old_size)

    def _replaceable(self, order_id, owner):
        """Why the order cannot be replaced, or ACCEPTED."""
        if order_id not in self.live:
            return UNKNOWN_ID
        if self.live[order_id].owner != owner:
            return NOT_OWNER
        return KIND_NOT_TAKEN if order_id in self.held_aside else ACCEPTED

    def _cancel(self, size, order_id, owner):
        if order_id not in self.live:
            return Report(UNKNOWN_ID)
        order = self.live[order_id]
        if order.owner != owner:
            return Report(NOT_OWNER)
        amount = min(size, order.size) if size else order.size
        self._reduce(order, amount)
        return Report(ACCEPTED, cancelled=amount, acted_price=order.price)

    def _cancel_at(self, side, price, size, owner):
        # Nearest first; of two equally near prices the better one, which has the lower rank.
        ranks = sorted(self.ranks[side], key=lambda rank: (abs(abs(rank) - price), rank))
        for rank in ranks:
            queue = self.levels[side][abs(rank)].queue.values()
            owned = [order for order in queue if order.owner == owner]
            if owned:
                break
        else:
            return Report(NOTHING_TO_CANCEL)
        if self.queue_rule != OLDEST_FIRST:
            owned.reverse()
        if self.queue_rule == CLOSEST_SIZE:
            order = min(owned, key=lambda order: abs(order.size - size))
            amount = order.size
            self._reduce(order, amount)
            return Report(ACCEPTED, cancelled=amount, acted_price=abs(rank))
        left = size
        for order in owned:
            amount = min(left, order.size)
            self._reduce(order, amount)
            left -= amount
            if not left:
                break
        return Report(ACCEPTED, cancelled=size - left, acted_price=abs(rank))

    def _report(self, trades, resting=0, cancelled=0, prevented=0, rest_price=NO_PRICE):
        """The report of an accepted new order."""
        if not trades:
            return Report(ACCEPTED, 0, resting, cancelled, rest_price, 0, 0, 0, prevented)
        filled = sum(trade.size for trade in trades)
        value = sum(trade.price * trade.size for trade in trades)
        return Report(ACCEPTED, filled, resting, cancelled, trades[-1].price, value, len(trades), 0, prevented)

    def _crosses(self, side, price):
        best = self.best(1 - side)
        return best != NO_PRICE and (best <= price if side == BUY else best >= price)

    def _met(self, side, bound) -> Iterator[LiveOrder]:
        """The orders that an order of this side meets, in price-time order."""
        for rank in self.ranks[1 - side]:
            if abs(rank) > bound if side == BUY else abs(rank) < bound:
                return
            yield from self.levels[1 - side][abs(rank)].queue.values()

    def _own(self, resting, owner):
        """Whether the resting order may not trade with an order of this owner."""
        return self.self_trade != ALLOW and resting.owner == owner and owner != BACKGROUND

    def _fills_whole(self, side, bound, size, owner):
        volume = 0
        for resting in self._met(side, bound):
            if not self._own(resting, owner):
                volume += resting.size
            elif self.self_trade != CANCEL_RESTING:
                break
        return volume >= size

    def _match(self, side, price, size, order_id, owner, trades):
        """Trade with the other side while it is no worse than `price`.

        Returns:
            (left, cancelled, prevented): of `size`, what met nothing and what gave way to the owner's own resting
            orders; and the size of the resting orders that gave way.
        """
        left, cancelled, prevented = size, 0, 0
        while left and self._crosses(side, price):
            best = self.best(1 - side)
            resting = next(iter(self.levels[1 - side][best].queue.values()))
            if self._own(resting, owner):
                off_incoming, off_resting = self._give_way(left, resting.size)
                left -= off_incoming
                cancelled += off_incoming
                prevented += off_resting
                self._reduce(resting, off_resting)
            else:
                traded = min(left, resting.size)
                trades.append(Trade(best, traded, resting.order_id, resting.owner, order_id, owner, side))
                self._reduce(resting, traded)
                left -= traded
        self._record(trades)
        return left, cancelled, prevented

    def _give_way(self, left, resting_size):
        """What goes of an incoming order and of its owner's resting one instead of a trade."""
        smaller = min(left, resting_size)
        return {
            CANCEL_INCOMING: (left, 0),
            CANCEL_RESTING: (0, resting_size),
            CANCEL_BOTH: (left, resting_size),
            DECREMENT: (smaller, smaller),
        }[self.self_trade]

    def _record(self, trades):
        """Enter new trades into the day's figures."""
        if trades:
            self.open_price = self.open_price if self.num_trades else trades[0].price
            self.last_price = trades[-1].price
            self.volume += sum(trade.size for trade in trades)
            self.num_trades += len(trades)

    def _enter(self, side, price, size, order_id, owner, trades):
        """Match an order up to its price; what is left rests."""
        left, cancelled, prevented = self._match(side, price, size, order_id, owner, trades)
        if left:
            self._add(LiveOrder(side, price, left, order_id, owner))
        return self._report(trades, left, cancelled, prevented, price if left else NO_PRICE)

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
        """Take `amount` off a live order, and the order away when nothing is left."""
        order.size -= amount
        if order.size == 0:
            del self.live[order.order_id]
        if order.order_id in self.held_aside:
            if order.size == 0:
                del self.held_aside[order.order_id]
            return
        level = self.levels[order.side][order.price]
        level.total -= amount
        if order.size:
            return
        del level.queue[order.order_id]
        if not level.queue:
            del self.levels[order.side][order.price]
            ranks = self.ranks[order.side]
            del ranks[bisect_left(ranks, order.price if order.side == SELL else -order.price)]
