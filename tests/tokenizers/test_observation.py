"""The session passes: auctions trade, breaks are counted, the clock shows the touch after them."""

import numpy as np
import pytest

from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.opening import open_books
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.cpu import OBSERVING

UNTOUCHED = -7
CROSSED = np.array(
    [
        (t.LIMIT, t.SELL, 1000, 100, 1, 0),
        (t.LIMIT, t.BUY, 1002, 300, 2, 0),
        (t.LIMIT, t.SELL, 1004, 100, 3, 0),
    ]
)


def at(text):
    return nanoseconds("time", text)


@pytest.fixture
def book():
    exchange = Exchange(open_books(1, 9, 200, 900, load_rules("sse_main").day(previous_close=1000)))
    exchange.run(CROSSED, times=np.full(3, at("09:16")))
    return exchange.books[0]


def clock_at(time):
    clock = np.zeros(o.NUM_CLOCK, dtype=np.int64)
    clock[[o.LAST_TIME, o.OPEN_TIME]] = time
    clock[[o.MID, o.BID, o.ASK]] = 1001, 1002, 1000
    return clock


def pass_time(book, clock, time):
    trades = np.zeros((4, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    snapshot = np.full((2, t.DEPTH, 2), UNTOUCHED, dtype=np.int64)
    return OBSERVING.pass_time(book, clock, time, trades, snapshot), snapshot


def test_an_auction_moves_the_touch(book):
    clock = clock_at(at("09:15"))
    shut, snapshot = pass_time(book, clock, at("09:24"))
    assert (shut, snapshot[0, 0, 0], clock[o.ASK]) == (0, UNTOUCHED, 1000)
    shut, snapshot = pass_time(book, clock, at("09:31"))
    assert shut == at("00:05")
    assert snapshot[:, 0].tolist() == [[1004, 100], [1002, 200]]
    assert clock[[o.BID, o.ASK, o.MID]].tolist() == [1002, 1004, 1003]
    assert clock[o.LAST_TIME] == at("09:15")
    shut, snapshot = pass_time(book, clock, at("13:30"))
    assert (shut, snapshot[0, 0, 0]) == (at("01:35"), UNTOUCHED)
    taken = np.empty((2, t.DEPTH, 2), dtype=np.int64)
    OBSERVING.snapshot(book, taken)
    assert taken[:, 0].tolist() == [[1004, 100], [1002, 200]]


def test_in_a_free_book_nothing_comes_to_pass():
    exchange = Exchange(empty_books(1, 9, 200, 900))
    exchange.run(CROSSED[1:])
    before = exchange.books[0].copy()
    clock = clock_at(at("09:15"))
    shut, snapshot = pass_time(exchange.books[0], clock, at("13:30"))
    assert (shut, snapshot[0, 0, 0]) == (0, UNTOUCHED)
    np.testing.assert_array_equal(exchange.books[0], before)
    np.testing.assert_array_equal(clock, clock_at(at("09:15")))
