"""The compiled book and the reference agree on every report, trade, snapshot and queue."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_books import check_header, check_invariants, pair, queues, random_stream, reference_queues

from mars_lmm.market.types import (
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BUY,
    CANCEL,
    CANCEL_AT,
    CLOSEST_SIZE,
    FOK,
    HALT,
    IOC,
    LIMIT,
    MARKET,
    MARKET_FOK,
    MAX_SIZE,
    NEWEST_FIRST,
    OLDEST_FIRST,
    OPPOSITE_BEST,
    OWN_BEST,
    POST_ONLY,
    REPLACE,
    SELL,
)

BASE = 50


@st.composite
def streams(draw):
    """A tiny book and orders that collide in it: few prices, few ids, few slots, and every kind of nonsense."""
    num_orders = draw(st.integers(1, 6))
    num_ticks = draw(st.sampled_from([1, 2, 5, 31, 32, 33, 70]))
    last = BASE + num_ticks - 1
    ends = [BASE - 1, BASE, last, last + 1, BASE + num_ticks // 2, -1, -(2**62), 2**62]
    order = st.tuples(
        st.sampled_from(
            [LIMIT] * 6
            + [MARKET, IOC, CANCEL, CANCEL, CANCEL_AT, CANCEL_AT, FOK, POST_ONLY, REPLACE]
            + [REPLACE, MARKET_FOK, BEST_FIVE, BEST_FIVE_LIMIT, OPPOSITE_BEST, OWN_BEST, HALT, -2, 99]
        ),
        st.sampled_from([SELL, BUY] * 8 + [-1, 2]),
        st.integers(BASE, last) | st.sampled_from(ends),
        st.integers(1, 5) | st.sampled_from([0, -1, MAX_SIZE, MAX_SIZE + 1, 2**62]),
        st.integers(0, 9) | st.sampled_from([-1, -(2**63), 2**63 - 1]),
        st.integers(0, 1),
    )
    queue_rule = draw(st.sampled_from([OLDEST_FIRST, NEWEST_FIRST, CLOSEST_SIZE]))
    return num_orders, num_ticks, queue_rule, draw(st.lists(order, min_size=1, max_size=60))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(streams())
def test_agrees_with_the_reference_after_every_order(stream):
    num_orders, num_ticks, queue_rule, orders = stream
    exchange, reference = pair(num_orders, num_ticks, BASE, queue_rule)
    book = exchange.books[0]
    for order in orders:
        before = queues(book)
        result = exchange.run(np.array([order], np.int64))
        report, trades = reference.execute(*order)
        assert tuple(result.reports[0]) == report
        assert [tuple(trade) for trade in result.trades] == trades
        assert exchange.snapshots[0].tolist() == [[list(level) for level in side] for side in reference.snapshot()]
        assert queues(book) == reference_queues(reference)
        if report.outcome:
            assert queues(book) == before
        check_header(book, reference)
        check_invariants(book)


@pytest.mark.parametrize(
    ("num_orders", "num_ticks", "num_ids"),
    [(16, 8, 24), (64, 40, 400), (512, 300, 4000), (300, 2000, 1000)],
    ids=["crowded", "small", "deep", "sparse"],
)
@pytest.mark.parametrize("queue_rule", [OLDEST_FIRST, NEWEST_FIRST, CLOSEST_SIZE])
def test_agrees_with_the_reference_on_long_streams(num_orders, num_ticks, num_ids, queue_rule):
    orders = random_stream(num_ids, 20_000, num_ticks, 1000, num_ids)
    exchange, reference = pair(num_orders, num_ticks, 1000, queue_rule)
    result = exchange.run(orders, snapshots=True)
    trades = []
    for i, order in enumerate(orders.tolist()):
        report, new = reference.execute(*order)
        trades += new
        assert tuple(result.reports[i].tolist()) == report
        assert [[tuple(level) for level in side] for side in result.snapshots[i].tolist()] == reference.snapshot()
    assert [tuple(trade) for trade in result.trades.tolist()] == trades
    assert queues(exchange.books[0]) == reference_queues(reference)
    check_header(exchange.books[0], reference)
    check_invariants(exchange.books[0])


def test_one_order_sweeps_many_levels():
    exchange, reference = pair(500, 1000, 1)
    asks = [(LIMIT, SELL, 1 + 2 * i, 1 + i % 3, i, i % 2) for i in range(500)]
    sweeps = [(LIMIT, BUY, 801, 10**6, 1000, 0), (MARKET, BUY, 0, 10**6, 1001, 1)]
    result = exchange.run(np.array(asks + sweeps), snapshots=True)
    expected = [reference.execute(*order) for order in asks + sweeps]
    assert [tuple(report) for report in result.reports] == [report for report, _ in expected]
    assert [tuple(trade) for trade in result.trades] == [trade for _, trades in expected for trade in trades]
    assert len(expected[-2][1]) == 401
    check_header(exchange.books[0], reference)
    check_invariants(exchange.books[0])


@pytest.mark.parametrize("step", [1, 2**10, 2**16, 2**31, 2**45], ids=lambda step: f"ids_step_{step}")
def test_ids_that_share_their_low_bits(step):
    """Ids of any regular spacing are found again, through removals in a mixed order."""
    ids = [i * step for i in range(200)]
    rng = np.random.default_rng(step)
    adds = [(LIMIT, SELL, 5, 1, i, 0) for i in ids]
    cancels = [(CANCEL, 0, 0, 0, int(i), 0) for i in rng.permutation(ids)]
    exchange, _ = pair(200, 10, 0)
    for half in (adds, cancels[:100], adds[:0], cancels[100:]):
        for i in range(0, len(half), 20):
            assert not exchange.run(np.array(half[i : i + 20])).reports[:, 0].any()
            check_invariants(exchange.books[0])
    assert not queues(exchange.books[0])
