"""The reference book and venue keep the rules: orders and admission worked by hand, and what holds on any day."""

from collections import Counter

import pytest
from reference_cases import outcomes, play, venue
from venue_streams import random_day, venue_stream

from mars_lmm.market.reference import ReferenceBook, Report, Trade
from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.types import (
    ACCEPTED,
    ALLOW,
    BACKGROUND,
    BAD_KIND,
    BAD_LOT,
    BAD_SIZE,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BOOK_FULL,
    BOUGHT,
    BOUGHT_VALUE,
    BUY,
    CAGE_PARKS,
    CAGE_RATE,
    CAGE_TICKS,
    CANCEL,
    CANCEL_AT,
    CANCEL_BOTH,
    CANCEL_INCOMING,
    CANCEL_RESTING,
    CASH,
    CONTINUOUS,
    DECREMENT,
    DUPLICATE_ID,
    ENFORCED,
    FEES_PAID,
    FOK,
    HALT,
    IDLE,
    IOC,
    KIND_NOT_TAKEN,
    KINDS_TAKEN,
    LIMIT,
    LIMIT_DOWN,
    LIMIT_UP,
    LOT,
    MARKET,
    MARKET_FOK,
    MARKET_NEEDS_LIMITS,
    MAX_LIMIT_ORDER,
    MAX_MARKET_ORDER,
    MAX_SIZE,
    MIN_ORDER,
    NO_CASH,
    NO_LIQUIDITY,
    NO_PRICE,
    NO_SIDE,
    NOT_OWNER,
    ODD_LOT_SELLS,
    OFF_TICK,
    OPPOSITE_BEST,
    OUTCOMES,
    OWN_BEST,
    POSITION,
    POST_ONLY,
    PREVIOUS_CLOSE,
    PRICE_CAGE,
    PRICE_LIMIT,
    QUEUE,
    REPLACE,
    SELL,
    SHUT,
    SOLD,
    SOLD_VALUE,
    TICK,
    TOO_LARGE,
    UNFILLABLE,
    UNKNOWN_ID,
    WOULD_TRADE,
)

# The kinds of order, without rules.

ASKS = [(LIMIT, SELL, 100 + i, 5, i, 9) for i in range(7)]


@pytest.mark.parametrize(
    ("order", "report", "num_trades"),
    [
        ((FOK, BUY, 101, 10, 50, 1), Report(ACCEPTED, 10, 0, 0, 101, 1005, 2), 2),
        ((FOK, BUY, 101, 11, 50, 1), Report(UNFILLABLE), 0),
        ((FOK, BUY, 99, 1, 50, 1), Report(NO_LIQUIDITY), 0),
        ((MARKET_FOK, BUY, 0, 35, 50, 1), Report(ACCEPTED, 35, 0, 0, 106, 3605, 7), 7),
        ((MARKET_FOK, BUY, 0, 36, 50, 1), Report(UNFILLABLE), 0),
        ((POST_ONLY, BUY, 99, 5, 50, 1), Report(ACCEPTED, resting=5, acted_price=99), 0),
        ((POST_ONLY, BUY, 100, 5, 50, 1), Report(WOULD_TRADE), 0),
        ((BEST_FIVE, BUY, 0, 30, 50, 1), Report(ACCEPTED, 25, 0, 5, 104, 2550, 5), 5),
        ((BEST_FIVE, BUY, 101, 30, 50, 1), Report(ACCEPTED, 10, 0, 20, 101, 1005, 2), 2),
        ((BEST_FIVE, BUY, 99, 30, 50, 1), Report(NO_LIQUIDITY), 0),
        ((BEST_FIVE_LIMIT, BUY, 0, 30, 50, 1), Report(ACCEPTED, 25, 5, 0, 104, 2550, 5), 5),
        ((BEST_FIVE_LIMIT, BUY, 0, 30, 3, 1), Report(DUPLICATE_ID), 0),
        ((OPPOSITE_BEST, BUY, 0, 8, 50, 1), Report(ACCEPTED, 5, 3, 0, 100, 500, 1), 1),
        ((OPPOSITE_BEST, SELL, 0, 8, 50, 1), Report(NO_LIQUIDITY), 0),
        ((OWN_BEST, SELL, 0, 8, 50, 1), Report(ACCEPTED, resting=8, acted_price=100), 0),
        ((OWN_BEST, BUY, 0, 8, 50, 1), Report(NO_LIQUIDITY), 0),
        ((HALT, 0, 0, 0, 0, 0), Report(BAD_KIND), 0),
        ((IDLE, 0, 0, 0, 0, 0), Report(BAD_KIND), 0),
        ((REPLACE, 0, 100, 5, 3, 1), Report(NOT_OWNER), 0),
        ((REPLACE, 0, 100, MAX_SIZE + 1, 3, 9), Report(BAD_SIZE), 0),
        ((REPLACE, 0, 100, 5, 50, 9), Report(UNKNOWN_ID), 0),
        ((CANCEL, 0, 0, 0, 3, 1), Report(NOT_OWNER), 0),
    ],
)
def test_kinds(order, report, num_trades):
    made, trades = play(ReferenceBook(20, 100, 50), *ASKS, order)
    assert made == report
    assert len(trades) == num_trades


def test_a_smaller_replacement_keeps_its_place_and_any_other_goes_to_the_back():
    book = ReferenceBook(20, 100, 50)
    orders = [(LIMIT, BUY, 99, 5, i, 7) for i in range(3)]
    assert play(book, *orders, (REPLACE, 0, 99, 2, 0, 7))[0] == Report(ACCEPTED, 0, 2, 3, 99)
    assert book.queue(BUY, 99) == [(0, 2, 7), (1, 5, 7), (2, 5, 7)]
    assert play(book, (REPLACE, 0, 99, 6, 1, 7))[0] == Report(ACCEPTED, 0, 6, 5, 99)
    assert book.queue(BUY, 99) == [(0, 2, 7), (2, 5, 7), (1, 6, 7)]


def test_a_replacement_may_trade_and_its_slot_is_its_own():
    book = ReferenceBook(2, 100, 50)
    report, trades = play(book, (LIMIT, BUY, 99, 5, 1, 7), (LIMIT, SELL, 101, 3, 2, 8), (REPLACE, SELL, 101, 9, 1, 7))
    assert report == Report(ACCEPTED, 3, 6, 5, 101, 303, 1)
    assert trades == [Trade(101, 3, 2, 8, 1, 7, BUY)]
    assert book.queue(BUY, 101) == [(1, 6, 7)]


@pytest.mark.parametrize(
    ("mode", "report", "left"),
    [
        (ALLOW, Report(ACCEPTED, 10, 2, 0, 101, 1005, 3), {}),
        (CANCEL_INCOMING, Report(ACCEPTED, 2, 0, 10, 100, 200, 1), {100: [(2, 3, 7)], 101: [(3, 5, 8)]}),
        (CANCEL_RESTING, Report(ACCEPTED, 7, 5, 0, 101, 705, 2, 0, 3), {}),
        (CANCEL_BOTH, Report(ACCEPTED, 2, 0, 10, 100, 200, 1, 0, 3), {101: [(3, 5, 8)]}),
        (DECREMENT, Report(ACCEPTED, 7, 2, 3, 101, 705, 2, 0, 3), {}),
    ],
)
def test_who_gives_way_in_a_self_trade(mode, report, left):
    book = ReferenceBook(20, 100, 50, self_trade=mode)
    asks = [(LIMIT, SELL, 100, 2, 1, 8), (LIMIT, SELL, 100, 3, 2, 7), (LIMIT, SELL, 101, 5, 3, 8)]
    assert play(book, *asks, (LIMIT, BUY, 101, 12, 4, 7))[0] == report
    assert {price: book.queue(SELL, price) for price in book.levels[SELL]} == left
    assert sum(size for _, size, _ in book.queue(BUY, 101)) == report.resting


def test_the_background_trades_with_itself():
    book = ReferenceBook(20, 100, 50, self_trade=CANCEL_BOTH)
    report, _ = play(book, (LIMIT, SELL, 100, 2, 1, BACKGROUND), (LIMIT, BUY, 100, 2, 2, BACKGROUND))
    assert report.filled == 2


@pytest.mark.parametrize(("mode", "most"), [(ALLOW, 10), (CANCEL_INCOMING, 2), (CANCEL_RESTING, 7), (DECREMENT, 2)])
def test_the_volume_that_a_fill_or_kill_order_counts_on(mode, most):
    asks = [(LIMIT, SELL, 100, 2, 1, 8), (LIMIT, SELL, 100, 3, 2, 7), (LIMIT, SELL, 101, 5, 3, 8)]
    for size, outcome in ((most, ACCEPTED), (most + 1, UNFILLABLE)):
        book = ReferenceBook(20, 100, 50, self_trade=mode)
        report, _ = play(book, *asks, (FOK, BUY, 101, size, 4, 7))
        assert (report.outcome, report.filled) == (outcome, size if outcome == ACCEPTED else 0)


def test_an_order_cancelled_by_self_trade_acts_at_no_price():
    book = ReferenceBook(20, 100, 50, self_trade=CANCEL_RESTING)
    ask = (LIMIT, SELL, 100, 2, 1, 7)
    assert play(book, ask, (IOC, BUY, 101, 5, 2, 7))[0] == Report(ACCEPTED, cancelled=5, prevented=2)
    assert play(book, ask, (BEST_FIVE_LIMIT, BUY, 0, 5, 2, 7))[0] == Report(ACCEPTED, cancelled=5, prevented=2)
    assert not book.live


# Admission.


@pytest.mark.parametrize(
    ("rules", "order", "outcome"),
    [
        ({TICK: 5}, (LIMIT, BUY, 99, 1, 1, 0), OFF_TICK),
        ({TICK: 5}, (LIMIT, BUY, 95, 1, 1, 0), ACCEPTED),
        ({LOT: 100, MIN_ORDER: 200}, (LIMIT, BUY, 95, 100, 1, 0), BAD_LOT),
        ({LOT: 100, MIN_ORDER: 200}, (LIMIT, BUY, 95, 250, 1, 0), BAD_LOT),
        ({LOT: 100, MIN_ORDER: 200}, (LIMIT, BUY, 95, 300, 1, 0), ACCEPTED),
        ({LOT: 100, MIN_ORDER: 200, ODD_LOT_SELLS: 1}, (LIMIT, SELL, 95, 7, 1, 0), ACCEPTED),
        ({MAX_LIMIT_ORDER: 10}, (LIMIT, BUY, 95, 11, 1, 0), TOO_LARGE),
        ({MAX_MARKET_ORDER: 10}, (MARKET, BUY, 0, 11, 1, 0), TOO_LARGE),
        ({MAX_MARKET_ORDER: 10}, (LIMIT, BUY, 95, 11, 1, 0), ACCEPTED),
        ({LIMIT_DOWN: 90, LIMIT_UP: 110}, (LIMIT, BUY, 111, 1, 1, 0), PRICE_LIMIT),
        ({LIMIT_DOWN: 90, LIMIT_UP: 110}, (LIMIT, BUY, 89, 1, 1, 0), PRICE_LIMIT),
        ({KINDS_TAKEN: 1 << MARKET}, (LIMIT, BUY, 95, 1, 1, 0), KIND_NOT_TAKEN),
        ({KINDS_TAKEN: 1 << LIMIT}, (CANCEL, BUY, 95, 1, 1, 0), UNKNOWN_ID),
        ({KINDS_TAKEN: 1 << LIMIT}, (REPLACE, BUY, 95, 1, 1, 0), KIND_NOT_TAKEN),
        ({MARKET_NEEDS_LIMITS: 1}, (OWN_BEST, BUY, 0, 1, 1, 0), KIND_NOT_TAKEN),
        ({MARKET_NEEDS_LIMITS: 1, LIMIT_UP: 110}, (OWN_BEST, BUY, 0, 1, 1, 0), NO_LIQUIDITY),
        ({}, (CANCEL_AT, BUY, 0, 0, 1, 0), BAD_SIZE),
        ({TICK: 5, LOT: 100}, (LIMIT, BUY, 99, 1, 1, 0), OFF_TICK),  # the first thing that is wrong
    ],
)
def test_admission(rules, order, outcome):
    assert outcomes(venue(rules), order) == [outcome]


def test_without_enforcement_only_accounts_are_checked():
    book = venue({ENFORCED: 0, TICK: 5, KINDS_TAKEN: 0}, [(0, SHUT, 0)], [[0, 0, 0], [1000, 0, 0]])
    orders = [(LIMIT, BUY, 99, 10, 1, 1), (LIMIT, BUY, 99, 1, 2, 1), (CANCEL, 0, 0, 0, 1, 1), (HALT, 0, 0, 0, 0, 0)]
    assert outcomes(book, *orders) == [ACCEPTED, NO_CASH, ACCEPTED, BAD_KIND]
    assert book.clock == 0


@pytest.mark.parametrize(
    ("sellable", "size", "outcome"),
    [(250, 250, ACCEPTED), (250, 50, ACCEPTED), (250, 150, ACCEPTED), (250, 40, BAD_LOT), (40, 140, BAD_LOT)],
)
def test_odd_lots_are_sold_in_one_go(sellable, size, outcome):
    book = venue({LOT: 100, MIN_ORDER: 100, ODD_LOT_SELLS: 1}, accounts=[[0, 0, 0], [0, sellable, sellable]])
    assert outcomes(book, (LIMIT, SELL, 100, size, 1, 1)) == [outcome]


def test_below_a_smallest_order_of_single_units_only_everything_may_be_sold():
    rules = {LOT: 1, MIN_ORDER: 200, ODD_LOT_SELLS: 1}
    accounts = [[0, 0, 0], [0, 150, 150]]
    assert outcomes(venue(rules, accounts=accounts), (LIMIT, SELL, 100, 149, 1, 1)) == [BAD_LOT]
    assert outcomes(venue(rules, accounts=accounts), (LIMIT, SELL, 100, 150, 1, 1)) == [ACCEPTED]


def test_the_cage_is_the_wider_of_rate_and_ticks_about_the_other_sides_best():
    rules = {CAGE_RATE: 20_000, CAGE_TICKS: 1, PREVIOUS_CLOSE: 100}
    buys = [(LIMIT, BUY, 103, 1, 1, 0), (LIMIT, BUY, 102, 1, 1, 0)]
    assert outcomes(venue(rules), *buys) == [PRICE_CAGE, ACCEPTED]
    # A sell's base is now the best buy, 102: not below 102 * 0.98 = 99.96, rounded to 100.
    sells = [(LIMIT, SELL, 99, 1, 2, 0), (IOC, SELL, 99, 1, 2, 0), (FOK, SELL, 100, 1, 2, 0)]
    book = venue(rules)
    assert outcomes(book, buys[1], *sells) == [ACCEPTED, PRICE_CAGE, PRICE_CAGE, ACCEPTED]
    # Both sides are empty: the base is the last price, 102, and 2 % of it rounds to 2.
    assert outcomes(book, (LIMIT, BUY, 105, 1, 3, 0), (LIMIT, BUY, 104, 1, 3, 0)) == [PRICE_CAGE, ACCEPTED]
    wide = venue(rules | {CAGE_TICKS: 10})
    assert outcomes(wide, (LIMIT, BUY, 111, 1, 1, 0), (LIMIT, BUY, 110, 1, 1, 0)) == [PRICE_CAGE, ACCEPTED]


def test_a_cage_may_hold_limit_orders_aside_until_the_market_comes():
    book = venue({CAGE_RATE: 10_000, CAGE_TICKS: 2, CAGE_PARKS: 1, PREVIOUS_CLOSE: 100})
    report, trades = book.submit(LIMIT, BUY, 104, 5, 1, 0, 0)
    assert (report, trades) == (Report(ACCEPTED, acted_price=104, parked=5), [])
    assert outcomes(book, (IOC, BUY, 104, 1, 2, 0), (LIMIT, BUY, 104, 1, 1, 0)) == [PRICE_CAGE, DUPLICATE_ID]
    assert outcomes(book, (REPLACE, 0, 100, 5, 1, 0), (LIMIT, BUY, 103, 4, 2, 0)) == [KIND_NOT_TAKEN, ACCEPTED]
    assert book.parked() == [(1, BUY, 104, 5, 0), (2, BUY, 103, 4, 0)]
    assert (book.num_parked, len(book.live), book.best(BUY)) == (2, 2, NO_PRICE)
    # With a best sell of 101 the cage ends at 103: order 2 trades, and the first one stays aside.
    report, trades = book.submit(LIMIT, SELL, 101, 6, 3, 0, 0)
    assert report == Report(ACCEPTED, resting=6, acted_price=101)
    assert trades == [Trade(101, 4, 3, 0, 2, 0, BUY)]
    assert book.parked() == [(1, BUY, 104, 5, 0)]
    # The best sell goes to 102, so the cage goes to 104.
    _, trades = book.submit(LIMIT, SELL, 102, 6, 4, 0, 0)
    assert trades == []
    report, trades = book.submit(CANCEL, 0, 0, 0, 3, 0, 0)
    assert report == Report(ACCEPTED, cancelled=2, acted_price=101)
    assert trades == [Trade(102, 5, 4, 0, 1, 0, BUY)]


def test_parked_orders_can_be_cancelled():
    book = venue(schedule=[(0, QUEUE, 1)])
    assert outcomes(book, (LIMIT, BUY, 100, 5, 1, 3), (MARKET, BUY, 0, 1, 2, 3)) == [ACCEPTED, KIND_NOT_TAKEN]
    assert book.submit(CANCEL, 0, 0, 2, 1, 3, 0)[0] == Report(ACCEPTED, cancelled=2, acted_price=100)
    assert book.parked() == [(1, BUY, 100, 3, 3)]
    book.submit(CANCEL, 0, 0, 0, 1, 3, 0)
    assert (book.parked(), len(book.live)) == ([], 0)


def test_parked_orders_take_slots_and_enter_one_by_one():
    book = venue(schedule=[(0, QUEUE, 1), (100, CONTINUOUS, 1)], num_orders=2)
    orders = [(LIMIT, BUY, 101, 5, 1, 0), (LIMIT, SELL, 100, 7, 2, 0), (LIMIT, BUY, 99, 1, 3, 0)]
    assert outcomes(book, *orders) == [ACCEPTED, ACCEPTED, BOOK_FULL]
    assert book.advance(99) == []
    assert book.advance(100) == [Trade(101, 5, 1, 0, 2, 0, SELL)]
    assert book.queue(SELL, 100) == [(2, 2, 0)]


# Any day.


def test_what_holds_on_any_day():
    counts = Counter()
    for seed in range(40):
        day = random_day(seed)
        book = ReferenceVenue(*day)
        rows, times = venue_stream(book, seed, 1000)
        counts.update(dict(enumerate(book.outcome_counts)))
        assert book.accounts == book.ledger  # what is reserved, counted afresh and kept as running sums
        again = ReferenceVenue(*day)
        played = [again.submit(*row, time) for row, time in zip(rows.tolist(), times.tolist(), strict=True)]
        assert (again.ledger, again.outcome_counts) == (book.ledger, book.outcome_counts)
        trades = [trade for _, made in played for trade in made]
        assert book.num_trades == len(trades) > 0
        assert book.volume == sum(trade.size for trade in trades)
        assert (
            len(book.live) == sum(len(book.queue(s, p)) for s in (SELL, BUY) for p in book.levels[s]) + book.num_parked
        )
        for owner, account in enumerate(book.ledger[1:], 1):
            bought = sum(trade.size for trade in trades if trade_side(trade, owner, BUY))
            sold = sum(trade.size for trade in trades if trade_side(trade, owner, SELL))
            assert account[POSITION] == day.accounts[owner][POSITION] + bought - sold
            assert (account[BOUGHT], account[SOLD]) == (bought, sold)
            traded = account[BOUGHT_VALUE] - account[SOLD_VALUE] + account[FEES_PAID]
            assert account[CASH] == day.accounts[owner][CASH] - traded
    assert all(counts[outcome] for outcome in range(len(OUTCOMES))), counts
    assert 0.6 < counts[ACCEPTED] / counts.total() < 0.85


def trade_side(trade, owner, side):
    """Whether the owner was on this side of a trade."""
    incoming_buys = trade.incoming_side in (BUY, NO_SIDE)
    return owner == (trade.incoming_owner if incoming_buys == (side == BUY) else trade.resting_owner)
