"""Cancels of orders that the book does not fully know: by id as far as it goes, then at exactly the price."""

import numpy as np
import pytest
from market_books import check_invariants, queues

from mars_lmm.market.book import empty_books
from mars_lmm.market.resolve import make_resolving
from mars_lmm.market.types import (
    ACCEPTED,
    CANCEL,
    CANCEL_AT,
    CANCELLED,
    LIMIT,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    OLDEST_FIRST,
    OUTCOME,
    OUTCOME_COUNTS,
    SELL,
    UNKNOWN_ID,
)
from mars_lmm.market.venue import make_venue

BACKGROUND, AGENT = 0, 1


def plain(function):
    return function


@pytest.fixture
def market():
    """`apply` in plain Python over a book with sells 1 (5), agent's 2 (5), 3 (5) at 20 and 4 (5) at 21."""
    book = empty_books(1, 16, 64, 1)[0]
    report = np.zeros(NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.zeros((4, NUM_TRADE_COLUMNS), dtype=np.int64)
    resolving = make_resolving(plain, make_venue(plain))

    def apply(kind, price, size, order_id, owner=BACKGROUND):
        resolving.apply(book, kind, SELL, price, size, order_id, owner, 0, OLDEST_FIRST, report, trades)
        check_invariants(book)
        return report

    for order_id, price, owner in (
        (1, 20, BACKGROUND),
        (2, 20, AGENT),
        (3, 20, BACKGROUND),
        (4, 21, BACKGROUND),
    ):
        apply(LIMIT, price, 5, order_id, owner)
    return book, apply


def left(book):
    return {order_id: size for queue in queues(book).values() for order_id, size, _ in queue}


@pytest.mark.parametrize(
    ("order_id", "size", "remaining"),
    [
        (3, 2, {1: 5, 2: 5, 3: 3, 4: 5}),  # known
        (3, 0, {1: 5, 2: 5, 4: 5}),  # known, all that is left
        (3, 7, {1: 3, 2: 5, 4: 5}),  # known, but it has only 5
        (3, 99, {2: 5, 4: 5}),  # nothing beyond the price, nothing of the agent's
        (9, 7, {2: 5, 3: 3, 4: 5}),  # unknown: oldest first
    ],
)
def test_cancel(market, order_id, size, remaining):
    book, apply = market
    accepted = book[OUTCOME_COUNTS + ACCEPTED]
    report = apply(CANCEL, 20, size, order_id)
    assert left(book) == remaining
    assert report[OUTCOME] == ACCEPTED
    assert report[CANCELLED] == 20 - sum(remaining.values())
    assert book[OUTCOME_COUNTS + ACCEPTED] == accepted + 1  # one order, however many steps


@pytest.mark.parametrize(
    ("price", "size", "owner"), [(22, 5, BACKGROUND), (21, 5, AGENT), (20, 0, BACKGROUND), (999, 5, 0)]
)
def test_unknown_with_nothing_at_the_price(market, price, size, owner):
    book, apply = market
    before = left(book)
    assert apply(CANCEL, price, size, 9, owner)[OUTCOME] == UNKNOWN_ID
    assert left(book) == before
    assert book[OUTCOME_COUNTS + UNKNOWN_ID] == 1


def test_other_orders_pass_through(market):
    book, apply = market
    apply(CANCEL_AT, 40, 3, 0)
    assert left(book) == {1: 5, 2: 5, 3: 5, 4: 2}
