"""Compiled parsers of times as text."""

from __future__ import annotations

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, date_at, digits_at
from mars_lmm.data.feeds.common.columns.numbers import EMPTY, NO_NUMBER, WHOLE

NO_SHIFT = np.iinfo(np.int64).max  # a time without an offset from UTC
BAD = -1
DATE_DIGITS, TIME_DIGITS, MILLISECONDS = 8, 6, 3

_jit = numba.njit(nogil=True, inline="always", _nrt=False)


@kept_njit("data")
def parse_packed(value, fraction_digits):
    """Numbers HHMMSS and so many digits of a second's fraction as nanoseconds since midnight, int64[N]; or BAD."""
    out = np.empty(len(value), np.int64)
    for i in range(len(value)):
        out[i] = _packed(value[i], fraction_digits)
    return out


@kept_njit("data", _nrt=False)
def parse_iso(data, starts, ends, day, nanoseconds, shift, state):
    """Read [YYYY-MM-DD(T| )]HH:MM[:SS[.fff]][Z|+HH:MM]; `shift` is the offset in seconds, or NO_SHIFT."""
    for i in range(len(day)):
        place, end = starts[i], ends[i]
        state[i] = EMPTY if place == end else NO_NUMBER
        told, behind = _dated(data, place, end)
        nanoseconds[i], place = _clock(data, behind if told != NO_DAY else place, end, False)
        if nanoseconds[i] == BAD:
            continue
        if place < end:
            shift[i], place = _shift(data, place, end)
        if place != end or (shift[i] != NO_SHIFT and told == NO_DAY):
            continue
        day[i], state[i] = told, WHOLE


@kept_njit("data", _nrt=False)
def parse_clocks(data, starts, ends, day, nanoseconds, state):
    """Read HH:MM:SS[.fff], alone or behind a date and a T or a blank, and [YYYYMMDD]HHMMSSmmm."""
    for i in range(len(day)):
        place, end = starts[i], ends[i]
        state[i] = EMPTY if place == end else NO_NUMBER
        value, count, behind = digits_at(data, place, end)
        if behind == end:  # leading zeros may be lost
            if count == DATE_DIGITS + TIME_DIGITS + MILLISECONDS:
                day[i], _ = date_at(data, place, place + DATE_DIGITS)
                if day[i] == NO_DAY:
                    continue
                value %= 10 ** (TIME_DIGITS + MILLISECONDS)
            elif not MILLISECONDS < count <= TIME_DIGITS + MILLISECONDS:
                continue
            nanoseconds[i] = _packed(value, MILLISECONDS)
        else:
            day[i], behind = _dated(data, place, end)
            nanoseconds[i], place = _clock(data, behind if day[i] != NO_DAY else place, end, True)
            if place != end:
                continue
        if nanoseconds[i] != BAD:
            state[i] = WHOLE


@_jit
def _dated(data, place, end):
    """A date with a T or a blank behind it, or NO_DAY; and the place behind both."""
    day, place = date_at(data, place, end)
    if day == NO_DAY or place == end or (data[place] != ord("T") and data[place] != ord(" ")):
        return NO_DAY, place
    return day, place + 1


@_jit
def _clock(data, place, end, to_the_second):
    """HH:MM[:SS[.fff]]: nanoseconds since midnight, or BAD; and the place behind it."""
    hours, count, place = digits_at(data, place, end)
    if count == 0 or count > 2 or place == end or data[place] != ord(":"):
        return BAD, place
    minutes = _two_digits(data, place + 1, end)
    place += 3
    seconds = fraction = 0
    if place < end and data[place] == ord(":"):
        seconds = _two_digits(data, place + 1, end)
        place += 3
        if place < end and data[place] == ord("."):
            fraction, count, place = digits_at(data, place + 1, end)
            if count == 0:
                return BAD, place
            for _ in range(count, 9):
                fraction *= 10
            for _ in range(9, count):
                fraction //= 10
    elif to_the_second:
        return BAD, place
    if minutes == BAD or seconds == BAD:
        return BAD, place
    return _since_midnight(hours, minutes, seconds, fraction), place


@_jit
def _shift(data, place, end):
    """Z or +HH[:]MM: the offset from UTC in seconds, or NO_SHIFT; and the place behind it."""
    if data[place] == ord("Z"):
        return 0, place + 1
    sign = 1 if data[place] == ord("+") else -1
    if sign < 0 and data[place] != ord("-"):
        return NO_SHIFT, place
    colon = place + 3 < end and data[place + 3] == ord(":")
    hours, minutes = _two_digits(data, place + 1, end), _two_digits(data, place + 3 + colon, end)
    if not 0 <= hours < 24 or not 0 <= minutes < 60:
        return NO_SHIFT, place
    return sign * (hours * 60 + minutes) * 60, place + 5 + colon


@_jit
def _two_digits(data, place, end):
    """A number of two digits, or BAD."""
    if place + 2 > end:
        return BAD
    ten, one = np.int64(data[place]) - ord("0"), np.int64(data[place + 1]) - ord("0")
    return ten * 10 + one if 0 <= ten <= 9 and 0 <= one <= 9 else BAD


@_jit
def _packed(value, fraction_digits):
    parts = 10**fraction_digits
    clock = value // parts
    fraction = value % parts * (1_000_000_000 // parts)
    return _since_midnight(clock // 10_000, clock // 100 % 100, clock % 100, fraction)


@_jit
def _since_midnight(hours, minutes, seconds, fraction):
    if not 0 <= hours < 24 or minutes > 59 or seconds > 59:
        return BAD
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction
