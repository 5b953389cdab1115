"""The reference venue: sessions, admission, waiting orders, auctions and halts around the reference book.

In plain Python, slow and obviously right, as `reference.py`; tests compare the compiled venue with it.
"""

from collections.abc import Sequence

from mars_lmm.market import types as t
from mars_lmm.market.reference import LiveOrder, ReferenceBook, Report, Trade, malformed
from mars_lmm.market.reference_accounts import ReferenceLedger
from mars_lmm.market.reference_admission import MARKET_KINDS, PRICED_KINDS, inadmissible, inside_cage
from mars_lmm.market.reference_auction import auction_price
from mars_lmm.market.reference_volatility import ReferenceVolatility
from mars_lmm.market.types import ACCEPTED, BUY, CALL, CANCEL, CANCEL_AT, CONTINUOUS, NO_PRICE, REPLACE, SELL


class ReferenceVenue(ReferenceBook):
    """A reference book under one day's rules.

    Args:
        num_orders: how many orders it can hold at once, parked ones included.
        num_ticks: how many prices its ladder has.
        base_price: the ladder's lowest price in ticks.
        rules: the day's rules by column of a rules row.
        schedule: the day's phases as (start in ns, mode, whether cancels are taken), the first from 0 on.
        accounts: [cash, position, sellable] by owner, the row of BACKGROUND unused; None if nobody has one.
        queue_rule: what CANCEL_AT takes of a price's queue.
    """

    def __init__(
        self,
        num_orders: int,
        num_ticks: int,
        base_price: int,
        rules: Sequence[int],
        schedule: Sequence[Sequence[int]],
        accounts: Sequence[Sequence[int]] | None = None,
        queue_rule: int = t.OLDEST_FIRST,
    ):
        super().__init__(num_orders, num_ticks, base_price, queue_rule, rules[t.SELF_TRADE])
        self.rules = list(rules)
        self.schedule = [tuple(row) for row in schedule]
        self.ledger = ReferenceLedger(self.rules, accounts)
        self.volatility = ReferenceVolatility(self.rules)
        self.clock = 0
        self.phase = 0
        self.halted_until = 0

    # What the venue shows.

    @property
    def num_parked(self) -> int:
        """How many orders are held aside."""
        return len(self.held_aside)

    def parked(self) -> list[tuple[int, int, int, int, int]]:
        """The orders held aside, oldest first, as (order id, side, price, size, owner)."""
        orders = self.held_aside.values()
        return [(order.order_id, order.side, order.price, order.size, order.owner) for order in orders]

    @property
    def accounts(self) -> list[list[int]]:
        """The accounts by owner, by column of an account row; what is reserved is counted afresh."""
        return self.ledger.recounted(self.live.values())

    @property
    def mode(self) -> int:
        """What the book does with orders now."""
        return self.rules[t.HALT_MODE] if self.halted_until else self.schedule[self.phase][t.PHASE_MODE]

    # The way of an order.

    def submit(
        self, kind: int, side: int, price: int, size: int, order_id: int, owner: int, time: int
    ) -> tuple[Report, list[Trade]]:
        """Let the clock run to `time`, then take one order.

        Returns:
            Its report, and all trades of the call: those of the phases that began first, the order's own, and those
            of parked orders that it let in.
        """
        trades = self.advance(time)
        if kind == t.IDLE:
            return Report(ACCEPTED), trades
        if kind == REPLACE and order_id in self.live:
            side = self.live[order_id].side
        if not self.rules[t.ENFORCED]:
            report, own = self._take_freely(kind, side, price, size, order_id, owner)
        elif kind in (t.HALT, t.RESUME):
            report, own = self._halt_or_resume(kind)
        else:
            report, own = self._take_under_rules(kind, side, price, size, order_id, owner)
        return report, trades + own

    def _take_freely(self, kind, side, price, size, order_id, owner):
        """Take an order while no rule binds; an account must still be able to pay."""
        outcome = malformed(kind, side, size)
        if kind == REPLACE:
            outcome = outcome or self._replaceable(order_id, owner)
        if not outcome and kind not in (CANCEL, CANCEL_AT):
            available = self._available(kind, side, order_id, owner)
            outcome = self._unaffordable(kind, side, price, size, owner, available)
        if outcome:
            return self._count(Report(outcome)), []
        return self.execute(kind, side, price, size, order_id, owner)

    def _halt_or_resume(self, kind):
        was_halted, self.halted_until = self.halted_until, t.FOREVER if kind == t.HALT else 0
        trades = self._begin_mode() if kind == t.RESUME and was_halted else []
        return self._count(Report(ACCEPTED)), trades

    def _take_under_rules(self, kind, side, price, size, order_id, owner):
        mode, parks = self.mode, False
        outcome = malformed(kind, side, size) or self._closed(kind, mode)
        if not outcome and kind not in (CANCEL, CANCEL_AT):
            outcome, parks = self._admit(kind, side, price, size, order_id, owner, mode)
        if outcome:
            return self._count(Report(outcome)), []
        if parks:
            return self._count(self._park(side, price, size, order_id, owner)), []

        report, trades = self.execute(kind, side, price, size, order_id, owner)
        if report.outcome == ACCEPTED and mode == CONTINUOUS:
            if trades:
                self._check_volatility()
            trades = trades + self._release()
        return report, trades

    def _admit(self, kind, side, price, size, order_id, owner, mode):
        """Whether the venue lets the order in: (outcome, whether it is to be held aside first)."""
        available = self._available(kind, side, order_id, owner)
        outcome = self._not_taken(kind, order_id, owner, mode)
        outcome = outcome or inadmissible(self.rules, kind, side, price, size, available)
        parks = mode == t.QUEUE
        if not outcome and mode == CONTINUOUS and kind in PRICED_KINDS and not self._inside_cage(side, price):
            parks = kind == t.LIMIT and self.rules[t.CAGE_PARKS] == 1
            outcome = ACCEPTED if parks else t.PRICE_CAGE
        return outcome or self._unaffordable(kind, side, price, size, owner, available), parks

    def _count(self, report):
        self.outcome_counts[report.outcome] += 1
        return report

    # The clock.

    def advance(self, time: int) -> list[Trade]:
        """Let the clock run to `time`, through the ends of halts and the starts of phases; return the trades."""
        if not self.rules[t.ENFORCED]:
            return []
        trades = []
        time = max(time, self.clock)
        while True:
            halt_end = self.halted_until or t.FOREVER
            following = self.schedule[self.phase + 1 : self.phase + 2]
            phase_start = following[0][t.PHASE_START] if following else t.FOREVER
            event = min(halt_end, phase_start)
            if event > time or event == t.FOREVER:
                break
            self.clock = max(self.clock, event)
            if halt_end <= phase_start:
                self.halted_until = 0
            else:
                self.phase += 1
            trades += self._begin_mode()
        self.clock = time
        return trades

    def _begin_mode(self):
        """What a phase's start or a halt's end sets going; return the trades."""
        if self.halted_until or self.mode == CALL:
            return []
        trades = self._uncross()
        if self.mode == CONTINUOUS:
            trades += self._release()
        return trades

    # Admission: each check returns an outcome, ACCEPTED if it has nothing against the order.

    def _closed(self, kind, mode):
        """Whether the session takes such orders now."""
        if mode == t.SHUT:
            return t.HALTED if self.halted_until else t.CLOSED
        takes_cancels = self.halted_until or self.schedule[self.phase][t.PHASE_CANCELS]
        return t.NO_CANCEL if kind in (CANCEL, CANCEL_AT, REPLACE) and not takes_cancels else ACCEPTED

    def _not_taken(self, kind, order_id, owner, mode):
        """Whether the venue takes this kind in this mode, and what to replace is there."""
        rules = self.rules
        if not rules[t.KINDS_TAKEN] >> kind & 1:
            return t.KIND_NOT_TAKEN
        if kind == REPLACE:
            return self._replaceable(order_id, owner) or (t.KIND_NOT_TAKEN if mode == t.QUEUE else ACCEPTED)
        if kind != t.LIMIT and mode != CONTINUOUS:
            return t.KIND_NOT_TAKEN
        if kind in MARKET_KINDS and rules[t.MARKET_NEEDS_LIMITS] and rules[t.LIMIT_UP] == t.MAX_PRICE:
            return t.KIND_NOT_TAKEN
        return ACCEPTED

    def _inside_cage(self, side, price):
        """Whether a price is near enough to the market, seen from a side, for continuous trading."""
        if not self.rules[t.CAGE_RATE]:
            return True
        base = self.best(1 - side)
        if base == NO_PRICE:
            base = self.best(side)
        if base == NO_PRICE:
            base = self._last_or_close()
        return inside_cage(self.rules, side, price, base)

    def _last_or_close(self):
        """The price of the last trade, before the first one the previous close."""
        return self.last_price if self.num_trades else self.rules[t.PREVIOUS_CLOSE]

    def _available(self, kind, side, order_id, owner):
        """What the owner's account has for the order: cash for a buy, size for a sell; None without an account."""
        replaced = self.live.get(order_id) if kind == REPLACE else None
        return self.ledger.available(side, owner, replaced)

    def _unaffordable(self, kind, side, price, size, owner, available):
        """Whether the owner's account covers the order with what it has available."""
        if not self.ledger or owner == t.BACKGROUND:
            return ACCEPTED
        if available is None:
            return t.NO_ACCOUNT
        if side == BUY:
            covered = self.rules[t.CREDIT] or self._cost(kind, price, size, owner) <= available
            return ACCEPTED if covered else t.NO_CASH
        covered = self.rules[t.SHORT_SALES] or size <= available
        return ACCEPTED if covered else t.NO_POSITION

    def _cost(self, kind, price, size, owner):
        """What a buy may cost at most, fees included."""
        if kind in PRICED_KINDS:
            return self.ledger.with_fees(price * size, size)
        if kind in (t.OPPOSITE_BEST, t.OWN_BEST):
            best = self.best(SELL if kind == t.OPPOSITE_BEST else BUY)
            return 0 if best == NO_PRICE else self.ledger.with_fees(best * size, size)
        if not self.ranks[SELL]:
            return 0
        bound = t.MAX_PRICE if kind in (t.MARKET, t.MARKET_FOK) else self._best_five_bound(BUY, price)
        # Where own orders give way instead of trading, the order goes on behind them.
        offers = (order for order in self._met(BUY, bound) if not self._own(order, owner))
        return self.ledger.cost(size, offers, rests=kind == t.BEST_FIVE_LIMIT)

    # Accounts follow the book.

    def _add(self, order):
        super()._add(order)
        self.ledger.reserve(order, 0, order.size)

    def _reduce(self, order, amount):
        super()._reduce(order, amount)
        self.ledger.reserve(order, order.size + amount, order.size)

    def _record(self, trades):
        super()._record(trades)
        self.ledger.settle(trades)

    # Orders that wait: in a call auction, or held aside.

    def _crosses(self, side, price):
        """Whether an order would trade; before a call's auction none does, so that all rest."""
        return super()._crosses(side, price) and not (self.rules[t.ENFORCED] and self.mode == CALL)

    def _park(self, side, price, size, order_id, owner):
        """Hold an order aside."""
        if price not in self.prices:
            return Report(t.BAD_PRICE)
        if order_id in self.live:
            return Report(t.DUPLICATE_ID)
        if len(self.live) == self.num_orders:
            return Report(t.BOOK_FULL)
        order = LiveOrder(side, price, size, order_id, owner)
        self.live[order_id] = self.held_aside[order_id] = order
        self.ledger.reserve(order, 0, size)
        return Report(ACCEPTED, parked=size, acted_price=price)

    def _release(self):
        """Let parked orders in, oldest first, as long as the cage admits one; return the trades."""
        released, caged = [], self.rules[t.CAGE_PARKS]
        while self.mode == CONTINUOUS:
            held = self.held_aside.values()
            order = next((order for order in held if not caged or self._inside_cage(order.side, order.price)), None)
            if order is None:
                break
            size, trades = order.size, []
            self._reduce(order, size)
            self._enter(order.side, order.price, size, order.order_id, order.owner, trades)
            released += trades
            if trades:
                self._check_volatility()
        return released

    # Auctions and halts.

    def _uncross(self):
        """Trade a crossed book at one price; return the trades."""
        best_sell, best_buy = self.best(SELL), self.best(BUY)
        if NO_PRICE in (best_sell, best_buy) or best_buy < best_sell:
            return []
        prices = range(best_sell, best_buy + 1, self.rules[t.TICK])
        sold_at, bought_at = ([at[price].total if price in at else 0 for price in prices] for at in self.levels)
        price, left = auction_price(self.rules, prices, sold_at, bought_at, self._last_or_close())
        trades = []
        while left:
            seller, buyer = (next(iter(self.levels[side][self.best(side)].queue.values())) for side in (SELL, BUY))
            size = min(left, seller.size, buyer.size)
            trades.append(Trade(price, size, seller.order_id, seller.owner, buyer.order_id, buyer.owner, t.NO_SIDE))
            self._reduce(seller, size)
            self._reduce(buyer, size)
            left -= size
        self._record(trades)
        return trades

    def _check_volatility(self):
        """Halt if the last trade was too far from the reference price."""
        self.halted_until = self.volatility.halt_end(self.clock, self.last_price, self.open_price)
