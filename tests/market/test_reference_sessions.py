"""The reference venue in time: call auctions, phases and halts; worked by hand."""

import pytest
from reference_cases import outcomes, venue

from mars_lmm.market.reference import Report, Trade
from mars_lmm.market.types import (
    ACCEPTED,
    AUCTION_AT_ORDERS,
    AUCTION_TIE,
    BUY,
    CALL,
    CANCEL,
    CANCEL_AT,
    CLOSED,
    CONTINUOUS,
    FOREVER,
    HALT,
    HALT_DURATION,
    HALT_LATEST,
    HALT_MODE,
    HALT_RATE_1,
    HALT_RATE_2,
    HALT_WINDOW,
    HALTED,
    IOC,
    KIND_NOT_TAKEN,
    LIMIT,
    MARKET,
    MIDDLE,
    NEAREST,
    NO_CANCEL,
    NO_PRICE,
    NO_SIDE,
    PREVIOUS_CLOSE,
    QUEUE,
    REPLACE,
    RESUME,
    SELL,
    SHUT,
)

# Auctions.


def auction(buys, sells, rules, last=0):
    """The (price, volume) at which (price, size) orders uncross."""
    schedule = [(0, CONTINUOUS, 1), (10, CALL, 1), (20, SHUT, 0)]
    book = venue(rules, schedule)
    if last:
        book.submit(LIMIT, SELL, last, 1, 98, 0, 0)
        book.submit(LIMIT, BUY, last, 1, 99, 0, 0)
    for i, (price, size) in enumerate(buys):
        book.submit(LIMIT, BUY, price, size, i, 0, 10)
    for i, (price, size) in enumerate(sells):
        book.submit(LIMIT, SELL, price, size, 50 + i, 0, 10)
    trades = book.advance(20)
    assert len({trade.price for trade in trades}) <= 1
    return (trades[0].price if trades else NO_PRICE), sum(trade.size for trade in trades)


@pytest.mark.parametrize(
    ("buys", "sells", "rules", "last", "expected"),
    [
        ([(99, 5)], [(100, 5)], {}, 0, (NO_PRICE, 0)),
        ([(100, 5)], [(100, 3)], {}, 0, (100, 3)),
        # As much at 96..104 with nothing over: the middle, half up, or the nearest to a reference.
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: MIDDLE}, 0, (100, 5)),
        ([(105, 5)], [(96, 5)], {AUCTION_TIE: MIDDLE}, 0, (101, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST, PREVIOUS_CLOSE: 103}, 0, (103, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST, PREVIOUS_CLOSE: 120}, 0, (104, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST, PREVIOUS_CLOSE: 120}, 98, (98, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST}, 0, (100, 5)),
        # At prices of orders only: of 96 and 104, the lower of two equally near.
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST, AUCTION_AT_ORDERS: 1, PREVIOUS_CLOSE: 100}, 0, (96, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: NEAREST, AUCTION_AT_ORDERS: 1, PREVIOUS_CLOSE: 101}, 0, (104, 5)),
        ([(104, 5)], [(96, 5)], {AUCTION_TIE: MIDDLE, AUCTION_AT_ORDERS: 1}, 0, (100, 5)),
        # 8 trade at 100..102 and nothing is left over; at 103 only 3 do.
        ([(103, 3), (102, 5)], [(100, 8)], {}, 0, (101, 8)),
        # 5 trade at any price, but below 104 the 9 buyers there would not all fill.
        ([(104, 9)], [(96, 5)], {}, 0, (104, 5)),
        ([(104, 5)], [(96, 9)], {}, 0, (96, 5)),
        # 6 trade at 100..102 and all better orders fill, but at 100 another 3 are left over.
        ([(102, 6), (100, 3)], [(99, 6)], {AUCTION_TIE: NEAREST, PREVIOUS_CLOSE: 99}, 0, (101, 6)),
    ],
)
def test_auction_price(buys, sells, rules, last, expected):
    assert auction(buys, sells, rules, last) == expected


def test_an_auction_fills_by_price_then_time_and_the_rest_trades_on():
    book = venue(schedule=[(0, CALL, 1), (10, CONTINUOUS, 1)])
    orders = [(LIMIT, BUY, 100, 5, 1, 4), (LIMIT, BUY, 102, 3, 2, 0), (LIMIT, BUY, 100, 5, 3, 0)]
    orders += [(LIMIT, SELL, 99, 4, 4, 0), (LIMIT, SELL, 100, 6, 5, 4)]
    assert outcomes(book, *orders) == [ACCEPTED] * 5
    assert (book.best(BUY), book.best(SELL), book.num_trades) == (102, 99, 0)
    report, trades = book.submit(MARKET, SELL, 0, 1, 6, 0, 10)
    assert trades[:-1] == [
        Trade(100, 3, 4, 0, 2, 0, NO_SIDE),
        Trade(100, 1, 4, 0, 1, 4, NO_SIDE),
        Trade(100, 4, 5, 4, 1, 4, NO_SIDE),  # an owner may meet itself
        Trade(100, 2, 5, 4, 3, 0, NO_SIDE),
    ]
    assert trades[-1] == Trade(100, 1, 3, 0, 6, 0, SELL)
    assert report == Report(ACCEPTED, 1, 0, 0, 100, 100, 1)
    assert (book.open_price, book.last_price, book.volume, book.num_trades) == (100, 100, 11, 5)


def test_in_a_call_replacements_keep_priority_as_ever_and_only_limits_are_taken():
    book = venue(schedule=[(0, CALL, 1), (10, CALL, 0)])
    orders = [(LIMIT, BUY, 100, 5, i, 0) for i in range(3)]
    assert outcomes(book, *orders, (REPLACE, 0, 100, 4, 0, 0), (REPLACE, 0, 100, 6, 1, 0)) == [ACCEPTED] * 5
    assert book.queue(BUY, 100) == [(0, 4, 0), (2, 5, 0), (1, 6, 0)]
    assert outcomes(book, (IOC, SELL, 100, 1, 9, 0)) == [KIND_NOT_TAKEN]
    for order in ((CANCEL, 0, 0, 0, 1, 0), (CANCEL_AT, BUY, 100, 1, 0, 0), (REPLACE, 0, 100, 1, 1, 0)):
        assert book.submit(*order, 10)[0].outcome == NO_CANCEL


# Sessions and halts.


def test_phases_by_the_clock_which_never_goes_back():
    book = venue(schedule=[(0, SHUT, 0), (10, CONTINUOUS, 1), (20, SHUT, 0)])
    bids = [book.submit(LIMIT, BUY, 100, 1, i, 0, time)[0].outcome for i, time in enumerate((9, 10, 5, 19, 20))]
    assert bids == [CLOSED, ACCEPTED, ACCEPTED, ACCEPTED, CLOSED]
    assert (book.clock, book.phase) == (20, 2)


@pytest.mark.parametrize(("mode", "outcome"), [(SHUT, HALTED), (CALL, ACCEPTED)])
def test_halt_and_resume(mode, outcome):
    book = venue({HALT_MODE: mode})
    book.submit(LIMIT, SELL, 100, 5, 1, 0, 0)
    assert outcomes(book, (HALT, 0, 0, 0, 0, 0)) == [ACCEPTED]
    assert book.halted_until == FOREVER
    report, trades = book.submit(LIMIT, BUY, 100, 5, 2, 0, 10**15)
    assert (report.outcome, report.filled, trades) == (outcome, 0, [])
    report, trades = book.submit(RESUME, 0, 0, 0, 0, 0, 10**15)
    assert (report, len(trades), book.halted_until) == (Report(ACCEPTED), outcome == ACCEPTED, 0)


def test_a_volatile_trade_halts_twice_a_day_at_most():
    rules = {HALT_RATE_1: 50_000, HALT_RATE_2: 100_000, HALT_DURATION: 10, HALT_MODE: CALL}
    book = venue(rules)

    def trade(price, time):
        book.submit(LIMIT, SELL, price, 1, 1, 0, time)
        book.submit(LIMIT, BUY, price, 1, 2, 0, time)
        return book.halted_until

    assert trade(100, 0) == 0
    assert trade(104, 1) == 0
    assert trade(105, 2) == 12
    assert trade(105, 11) == 12  # collected
    assert len(book.advance(12)) == 1
    assert book.halted_until == 0
    assert trade(109, 13) == 0
    assert trade(90, 14) == 24
    book.advance(24)
    assert trade(60, 25) == 0
    assert book.volatility.num_halts == 2


def test_a_halt_ends_at_the_latest_time_and_none_begins_then():
    rules = {HALT_RATE_1: 50_000, HALT_RATE_2: 50_000, HALT_DURATION: 10, HALT_LATEST: 15}
    book = venue(rules)
    for time, order in ((0, SELL), (0, BUY)):
        book.submit(LIMIT, order, 100, 1, order, 0, time)
    for time, halted in ((8, 15), (15, 0)):
        book.submit(LIMIT, SELL, 120, 1, 1, 0, time)
        book.submit(LIMIT, BUY, 120, 1, 2, 0, time)
        assert book.halted_until == halted


def test_a_rolling_reference_is_the_mean_of_the_last_whole_window():
    book = venue({HALT_RATE_1: 100_000, HALT_WINDOW: 10, HALT_DURATION: 5})

    def trade(price, time):
        book.submit(LIMIT, SELL, price, 1, 1, 0, time)
        book.submit(LIMIT, BUY, price, 1, 2, 0, time)
        seen = book.volatility
        return seen.reference_price, seen.window_start, seen.window_sum, seen.window_count, book.halted_until

    assert trade(100, 1) == (0, 0, 100, 1, 0)
    assert trade(131, 9) == (0, 0, 231, 2, 0)  # no reference yet
    assert trade(110, 10) == (115, 10, 110, 1, 0)  # 231 // 2
    assert trade(104, 12) == (115, 10, 214, 2, 0)
    assert trade(103, 13) == (0, 10, 0, 0, 18)  # 12 away, 10 % are 11.5
    assert trade(80, 18) == (0, 10, 80, 1, 0)


def test_a_phase_begins_during_a_halt_without_its_auction():
    schedule = [(0, CALL, 1), (10, CONTINUOUS, 1)]
    book = venue({HALT_MODE: SHUT}, schedule)
    outcomes(book, (LIMIT, SELL, 100, 5, 1, 0), (LIMIT, BUY, 101, 5, 2, 0), (HALT, 0, 0, 0, 0, 0))
    assert book.advance(15) == []
    assert (book.phase, book.best(BUY), book.best(SELL)) == (1, 101, 100)
    _, trades = book.submit(RESUME, 0, 0, 0, 0, 0, 16)
    assert [trade.size for trade in trades] == [5]


def test_a_released_order_may_halt_and_keep_the_others_aside():
    rules = {HALT_RATE_1: 50_000, HALT_DURATION: 10}
    book = venue(rules, [(0, CONTINUOUS, 1), (10, QUEUE, 1), (20, CONTINUOUS, 1)])
    outcomes(book, (LIMIT, SELL, 100, 1, 1, 0), (LIMIT, BUY, 100, 1, 2, 0), (LIMIT, SELL, 110, 9, 3, 0))
    book.submit(LIMIT, BUY, 110, 1, 4, 0, 10)
    book.submit(LIMIT, BUY, 110, 1, 5, 0, 10)
    assert [trade.incoming_id for trade in book.advance(25)] == [4]
    assert (book.clock, book.halted_until, book.num_parked) == (25, 30, 1)
    assert [trade.incoming_id for trade in book.advance(30)] == [5]
