"""Random days and random order streams that exercise every rule of a venue.

A stream is made by playing it on a reference venue: most of its orders are valid in the state that they meet, so
that books live and trade, and the rest err in every way that the rules know.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mars_lmm.market.reference_admission import MARKET_KINDS, PRICED_KINDS
from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.types import (
    AUCTION_AT_ORDERS,
    AUCTION_TIE,
    BACKGROUND,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BUY,
    CAGE_PARKS,
    CAGE_RATE,
    CAGE_TICKS,
    CALL,
    CANCEL,
    CANCEL_AT,
    CASH,
    CONTINUOUS,
    CREDIT,
    DECREMENT,
    ENFORCED,
    FOK,
    HALT,
    HALT_DURATION,
    HALT_LATEST,
    HALT_MODE,
    HALT_RATE_1,
    HALT_RATE_2,
    HALT_WINDOW,
    IDLE,
    IOC,
    KINDS_TAKEN,
    LIMIT,
    LIMIT_DOWN,
    LIMIT_UP,
    LOT,
    MAKER_FEE,
    MAKER_FEE_PER_UNIT,
    MARKET_NEEDS_LIMITS,
    MAX_LIMIT_ORDER,
    MAX_MARKET_ORDER,
    MAX_PRICE,
    MAX_SIZE,
    MIN_ORDER,
    NO_PRICE,
    NUM_KINDS,
    NUM_RULE_COLUMNS,
    ODD_LOT_SELLS,
    PHASE_START,
    POST_ONLY,
    PREVIOUS_CLOSE,
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
)

ALL_KINDS = (1 << NUM_KINDS) - 1
LAST_PHASE = 10**12  # ns that the last phase of a day lasts
NEW_KINDS = (*PRICED_KINDS[:-1], *MARKET_KINDS)
FREE_KIND_WEIGHTS = {LIMIT: 12, IOC: 2, FOK: 2, POST_ONLY: 2}  # of new orders; 1 for the others


class Day(NamedTuple):
    """The arguments of a reference venue."""

    num_orders: int
    num_ticks: int
    base_price: int
    rules: list[int]
    schedule: list[tuple[int, int, int]]
    accounts: list[list[int]] | None
    queue_rule: int


def random_day(seed: int) -> Day:
    """A day with any mixture of rules, in a book small enough to fill up."""
    rng = random.Random(seed)
    num_ticks = rng.choice([8, 40, 150, 600])
    base_price = rng.choice([1, 90, 1000])
    last = base_price + num_ticks - 1
    close = rng.randint(base_price, last)
    schedule = random_schedule(rng)
    phase = (schedule[-1][PHASE_START] + LAST_PHASE) // len(schedule)

    def maybe(value, chance=0.5):
        return value if rng.random() < chance else 0

    rules = [0] * NUM_RULE_COLUMNS
    rules[ENFORCED] = maybe(1, 0.9)
    rules[KINDS_TAKEN] = ALL_KINDS if rng.random() < 0.5 else 1 << LIMIT | rng.getrandbits(NUM_KINDS)
    rules[TICK] = rng.choice([1, 1, 2, 5])
    rules[LOT] = rng.choice([1, 1, 10, 100])
    rules[MIN_ORDER] = rules[LOT] * rng.choice([1, 1, 2])
    rules[ODD_LOT_SELLS] = maybe(1)
    rules[MAX_LIMIT_ORDER] = maybe(rules[LOT] * 40)
    rules[MAX_MARKET_ORDER] = maybe(rules[LOT] * 20)
    rules[PREVIOUS_CLOSE] = maybe(close, 0.8)
    rules[LIMIT_DOWN], rules[LIMIT_UP] = 0, MAX_PRICE
    if rng.random() < 0.5:
        reach = rng.randint(num_ticks // 4, num_ticks)
        rules[LIMIT_DOWN], rules[LIMIT_UP] = max(0, close - reach), close + reach
    rules[MARKET_NEEDS_LIMITS] = maybe(1, 0.3)
    rules[CAGE_RATE] = maybe(rng.choice([2_000, 20_000, 100_000]))
    rules[CAGE_TICKS] = rng.choice([0, 3, 10])
    rules[CAGE_PARKS] = maybe(1)
    rules[AUCTION_TIE] = rng.randint(0, 1)
    rules[AUCTION_AT_ORDERS] = rng.randint(0, 1)
    rules[HALT_RATE_1] = maybe(rng.choice([20_000, 100_000]), 0.6)
    rules[HALT_RATE_2] = maybe(rng.choice([100_000, 200_000]))
    rules[HALT_DURATION] = phase // rng.choice([20, 200])
    rules[HALT_LATEST] = maybe(schedule[-1][PHASE_START], 0.3)
    rules[HALT_WINDOW] = maybe(phase // rng.choice([10, 100]))
    rules[HALT_MODE] = rng.choice([SHUT, CALL])
    rules[SELF_TRADE] = rng.randint(0, DECREMENT)
    rules[MAKER_FEE], rules[TAKER_FEE] = rng.choice([(0, 0), (300, 300), (-100, 250), (-50, -20)])
    rules[MAKER_FEE_PER_UNIT], rules[TAKER_FEE_PER_UNIT] = rng.choice([(0, 0), (-200_000, 300_000), (70_000, 0)])
    rules[SELL_DUTY] = maybe(500)
    rules[SETTLEMENT_DAYS] = maybe(1)
    rules[SHORT_SALES], rules[CREDIT] = maybe(1, 0.3), maybe(1, 0.3)

    accounts = None
    if rng.random() < 0.7:
        cash, size = 200 * close * rules[LOT], 200 * rules[LOT]
        accounts = [[0, 0, 0]]
        for _ in range(rng.randint(1, 5)):
            held = rng.randint(0, size)
            accounts.append([rng.randint(0, cash), held, held if rng.random() < 0.7 else held // 2])
    return Day(rng.choice([6, 40, 300]), num_ticks, base_price, rules, schedule, accounts, rng.randint(0, 1))


def random_schedule(rng: random.Random) -> list[tuple[int, int, int]]:
    """One of a few days: always open; with auctions, a break and a queue; or phases in any order."""
    hour = 10**12
    style = rng.randint(0, 3)
    if style == 0:
        return [(0, CONTINUOUS, 1)]
    if style == 1:
        modes = [(SHUT, 0), (CALL, 1), (CALL, 0), (QUEUE, 1), (CONTINUOUS, 1), (SHUT, 0), (CONTINUOUS, 1), (CALL, 0)]
    else:
        modes = [(rng.choice([SHUT, CONTINUOUS, CONTINUOUS, CALL, QUEUE]), rng.random() < 0.8) for _ in range(8)]
    starts = [0, *sorted(rng.sample(range(1, len(modes) * hour), len(modes) - 1))]
    return [(start, mode, int(cancels)) for start, (mode, cancels) in zip(starts, modes, strict=True)]


def stream_times(rng: random.Random, num: int, schedule: list[tuple[int, int, int]]) -> list[int]:
    """Times that walk through all phases, most messages where there is trading; now and then one goes back."""
    ends = [row[PHASE_START] for row in schedule[1:]] + [schedule[-1][PHASE_START] + LAST_PHASE]
    weights = [
        0.03 if mode == SHUT else 3 if mode == CONTINUOUS and cancels else 1 if cancels else 0.2
        for _, mode, cancels in schedule
    ]
    times = []
    for (start, *_), end, weight in zip(schedule, ends, weights, strict=True):
        count = round(num * weight / sum(weights))
        times += [start] * (count > 0) + [rng.randrange(start, end) for _ in range(count - 1)]
    times = sorted((times + [ends[-1]] * num)[:num])
    for i in range(1, num):
        if rng.random() < 0.01:
            times[i] = times[i - 1] - rng.randint(0, 10**9)
    return times


class StreamMaker:
    """Makes one order at a time, fit for the state of a venue.

    Args:
        venue: the venue that the orders are for; the caller submits them to it.
        rng: the source of chance.
    """

    def __init__(self, venue: ReferenceVenue, rng: random.Random):
        self.venue, self.rng = venue, rng
        self.num_ids = 3 * venue.num_orders  # few, so that live ones are used again
        self.recent = [0] * 64  # ids that may be live, to cancel and replace
        taken = venue.rules[KINDS_TAKEN] if venue.rules[ENFORCED] else ALL_KINDS
        self.kinds = [kind for kind in NEW_KINDS if taken >> kind & 1]
        self.kind_weights = [FREE_KIND_WEIGHTS.get(kind, 1) for kind in self.kinds]
        self.replaces = taken >> REPLACE & 1
        self.lot = max(venue.rules[LOT], 1)

    def order(self) -> tuple[int, int, int, int, int, int]:
        """The next order."""
        rng, venue = self.rng, self.venue
        chance = rng.random()
        if venue.halted_until and chance < 0.1:
            return self._bare(RESUME)
        if chance < 0.002:
            return self._bare(rng.choice([HALT, RESUME]))
        if chance < 0.01:
            return self._bare(IDLE)
        crowded = len(venue.live) > 0.85 * venue.num_orders
        order = self._change() if rng.random() < (0.8 if crowded else 0.25) else self._new()
        return self._spoilt(order) if rng.random() < 0.15 else order

    def _bare(self, kind):
        return kind, 0, 0, 0, 0, BACKGROUND

    def _change(self):
        """A cancel or replace of an order that is most likely live."""
        rng, venue = self.rng, self.venue
        order = None
        for _ in range(8):
            order = venue.live.get(rng.choice(self.recent))
            if order:
                break
        else:
            if not venue.live:
                return self._new()
            order = next(iter(venue.live.values()))
        if rng.random() < 0.15:
            size = 1 + int(order.size * 1.5 * rng.random())
            return CANCEL_AT, order.side, order.price + rng.randint(-2, 2), size, 0, order.owner
        if self.replaces and rng.random() < 0.3:
            price = order.price if rng.random() < 0.5 else self._price(order.side)
            size = self._size(order.side, order.owner)
            if rng.random() < 0.5:
                size = max(order.size - self.lot * rng.randint(0, 2), self.lot)
            return REPLACE, rng.choice([-1, 0, 1]), price, size, order.order_id, order.owner
        size = 0 if rng.random() < 0.6 else 1 + int(order.size * rng.random())
        return CANCEL, rng.choice([-1, 0, 1]), 0, size, order.order_id, order.owner

    def _new(self):
        """A new order."""
        rng, venue = self.rng, self.venue
        calm = venue.mode == CONTINUOUS or not venue.rules[ENFORCED]
        kind = rng.choices(self.kinds, self.kind_weights)[0] if calm else LIMIT
        side = rng.randint(SELL, BUY)
        if kind in (*MARKET_KINDS, IOC, FOK) and not venue.ranks[1 - side]:
            kind = LIMIT
        price = self._price(side, kind)
        owner = rng.randrange(max(len(venue.ledger), 4)) if rng.random() < 0.7 else BACKGROUND
        if owner >= len(venue.ledger) > 0:
            owner = BACKGROUND
        size = self._size(side, owner)
        if venue.ledger.has_account(owner) and rng.random() < 0.93:
            size, owner = self._affordable(side, price if price > 0 else self._anchor(side), size, owner)
        order_id = rng.randrange(self.num_ids)
        for _ in range(4):
            if order_id not in venue.live:
                break
            order_id = rng.randrange(self.num_ids)
        self.recent[rng.randrange(len(self.recent))] = order_id
        return kind, side, price, size, order_id, owner

    def _anchor(self, side):
        """The price that the market stands at, seen from a side."""
        venue = self.venue
        if self.rng.random() < 0.1:  # pull back what drifts away
            return venue.rules[PREVIOUS_CLOSE] or venue.prices[len(venue.prices) // 2]
        for price in (venue.best(1 - side), venue.best(side), venue.last_price, venue.rules[PREVIOUS_CLOSE]):
            if price not in (NO_PRICE, 0):
                return price
        return venue.prices[len(venue.prices) // 2]

    def _price(self, side, kind=LIMIT):
        rng, venue = self.rng, self.venue
        if kind in (BEST_FIVE, BEST_FIVE_LIMIT):
            return 0 if rng.random() < 0.6 else self._anchor(side) + rng.randint(-2, 5)
        if kind not in PRICED_KINDS:
            return rng.choice([0, -1, venue.prices[0]])
        distance = int(rng.expovariate(1 / (2 + len(venue.prices) / 30)))
        if kind in (IOC, FOK) or (kind != POST_ONLY and rng.random() < 0.3):
            distance = -distance  # marketable
        elif kind == POST_ONLY or rng.random() < 0.7:
            distance += 1
        if rng.random() < 0.02:
            distance = rng.randint(-len(venue.prices), len(venue.prices))
        price = self._anchor(side) + (distance if side == SELL else -distance)
        lowest, highest = venue.prices[0], venue.prices[-1]
        if not venue.rules[ENFORCED]:
            return min(max(price, lowest), highest)
        lowest, highest = max(lowest, venue.rules[LIMIT_DOWN]), min(highest, venue.rules[LIMIT_UP])
        tick = venue.rules[TICK]
        return min(max(price, lowest + -lowest % tick), highest) // tick * tick

    def _size(self, side, owner):
        rng, rules = self.rng, self.venue.rules
        if side == SELL and rules[ODD_LOT_SELLS] and self.venue.ledger.has_account(owner) and rng.random() < 0.1:
            account = self.venue.ledger[owner]
            return max(account[SELLABLE] - account[RESERVED_SIZE], 1)
        largest = 20 if rng.random() < 0.2 else 5
        size = self.lot * rng.randint(1, largest)
        return max(size, rules[MIN_ORDER])

    def _affordable(self, side, price, size, owner):
        """The size cut to what the account covers, or the same order from the background."""
        account, rules = self.venue.ledger[owner], self.venue.rules
        if side == BUY:
            share = self.rng.choice([90, 90, 100])  # all of it does not pay the fees
            most = size if rules[CREDIT] else (account[CASH] - account[RESERVED_CASH]) * share // 100 // price
        else:
            most = size if rules[SHORT_SALES] else account[SELLABLE] - account[RESERVED_SIZE]
        most -= most % self.lot
        if size <= most or most >= max(rules[MIN_ORDER], 1):
            return min(size, most), owner
        return size, BACKGROUND

    def _spoilt(self, order):
        """The order with one field that is wrong, or merely odd."""
        rng, venue = self.rng, self.venue
        kind, side, price, size, order_id, owner = order
        rules = venue.rules
        first, last = venue.prices[0], venue.prices[-1]
        which = rng.randrange(6)
        if which == 0:
            kind = rng.choice([*range(HALT), NUM_KINDS, -2, 2**40])
        elif which == 1:
            side = rng.choice([-1, 2, 1 - side])
        elif which == 2:
            limits = [rules[LIMIT_DOWN] - 1, rules[LIMIT_UP] + 1, rules[LIMIT_DOWN], rules[LIMIT_UP]]
            price = rng.choice([first - 1, last + 1, first, last, price + 1, price - 1, 0, -1, *limits])
        elif which == 3:
            largest = rng.choice([rules[MAX_LIMIT_ORDER], rules[MAX_MARKET_ORDER], rules[MIN_ORDER]])
            more = [largest - 1, largest, largest + 1, largest + self.lot]
            size = rng.choice([0, -1, 1, size + 1, size // 2, MAX_SIZE, MAX_SIZE + 1, *more])
        elif which == 4:
            order_id = rng.choice([rng.randrange(self.num_ids), rng.choice(self.recent), -1, 2**62])
        else:
            owner = rng.choice([BACKGROUND, 1, 2, len(venue.ledger), -1, 2**40])
        return kind, side, price, size, order_id, owner


def venue_stream(
    venue: ReferenceVenue, seed: int, num: int, watch: Callable = lambda report, trades: None
) -> tuple[np.ndarray, np.ndarray]:
    """Play a random stream on a fresh venue; the rows int64[num, 6] and times int64[num] that it took.

    `watch` is called with the venue's answer to each message.
    """
    rng = random.Random(seed)
    times = stream_times(rng, num, venue.schedule)
    maker = StreamMaker(venue, rng)
    rows = []
    for i, time in enumerate(times):
        if venue.clock < venue.halted_until < time and rng.random() < 0.5:
            time = times[i] = venue.halted_until
        row = maker.order()
        watch(*venue.submit(*row, time))
        rows.append(row)
    return np.array(rows, np.int64).reshape(-1, 6), np.array(times, np.int64)
