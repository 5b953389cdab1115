"""Times that never go back: which messages of a session contradict the others."""

from __future__ import annotations

import numpy as np

from mars_lmm.compilation import kept_njit

DAY_NS = 24 * 60 * 60 * 10**9

# What is wrong with a time.
IN_ORDER, BEHIND, AHEAD = range(3)


class Clock:
    """Judges times part by part.

    Of messages that contradict each other as few as can be are at fault: one that is an hour early costs itself, and
    not the hour behind it. Where that leaves a choice, the later time is at fault: more of what follows may contradict
    it.
    """

    def __init__(self):
        self._latest = 0

    def judge(self, times: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Judge the next part.

        Args:
            times: int64[N], nanoseconds since midnight.
            following: int64[K], those behind this part: they tell what is wrong at its end.

        Returns:
            int8[N]: IN_ORDER; BEHIND, earlier than a message before it; AHEAD, later than those behind it. Times
            outside the day count for nothing, and are IN_ORDER.
        """
        faults = np.full(len(times), IN_ORDER, np.int8)
        if len(times) == 0:
            return faults
        behind_all = times[-1] <= following.min(initial=DAY_NS - 1)
        if behind_all and self._latest <= times[0] and (times[1:] >= times[:-1]).all():
            self._latest = int(times[-1])
            return faults
        both = np.concatenate([times, following])
        possible = np.flatnonzero((both >= self._latest) & (both < DAY_NS))
        kept = possible[_in_longest(both[possible])]
        kept = kept[kept < len(times)]
        latest = np.full(len(times), self._latest)
        latest[kept] = times[kept]
        latest = np.maximum.accumulate(latest)
        inside = (times >= 0) & (times < DAY_NS)
        faults[inside] = np.where(times < latest, BEHIND, AHEAD)[inside]
        faults[kept] = IN_ORDER
        self._latest = int(latest[-1])
        return faults


@kept_njit("data")
def _in_longest(times):
    """Which of N times are the longest sequence that never goes back, bool[N]; of several, that which ends earliest."""
    # Of the sequences of each length, the last place of the one that ends earliest; and of each place, the one before.
    ends, before = np.empty((2, len(times)), np.int64)
    length = 0
    for i in range(len(times)):
        low, high = 0, length
        while low < high:
            middle = (low + high) // 2
            if times[ends[middle]] > times[i]:
                high = middle
            else:
                low = middle + 1
        ends[low] = i
        before[i] = ends[low - 1] if low > 0 else -1
        length = max(length, low + 1)
    chosen = np.zeros(len(times), np.bool_)
    place = ends[length - 1] if length > 0 else -1
    while place >= 0:
        chosen[place] = True
        place = before[place]
    return chosen
