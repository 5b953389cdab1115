"""The reference venue: sessions, admission, accounts, auctions and halts around the reference book.

In plain Python, slow and obviously right, as `reference.py`; tests compare the compiled venue with it.
"""

from collections.abc import Sequence

from mars_lmm.market.reference import LiveOrder, ReferenceBook, Report, Trade, malformed
from mars_lmm.market.types import (
    ACCEPTED,
    ALLOW,
    AUCTION_AT_ORDERS,
    AUCTION_TIE,
    BACKGROUND,
    BAD_LOT,
    BAD_PRICE,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BOOK_FULL,
    BUY,
    CAGE_PARKS,
    CAGE_RATE,
    CAGE_TICKS,
    CALL,
    CANCEL,
    CANCEL_AT,
    CASH,
    CLOSED,
    CONTINUOUS,
    CREDIT,
    DUPLICATE_ID,
    ENFORCED,
    FEES_PAID,
    FOK,
    FOREVER,
    HALT,
    HALT_DURATION,
    HALT_LATEST,
    HALT_MODE,
    HALT_RATE_1,
    HALT_RATE_2,
    HALT_WINDOW,
    HALTED,
    IDLE,
    IOC,
    KIND_NOT_TAKEN,
    KINDS_TAKEN,
    LIMIT,
    LIMIT_DOWN,
    LIMIT_UP,
    LOT,
    MAKER_FEE,
    MAKER_FEE_PER_UNIT,
    MARKET,
    MARKET_FOK,
    MARKET_NEEDS_LIMITS,
    MAX_LIMIT_ORDER,
    MAX_MARKET_ORDER,
    MAX_PRICE,
    MIDDLE,
    MIN_ORDER,
    NO_ACCOUNT,
    NO_CANCEL,
    NO_CASH,
    NO_POSITION,
    NO_PRICE,
    NO_SIDE,
    ODD_LOT_SELLS,
    OFF_TICK,
    OLDEST_FIRST,
    OPPOSITE_BEST,
    OWN_BEST,
    PHASE_CANCELS,
    PHASE_MODE,
    PHASE_START,
    POSITION,
    POST_ONLY,
    PREVIOUS_CLOSE,
    PRICE_CAGE,
    PRICE_LIMIT,
    QUEUE,
    REPLACE,
    RESERVED_CASH,
    RESERVED_SIZE,
    RESUME,
    SELF_TRADE,
    SELL,
    SELL_DUTY,
    SELLABLE,
    SETTLEMENT_DAYS,
    SHORT_SALES,
    SHUT,
    TAKER_FEE,
    TAKER_FEE_PER_UNIT,
    TICK,
    TOO_LARGE,
)

MILLION = 10**6  # rates are in millionths
MARKET_KINDS = (MARKET, MARKET_FOK, BEST_FIVE, BEST_FIVE_LIMIT, OPPOSITE_BEST, OWN_BEST)
PRICED_KINDS = (LIMIT, IOC, FOK, POST_ONLY, REPLACE)


class ReferenceVenue(ReferenceBook):
    """A reference book under one day's rules.

    Args:
        num_orders: how many orders it can hold at once, parked ones included.
        num_ticks: how many prices its ladder has.
        base_price: the ladder's lowest price in ticks.
        rules: the day's rules by column of a rules row.
        schedule: the day's phases as (start in ns, mode, whether cancels are taken), the first from 0 on.
        accounts: [cash, position, sellable] by owner, the row of BACKGROUND unused; None if nobody has one.
        queue_rule: which end of a price's queue CANCEL_AT takes first.
    """

    def __init__(
        self,
        num_orders: int,
        num_ticks: int,
        base_price: int,
        rules: Sequence[int],
        schedule: Sequence[Sequence[int]],
        accounts: Sequence[Sequence[int]] | None = None,
        queue_rule: int = OLDEST_FIRST,
    ):
        super().__init__(num_orders, num_ticks, base_price, queue_rule, rules[SELF_TRADE])
        self.rules = list(rules)
        self.schedule = [tuple(row) for row in schedule]
        # The reserved columns are running sums that `_reserve` keeps.
        self.ledger = [[*row, 0, 0, 0] for row in accounts or []]
        self.clock = 0
        self.phase = 0
        self.halted_until = 0
        self.num_halts = 0
        self.reference_price = 0
        self.window_start = self.window_sum = self.window_count = 0

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
        rows = [list(row) for row in self.ledger]
        for row in rows:
            row[RESERVED_CASH] = row[RESERVED_SIZE] = 0
        for order in self.live.values():
            if self.has_account(order.owner):
                column, amount = self._reservation(order.side, order.price, order.size)
                rows[order.owner][column] += amount
        return rows

    @property
    def mode(self) -> int:
        """What the book does with orders now."""
        return self.rules[HALT_MODE] if self.halted_until else self.schedule[self.phase][PHASE_MODE]

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
        if kind == IDLE:
            return Report(ACCEPTED), trades
        if kind == REPLACE and order_id in self.live:
            side = self.live[order_id].side
        if not self.rules[ENFORCED]:
            report, own = self._take_freely(kind, side, price, size, order_id, owner)
        elif kind in (HALT, RESUME):
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
            outcome = self._unaffordable(kind, side, price, size, order_id, owner)
        if outcome:
            return self._count(Report(outcome)), []
        return self.execute(kind, side, price, size, order_id, owner)

    def _halt_or_resume(self, kind):
        was_halted, self.halted_until = self.halted_until, FOREVER if kind == HALT else 0
        trades = self._begin_mode() if kind == RESUME and was_halted else []
        return self._count(Report(ACCEPTED)), trades

    def _take_under_rules(self, kind, side, price, size, order_id, owner):
        mode, cancels, parks = self.mode, kind in (CANCEL, CANCEL_AT), False
        outcome = malformed(kind, side, size) or self._closed(kind, mode)
        if not outcome and not cancels:
            outcome, parks = self._admit(kind, side, price, size, order_id, owner, mode)
        if outcome:
            return self._count(Report(outcome)), []
        if parks:
            return self._count(self._park(side, price, size, order_id, owner)), []
        if mode == CALL and not cancels:
            return self._count(self._collect(kind, side, price, size, order_id, owner)), []

        report, trades = self.execute(kind, side, price, size, order_id, owner)
        if report.outcome == ACCEPTED and mode == CONTINUOUS:
            if trades:
                self._check_volatility()
            trades = trades + self._release()
        return report, trades

    def _admit(self, kind, side, price, size, order_id, owner, mode):
        """Whether the venue lets the order in: (outcome, whether it is to be held aside first)."""
        outcome = self._not_taken(kind, order_id, owner, mode)
        outcome = outcome or self._inadmissible(kind, side, price, size, order_id, owner)
        parks = mode == QUEUE
        if not outcome and mode == CONTINUOUS and kind in PRICED_KINDS and not self._inside_cage(side, price):
            parks = kind == LIMIT and self.rules[CAGE_PARKS] == 1
            outcome = ACCEPTED if parks else PRICE_CAGE
        return outcome or self._unaffordable(kind, side, price, size, order_id, owner), parks

    def execute(
        self, kind: int, side: int, price: int, size: int, order_id: int, owner: int
    ) -> tuple[Report, list[Trade]]:
        """Execute one order without a look at clock or rules, and settle its trades."""
        report, trades = super().execute(kind, side, price, size, order_id, owner)
        self._settle(trades)
        return report, trades

    def _count(self, report):
        self.outcome_counts[report.outcome] += 1
        return report

    # The clock.

    def advance(self, time: int) -> list[Trade]:
        """Let the clock run to `time`, through the ends of halts and the starts of phases; return the trades."""
        if not self.rules[ENFORCED]:
            return []
        trades = []
        time = max(time, self.clock)
        while True:
            halt_end = self.halted_until or FOREVER
            following = self.schedule[self.phase + 1 : self.phase + 2]
            phase_start = following[0][PHASE_START] if following else FOREVER
            event = min(halt_end, phase_start)
            if event > time or event == FOREVER:
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
        if mode == SHUT:
            return HALTED if self.halted_until else CLOSED
        takes_cancels = self.halted_until or self.schedule[self.phase][PHASE_CANCELS]
        return NO_CANCEL if kind in (CANCEL, CANCEL_AT, REPLACE) and not takes_cancels else ACCEPTED

    def _not_taken(self, kind, order_id, owner, mode):
        """Whether the venue takes this kind in this mode, and what to replace is there."""
        rules = self.rules
        if not rules[KINDS_TAKEN] >> kind & 1:
            return KIND_NOT_TAKEN
        if kind == REPLACE:
            return self._replaceable(order_id, owner) or (KIND_NOT_TAKEN if mode == QUEUE else ACCEPTED)
        if kind != LIMIT and mode != CONTINUOUS:
            return KIND_NOT_TAKEN
        if kind in MARKET_KINDS and rules[MARKET_NEEDS_LIMITS] and rules[LIMIT_UP] == MAX_PRICE:
            return KIND_NOT_TAKEN
        return ACCEPTED

    def _inadmissible(self, kind, side, price, size, order_id, owner):
        """Whether tick, size, lot and the day's price limits allow the order."""
        rules = self.rules
        priced = kind in PRICED_KINDS
        if priced and price % rules[TICK]:
            return OFF_TICK
        largest = rules[MAX_LIMIT_ORDER] if priced else rules[MAX_MARKET_ORDER]
        if largest and size > largest:
            return TOO_LARGE
        in_lots = size >= rules[MIN_ORDER] and size % rules[LOT] == 0
        if not in_lots and not self._sells_odd_lot(kind, side, size, order_id, owner):
            return BAD_LOT
        if priced and not rules[LIMIT_DOWN] <= price <= rules[LIMIT_UP]:
            return PRICE_LIMIT
        return ACCEPTED

    def _sells_odd_lot(self, kind, side, size, order_id, owner):
        """Whether the order sells what its owner holds beyond whole lots."""
        if side != SELL or not self.rules[ODD_LOT_SELLS]:
            return False
        if not self.has_account(owner):
            return True
        available = self._available(kind, SELL, order_id, owner)
        lot = self.rules[LOT]
        leaves_whole_lots = size <= available and size % lot == available % lot
        return size == available or (leaves_whole_lots and (size >= self.rules[MIN_ORDER] or lot > 1))

    def _inside_cage(self, side, price):
        """Whether a price is near enough to the market for continuous trading."""
        rate, ticks = self.rules[CAGE_RATE], self.rules[CAGE_TICKS]
        if not rate:
            return True
        base = self.best(1 - side)
        if base == NO_PRICE:
            base = self.best(side)
        if base == NO_PRICE:
            base = self.last_price if self.num_trades else self.rules[PREVIOUS_CLOSE]
        if base == 0:
            return True
        if side == BUY:
            return price <= max(_rounded(base * (MILLION + rate)), base + ticks)
        return price >= min(_rounded(base * (MILLION - rate)), base - ticks)

    # Accounts.

    def has_account(self, owner: int) -> bool:
        """Whether the owner has an account, which its orders are checked against and its trades change."""
        return BACKGROUND < owner < len(self.ledger)

    def _unaffordable(self, kind, side, price, size, order_id, owner):
        """Whether the owner's account covers the order."""
        if not self.ledger or owner == BACKGROUND:
            return ACCEPTED
        if not self.has_account(owner):
            return NO_ACCOUNT
        if side == BUY:
            if self.rules[CREDIT]:
                return ACCEPTED
            need = self._cost(kind, price, size, owner)
            return NO_CASH if need > self._available(kind, BUY, order_id, owner) else ACCEPTED
        if self.rules[SHORT_SALES]:
            return ACCEPTED
        return NO_POSITION if size > self._available(kind, SELL, order_id, owner) else ACCEPTED

    def _available(self, kind, side, order_id, owner):
        """The cash for a buy, or the size for a sell; what an order to replace holds is available to the new one."""
        account = self.ledger[owner]
        if side == BUY:
            available = account[CASH] - account[RESERVED_CASH]
        else:
            available = account[SELLABLE] - account[RESERVED_SIZE]
        if kind == REPLACE:
            order = self.live[order_id]
            if order.side == side:
                available += self._reservation(side, order.price, order.size)[1]
        return available

    def _cost(self, kind, price, size, owner):
        """What a buy may cost at most, fees included."""
        if kind in PRICED_KINDS:
            return self._with_fees(price * size, size)
        if kind in (OPPOSITE_BEST, OWN_BEST):
            best = self.best(SELL if kind == OPPOSITE_BEST else BUY)
            return 0 if best == NO_PRICE else self._with_fees(best * size, size)
        if not self.ranks[SELL]:
            return 0
        bound = MAX_PRICE if kind in (MARKET, MARKET_FOK) else self._best_five_bound(BUY, price)
        value, left, worst = 0, size, 0
        for level_price in self.ranks[SELL]:
            if level_price > bound or not left:
                break
            # Where own orders give way instead of trading, the order goes on behind them.
            others = [
                order.size
                for order in self.levels[SELL][level_price].queue.values()
                if self.self_trade == ALLOW or order.owner != owner
            ]
            if not others:
                continue
            worst = level_price
            met = min(left, sum(others))
            value += met * worst
            left -= met
        if kind == BEST_FIVE_LIMIT and left < size:  # the remainder rests at the worst price met
            value += left * worst
            left = 0
        return self._with_fees(value, size - left)

    def _with_fees(self, value, size):
        """A value and the highest fees on it."""
        rules = self.rules
        on_value = value * max(rules[MAKER_FEE], rules[TAKER_FEE]) // MILLION
        on_size = size * max(rules[MAKER_FEE_PER_UNIT], rules[TAKER_FEE_PER_UNIT]) // MILLION
        return value + max(0, on_value) + max(0, on_size)

    def _reservation(self, side, price, size):
        """What a live order takes from its owner's account meanwhile: (column, amount)."""
        if side == BUY:
            return RESERVED_CASH, self._with_fees(price * size, size)
        return RESERVED_SIZE, size

    def _reserve(self, order, size_before, size_after):
        """Keep the running sums of what is reserved when a live order's size changes."""
        if self.has_account(order.owner):
            column, before = self._reservation(order.side, order.price, size_before)
            _, after = self._reservation(order.side, order.price, size_after)
            self.ledger[order.owner][column] += after - before

    def _add(self, order):
        super()._add(order)
        self._reserve(order, 0, order.size)

    def _reduce(self, order, amount):
        super()._reduce(order, amount)
        self._reserve(order, order.size + amount, order.size)

    def _settle(self, trades):
        """Move cash and positions between the accounts of new trades."""
        if not self.ledger:
            return
        rules = self.rules
        for trade in trades:
            in_auction = trade.incoming_side == NO_SIDE
            incoming_buys = in_auction or trade.incoming_side == BUY
            sides = (BUY, SELL) if incoming_buys else (SELL, BUY)
            value = trade.price * trade.size
            for side, owner, takes in zip(
                sides, (trade.incoming_owner, trade.resting_owner), (True, in_auction), strict=True
            ):
                if not self.has_account(owner):
                    continue
                rate, per_unit = (TAKER_FEE, TAKER_FEE_PER_UNIT) if takes else (MAKER_FEE, MAKER_FEE_PER_UNIT)
                fee = value * rules[rate] // MILLION + trade.size * rules[per_unit] // MILLION
                account = self.ledger[owner]
                if side == BUY:
                    account[CASH] -= value + fee
                    account[POSITION] += trade.size
                    account[SELLABLE] += 0 if rules[SETTLEMENT_DAYS] else trade.size
                else:
                    fee += value * rules[SELL_DUTY] // MILLION
                    account[CASH] += value - fee
                    account[POSITION] -= trade.size
                    account[SELLABLE] -= trade.size
                account[FEES_PAID] += fee

    # Orders that wait: in a call auction, or held aside.

    def _no_place(self, price, order_id):
        """Why an order cannot be kept, or ACCEPTED."""
        if price not in self.prices:
            return BAD_PRICE
        if order_id in self.live:
            return DUPLICATE_ID
        return BOOK_FULL if len(self.live) == self.num_orders else ACCEPTED

    def _collect(self, kind, side, price, size, order_id, owner):
        """Let a limit order, or what replaces one, rest for the auction."""
        if kind == REPLACE:
            return self._replace_for_auction(price, size, order_id)
        outcome = self._no_place(price, order_id)
        if outcome:
            return Report(outcome)
        self._add(LiveOrder(side, price, size, order_id, owner))
        return Report(ACCEPTED, resting=size, acted_price=price)

    def _replace_for_auction(self, price, size, order_id):
        if price not in self.prices:
            return Report(BAD_PRICE)
        order = self.live[order_id]
        old_size = order.size
        if price == order.price and size <= old_size:
            self._reduce(order, old_size - size)
            return Report(ACCEPTED, resting=size, cancelled=old_size - size, acted_price=price)
        self._reduce(order, old_size)
        self._add(LiveOrder(order.side, price, size, order_id, order.owner))
        return Report(ACCEPTED, resting=size, cancelled=old_size, acted_price=price)

    def _park(self, side, price, size, order_id, owner):
        """Hold an order aside."""
        outcome = self._no_place(price, order_id)
        if outcome:
            return Report(outcome)
        order = LiveOrder(side, price, size, order_id, owner)
        self.live[order_id] = self.held_aside[order_id] = order
        self._reserve(order, 0, size)
        return Report(ACCEPTED, parked=size, acted_price=price)

    def _release(self):
        """Let parked orders in, oldest first, as long as the cage admits one; return the trades."""
        released = []
        while self.mode == CONTINUOUS:
            order = next((order for order in self.held_aside.values() if self._may_enter(order)), None)
            if order is None:
                break
            size, trades = order.size, []
            self._reduce(order, size)
            self._enter(order.side, order.price, size, order.order_id, order.owner, trades)
            self._settle(trades)
            released += trades
            if trades:
                self._check_volatility()
        return released

    def _may_enter(self, order):
        return not self.rules[CAGE_PARKS] or self._inside_cage(order.side, order.price)

    # Auctions and halts.

    def _uncross(self):
        """Trade a crossed book at one price; return the trades."""
        best_sell, best_buy = self.best(SELL), self.best(BUY)
        if NO_PRICE in (best_sell, best_buy) or best_buy < best_sell:
            return []
        price, left = self._auction_price(best_sell, best_buy)
        trades = []
        while left:
            seller, buyer = (next(iter(self.levels[side][self.best(side)].queue.values())) for side in (SELL, BUY))
            size = min(left, seller.size, buyer.size)
            trades.append(Trade(price, size, seller.order_id, seller.owner, buyer.order_id, buyer.owner, NO_SIDE))
            self._reduce(seller, size)
            self._reduce(buyer, size)
            left -= size
        self._record(trades)
        self._settle(trades)
        return trades

    def _auction_price(self, best_sell, best_buy):
        """The auction's price, and the volume it trades."""
        tick = self.rules[TICK]
        prices = range(best_sell, best_buy + 1, tick)
        sold_at = [self._total(SELL, price) for price in prices]
        bought_at = [self._total(BUY, price) for price in prices]
        supply = [0] * len(prices)  # sells at the price or below
        demand = [0] * len(prices)  # buys at the price or above
        for i in range(len(prices)):
            supply[i] = sold_at[i] + (supply[i - 1] if i else 0)
        for i in reversed(range(len(prices))):
            demand[i] = bought_at[i] + (demand[i + 1] if i + 1 < len(prices) else 0)

        candidates = [i for i in range(len(prices)) if sold_at[i] or bought_at[i] or not self.rules[AUCTION_AT_ORDERS]]
        volume = max(min(supply[i], demand[i]) for i in candidates)
        candidates = [i for i in candidates if min(supply[i], demand[i]) == volume]
        # Every order with a better price fills whole.
        candidates = [i for i in candidates if demand[i] - bought_at[i] <= volume and supply[i] - sold_at[i] <= volume]
        surplus = min(abs(demand[i] - supply[i]) for i in candidates)
        candidates = [prices[i] for i in candidates if abs(demand[i] - supply[i]) == surplus]

        reference = self.last_price if self.num_trades else self.rules[PREVIOUS_CLOSE]
        if self.rules[AUCTION_TIE] == MIDDLE or reference == 0:
            halfway = (candidates[0] + candidates[-1] + tick) // (2 * tick) * tick
            return halfway, volume
        return min(candidates, key=lambda price: (abs(price - reference), price)), volume

    def _total(self, side, price):
        level = self.levels[side].get(price)
        return level.total if level else 0

    def _check_volatility(self):
        """Halt if the last trade was too far from the reference price."""
        rules = self.rules
        if rules[HALT_RATE_1] == 0:
            return
        if rules[HALT_WINDOW]:
            if self.clock >= self.window_start + rules[HALT_WINDOW]:
                if self.window_count:
                    self.reference_price = self.window_sum // self.window_count
                self.window_start, self.window_sum, self.window_count = self.clock, 0, 0
            reference, rate = self.reference_price, rules[HALT_RATE_1]
        else:
            reference = self.open_price
            rate = rules[(HALT_RATE_1, HALT_RATE_2)[self.num_halts]] if self.num_halts < 2 else 0

        end = self.clock + rules[HALT_DURATION]
        if rules[HALT_LATEST]:
            end = min(end, rules[HALT_LATEST])
        far = abs(self.last_price - reference) * MILLION >= reference * rate
        trips = rate > 0 and reference > 0 and far and end > self.clock
        if trips:
            self.num_halts += 1
            self.halted_until = end
        if rules[HALT_WINDOW]:
            if trips:
                self.reference_price = self.window_sum = self.window_count = 0
            else:
                self.window_sum += self.last_price
                self.window_count += 1


def _rounded(millionths):
    """A number of millionths as the nearest integer, halves up."""
    return (millionths + MILLION // 2) // MILLION
