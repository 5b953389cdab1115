"""The matching rules, one small case each, worked by hand; the compiled book and the reference both keep them."""

import numpy as np
import pytest
from market_books import pair, queues, reference_queues

from mars_lmm.market.types import (
    ACCEPTED,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BOOK_FULL,
    BUY,
    CANCEL,
    CANCEL_AT,
    CLOSEST_SIZE,
    DUPLICATE_ID,
    IOC,
    LIMIT,
    MARKET,
    MAX_SIZE,
    NEWEST_FIRST,
    NO_LIQUIDITY,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    NUM_FILLS,
    OLDEST_FIRST,
    OUTCOME,
    PARKED,
    SELL,
    UNKNOWN_ID,
)


@pytest.fixture(params=["compiled", "reference"])
def play(request):
    """A function that executes orders in a book of 4 slots and prices 100..109: (reports, trades, queues)."""

    def play_compiled(orders, queue_rule=OLDEST_FIRST):
        exchange, _ = pair(4, 10, 100, queue_rule)
        stream = exchange.run(np.array(orders))
        trades = [tuple(trade[:3]) for trade in stream.trades.tolist()]
        return stream.reports[:, :PARKED].tolist(), trades, queues(exchange.books[0])

    def play_reference(orders, queue_rule=OLDEST_FIRST):
        _, reference = pair(4, 10, 100, queue_rule)
        reports, trades = zip(*(reference.execute(*order) for order in orders), strict=True)
        trades = [tuple(trade[:3]) for made in trades for trade in made]
        return [list(report[:PARKED]) for report in reports], trades, reference_queues(reference)

    return play_compiled if request.param == "compiled" else play_reference


def test_best_price_first_then_oldest_and_the_remainder_rests(play):
    reports, trades, book = play(
        [
            (LIMIT, SELL, 103, 5, 1, 0),
            (LIMIT, SELL, 102, 5, 2, 0),
            (LIMIT, SELL, 102, 5, 3, 0),
            (LIMIT, BUY, 102, 12, 4, 7),
        ]
    )
    assert trades == [(102, 5, 2), (102, 5, 3)]
    #           outcome, filled, resting, cancelled, acted price, value, fills
    assert reports[-1] == [ACCEPTED, 10, 2, 0, 102, 1020, 2]
    assert reports[0] == [ACCEPTED, 0, 5, 0, 103, 0, 0]
    assert book == {(SELL, 103): [(1, 5, 0)], (BUY, 102): [(4, 2, 7)]}


def test_a_trade_is_at_the_resting_price(play):
    _, trades, book = play([(LIMIT, BUY, 105, 5, 1, 0), (LIMIT, SELL, 101, 5, 2, 0)])
    assert trades == [(105, 5, 1)]
    assert book == {}


def test_market_orders_take_any_price_and_drop_the_remainder(play):
    reports, trades, book = play([(LIMIT, BUY, 109, 1, 1, 0), (LIMIT, BUY, 100, 1, 2, 0), (MARKET, SELL, 0, 5, 3, 0)])
    assert trades == [(109, 1, 1), (100, 1, 2)]
    assert reports[-1] == [ACCEPTED, 2, 0, 3, 100, 209, 2]
    assert book == {}


def test_ioc_orders_stop_at_their_price_and_drop_the_remainder(play):
    asks = [(LIMIT, SELL, 105, 2, 1, 0), (LIMIT, SELL, 107, 2, 2, 0)]
    reports, trades, book = play([*asks, (IOC, BUY, 106, 5, 3, 0), (IOC, BUY, 106, 5, 4, 0)])
    assert trades == [(105, 2, 1)]
    assert reports[2] == [ACCEPTED, 2, 0, 3, 105, 210, 1]
    assert reports[3][0] == NO_LIQUIDITY
    assert book == {(SELL, 107): [(2, 2, 0)]}


def test_a_reduced_order_keeps_its_place(play):
    reports, trades, _ = play(
        [
            (LIMIT, BUY, 105, 5, 1, 0),
            (LIMIT, BUY, 105, 5, 2, 0),
            (CANCEL, 0, 0, 4, 1, 0),
            (MARKET, SELL, 0, 2, 3, 0),
        ]
    )
    assert reports[2] == [ACCEPTED, 0, 0, 4, 105, 0, 0]
    assert trades == [(105, 1, 1), (105, 1, 2)]


@pytest.mark.parametrize("size", [0, 5, 6])
def test_cancel_of_all_that_is_left(play, size):
    reports, _, book = play([(LIMIT, BUY, 105, 5, 1, 0), (CANCEL, 0, 0, size, 1, 0)])
    assert reports[-1] == [ACCEPTED, 0, 0, 5, 105, 0, 0]
    assert book == {}


@pytest.mark.parametrize(
    ("side", "price", "acted"),
    [
        (SELL, 105, 105),
        (SELL, 106, 105),  # as near to 107: the better price
        (SELL, 101, 105),  # better than the touch
        (SELL, 10**9, 107),  # beyond the ladder
        (BUY, 102, 103),  # as near to 101: the better price
        (BUY, 100, 101),
        (BUY, NO_PRICE, 101),
    ],
)
def test_cancel_at_acts_at_the_nearest_price(play, side, price, acted):
    rest = [(LIMIT, SELL, p, 5, p, 0) for p in (105, 107)] + [(LIMIT, BUY, p, 5, p, 0) for p in (101, 103)]
    reports, _, book = play([*rest, (CANCEL_AT, side, price, 9, 0, 0)])
    assert reports[-1] == [ACCEPTED, 0, 0, 5, acted, 0, 0]  # never goes on to a second price
    assert len(book) == 3
    assert (side, acted) not in book


def test_cancel_at_takes_only_its_owners_orders(play):
    reports, _, book = play(
        [
            (LIMIT, SELL, 102, 5, 1, 0),
            (LIMIT, SELL, 104, 5, 2, 0),
            (LIMIT, SELL, 104, 5, 3, 9),
            (CANCEL_AT, SELL, 101, 2, 0, 9),
        ]
    )
    assert reports[-1] == [ACCEPTED, 0, 0, 2, 104, 0, 0]
    assert book == {(SELL, 102): [(1, 5, 0)], (SELL, 104): [(2, 5, 0), (3, 3, 9)]}


@pytest.mark.parametrize(
    ("queue_rule", "left"),
    [(OLDEST_FIRST, [(2, 3, 0), (4, 5, 1), (3, 5, 0)]), (NEWEST_FIRST, [(1, 5, 0), (2, 3, 0), (4, 5, 1)])],
)
def test_cancel_at_takes_the_stated_end_and_may_reduce_the_last(play, queue_rule, left):
    rest = [(LIMIT, SELL, 102, 5, i, owner) for i, owner in ((1, 0), (2, 0), (4, 1), (3, 0))]
    reports, _, book = play([*rest, (CANCEL_AT, SELL, 102, 7, 0, 0)], queue_rule)
    assert reports[-1] == [ACCEPTED, 0, 0, 7, 102, 0, 0]
    assert book == {(SELL, 102): left}


@pytest.mark.parametrize(("size", "taken"), [(1, 3), (3, 3), (5, 2), (6, 2), (99, 2)])
def test_cancel_at_takes_the_whole_of_the_order_of_the_nearest_size_the_newest_of_equals(play, size, taken):
    sizes, owners = {1: 3, 2: 6, 3: 3, 4: size}, {4: 1}
    rest = [(LIMIT, SELL, 102, sizes[i], i, owners.get(i, 0)) for i in sizes]
    reports, _, book = play([*rest, (CANCEL_AT, SELL, 102, size, 0, 0)], CLOSEST_SIZE)
    assert reports[-1] == [ACCEPTED, 0, 0, sizes[taken], 102, 0, 0]
    assert book == {(SELL, 102): [(i, sizes[i], owners.get(i, 0)) for i in sizes if i != taken]}


FULL = [(LIMIT, SELL, 105, 5, i, 0) for i in range(4)]


@pytest.mark.parametrize(
    ("order", "outcome", "fills"),
    [
        ((LIMIT, SELL, 106, 1, 9, 0), BOOK_FULL, 0),
        ((LIMIT, BUY, 104, 1, 9, 0), BOOK_FULL, 0),
        ((LIMIT, BUY, 105, 1, 9, 0), ACCEPTED, 1),  # wholly filled: needs no slot
        ((LIMIT, BUY, 105, 21, 9, 0), ACCEPTED, 4),  # frees a slot for its remainder
        ((MARKET, BUY, 0, 6, 9, 0), ACCEPTED, 2),
    ],
)
def test_a_full_book_takes_what_finds_room(play, order, outcome, fills):
    reports, _, _ = play([*FULL, order])
    assert (reports[-1][OUTCOME], reports[-1][NUM_FILLS]) == (outcome, fills)


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        ((99, SELL, 105, 1, 9, 0), BAD_KIND),
        ((-2, SELL, 105, 1, 9, 0), BAD_KIND),
        ((LIMIT, 2, 105, 1, 9, 0), BAD_SIDE),
        ((MARKET, -1, 105, 1, 9, 0), BAD_SIDE),
        ((CANCEL_AT, 2, 105, 1, 9, 0), BAD_SIDE),
        ((LIMIT, SELL, 105, 0, 9, 0), BAD_SIZE),
        ((LIMIT, SELL, 105, MAX_SIZE + 1, 9, 0), BAD_SIZE),
        ((MARKET, SELL, 105, -1, 9, 0), BAD_SIZE),
        ((CANCEL, 0, 0, -1, 1, 0), BAD_SIZE),
        ((CANCEL_AT, SELL, 105, 0, 9, 0), BAD_SIZE),
        ((LIMIT, SELL, 110, 1, 9, 0), BAD_PRICE),
        ((LIMIT, BUY, 99, 1, 9, 0), BAD_PRICE),
        ((LIMIT, SELL, 105, 1, 1, 0), DUPLICATE_ID),
        ((CANCEL, 0, 0, 0, 9, 0), UNKNOWN_ID),
        ((CANCEL_AT, SELL, 105, 1, 9, 1), NOTHING_TO_CANCEL),
        ((CANCEL_AT, BUY, 105, 1, 9, 0), NOTHING_TO_CANCEL),
        ((MARKET, SELL, 0, 1, 9, 0), NO_LIQUIDITY),
    ],
)
def test_rejections_change_nothing(play, order, outcome):
    resting = (LIMIT, SELL, 105, 5, 1, 0)
    reports, trades, book = play([resting, order])
    assert reports[-1] == [outcome, 0, 0, 0, NO_PRICE, 0, 0]
    assert trades == []
    assert book == {(SELL, 105): [(1, 5, 0)]}


def test_an_id_may_be_used_again_once_its_order_is_gone(play):
    reports, _, book = play([(LIMIT, SELL, 105, 5, 1, 0), (MARKET, BUY, 0, 5, 2, 0), (LIMIT, SELL, 106, 5, 1, 0)])
    assert reports[-1][OUTCOME] == ACCEPTED
    assert book == {(SELL, 106): [(1, 5, 0)]}
