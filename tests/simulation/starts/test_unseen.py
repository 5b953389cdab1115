"""Depth beyond a feed's window: the window stays, and both sides go on alike."""

from dataclasses import replace

import numpy as np
import pytest
from start_cases import queues

from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.cpu import MATCHING
from mars_lmm.simulation.starts.start import Start
from mars_lmm.simulation.starts.unseen import NUM_LEVELS, completed, unseen_orders
from mars_lmm.tokenizers import observation as o

LEVELS = 4


@pytest.fixture(scope="module")
def market(synthetic_flow):
    """A session of a feed that shows four levels; its market in the middle, and the orders before."""
    half = len(synthetic_flow) // 2
    state = opening_state(synthetic_flow)
    part = replay(synthetic_flow, state, 0, half)
    return replace(synthetic_flow.session, levels=LEVELS), state, part.observed.copy()


def levels_of(book):
    """Prices and sizes of each side, best first."""
    found = []
    for side in range(2):
        price = MATCHING.best(book, side)
        rows = []
        while price != t.NO_PRICE:
            rows.append((price, MATCHING.level_size(book, side, price)))
            price = MATCHING.next_price(book, side, price)
        found.append(rows)
    return found


def test_the_window_stays_and_both_sides_go_on_alike(market):
    session, state, observed = market
    book = state.book[0]
    before = levels_of(book)
    after = levels_of(completed(book, unseen_orders(session, book, observed, time=5)))
    shown = observed[:, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
    sizes = set(shown[:, :, 1, LEVELS - 1].ravel().tolist())
    gaps = set((shown[:, :, 0, LEVELS - 1] - shown[:, :, 0, LEVELS - 2]).ravel().tolist())
    for side in range(2):
        assert after[side][:LEVELS] == before[side][:LEVELS]
        assert len(after[side]) == LEVELS + NUM_LEVELS
        beyond = np.array(after[side][LEVELS - 1 :])
        assert set(np.abs(np.diff(beyond[:, 0])).tolist()) <= gaps
        assert set(beyond[1:, 1].tolist()) <= sizes


def test_what_is_made_up_depends_on_the_start_alone(market):
    session, state, observed = market
    made = [unseen_orders(session, state.book[0], observed, time) for time in (5, 5, 6)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    other = unseen_orders(replace(session, symbol="OTHER"), state.book[0], observed, 5)
    assert not np.array_equal(made[0], other)


def test_a_feed_that_shows_all_hides_nothing(market):
    session, state, observed = market
    nothing = unseen_orders(replace(session, levels=None), state.book[0], observed, 5)
    assert len(nothing) == 0
    assert np.array_equal(completed(state.book[0], nothing), state.book[0])


def test_whoever_follows_the_session_gets_the_book_as_it_was_seen(market):
    session, state, observed = market
    unseen = unseen_orders(session, state.book[0], observed, 5)
    empty = np.zeros((0, 2), dtype=np.int16)
    start = Start(session, 5, state, np.zeros(0, int), empty, np.zeros(o.NUM_TAPE, int), unseen=unseen)
    as_it_was = state.book.copy()
    assert queues(start.book(as_seen=True)) == queues(state.book[0])
    assert len(levels_of(start.book())[t.BUY]) == LEVELS + NUM_LEVELS
    assert np.array_equal(state.book, as_it_was)
