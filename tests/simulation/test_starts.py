import numpy as np
import pytest

from mars_lmm.data.errors import DataError
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.repack import repack
from mars_lmm.simulation.coding import OrderCoding
from mars_lmm.simulation.starts import held_out_starts
from mars_lmm.tokenizers import observation as o

MINUTE = 60 * 10**9


def test_a_start_is_the_replayed_prefix(small_set):
    tokenizer = small_set.tokenizer()
    starts = held_out_starts(small_set, OrderCoding(tokenizer), count=3, horizon=MINUTE, history=50)
    flow = small_set.flow(1)
    whole = replay(flow)
    token, market = tokenizer.encode(whole.observed)
    assert [start.flow.session.date for start in starts] == [small_set.sessions[1]["date"]] * 3
    for start in starts:
        here = np.searchsorted(whole.tape[:, 0], start.time, side="right")
        np.testing.assert_array_equal(start.token, token[here - 50 : here])
        np.testing.assert_array_equal(start.market, market[here - 50 : here])
        end = np.searchsorted(whole.tape[:, 0], start.time + MINUTE, side="right")
        np.testing.assert_array_equal(start.continuation, whole.tape[here:end])
        snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
        MATCHING.snapshot(start.state.book[0], snapshot)
        assert snapshot[t.BUY, 0, 0] == whole.tape[here - 1, 8]
        assert start.state.clock[o.LAST_TIME] == whole.tape[here - 1, 0]
    assert starts[-1].time + MINUTE <= flow.session.close_time


def test_too_long_a_horizon_is_an_error(small_set):
    with pytest.raises(DataError, match="simulate fewer minutes"):
        held_out_starts(small_set, OrderCoding(small_set.tokenizer()), count=1, horizon=60 * MINUTE, history=10)


def test_repacked_books_hold_the_same_queues(synthetic_flow):
    source = replay(synthetic_flow).state.book[0]
    live = int(source[t.LIVE_ORDERS])
    copies = repack(source, 3, live + 10, int(source[t.NUM_TICKS]) + 64)
    for b in (0, 2):
        copy = copies[b]
        assert queues(copy) == queues(source)
        for column in (t.LIVE_ORDERS, t.OPEN_PRICE, t.LAST_PRICE, t.VOLUME, t.NUM_TRADES):
            assert copy[column] == source[column]


def queues(book):
    """Every queue in order: (side, price, [(id, size, owner), ...])."""
    found = []
    for side in (t.SELL, t.BUY):
        price = book[t.BEST_PRICE + side]
        while price != t.NO_PRICE:
            slot, queue = MATCHING.first(book, side, price), []
            while slot != NO_SLOT:
                queue.append(tuple(int(book[slot + column]) for column in (t.ORDER_ID, t.SIZE, t.OWNER)))
                slot = book[slot + NEXT]
            found.append((side, int(price), queue))
            price = MATCHING.next_price(book, side, price)
    return found
