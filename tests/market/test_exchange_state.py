"""Growth, threads, tensors, and a state that is saved, restored and forked."""

import numpy as np
import pytest
import torch
from market_books import check_invariants, exchange_for, queues, random_stream
from venue_streams import random_day, venue_stream

from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books, sections
from mars_lmm.market.exchange import Exchange, MarketError
from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.repack import repack

ROOM = {"num_orders": 400, "num_ticks": 200, "base_price": 400}


def test_books_that_grow_do_what_roomy_ones_do():
    orders = random_stream(4, 3000, 100, 450, 1000)
    roomy = Exchange(empty_books(1, 2000, 200, 400), on_reject="count")
    tight = Exchange(empty_books(1, 4, 2, 500), on_reject="count", grows=True)
    stepped = Exchange(empty_books(1, 4, 2, 500), on_reject="count", grows=True)
    expected, grown = (exchange.run(orders, snapshots=True) for exchange in (roomy, tight))
    counts = [roomy.outcome_counts[0, t.BOOK_FULL], tight.outcome_counts[0, t.BOOK_FULL]]
    assert counts == [0, 0]
    for a, b in zip(expected, grown, strict=True):
        np.testing.assert_array_equal(a, b)
    for i, order in enumerate(orders):
        np.testing.assert_array_equal(stepped.step(order[None])[0], expected.reports[i])
    assert queues(tight.books[0]) == queues(roomy.books[0]) == queues(stepped.books[0])
    check_invariants(tight.books[0])


def test_a_full_book_rejects_with_its_own_reason_and_counts():
    exchange = Exchange(empty_books(1, 2, 10, 100))
    exchange.run(np.array([(t.LIMIT, t.SELL, 105, 5, 1, 0), (t.LIMIT, t.SELL, 106, 5, 2, 0)]))
    before = queues(exchange.books[0])
    with pytest.raises(MarketError, match="book_full"):
        exchange.run(np.array([(t.LIMIT, t.BUY, 101, 5, 3, 0)]))
    assert queues(exchange.books[0]) == before
    assert exchange.outcome_counts[0, t.BOOK_FULL] == 1


def test_an_order_may_need_both_a_slot_and_a_price():
    exchange = Exchange(empty_books(1, 1, 10, 100), grows=True)
    for price in (105, 130):
        assert exchange.step(np.array([(t.LIMIT, t.SELL, price, 5, price, 0)]))[0, t.RESTING] == 5
    assert queues(exchange.books[0]) == {(t.SELL, price): [(price, 5, 0)] for price in (105, 130)}
    assert exchange.num_trades.tolist() == [0]


def test_what_needs_no_room_does_not_make_books_grow():
    exchange = Exchange(empty_books(1, 1, 10, 100), grows=True)
    orders = [(t.LIMIT, t.SELL, 105, 5, 1, 0), (t.IDLE, 0, 0, 0, 0, 0), (t.CANCEL, 0, 0, 2, 1, 0)]
    exchange.run(np.array(orders))
    assert exchange.books[0, t.NUM_SLOTS] == 1


def test_books_begin_on_cache_lines(tmp_path):
    exchange = Exchange(empty_books(3, 1, 10, 100), grows=True)
    exchange.save(tmp_path / "books.npz")
    loaded = Exchange.load(tmp_path / "books.npz", grows=True)
    loaded.run(np.array([(t.LIMIT, t.SELL, price, 5, price, 0) for price in (105, 130)]))
    for books in (exchange.books, exchange.fork(3).books, loaded.books, repack(loaded.books[0], 5, 9, 100)):
        assert books.ctypes.data % 64 == books.strides[0] % 64 == 0


def test_a_price_too_far_away_does_not_make_a_ladder_of_it():
    exchange = Exchange(empty_books(1, 2, 10, 100), grows=True)
    with pytest.raises(ValueError, match="too far from the book"):
        exchange.run(np.array([(t.LIMIT, t.SELL, 2**31 - 1, 5, 1, 0)]))


def test_threads_change_nothing():
    streams = np.stack([random_stream(seed, 300, 200, 400) for seed in range(7)])
    alone, shared = (Exchange(empty_books(7, **ROOM), on_reject="count", num_threads=n) for n in (1, 3))
    for orders in streams[:, :150].swapaxes(0, 1):
        np.testing.assert_array_equal(alone.step(orders), shared.step(orders))
    for a, b in zip(alone.run_all(streams[:, 150:]), shared.run_all(streams[:, 150:]), strict=True):
        np.testing.assert_array_equal(a.trades, b.trades)
    np.testing.assert_array_equal(alone.books, shared.books)


def test_tensors_come_back_as_tensors():
    orders = random_stream(1, 1, 200, 400)
    exchange = Exchange(empty_books(1, **ROOM), on_reject="count")
    expected = exchange.copy().step(orders)
    answer = exchange.step(torch.from_numpy(orders))
    assert isinstance(answer, torch.Tensor)
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_a_day_goes_on_from_a_saved_or_repacked_state(tmp_path, seed):
    day = random_day(seed)
    rows, times = venue_stream(ReferenceVenue(*day), seed, 400)
    whole, half = exchange_for(day), exchange_for(day)
    whole.run(rows, times=times)
    half.run(rows[:200], times=times[:200])
    half.save(tmp_path / "half.npz")
    restored = Exchange.load(tmp_path / "half.npz", on_reject="count")
    restored.run(rows[200:], times=times[200:])
    np.testing.assert_array_equal(restored.books, whole.books)
    forked = half.fork(2)
    forked.run(rows[200:], book=1, times=times[200:])
    np.testing.assert_array_equal(forked.books[1], whole.books[0])
    np.testing.assert_array_equal(forked.books[0], half.books[0])
    repacked = repack(half.books[0], 2, day.num_orders + 8, day.num_ticks + 10, max(day.base_price - 5, 0))
    assert queues(repacked[1]) == queues(half.books[0])
    np.testing.assert_array_equal(sections(repacked[1]).accounts, sections(half.books).accounts)
    check_invariants(repacked[0], may_cross=True)


def test_books_under_rules_need_times():
    day = next(day for day in map(random_day, range(100)) if day.rules[t.ENFORCED])
    with pytest.raises(ValueError, match="give the times"):
        exchange_for(day).step(np.zeros((1, 6), np.int64))
