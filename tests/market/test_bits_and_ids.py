"""The bitmap searches and the id table, in plain Python, against sets and dicts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mars_lmm.market.bits import make_bits
from mars_lmm.market.book import empty_books
from mars_lmm.market.ids import make_ids

BITS = make_bits(lambda function: function)
IDS = make_ids(lambda function: function)


@settings(deadline=None, derandomize=True)
@given(st.sets(st.integers(0, 127)), st.integers(0, 127))
def test_searches_find_the_nearest_occupied_tick(ticks, start):
    book = empty_books(1, 1, 128, 1)[0]
    for tick in ticks:
        BITS.flip(book, 1, tick)
    assert BITS.lowest_from(book, 1, start) == min((t for t in ticks if t >= start), default=-1)
    assert BITS.highest_from(book, 1, start) == max((t for t in ticks if t <= start), default=-1)
    assert BITS.lowest_from(book, 1, 128) == BITS.highest_from(book, 1, -1) == -1


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-20, 20) | st.sampled_from([2**63 - 1, -(2**63), 2**31, 2**40])))
def test_id_table_is_a_dict(toggles):
    """A small table that stays half full: each id of the list goes in if it is out and out if it is in."""
    book = empty_books(1, 8, 1, 1)[0]
    expected = {}
    for slot, order_id in enumerate(toggles):
        if order_id in expected:
            IDS.erase(book, order_id)
            del expected[order_id]
        elif len(expected) < 8:
            IDS.insert(book, order_id, slot)
            expected[order_id] = slot
        for known in toggles:
            assert IDS.find(book, known) == expected.get(known, -1)
