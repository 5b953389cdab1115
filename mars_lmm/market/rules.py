"""A venue's rules as data: the schema of a rule file, and the rules of one day as integer arrays.

Every group checks itself when it is made, and names the key at fault. What a file leaves out is no rule at all.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.quantities import decimal, millionths, multiple, nanoseconds

MILLION = 10**6

# What rule files say, by the integer that stands for it.
MODES = ("shut", "continuous", "call", "queue")
SELF_TRADES = ("allow", "cancel_incoming", "cancel_resting", "cancel_both", "decrement")
TIES = ("middle", "nearest")
# Cancels are always taken while the session takes them, and halts are the venue's own: files do not list them.
_NOT_LISTED = (t.CANCEL, t.CANCEL_AT, t.HALT, t.RESUME)
ORDER_KINDS = tuple(name for kind, name in enumerate(t.KINDS) if kind not in _NOT_LISTED)

# The rules that orders are checked against. Where all of them are as in no rules at all, the book skips the checks.
_CHECKED = (
    *(t.KINDS_TAKEN, t.TICK, t.LOT, t.MIN_ORDER, t.MAX_LIMIT_ORDER, t.MAX_MARKET_ORDER),
    *(t.LIMIT_DOWN, t.LIMIT_UP, t.MARKET_NEEDS_LIMITS, t.CAGE_RATE, t.HALT_RATE_1),
)


class DayRules(NamedTuple):
    """What binds one book on one day.

    Attributes:
        row: int64[NUM_RULE_COLUMNS], the rules.
        schedule: int64[K, NUM_PHASE_COLUMNS], the session's phases by time; the first starts at midnight.
    """

    row: np.ndarray
    schedule: np.ndarray


@dataclass
class Cage:
    """How far from the market an order's price may be while trading is continuous."""

    rate: str
    """Share of the base: the other side's best price, else the own side's, the last trade's, the previous close."""
    ticks: int = 0
    """Price units that are allowed in any case, where the rate gives less."""
    parks: bool = False
    """Orders outside are held aside until the market comes near; otherwise they are rejected."""

    def __post_init__(self):
        _check_between("prices.cage.ticks", self.ticks, 0, t.MAX_PRICE)
        _ = self.rate_millionths

    @property
    def rate_millionths(self) -> int:
        """The rate in millionths."""
        return _share("prices.cage.rate", self.rate, 0, MILLION - 1)


@dataclass
class Prices:
    """Prices: their unit and what bounds them."""

    unit: str = "1"
    """Currency of one price unit, the "tick" that all integer prices count."""
    tick: int = 1
    """Prices are multiples of so many units."""
    daily_limit: str | None = None
    """The day's prices stay so near to the previous close, as a share of it; null: no limit."""
    cage: Cage | None = None
    """How far from the market a price may be; null: as far as it likes."""

    def __post_init__(self):
        if decimal("prices.unit", self.unit) <= 0:
            raise ValueError(f"prices.unit={self.unit}: must be above 0")
        _check_between("prices.tick", self.tick, 1, t.MAX_PRICE)
        _ = self.limit_millionths

    @property
    def limit_millionths(self) -> int:
        """The daily limit in millionths; 0 when there is none."""
        return _share("prices.daily_limit", "0" if self.daily_limit is None else self.daily_limit, 0, MILLION - 1)

    def limits(self, previous_close: int | None) -> tuple[int, int]:
        """The day's lowest and highest price, rounded half up to the tick; 0 and MAX_PRICE without a daily limit."""
        if not self.limit_millionths:
            return 0, t.MAX_PRICE
        if previous_close is None:
            raise ValueError(
                "prices.daily_limit needs the previous close: give it in price units, or set prices.daily_limit=null"
            )
        step = MILLION * self.tick
        down, up = (
            (2 * previous_close * (MILLION + sign * self.limit_millionths) + step) // (2 * step) * self.tick
            for sign in (-1, 1)
        )
        # Where the limit is less than a tick, a price may move by one; and no price is zero.
        down, up = min(down, previous_close - self.tick), max(up, previous_close + self.tick)
        _check_between("the day's highest price", up, 1, t.MAX_PRICE)
        return max(down, self.tick), up


@dataclass
class Orders:
    """The orders that the venue takes."""

    kinds: list[str] = field(default_factory=lambda: list(ORDER_KINDS))
    """Kinds of new orders, and replace. Cancels are always taken."""
    lot: int = 1
    """Sizes are multiples of it."""
    minimum: int = 1
    """The smallest order."""
    odd_lot_sells: bool = False
    """What an account holds beyond whole lots, or below the minimum, may be sold in one go."""
    largest_limit: int | None = None
    """The largest order that names a price; null: any."""
    largest_market: int | None = None
    """The largest order that names none; null: any."""
    market_needs_limits: bool = False
    """Orders that name no price are taken only on days with a daily limit."""

    def __post_init__(self):
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"orders.kinds={self.kinds}: name each kind that the venue takes once")
        for kind in self.kinds:
            _code("orders.kinds", kind, ORDER_KINDS)
        _check_between("orders.lot", self.lot, 1, t.MAX_SIZE)
        _check_between("orders.minimum", self.minimum, 1, t.MAX_SIZE)
        for key in ("largest_limit", "largest_market"):
            largest = getattr(self, key)
            if largest is not None:
                _check_between(f"orders.{key}", largest, max(self.minimum, self.lot), t.MAX_SIZE)

    @property
    def kinds_taken(self) -> int:
        """Bitmap of the kinds."""
        return sum(1 << t.KINDS.index(kind) for kind in self.kinds)


@dataclass
class Phase:
    """A part of the session."""

    start: str
    """Time of day, HH:MM[:SS[.fff]]; the phase lasts until the next one."""
    mode: str
    """What becomes of orders: shut, continuous, call or queue."""
    cancels: bool = True
    """Whether resting orders may be cancelled or replaced."""

    def __post_init__(self):
        _code("session.phases.mode", self.mode, MODES)
        nanoseconds("session.phases.start", self.start)

    @property
    def row(self) -> tuple[int, int, int]:
        """PHASE_START, PHASE_MODE, PHASE_CANCELS."""
        start = nanoseconds("session.phases.start", self.start)
        return start, MODES.index(self.mode), int(self.cancels)


@dataclass
class Session:
    """The trading day."""

    zone: str = "UTC"
    """Time zone of the times, for readers: books count from the venue's own midnight."""
    phases: list[Phase] = field(default_factory=lambda: [Phase("00:00", "continuous")])
    """The phases by time. Before the first one the venue is shut."""

    def __post_init__(self):
        if not self.phases:
            raise ValueError("session.phases: name at least one phase")
        starts = [phase.row[t.PHASE_START] for phase in self.phases]
        for before, after, phase in zip(starts, starts[1:], self.phases[1:], strict=False):
            if after <= before:
                raise ValueError(f"session.phases: {phase.start} must come after the phase before it")
        last = self.phases[-1]
        if last.mode in ("call", "queue"):
            raise ValueError(
                f"session.phases: {last.start} {last.mode} is the last phase, so its orders never trade; "
                "add the phase that ends it"
            )

    @property
    def schedule(self) -> np.ndarray:
        """int64[K, NUM_PHASE_COLUMNS], the first row at midnight."""
        rows = [phase.row for phase in self.phases]
        if rows[0][t.PHASE_START] > 0:
            rows.insert(0, Phase("00:00", "shut").row)
        return np.array(rows, np.int64)


@dataclass
class Auction:
    """The price of a call auction, where several trade as much and leave as little over."""

    tie: str = "middle"
    """middle: halfway between them; nearest: nearest to the last trade, before the first to the previous close."""
    at_orders: bool = False
    """Only prices that some order names are compared; otherwise every tick is."""

    def __post_init__(self):
        _code("auction.tie", self.tie, TIES)


@dataclass
class Halts:
    """Trading halts: what they do, and when price moves cause one."""

    mode: str = "shut"
    """What a halted book does with orders: shut, or call, with an auction at the end."""
    rates: list[str] = field(default_factory=list)
    """A trade so far from the reference halts trading: the first time and the second; empty: never."""
    duration: str | None = None
    """How long, HH:MM[:SS]."""
    latest: str | None = None
    """Time of day at which such a halt ends at the latest; null: no such time."""
    window: str | None = None
    """The reference is the mean price of windows so long, HH:MM[:SS]; null: it is the day's first trade."""
    without_limits: bool = False
    """Price moves halt trading only on days without a daily limit."""

    def __post_init__(self):
        _code("halts.mode", self.mode, ("shut", "call"))
        rates = self.rates_millionths
        if len(rates) > 2 or any(rate <= 0 for rate in rates) or rates != sorted(set(rates)):
            raise ValueError(f"halts.rates={self.rates}: name at most two shares above 0, the smaller one first")
        if rates and not self.nanoseconds("duration"):
            raise ValueError(f"halts.duration={self.duration}: halts.rates needs a time above 0, such as '00:10'")
        if self.window is not None and (len(rates) > 1 or not self.nanoseconds("window")):
            raise ValueError(f"halts.window={self.window}: must be above 0, and takes one rate in halts.rates")
        self.nanoseconds("latest")

    @property
    def rates_millionths(self) -> list[int]:
        """The rates in millionths."""
        return [millionths("halts.rates", rate) for rate in self.rates]

    def nanoseconds(self, key: str) -> int:
        """The value of a key that holds a time, in nanoseconds; 0 for null."""
        time = getattr(self, key)
        return 0 if time is None else nanoseconds(f"halts.{key}", time)


@dataclass
class Fees:
    """What a trade costs the account that rested (maker) and the one that came (taker); below 0, it earns."""

    maker: str = "0"
    """Share of the traded value."""
    taker: str = "0"
    """Share of the traded value. An auction has takers only."""
    maker_per_unit: str = "0"
    """Currency for each unit of size."""
    taker_per_unit: str = "0"
    """Currency for each unit of size."""
    sell_duty: str = "0"
    """Share of the traded value, from the seller."""

    def __post_init__(self):
        for key in ("maker", "taker", "sell_duty"):
            self.millionths(key)

    def millionths(self, key: str) -> int:
        """The value of a key that holds a share, in millionths."""
        return _share(f"fees.{key}", getattr(self, key), 0 if key == "sell_duty" else -MILLION, MILLION)

    def per_unit(self, key: str, unit: Decimal) -> int:
        """The value of a key that holds currency, in millionths of a price unit."""
        fee = multiple(f"fees.{key}", getattr(self, key), unit / MILLION)
        # Times the largest size, it still fits 64 bits.
        if abs(fee) > t.MAX_PRICE:
            raise ValueError(f"fees.{key}={getattr(self, key)}: must be at most 2,147 price units")
        return fee


@dataclass
class Accounts:
    """What accounts may do."""

    settlement_days: int = 0
    """1: what is bought today can be sold tomorrow; 0: at once."""
    short_sales: bool = True
    """They may sell what they do not hold."""
    credit: bool = True
    """They may spend what they do not have."""

    def __post_init__(self):
        _check_between("accounts.settlement_days", self.settlement_days, 0, 1)


@dataclass
class MarketRules:
    """A venue's rules, as its file says them. Without arguments: no rule at all."""

    prices: Prices = field(default_factory=Prices)
    """Prices."""
    orders: Orders = field(default_factory=Orders)
    """Orders."""
    session: Session = field(default_factory=Session)
    """The trading day."""
    auction: Auction = field(default_factory=Auction)
    """Call auctions."""
    halts: Halts = field(default_factory=Halts)
    """Trading halts."""
    fees: Fees = field(default_factory=Fees)
    """Fees."""
    self_trade: str = "allow"
    """Who gives way when an owner would trade with itself: allow, cancel_incoming, cancel_resting, cancel_both or
    decrement."""
    accounts: Accounts = field(default_factory=Accounts)
    """Accounts."""

    def __post_init__(self):
        _code("self_trade", self.self_trade, SELF_TRADES)
        for key in ("maker_per_unit", "taker_per_unit"):
            self.fees.per_unit(key, self._unit)

    @property
    def _unit(self) -> Decimal:
        return decimal("prices.unit", self.prices.unit)

    def to_ticks(self, price: str | float | Decimal) -> int:
        """A price in currency as an integer price.

        Raises:
            ValueError: It is not a multiple of the unit, or no price that an order can have.
        """
        ticks = multiple("price", price, self._unit)
        _check_between(f"price={price}, in units of {self.prices.unit}", ticks, 1, t.MAX_PRICE)
        return ticks

    def to_price(self, ticks: int) -> Decimal:
        """An integer price in currency."""
        return int(ticks) * self._unit

    def day(self, previous_close: int | None = None) -> DayRules:
        """The rules of one day.

        Args:
            previous_close: Yesterday's closing price in price units (see `to_ticks`); None when unknown.

        Raises:
            ValueError: There is a daily limit and no previous close.
            TypeError: The previous close is no integer.
        """
        if previous_close is not None:
            previous_close = operator.index(previous_close)
            _check_between("previous_close", previous_close, 1, t.MAX_PRICE)
        row, schedule = self._row(previous_close), self.session.schedule
        no_rule, always_open = MarketRules()._row(None), Session().schedule
        checked = list(_CHECKED)
        row[t.ENFORCED] = not (np.array_equal(row[checked], no_rule[checked]) and np.array_equal(schedule, always_open))
        return DayRules(row, schedule)

    def _row(self, previous_close: int | None) -> np.ndarray:
        prices, orders, halts, fees = self.prices, self.orders, self.halts, self.fees
        limit_down, limit_up = prices.limits(previous_close)
        cage = prices.cage or Cage(rate="0")
        trips = not (halts.without_limits and prices.limit_millionths)
        first_rate, second_rate = [*(halts.rates_millionths if trips else []), 0, 0][:2]
        values = {
            t.KINDS_TAKEN: orders.kinds_taken,
            t.TICK: prices.tick,
            t.LOT: orders.lot,
            t.MIN_ORDER: orders.minimum,
            t.ODD_LOT_SELLS: orders.odd_lot_sells,
            t.MAX_LIMIT_ORDER: orders.largest_limit or 0,
            t.MAX_MARKET_ORDER: orders.largest_market or 0,
            t.PREVIOUS_CLOSE: previous_close or 0,
            t.LIMIT_DOWN: limit_down,
            t.LIMIT_UP: limit_up,
            t.MARKET_NEEDS_LIMITS: orders.market_needs_limits,
            t.CAGE_RATE: cage.rate_millionths,
            t.CAGE_TICKS: cage.ticks,
            t.CAGE_PARKS: cage.parks,
            t.AUCTION_TIE: TIES.index(self.auction.tie),
            t.AUCTION_AT_ORDERS: self.auction.at_orders,
            t.HALT_RATE_1: first_rate,
            t.HALT_RATE_2: second_rate,
            t.HALT_DURATION: halts.nanoseconds("duration"),
            t.HALT_LATEST: halts.nanoseconds("latest"),
            t.HALT_WINDOW: halts.nanoseconds("window"),
            t.HALT_MODE: MODES.index(halts.mode),
            t.SELF_TRADE: SELF_TRADES.index(self.self_trade),
            t.MAKER_FEE: fees.millionths("maker"),
            t.TAKER_FEE: fees.millionths("taker"),
            t.MAKER_FEE_PER_UNIT: fees.per_unit("maker_per_unit", self._unit),
            t.TAKER_FEE_PER_UNIT: fees.per_unit("taker_per_unit", self._unit),
            t.SELL_DUTY: fees.millionths("sell_duty"),
            t.SETTLEMENT_DAYS: self.accounts.settlement_days,
            t.SHORT_SALES: self.accounts.short_sales,
            t.CREDIT: self.accounts.credit,
        }
        row = np.zeros(t.NUM_RULE_COLUMNS, np.int64)
        for column, value in values.items():
            row[column] = value
        return row


def _code(key: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise ValueError(f"{key}={name!r}: choose {', '.join(names)}")
    return names.index(name)


def _check_between(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{key}={value}: must be from {least} to {most}")


def _share(key: str, text: str, least: int, most: int) -> int:
    """A rate in millionths, between bounds in millionths."""
    rate = millionths(key, text)
    if not least <= rate <= most:
        raise ValueError(f"{key}={text}: must be from {Decimal(least) / MILLION} to {Decimal(most) / MILLION}")
    return rate
