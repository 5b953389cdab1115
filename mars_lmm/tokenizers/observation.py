"""What an order looked like to the market: the raw integers that tokens and market features are made of.

One function, `step`, puts an order through the book and observes it. Replay and rollout both call it, so a
recorded session and a simulated one are described by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.venue import Venue

# Order types of a token. Sides double as types: SELL = 0, BUY = 1.
CANCEL_TYPE = 2

# Columns of an observation row, int64[NUM_OBSERVED].
TYPE = 0
PLACE = 1  # where its price lies in the book that it met, see `place_of` and `place_of_cancel`
SIZE = 2
INTERVAL = 3  # nanoseconds of open market since the previous order
CHANGE = 4  # mid after the order against the first trade price, basis points
MINUTE = 5  # minutes of open market since the session began
LEVELS = 6  # then, for asks and for bids, DEPTH distances from the mid (-1: no such level) and DEPTH sizes
NUM_OBSERVED = LEVELS + 4 * t.DEPTH

# Columns of a tape row, int64[NUM_TAPE]: the order as it was executed, and the touch after it.
TAPE_COLUMNS = (
    "time",
    "kind",
    "side",
    "price",
    "size",
    "filled",
    "fill_value",
    "last_price",
    "bid",
    "ask",
    "bid_size",
    "ask_size",
)
NUM_TAPE = len(TAPE_COLUMNS)

MAX_CHANGE = 2000
MAX_MINUTE = 1439
NANOS_PER_MINUTE = 60_000_000_000

# Columns of a clock row, int64[NUM_CLOCK]: where a book's stream of orders stands.
LAST_TIME = 0  # nanoseconds since midnight of the previous order
MID = 1  # floor of the mid after the previous order; NO_PRICE before the first quote
OPEN_TIME = 2
BID = 3  # the touch after the previous order; NO_PRICE for an empty side
ASK = 4
CLOSED_TIME = 5  # nanoseconds since OPEN_TIME in which the venue was shut, such as a lunch break
NUM_CLOCK = 6

# Places from here on are prices that meet the other side: CROSSING + ticks beyond the other side's best.
CROSSING = 1 << 24
MOST_BETTER = 255  # occupied prices before a cancel's are counted so far


def better_prices(place: np.ndarray) -> np.ndarray:
    """How many better prices cancels leave alone, from their places, int64[N]; see `place_of_cancel`."""
    return np.where(place > 0, place - 1, -place)


class Observing(NamedTuple):
    """Compiled functions of `make_observing`."""

    step: Callable[..., Any]
    """step(book, clock, order, time, anonymous, queue_rule, report, trades, snapshot, observed, tape) -> bool"""
    pass_time: Callable[..., Any]
    """pass_time(book, clock, time, trades, snapshot) -> nanoseconds between OPEN_TIME and `time` that were shut

    Lets the session pass to `time`, with the auctions that are due; where one traded, the snapshot and the clock's
    touch are those after it. Without rules nothing is ever shut, and nothing happens.
    """
    after: Callable[..., Any]
    """after(book, time, interval) -> when so many nanoseconds of open market have passed since `time`

    The first such moment, but never one of a shut phase, unless the venue does not open again: then the clock runs on.
    """
    shut_time: Callable[..., Any]
    """shut_time(book, begin, end) -> nanoseconds of [begin, end) in which the schedule shuts the venue"""
    snapshot: Callable[..., Any]
    """snapshot(book, snapshot): take the snapshot as `step` does"""


def make_own_best(jit: Callable) -> Callable:
    """Compile `own_best(clock, side)`: a side's best price, or where it would stand next to the mid if it is empty."""

    @jit
    def own_best(clock, side):
        best = clock[ASK] if side == t.SELL else clock[BID]
        if best != t.NO_PRICE:
            return best
        return clock[MID] + 1 if side == t.SELL else clock[MID]

    return own_best


def make_observing(jit: Callable, venue: Venue, apply: Callable, refreshes: bool = False) -> Observing:
    """Compile the observation of orders.

    Args:
        jit: The compiler, as for the matching core.
        venue: The compiled venue.
        apply: The compiled function that executes one recorded or simulated order.
        refreshes: The snapshot that `step` gets is the one that it left for the same book, or, before the first, what
            `Matching.refresh` asks for: that is faster than to take it anew.

    Returns:
        `step(book, clock, order, time, anonymous, queue_rule, report, trades, snapshot, observed, tape) -> bool`:
        lets a venue's session pass to `time`, executes `order` and, when it was accepted, writes the snapshot after
        it, its observation (int64[NUM_OBSERVED]) and its tape row (int64[NUM_TAPE]), and moves the clock on.
        Anonymous volume changes the book and the mid; it is nobody's order, so it is not observed and time does not
        move. Returns whether the order was accepted.
    """
    take_snapshot = venue.matching.refresh if refreshes else venue.matching.snapshot
    advance, best, next_price = venue.advance, venue.matching.best, venue.matching.next_price

    lesser, greater = make_extrema(jit)
    own_best = make_own_best(jit)

    @jit
    def mid_of(snapshot, last_mid):
        """Floor of the mid, so that bids lie at or below it and asks above; a lone side keeps that order."""
        ask = snapshot[t.SELL, 0, 0]
        bid = snapshot[t.BUY, 0, 0]
        if ask != t.NO_PRICE and bid != t.NO_PRICE:
            return (ask + bid) // 2
        if bid != t.NO_PRICE:
            return bid
        if ask != t.NO_PRICE:
            return ask - 1
        return last_mid

    @jit
    def place_of(clock, side, price):
        """Where an order's price lies in the book: relative to the touch, whose prices orders really aim at.

        <= 0, ticks behind its side's best; > 0, ticks ahead of it, inside the spread; CROSSING and more, at or beyond
        the other side's best.
        """
        sign = 1 if side == t.BUY else -1
        ahead = (price - own_best(clock, side)) * sign
        beyond = (price - own_best(clock, 1 - side)) * sign
        return CROSSING + beyond if beyond >= 0 else ahead

    @jit
    def place_of_cancel(book, side, price):
        """Where a cancel's price lies in the book: how many prices with orders are better.

        Cancels have no side: of bids the number is negated, of asks it is one more. It is the same before and after.
        """
        better, at = 0, best(book, side)
        while at != t.NO_PRICE and better < MOST_BETTER and (at > price if side == t.BUY else at < price):
            better += 1
            at = next_price(book, side, at)
        return -better if side == t.BUY else 1 + better

    @jit
    def observe_market(book, clock, snapshot, observed):
        change = 0
        open_price = book[t.OPEN_PRICE]
        if open_price > 0:
            change = (clock[MID] - open_price) * 10_000 // open_price
            change = lesser(greater(change, -MAX_CHANGE), MAX_CHANGE)
        observed[CHANGE] = change
        open_time = clock[LAST_TIME] - clock[OPEN_TIME] - clock[CLOSED_TIME]
        observed[MINUTE] = lesser(greater(open_time, 0) // NANOS_PER_MINUTE, MAX_MINUTE)
        for side in range(2):
            first = LEVELS + side * 2 * t.DEPTH
            for level in range(t.DEPTH):
                price = snapshot[side, level, 0]
                distance = -1
                if price != t.NO_PRICE:
                    distance = abs(price - clock[MID])
                observed[first + level] = distance
                observed[first + t.DEPTH + level] = snapshot[side, level, 1]

    @jit
    def write_tape(book, time, kind, side, price, size, report, snapshot, tape):
        tape[0] = time
        tape[1] = kind
        tape[2] = side
        tape[3] = price
        tape[4] = size
        tape[5] = report[t.FILLED]
        tape[6] = report[t.FILL_VALUE]
        tape[7] = book[t.LAST_PRICE]
        tape[8] = snapshot[t.BUY, 0, 0]
        tape[9] = snapshot[t.SELL, 0, 0]
        tape[10] = snapshot[t.BUY, 0, 1]
        tape[11] = snapshot[t.SELL, 0, 1]

    @jit
    def note_touch(book, clock, snapshot):
        """Take the snapshot, and tell the clock what it shows."""
        take_snapshot(book, snapshot)
        clock[MID] = mid_of(snapshot, clock[MID])
        clock[BID] = snapshot[t.BUY, 0, 0]
        clock[ASK] = snapshot[t.SELL, 0, 0]

    @jit
    def shut_time(book, begin, end):
        """Nanoseconds of [begin, end) in which the schedule shuts the venue."""
        shut = 0
        for phase in range(book[t.NUM_PHASES]):
            row = book[t.PHASES_AT] + phase * t.NUM_PHASE_COLUMNS
            until = end
            if phase + 1 < book[t.NUM_PHASES]:
                until = lesser(end, book[row + t.NUM_PHASE_COLUMNS + t.PHASE_START])
            if book[row + t.PHASE_MODE] == t.SHUT:
                shut += greater(until - greater(begin, book[row + t.PHASE_START]), 0)
        return shut

    @jit
    def after(book, time, interval):
        left = interval
        for phase in range(book[t.NUM_PHASES]):
            row = book[t.PHASES_AT] + phase * t.NUM_PHASE_COLUMNS
            end = t.FOREVER
            if phase + 1 < book[t.NUM_PHASES]:
                end = book[row + t.NUM_PHASE_COLUMNS + t.PHASE_START]
            if end <= time or end == t.FOREVER:
                continue
            if book[row + t.PHASE_MODE] == t.SHUT:
                time = end
            elif left < end - time:
                return time + left
            else:
                left -= end - time
                time = end
        return time + left

    @jit
    def pass_time(book, clock, time, trades, snapshot):
        if book[t.RULES + t.ENFORCED] == 0:
            return 0
        traded = book[t.VOLUME]
        advance(book, time, trades)
        if book[t.VOLUME] != traded:
            note_touch(book, clock, snapshot)
        return shut_time(book, clock[OPEN_TIME], time)

    @jit
    def step(book, clock, order, time, anonymous, queue_rule, report, trades, snapshot, observed, tape):
        closed_time = pass_time(book, clock, time, trades, snapshot)
        apply(
            book,
            order[t.KIND],
            order[t.SIDE],
            order[t.PRICE],
            order[t.SIZE],
            order[t.ORDER_ID],
            order[t.OWNER],
            time,
            queue_rule,
            report,
            trades,
        )
        if report[t.OUTCOME] != t.ACCEPTED:
            return False
        kind = order[t.KIND]
        observed[TYPE] = order[t.SIDE]
        price = order[t.PRICE]
        size = order[t.SIZE]
        # What a cancel, or an order without a price of its own, did is known only after the event.
        if kind == t.CANCEL or kind == t.CANCEL_AT:
            observed[TYPE] = CANCEL_TYPE
            price = report[t.ACTED_PRICE]
            size = report[t.CANCELLED]
        elif kind != t.LIMIT and kind != t.POST_ONLY and kind != t.REPLACE:
            price = report[t.ACTED_PRICE]
            size = report[t.FILLED] + report[t.RESTING] + report[t.PARKED]
        observed[PLACE] = 0
        if observed[TYPE] == CANCEL_TYPE:
            observed[PLACE] = 0 if anonymous else place_of_cancel(book, order[t.SIDE], price)
        elif clock[MID] != t.NO_PRICE:
            observed[PLACE] = place_of(clock, order[t.SIDE], price)
        note_touch(book, clock, snapshot)
        if anonymous:
            return True

        observed[SIZE] = size
        observed[INTERVAL] = time - clock[LAST_TIME] - (closed_time - clock[CLOSED_TIME])
        clock[CLOSED_TIME] = closed_time
        clock[LAST_TIME] = time
        observe_market(book, clock, snapshot, observed)
        write_tape(book, time, kind, order[t.SIDE], price, size, report, snapshot, tape)
        return True

    return Observing(step, pass_time, after, shut_time, take_snapshot)
