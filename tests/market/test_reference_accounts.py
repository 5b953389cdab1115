"""The reference ledger: what orders reserve, what trading costs, what may be sold today; worked by hand."""

import pytest
from reference_cases import outcomes, venue

from mars_lmm.market.reference import Trade
from mars_lmm.market.types import (
    ACCEPTED,
    BACKGROUND,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BUY,
    CALL,
    CANCEL,
    CASH,
    LIMIT,
    MAKER_FEE,
    MAKER_FEE_PER_UNIT,
    MARKET,
    NO_ACCOUNT,
    NO_CASH,
    NO_POSITION,
    NO_SIDE,
    OPPOSITE_BEST,
    OWN_BEST,
    POSITION,
    REPLACE,
    RESERVED_CASH,
    RESERVED_SIZE,
    SELL,
    SELL_DUTY,
    SELLABLE,
    SETTLEMENT_DAYS,
    SHUT,
    TAKER_FEE,
    TAKER_FEE_PER_UNIT,
)


def test_cash_is_reserved_with_the_higher_fee_and_given_back():
    rules = {MAKER_FEE: -100, TAKER_FEE: 10_000, TAKER_FEE_PER_UNIT: 500_000}
    book = venue(rules, accounts=[[0, 0, 0], [1015, 0, 0]])
    assert outcomes(book, (LIMIT, BUY, 100, 10, 1, 1)) == [ACCEPTED]  # 1000 + 10 + 5
    assert book.accounts[1][RESERVED_CASH] == 1015
    assert outcomes(book, (LIMIT, BUY, 50, 1, 2, 1), (REPLACE, 0, 100, 11, 1, 1)) == [NO_CASH, NO_CASH]
    assert outcomes(book, (REPLACE, 0, 99, 10, 1, 1)) == [ACCEPTED]
    book.submit(CANCEL, 0, 0, 0, 1, 1, 0)
    assert book.accounts[1] == [1015, *[0] * 9]
    assert outcomes(book, (LIMIT, BUY, 100, 11, 1, 1), (LIMIT, BUY, 100, 1, 1, 2)) == [NO_CASH, NO_ACCOUNT]


def test_makers_and_takers_pay_their_fees_and_sellers_a_duty():
    rules = {MAKER_FEE: -1000, TAKER_FEE: 3000, MAKER_FEE_PER_UNIT: 100_000, SELL_DUTY: 500}
    book = venue(rules, accounts=[[0, 0, 0], [100_000, 0, 0], [0, 300, 300]])
    book.submit(LIMIT, BUY, 100, 300, 1, 1, 0)
    book.submit(LIMIT, SELL, 100, 250, 2, 2, 0)
    # Value 25000. The maker buys: -25 for the value, +25 for 250 units. The taker sells: 75, and a duty of 12.
    assert book.accounts[1] == [100_000 - 25_000, 250, 250, 5000 + 15 + 5, 0, 0, 250, 25_000, 0, 0]
    assert book.accounts[2] == [25_000 - 87, 50, 50, 0, 0, 87, 0, 0, 250, 25_000]


def test_in_auctions_both_are_takers():
    rules = {MAKER_FEE: -1000, TAKER_FEE: 3000}
    schedule = [(0, CALL, 1), (10, SHUT, 0)]
    book = venue(rules, schedule, [[0, 0, 0], [100_000, 0, 0], [0, 300, 300]])
    assert outcomes(book, (LIMIT, BUY, 100, 100, 1, 1), (LIMIT, SELL, 100, 100, 2, 2)) == [ACCEPTED, ACCEPTED]
    assert book.advance(10) == [Trade(100, 100, 2, 2, 1, 1, NO_SIDE)]
    assert [row[CASH] for row in book.accounts] == [0, 100_000 - 10_030, 10_000 - 30]


@pytest.mark.parametrize(("days", "outcome"), [(0, ACCEPTED), (1, NO_POSITION)])
def test_what_was_bought_today(days, outcome):
    book = venue({SETTLEMENT_DAYS: days}, accounts=[[0, 0, 0], [1000, 5, 5]])
    orders = [(LIMIT, SELL, 100, 10, 1, BACKGROUND), (MARKET, BUY, 0, 10, 2, 1), (LIMIT, SELL, 100, 15, 3, 1)]
    assert outcomes(book, *orders) == [ACCEPTED, ACCEPTED, outcome]
    assert book.accounts[1][POSITION] == 15
    assert book.accounts[1][SELLABLE] == (5 if days else 15)


def test_a_sell_needs_what_is_not_already_for_sale():
    book = venue(accounts=[[0, 0, 0], [0, 10, 10]])
    orders = [(LIMIT, SELL, 100, 6, 1, 1), (LIMIT, SELL, 100, 5, 2, 1), (REPLACE, 0, 101, 10, 1, 1)]
    assert outcomes(book, *orders) == [ACCEPTED, NO_POSITION, ACCEPTED]
    assert book.accounts[1][RESERVED_SIZE] == 10


@pytest.mark.parametrize(
    ("order", "need"),
    [
        ((MARKET, BUY, 0, 12, 9, 1), 5 * 100 + 5 * 101 + 2 * 102),
        ((MARKET, BUY, 0, 100, 9, 1), sum(range(100, 107)) * 5),
        ((BEST_FIVE, BUY, 0, 100, 9, 1), sum(range(100, 105)) * 5),
        ((BEST_FIVE, BUY, 101, 100, 9, 1), 5 * 100 + 5 * 101),
        ((BEST_FIVE_LIMIT, BUY, 101, 12, 9, 1), 5 * 100 + 7 * 101),
        ((OPPOSITE_BEST, BUY, 0, 12, 9, 1), 1200),
        ((OWN_BEST, BUY, 0, 12, 9, 1), 1080),
        ((LIMIT, BUY, 101, 12, 9, 1), 1212),
    ],
)
def test_what_a_buy_may_cost(order, need):
    asks = [(LIMIT, SELL, 100 + i, 5, i, 0) for i in range(7)]
    for cash, outcome in ((need, ACCEPTED), (need - 1, NO_CASH)):
        book = venue(accounts=[[0, 0, 0], [cash, 0, 0]])
        assert outcomes(book, *asks, (LIMIT, BUY, 90, 1, 8, 0), order)[-1] == outcome
