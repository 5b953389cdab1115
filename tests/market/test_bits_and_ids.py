"""The bitmap searches and the id table, in plain Python, against sets and dicts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mars_lmm.market.bits import make_bits
from mars_lmm.market.ids import make_ids

BITS = make_bits(lambda function: function)
IDS = make_ids(lambda function: function)


@settings(deadline=None, derandomize=True)
@given(st.sets(st.integers(0, 127)), st.integers(0, 127))
def test_searches_find_the_nearest_occupied_tick(ticks, start):
    occupied = np.zeros((2, 4), np.int64)
    for tick in ticks:
        occupied[1, tick >> 5] |= 1 << (tick & 31)
    assert BITS.lowest_from(occupied, 1, start) == min((t for t in ticks if t >= start), default=-1)
    assert BITS.highest_from(occupied, 1, start) == max((t for t in ticks if t <= start), default=-1)
    assert BITS.lowest_from(occupied, 1, 128) == BITS.highest_from(occupied, 1, -1) == -1


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-20, 20) | st.sampled_from([2**63 - 1, -(2**63), 2**31, 2**40])))
def test_id_table_is_a_dict(toggles):
    """A small table that stays half full: each id of the list goes in if it is out and out if it is in."""
    index = np.zeros((16, 2), np.int64)
    index[:, 1] = -1
    expected = {}
    for slot, order_id in enumerate(toggles):
        if order_id in expected:
            IDS.erase(index, order_id)
            del expected[order_id]
        elif len(expected) < 8:
            IDS.insert(index, order_id, slot)
            expected[order_id] = slot
        for known in toggles:
            assert IDS.lookup(index, known) == expected.get(known, -1)
