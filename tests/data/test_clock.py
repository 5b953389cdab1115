"""Which times contradict the others, against every way to leave some out."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.feeds.common.clock import AHEAD, BEHIND, DAY_NS, IN_ORDER, Clock

NONE = np.empty(0, np.int64)


def kept_places(times, latest):
    """Of the sequences that never go back, the longest; of those, the one whose times are earliest, from the last back.

    Found among all the ways to choose some of the times.
    """
    possible = [place for place, time in enumerate(times) if latest <= time < DAY_NS]
    for count in range(len(possible), 0, -1):
        in_order = [
            places
            for places in combinations(possible, count)
            if all(times[early] <= times[late] for early, late in pairwise(places))
        ]
        if in_order:
            return min(in_order, key=lambda places: [times[place] for place in reversed(places)])
    return ()


@pytest.mark.fuzz
@given(
    times=st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 6, 7, DAY_NS - 1, DAY_NS]), max_size=9),
    cut=st.integers(0, 9),
)
def test_as_few_times_as_can_be_are_at_fault(times, cut):
    clock, latest = Clock(), 0
    for part, following in ((times[:cut], times[cut:]), (times[cut:], [])):
        every = part + following
        kept = kept_places(every, latest)
        faults = clock.judge(np.array(part, np.int64), np.array(following, np.int64))
        for place, time in enumerate(part):
            before = max([latest, *(every[other] for other in kept if other < place)])
            if place in kept or not 0 <= time < DAY_NS:
                assert faults[place] == IN_ORDER
            elif time < before:
                assert faults[place] == BEHIND
            else:
                assert faults[place] == AHEAD
                assert any(every[other] < time for other in kept if other > place)
        latest = max([latest, *(part[place] for place in kept if place < len(part))])


@pytest.mark.parametrize(
    ("times", "following", "faults"),
    [
        ([5, 3], [], [AHEAD, IN_ORDER]),  # either could go: the later time does
        ([5, 6, 3], [], [IN_ORDER, IN_ORDER, BEHIND]),
        ([1, 5], [3], [IN_ORDER, AHEAD]),
        ([1, 5], [3, 5], [IN_ORDER, AHEAD]),
        ([1, 5], [3, 5, 6, 2, 2], [IN_ORDER, AHEAD]),
        ([1, 8], [9, 2, 3, 4], [IN_ORDER, AHEAD]),  # in order with what comes next, and not with the rest
        ([1, DAY_NS, 2, -1], [3], [IN_ORDER] * 4),
    ],
)
def test_what_is_at_fault(times, following, faults):
    judged = Clock().judge(np.array(times, np.int64), np.array(following, np.int64))
    assert judged.tolist() == faults


def test_a_long_day_backwards_keeps_its_last_time():
    assert (Clock().judge(np.arange(100_000)[::-1], NONE) == [AHEAD] * 99_999 + [IN_ORDER]).all()
