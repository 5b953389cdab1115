"""Copies of a book under other rules and with other accounts."""

import numpy as np
import pytest
from market_books import check_invariants, queues

from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books, sections
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.opening import open_books
from mars_lmm.market.repack import repack

MINUTE = 60 * 10**9
NINE = 9 * 60 * MINUTE
ROOM = {"num_orders": 20, "num_ticks": 300, "base_price": 900}
MONEY = np.array([[0, 0, 0], [200_000, 300, 200]])
ORDERS = np.array(
    [(t.LIMIT, t.SELL, 1010, 500, 1, 0), (t.LIMIT, t.SELL, 1010, 100, 2, 0), (t.LIMIT, t.BUY, 990, 300, 3, 0)]
)


def shanghai(*overrides):
    return load_rules("sse_main", list(overrides)).day(previous_close=1000)


def free_book(orders=ORDERS):
    exchange = Exchange(empty_books(1, **ROOM))
    exchange.run(orders)
    return exchange.books[0]


def open_book(day, time=NINE + 45 * MINUTE, accounts=None):
    exchange = Exchange(open_books(1, **ROOM, day=day, accounts=accounts))
    exchange.run(ORDERS, times=np.full(len(ORDERS), time))
    return exchange.books[0]


def copy_of(book, **changes):
    copies = repack(book, 2, 30, 310, 895, **changes)
    for copy in copies:
        assert queues(copy) == queues(book)
        check_invariants(copy)
    return copies


def outcomes(books, time, *orders):
    """The outcomes of orders in the first of some books."""
    stream = Exchange(books, on_reject="count").run(np.array(orders), times=np.full(len(orders), time))
    return [t.OUTCOMES[outcome] for outcome in stream.reports[:, t.OUTCOME]]


def test_a_copy_may_have_accounts_that_its_book_had_not():
    books = copy_of(free_book(), accounts=MONEY)
    assert sections(books).accounts[1, 1].tolist() == [200_000, 300, 200, *[0] * 7]
    orders = [(t.LIMIT, t.BUY, 1010, 198, 8, 1), (t.LIMIT, t.SELL, 990, 200, 9, 1), (t.LIMIT, t.SELL, 990, 1, 10, 1)]
    assert outcomes(books, 0, *orders) == ["accepted", "accepted", "accepted"]
    row = sections(books).accounts[0, 1]
    assert row[[t.BOUGHT, t.BOUGHT_VALUE]].tolist() == [198, 198 * 1010]
    assert row[[t.SOLD, t.SOLD_VALUE]].tolist() == [201, 201 * 990]
    assert outcomes(books, 0, (t.LIMIT, t.BUY, 990, 1, 11, 2)) == ["no_account"]


def test_accounts_replace_those_of_the_book():
    book = open_book(shanghai(), accounts=MONEY)
    books = copy_of(book, accounts=MONEY[[0, 1, 1]] * 2)
    assert sections(books).accounts[0, 1:, : t.RESERVED_CASH].tolist() == [[400_000, 600, 400]] * 2
    assert sections(copy_of(book)).accounts[0].tolist() == sections(book).accounts[0].tolist()


def test_room_for_accounts_makes_books_of_one_capacity():
    alike = [
        copy_of(free_book(), num_accounts=4, num_phases=9),
        copy_of(open_book(shanghai()), accounts=MONEY, num_accounts=4),
    ]
    batch = np.concatenate(alike)
    parts = sections(batch)
    assert parts.accounts.shape == (4, 4, t.NUM_ACCOUNT_COLUMNS)
    assert parts.accounts[2, :, t.CASH].tolist() == [0, 200_000, 0, 0]
    assert outcomes(batch, NINE + 46 * MINUTE, (t.LIMIT, t.BUY, 990, 1, 11, 2)) == ["no_cash"]


def test_what_an_order_of_an_account_reserves_is_told_by_the_new_rules():
    book = Exchange(open_books(1, **ROOM, day=shanghai("fees.maker=0", "fees.taker=0"), accounts=MONEY))
    book.run(np.array([(t.LIMIT, t.BUY, 1000, 100, 1, 1)]), times=np.array([NINE + 45 * MINUTE]))
    assert sections(book.books).accounts[0, 1, t.RESERVED_CASH] == 100_000
    books = copy_of(book.books[0], day=shanghai("fees.maker=0", "fees.taker=0.001"))
    assert sections(books).accounts[0, 1, t.RESERVED_CASH] == 100_100
    assert outcomes(books, NINE + 46 * MINUTE, (t.CANCEL, 0, 0, 0, 1, 1)) == ["accepted"]
    assert sections(books).accounts[0, 1, t.RESERVED_CASH] == 0


@pytest.mark.parametrize(("owner", "changes"), [(1, {"accounts": MONEY}), (1, {"num_accounts": 2})])
def test_an_owner_with_live_orders_gets_no_other_account(owner, changes):
    book = free_book(np.array([(t.LIMIT, t.SELL, 1010, 500, 1, owner)]))
    with pytest.raises(ValueError, match="owner 1 has live orders"):
        repack(book, 1, 30, 300, **changes)


def test_other_rules_bind_from_now_on():
    time = NINE + 46 * MINUTE
    strict = shanghai("prices.daily_limit=0.05", "orders.lot=200", "orders.minimum=200")
    lenient = open_book(shanghai())
    orders = (t.LIMIT, t.BUY, 949, 200, 8, 0), (t.LIMIT, t.BUY, 985, 100, 9, 0), (t.LIMIT, t.BUY, 1010, 200, 10, 0)
    assert outcomes(copy_of(lenient, day=strict), time, *orders) == ["price_limit", "bad_lot", "accepted"]
    assert outcomes(copy_of(lenient), time, *orders[1:]) == ["accepted", "accepted"]


@pytest.mark.parametrize(("minutes", "phase"), [(0, 0), (15, 1), (24, 2), (30, 4), (130, 4), (150, 5)])
def test_a_free_book_comes_under_the_phase_of_its_clock(minutes, phase):
    book = free_book()
    book[t.CLOCK] = NINE + minutes * MINUTE
    books = copy_of(book, day=shanghai())
    assert books[:, t.PHASE].tolist() == [phase] * 2
    opened = Exchange(open_books(1, **ROOM, day=shanghai()))
    opened.advance(book[t.CLOCK : t.CLOCK + 1])
    assert opened.books[0, t.PHASE] == phase


def test_a_free_book_follows_its_new_schedule():
    books = copy_of(free_book(), day=shanghai())
    lunch, call = NINE + 151 * MINUTE, NINE + 358 * MINUTE
    assert outcomes(books, lunch, (t.LIMIT, t.BUY, 1010, 100, 8, 0)) == ["closed"]
    assert outcomes(books, call, (t.LIMIT, t.BUY, 1010, 100, 9, 0), (t.CANCEL, 0, 0, 0, 9, 0)) == [
        "accepted",
        "no_cancel",
    ]
    exchange = Exchange(books)
    exchange.advance(np.full(2, NINE + 360 * MINUTE))
    assert exchange.trades[0, : exchange.num_trades[0], :2].tolist() == [[1010, 100]]


@pytest.mark.parametrize(
    ("day", "message"),
    [(load_rules("szse_main").day(previous_close=1000), "same"), (load_rules("bare").day(), "not lifted")],
)
def test_a_session_goes_on_by_its_own_schedule(day, message):
    with pytest.raises(ValueError, match=message):
        repack(open_book(shanghai()), 1, 30, 300, day=day)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_orders": 2}, "num_orders=2: .* 3"),
        ({"num_phases": 7}, "num_phases=7: .* 9"),
        ({"num_accounts": 1}, "num_accounts=1: .* 2"),
        ({"base_price": 1000}, "1000..1299 must hold .* 990..1010"),
        ({"num_ticks": 100}, "900..999 must hold"),
        ({"accounts": [[0.5, 0, 0]]}, "accounts must be integers"),
    ],
)
def test_too_little_room_is_an_error(changes, message):
    room = {"num_orders": 20, "num_ticks": 300} | changes
    with pytest.raises(ValueError, match=message):
        repack(open_book(shanghai(), accounts=MONEY), 1, **room)
