"""Times that never go back: which messages of a session contradict the others."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

DAY_NS = 24 * 60 * 60 * 10**9
LOOK_AHEAD = 4096  # messages

# What is wrong with a time.
IN_ORDER, BEHIND, AHEAD = range(3)


class Clock:
    """Judges times part by part.

    Of messages that contradict each other as few as can be are at fault, the later ones where that leaves a choice: one
    that is an hour early costs itself, and not the hour behind it.
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
        both = np.concatenate([times, following[:LOOK_AHEAD]])
        if len(times) == 0:
            return faults
        if self._latest <= both[0] and both[-1] < DAY_NS and (both[1:] >= both[:-1]).all():
            self._latest = int(times[-1])
            return faults
        inside = (times >= 0) & (times < DAY_NS)
        possible = np.flatnonzero((both >= self._latest) & (both < DAY_NS))
        kept = possible[_longest_run(both[possible].tolist())]
        kept = kept[kept < len(times)]
        latest = np.full(len(times), self._latest)
        latest[kept] = times[kept]
        latest = np.maximum.accumulate(latest)
        faults[inside] = np.where(times < latest, BEHIND, AHEAD)[inside]
        faults[kept] = IN_ORDER
        self._latest = int(latest[-1])
        return faults


def _longest_run(times: list[int]) -> list[int]:
    """The places of the longest sequence of times that never goes back; of several, that which begins first."""
    tails: list[int] = []  # negated: of the sequences of each length from here on, the latest first time
    lengths = []  # of the longest sequence that begins with each time, from the last one on
    for time in reversed(times):
        place = bisect_right(tails, -time)
        tails[place : place + 1] = [-time]
        lengths.append(place + 1)
    places, left, latest = [], len(tails), 0
    for place, (time, length) in enumerate(zip(times, reversed(lengths), strict=True)):
        if length == left and time >= latest:
            places.append(place)
            left, latest = left - 1, time
    return places
