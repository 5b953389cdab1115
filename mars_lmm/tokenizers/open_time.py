"""Time as a venue's session counts it, for Python: breaks such as the lunch hour are left out."""

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.tokenizers.cpu import OBSERVING

_after, _shut_time = OBSERVING.after, OBSERVING.shut_time
_kept = kept_njit("market", "tokenizers", _nrt=False)


@_kept
def _add(book, time, interval):
    return _after(book, time, interval)


@_kept
def _between(book, begin, end):
    return end - begin - _shut_time(book, begin, end)


def add_open_time(book: np.ndarray, time: int, interval: int) -> int:
    """When so much open market has passed since a time.

    Args:
        book: int64[N], one book, whose schedule counts; without rules it is always open.
        time: Nanoseconds since midnight.
        interval: Nanoseconds, not negative.

    Returns:
        Nanoseconds since midnight. What ends as the venue shuts ends when it opens again, for nothing happens in
        between. After the day's last phase begins, time passes as it does on any clock, shut or not.

    Raises:
        ValueError: The interval is negative.
    """
    if interval < 0:
        raise ValueError(f"interval={interval}: must not be negative")
    return _add(book, time, interval)


def open_time_between(book: np.ndarray, begin: int, end: int) -> int:
    """How long the market is open between two times.

    Args:
        book: int64[N], one book, whose schedule counts; without rules it is always open.
        begin: Nanoseconds since midnight.
        end: Nanoseconds since midnight, not before `begin`.

    Returns:
        Nanoseconds.

    Raises:
        ValueError: The end lies before the beginning.
    """
    if end < begin:
        raise ValueError(f"end={end}: must not lie before begin={begin}")
    return _between(book, begin, end)
