"""The batch of books: lockstep, streams, forks, and what happens to rejected orders."""

import numpy as np
import pytest
from market_books import check_invariants, queues, random_stream, without_notes

from mars_lmm.market.book import empty_books
from mars_lmm.market.exchange import Exchange, MarketError
from mars_lmm.market.types import (
    BAD_PRICE,
    BUY,
    CANCEL,
    IDLE,
    LIMIT,
    MAX_PRICE,
    NO_PRICE,
    NUM_FILLS,
    OUTCOME,
    OUTCOMES,
    SELL,
    UNKNOWN_ID,
)

NUM_ORDERS, NUM_TICKS, BASE = 40, 50, 500


def exchange_of(num_books, on_reject="count"):
    return Exchange(empty_books(num_books, NUM_ORDERS, NUM_TICKS, BASE), on_reject=on_reject)


def streams_of(num_books, num):
    return np.stack([random_stream(seed, num, NUM_TICKS, BASE, 60) for seed in range(num_books)])


def assert_same(left: Exchange, right: Exchange):
    for a, b in zip((left.books, left.snapshots), (right.books, right.snapshots), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lockstep_is_single_books_side_by_side():
    streams = streams_of(5, 1500)
    # Each book sits out some steps, at its own times.
    streams[np.random.default_rng(0).random(streams.shape[:2]) < 0.2, 0] = IDLE
    batch = exchange_of(5)
    reports, snapshots, trades = [], [], [[] for _ in range(5)]
    for orders in streams.swapaxes(0, 1):
        reports.append(batch.step(orders))
        snapshots.append(batch.snapshots.copy())
        for b in range(5):
            trades[b] += batch.trades[b, : batch.num_trades[b]].tolist()
    reports, snapshots = np.stack(reports, 1), np.stack(snapshots, 1)
    for b in range(5):
        acting = streams[b, :, 0] != IDLE
        single = exchange_of(1)
        stream = single.run(streams[b, acting], snapshots=True)
        np.testing.assert_array_equal(reports[b, acting], stream.reports)
        np.testing.assert_array_equal(snapshots[b, acting], stream.snapshots)
        assert trades[b] == stream.trades.tolist()
        assert (reports[b, ~acting] == [0, 0, 0, 0, NO_PRICE, 0, 0, 0, 0]).all()
        np.testing.assert_array_equal(without_notes(batch.books[b : b + 1]), without_notes(single.books))


def test_a_stream_in_pieces_is_the_stream():
    orders = random_stream(3, 2000, NUM_TICKS, BASE)
    whole, pieces = exchange_of(1), exchange_of(1)
    expected = whole.run(orders)
    parts = [pieces.run(part) for part in np.array_split(orders, 37)]
    np.testing.assert_array_equal(np.concatenate([part.reports for part in parts]), expected.reports)
    np.testing.assert_array_equal(np.concatenate([part.trades for part in parts]), expected.trades)
    assert_same(whole, pieces)
    assert expected.reports[:, NUM_FILLS].sum() == len(expected.trades)
    assert expected.snapshots is None


def test_no_trade_is_lost_however_many_an_order_makes():
    exchange = Exchange(empty_books(1, 5000, 2, 1))
    exchange.run(np.array([(LIMIT, SELL, 1, 1, i, 0) for i in range(5000)]))
    sweep = np.array([(LIMIT, BUY, 1, 5000, -1, 0)])
    for copy, trades in ((exchange.copy(), "run"), (exchange.copy(), "step")):
        if trades == "run":
            made = copy.run(sweep).trades
        else:
            copy.step(sweep)
            made = copy.trades[0, : copy.num_trades[0]]
        assert made[:, 2].tolist() == list(range(5000))


def test_forks_start_equal_and_go_their_own_ways():
    exchange = exchange_of(2)
    for b, orders in enumerate(streams_of(2, 500)):
        exchange.run(orders, b)
    fork = exchange.fork(3)
    assert fork.num_books == 6
    before = [queues(fork.books[b]) for b in range(6)]
    assert before == [queues(exchange.books[b]) for b in (0, 0, 0, 1, 1, 1)]
    np.testing.assert_array_equal(fork.snapshots, exchange.snapshots.repeat(3, 0))
    untouched = exchange.copy()
    fork.run(random_stream(9, 300, NUM_TICKS, BASE), book=4)
    assert_same(exchange, untouched)
    after = [queues(fork.books[b]) for b in range(6)]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, True, True, False, True]
    for b in range(6):
        check_invariants(fork.books[b])


def test_a_rejected_order_is_an_error_that_says_where_and_why():
    exchange = exchange_of(2, on_reject="raise")
    good, bad = (LIMIT, SELL, BASE, 5, 1, 0), (LIMIT, SELL, BASE - 1, 5, 2, 0)
    with pytest.raises(MarketError, match=r"book 1, order 1 \(.*price 499.*\): bad_price: .*ladder") as caught:
        exchange.run(np.array([good, bad, good]), book=1)
    assert (caught.value.book, caught.value.order, caught.value.outcome) == (1, 1, BAD_PRICE)
    # What came before it happened, what comes after it did not.
    assert queues(exchange.books[1]) == {(SELL, BASE): [(1, 5, 0)]}
    assert exchange.snapshots[1, SELL, 0].tolist() == [BASE, 5]
    with pytest.raises(MarketError, match=r"book 1, order 1 .*unknown_id"):
        exchange.step(np.array([good, (CANCEL, 0, 0, 0, 77, 0)]))
    assert queues(exchange.books[0]) == {(SELL, BASE): [(1, 5, 0)]}


def test_counted_rejections():
    exchange = exchange_of(1)
    exchange.run(np.array([(LIMIT, SELL, BASE - 1, 5, 2, 0), (CANCEL, 0, 0, 0, 77, 0)]))
    counts = exchange.outcome_counts[0]
    assert counts[[BAD_PRICE, UNKNOWN_ID]].tolist() == [1, 1]
    assert counts.sum() == 2
    assert len(counts) == len(OUTCOMES)
    assert exchange.step(np.array([(LIMIT, BUY, 0, 5, 2, 0)]))[0, OUTCOME] == BAD_PRICE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exchange_of(2).step(np.zeros((1, 6), np.int64)), r"orders must be integers of shape \[2, 6\]"),
        (lambda: exchange_of(1).run(np.zeros((1, 5), np.int64)), r"shape \[N, 6\]"),
        (lambda: exchange_of(1).run(np.zeros((1, 6))), "integers"),
        (lambda: exchange_of(1).run(np.zeros((1, 6), np.int64), book=1), "book must be 0 to 0"),
        (lambda: exchange_of(1, on_reject="ignore"), "on_reject"),
        (lambda: empty_books(1, 0, 1, 1), "positive"),
        (lambda: empty_books(1, 1, 2, MAX_PRICE), "ladder"),
    ],
)
def test_unusable_arguments_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
