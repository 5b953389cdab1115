"""A synthetic market: seeded, free of rights, fast, and good enough to train on.

Orders arrive as a mutually exciting (Hawkes) point process on two time scales; a latent value with stochastic
volatility leans the aggressors to one side, so that the price moves; sizes are round lots with a Pareto tail;
limit orders are placed by a power law behind the best price; cancels hit resting orders, those near the touch
more often. Every order goes through the same matching core that replays and rollouts use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Feed, FeedSession, Source, Verification
from mars_lmm.data.flow import ANONYMOUS, SYNTHETIC, Columns, OrderFlow, Session
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.cpu import MATCHING

OPEN_TIME = 34_200 * 10**9  # 09:30
FIRST_DATE = date(2024, 1, 2)
OPENING_PRICE = 10_000  # ticks
NUM_TICKS = 8_192
OPENING_LEVELS = 60
TICK_SIZE = 0.01

_execute = MATCHING.execute
_best = MATCHING.best
_find = MATCHING.find


@dataclass
class SyntheticConfig:
    """The synthetic market's settings."""

    sessions: int = 4
    """Trading days, one instrument each."""
    minutes: int = 90
    """Length of a session."""
    orders_per_second: float = 8.0
    """Mean arrival rate of all orders together."""
    seed: int = 0
    """Session k of seed s depends on (s, k) alone."""

    def __post_init__(self):
        if self.sessions < 1 or self.minutes < 1 or self.orders_per_second <= 0:
            raise ValueError(
                "data.synthetic needs sessions >= 1, minutes >= 1 and orders_per_second > 0, got "
                f"{self.sessions}, {self.minutes}, {self.orders_per_second}"
            )


class SyntheticFeed(Feed):
    """The synthetic market as a feed without files."""

    Options = SyntheticConfig
    needs_paths = False

    def find_sources(self, paths: Sequence[Path | str] = ()) -> list[Source]:
        """One source a session; there are no paths to search."""
        if paths:
            raise DataError(paths[0], "the synthetic market is made, not read: give it no path")
        return [Source((), "SYN", _trading_day(index).isoformat()) for index in range(self.options.sessions)]

    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it."""
        return self._make(session).session

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """Make a session, in one part."""
        flow = self._make(session)
        ledger.counts.update(flow.counts)
        yield flow.columns

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Nothing was recorded that the session could be compared with."""
        return Verification({"rows": len(self._make(session)), "compared": 0, "mismatches": 0, "unknown_ids": 0}, 0, [])

    def _make(self, session: FeedSession) -> OrderFlow:
        dates = [source.date for source in self.find_sources()]
        return synthetic_session(self.options, dates.index(session.date))


FEED = SyntheticFeed


def synthetic_session(config: SyntheticConfig, index: int) -> OrderFlow:
    """Make one session.

    Args:
        config: The market's settings.
        index: Which session, from 0; it decides the date and the random stream.
    """
    rng = np.random.default_rng([config.seed, index])
    duration = config.minutes * 60.0
    capacity = int(2 * config.orders_per_second * duration) + 4 * OPENING_LEVELS + 10_000
    rows = np.empty((capacity, 6), dtype=np.int64)
    opened = _opening_book(rng, rows)
    book = empty_books(1, capacity, NUM_TICKS, OPENING_PRICE - NUM_TICKS // 2)[0]
    count = _simulate(book, rng, rows, opened, duration, config.orders_per_second)
    assert count >= 0, "twice the mean number of orders was not enough room"
    rows = rows[:count]
    session = Session(
        symbol="SYN",
        date=_trading_day(index).isoformat(),
        tick_size=TICK_SIZE,
        open_time=OPEN_TIME,
        close_time=OPEN_TIME + config.minutes * 60 * 10**9,
        source=f"synthetic(seed={config.seed}, session={index})",
    )
    order_id = np.arange(1, count + 1)
    order_id = np.where(rows[:, 1] == t.CANCEL, rows[:, 5], order_id)
    columns = {
        "time": rows[:, 0] + OPEN_TIME,
        "kind": rows[:, 1],
        "side": rows[:, 2],
        "price": rows[:, 3],
        "size": rows[:, 4],
        "order_id": order_id,
        "flags": np.where(np.arange(count) < opened, ANONYMOUS, 0) | SYNTHETIC,
        "source_row": np.arange(1, count + 1),
    }
    return OrderFlow(session, columns, {"orders": count - opened})


def _trading_day(index: int) -> date:
    weeks, day = divmod(index + FIRST_DATE.weekday(), 5)
    return FIRST_DATE + timedelta(days=7 * weeks + day - FIRST_DATE.weekday())


def _opening_book(rng: np.random.Generator, rows: np.ndarray) -> int:
    count = 0
    for level in range(1, OPENING_LEVELS + 1):
        for side, price in ((t.SELL, OPENING_PRICE + level), (t.BUY, OPENING_PRICE - level)):
            for _ in range(2):
                rows[count] = 0, t.LIMIT, side, price, 100 * rng.integers(1, 6), 0
                count += 1
    return count


# Event types: limit, cancel and aggressive order of each side (side + 2 * action).
_LIMIT_EVENT, _CANCEL_EVENT, _TAKE_EVENT = range(3)
_NUM_EVENTS = 6
_SHARES = np.array([0.28, 0.28, 0.17, 0.17, 0.05, 0.05])
# Mean number of children of each type (column) that an event (row) has, on the fast and on the slow scale.
_CHILDREN = np.array(
    [
        [0.20, 0.02, 0.28, 0.03, 0.01, 0.03],
        [0.02, 0.20, 0.03, 0.28, 0.03, 0.01],
        [0.26, 0.04, 0.14, 0.04, 0.02, 0.03],
        [0.04, 0.26, 0.04, 0.14, 0.03, 0.02],
        [0.30, 0.08, 0.08, 0.26, 0.34, 0.01],
        [0.08, 0.30, 0.26, 0.08, 0.01, 0.34],
    ]
)
# The stationary rates of a Hawkes process solve rates = base + rates @ children.
_BASE_SHARES = _SHARES - _SHARES @ _CHILDREN
_DECAY = np.array([12.0, 0.08])  # per second
_SCALE_SHARE = np.array([0.7, 0.3])
_TARGET_ORDERS = 100.0  # resting orders a side around which cancels balance placements


@numba.njit(nogil=True)
def _lot_size(rng):
    u = rng.random()
    if u < 0.45:
        return 100
    if u < 0.65:
        return 1 + int(rng.random() * 99)
    return 100 * min(int(rng.random() ** (-1.0 / 1.4)), 100)


@numba.njit(nogil=True)
def _depth(rng):
    """Ticks behind the best price: P(depth + 1 >= d) = d^-0.8."""
    return min(int(rng.random() ** (-1.0 / 0.8)) - 1, 300)


@numba.njit(nogil=True)
def _pick_resting(book, rng, live, num_live, side):
    """Of two resting orders drawn at random, the index of the one nearer the touch; forgets filled ones."""
    chosen = -1
    chosen_price = 0
    draws = 0
    while draws < 2 and num_live[side] > 0:
        index = int(rng.random() * num_live[side])
        slot = _find(book, live[side, index])
        if slot < 0:
            num_live[side] -= 1
            live[side, index] = live[side, num_live[side]]
            continue
        price = book[slot + t.PRICE]
        if chosen < 0 or (price < chosen_price if side == t.SELL else price > chosen_price):
            chosen, chosen_price = live[side, index], price
        draws += 1
    return chosen


@kept_njit("market", "tokenizers", "data")
def _simulate(book, rng, rows, opened, duration, orders_per_second):
    report = np.empty(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    live = np.empty((2, rows.shape[0]), dtype=np.int64)
    num_live = np.zeros(2, dtype=np.int64)
    for i in range(opened):
        _execute(book, t.LIMIT, rows[i, 2], rows[i, 3], rows[i, 4], i + 1, 0, 0, report, trades)
        live[rows[i, 2], num_live[rows[i, 2]]] = i + 1
        num_live[rows[i, 2]] += 1

    base = orders_per_second * _BASE_SHARES
    excitation = np.zeros((2, _NUM_EVENTS))
    rates = np.empty(_NUM_EVENTS)
    value = float(OPENING_PRICE)
    log_volatility = 0.0
    time = 0.0
    mid = OPENING_PRICE
    count = opened
    while True:
        season = 0.7 + 0.9 * (2.0 * time / duration - 1.0) ** 2
        rates[:] = base * season + excitation[0] + excitation[1]
        total = rates.sum()
        # The intensity only falls until the next event: a wait drawn at today's intensity is kept as often as
        # tomorrow's allows (Ogata's thinning).
        wait = rng.exponential() / total
        time += wait
        if time >= duration:
            break
        fade = np.exp(-_DECAY * wait)
        excitation[0] *= fade[0]
        excitation[1] *= fade[1]
        log_volatility += -0.004 * log_volatility * wait + 0.06 * np.sqrt(wait) * rng.normal()
        value += 1.6 * np.exp(log_volatility - 0.2) * np.sqrt(wait) * rng.normal()
        value += 0.002 * (OPENING_PRICE - value) * wait
        rates[:] = base * season + excitation[0] + excitation[1]
        u = rng.random() * total
        if u >= rates.sum():
            continue

        event = 0
        while event < _NUM_EVENTS - 1 and u >= rates[event]:
            u -= rates[event]
            event += 1
        side, action = event % 2, event // 2
        # The excitation says when something happens; the market's state has a say in what.
        if action == _TAKE_EVENT:
            lean = np.tanh((value - mid) / 12.0)
            buys = rates[2 * _TAKE_EVENT + t.BUY] * (1.0 + lean)
            sells = rates[2 * _TAKE_EVENT + t.SELL] * (1.0 - lean)
            side = t.BUY if rng.random() * (buys + sells) < buys else t.SELL
        else:
            limits = rates[2 * _LIMIT_EVENT + side]
            cancels = rates[2 * _CANCEL_EVENT + side] * num_live[side] / _TARGET_ORDERS
            action = _CANCEL_EVENT if rng.random() * (limits + cancels) < cancels else _LIMIT_EVENT
        best, other = _best(book, side), _best(book, 1 - side)
        sign = 1 if side == t.BUY else -1
        kind, price, size, order_id = t.LIMIT, mid, _lot_size(rng), count + 1
        if action == _LIMIT_EVENT:
            if best == t.NO_PRICE:
                best = mid - sign * 5
            spread = (other - best) * sign if other != t.NO_PRICE else 1
            if spread > 1 and rng.random() < 0.2:
                price = best + sign * (1 + int(rng.random() * (spread - 1)))
            else:
                price = best - sign * _depth(rng)
        elif action == _TAKE_EVENT:
            if other == t.NO_PRICE:
                continue
            price = other + sign * (_depth(rng) // 4)
            size *= 3
        else:
            order_id = _pick_resting(book, rng, live, num_live, side)
            if order_id < 0:
                continue
            slot = _find(book, order_id)
            kind, price, size = t.CANCEL, book[slot + t.PRICE], book[slot + t.SIZE]

        if count == rows.shape[0]:
            return -1
        _execute(book, kind, side, price, size, order_id, 0, 0, report, trades)
        if report[t.OUTCOME] != t.ACCEPTED:
            continue
        if report[t.RESTING] > 0:
            live[side, num_live[side]] = order_id
            num_live[side] += 1
        rows[count, 0] = np.int64(time * 1e9)
        rows[count, 1] = kind
        rows[count, 2] = side
        rows[count, 3] = price
        rows[count, 4] = size
        rows[count, 5] = order_id
        count += 1
        for child in range(_NUM_EVENTS):
            for scale in range(2):
                excitation[scale, child] += _CHILDREN[side + 2 * action, child] * _SCALE_SHARE[scale] * _DECAY[scale]
        ask, bid = _best(book, t.SELL), _best(book, t.BUY)
        if ask != t.NO_PRICE and bid != t.NO_PRICE:
            mid = (ask + bid) // 2
    return count
