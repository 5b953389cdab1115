"""Compiled parsers of text fields. A field begins at a place of a text and ends at a comma, a blank or a line's end."""

from __future__ import annotations

import numba
import numpy as np

from mars_lmm.compilation import kept_njit

MAX_DIGITS = 18
NOT_A_NUMBER, TOO_FINE = 1, 2  # what is wrong with a number
ROUNDED = 6  # decimals behind those wanted: where they round to nothing, they are a float's noise
MILLISECONDS = 3  # digits
BAD = -1
OTHER = -2  # a symbol of another market
_COMMA, _BLANK, _POINT, _MINUS, _COLON, _ZERO = (ord(sign) for sign in ", .-:0")
_SLASH, _T = ord("/"), ord("T")
_jit = numba.njit(nogil=True)


@_jit
def _ends(sign):
    return sign <= _BLANK or sign == _COMMA


@_jit
def _skip_blanks(text, place):
    while text[place] == _BLANK:
        place += 1
    return place


@_jit
def _digits(text, place):
    """The digits from a place on: their value, their number and the place behind them."""
    value = count = 0
    while 0 <= np.int64(text[place]) - _ZERO <= 9 and count <= MAX_DIGITS:
        value = value * 10 + (np.int64(text[place]) - _ZERO)
        count += 1
        place += 1
    return value, count, place


@kept_njit("data")
def parse_numbers(text, starts, decimals):
    """Decimals in units of the last of so many decimals, int64[N]; and what is wrong with each, int64[N]."""
    values = np.zeros(len(starts), np.int64)
    faults = np.zeros(len(starts), np.int64)
    for i in range(len(starts)):
        place = _skip_blanks(text, starts[i])
        negative = text[place] == _MINUS
        value, count, place = _digits(text, place + negative)
        digits = count
        wanted = rest = num_rest = 0  # decimals wanted, and those behind them
        if text[place] == _POINT:
            place += 1
            while 0 <= np.int64(text[place]) - _ZERO <= 9:
                digit = np.int64(text[place]) - _ZERO
                if wanted < decimals and digits <= MAX_DIGITS:
                    value = value * 10 + digit
                    wanted += 1
                    digits += 1
                elif num_rest < ROUNDED:
                    rest = rest * 10 + digit
                    num_rest += 1
                elif num_rest == ROUNDED:
                    rest += digit >= 5
                    num_rest += 1
                place += 1
        for _ in range(wanted, decimals):
            if digits <= MAX_DIGITS:
                value *= 10
                digits += 1
        if count == 0 or digits > MAX_DIGITS or not _ends(text[place]):
            faults[i] = NOT_A_NUMBER
            continue
        if num_rest > ROUNDED and rest == 10**ROUNDED:  # rounded up to the next unit
            value += 1
        elif rest != 0:
            faults[i] = TOO_FINE
        values[i] = -value if negative else value
    return values, faults


@kept_njit("data")
def parse_codes(text, starts):
    """Fields of at most seven characters as one number each, int64[N]; BAD for longer ones."""
    packed = np.zeros(len(starts), np.int64)
    for i in range(len(starts)):
        place = _skip_blanks(text, starts[i])
        while not _ends(text[place]):
            packed[i] = packed[i] * 256 + text[place] if packed[i] < 1 << 48 else BAD
            place += 1
            if packed[i] == BAD:
                break
    return packed


@_jit
def _clock(text, place):
    """HH:MM:SS with or without a fraction: nanoseconds since midnight, or BAD."""
    hours, count, place = _digits(text, place)
    if count == 0 or count > 2 or text[place] != _COLON:
        return BAD
    minutes, count, place = _digits(text, place + 1)
    if count != 2 or text[place] != _COLON:
        return BAD
    seconds, count, place = _digits(text, place + 1)
    if count != 2:
        return BAD
    fraction = 0
    if text[place] == _POINT:
        fraction, count, place = _digits(text, place + 1)
        if count == 0 or count > 9:
            return BAD
        fraction *= 10 ** (9 - count)
    if not _ends(text[place]):
        return BAD
    return _since_midnight(hours, minutes, seconds, fraction)


@_jit
def _since_midnight(hours, minutes, seconds, fraction):
    if hours > 23 or minutes > 59 or seconds > 59:
        return BAD
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction


@_jit
def _packed_clock(value, fraction_digits):
    """HHMMSS and a fraction of so many digits: nanoseconds since midnight, or BAD."""
    parts = 10**fraction_digits
    clock = value // parts
    fraction = value % parts * (1_000_000_000 // parts)
    return _since_midnight(clock // 10_000, clock // 100 % 100, clock % 100, fraction)


@_jit
def _day(text, place):
    """A date: YYYYMMDD or BAD, and the place behind it."""
    year, count, place = _digits(text, place)
    separator = text[place]
    if count == 8:
        return year, place
    if count != 4 or (separator != _POINT and separator != _MINUS and separator != _SLASH):
        return BAD, place
    month, count, place = _digits(text, place + 1)
    if count == 0 or count > 2 or text[place] != separator:
        return BAD, place
    day, count, place = _digits(text, place + 1)
    if count == 0 or count > 2:
        return BAD, place
    return (year * 100 + month) * 100 + day, place


@kept_njit("data")
def parse_clocks(values, fraction_digits):
    """Times HHMMSS with so many digits of a second's fraction, in nanoseconds since midnight, int64[N]; or BAD."""
    times = np.empty(len(values), np.int64)
    for i in range(len(values)):
        times[i] = _packed_clock(values[i], fraction_digits)
    return times


@kept_njit("data")
def parse_moments(text, starts):
    """Dates as YYYYMMDD, 0 where there is none, and nanoseconds since midnight or BAD; see `Fields.moments`."""
    days = np.zeros(len(starts), np.int64)
    times = np.full(len(starts), BAD, np.int64)
    packed = 6 + MILLISECONDS
    for i in range(len(starts)):
        start = _skip_blanks(text, starts[i])
        value, count, place = _digits(text, start)
        dated = count == 8 and text[place] == _BLANK and not _ends(text[place + 1])
        if text[place] == _COLON:
            times[i] = _clock(text, start)
        elif count > 0 and _ends(text[place]) and not dated:
            if count == 8 + packed:
                days[i] = value // 10**packed
                times[i] = _packed_clock(value % 10**packed, MILLISECONDS)
            elif MILLISECONDS < count <= packed:
                times[i] = _packed_clock(value, MILLISECONDS)
        else:
            days[i], place = _day(text, start)
            if days[i] != BAD and (text[place] == _T or text[place] == _BLANK):
                times[i] = _clock(text, place + 1)
    return days, times


@kept_njit("data")
def parse_days(text, starts):
    """Dates as YYYYMMDD, int64[N], or BAD."""
    days = np.empty(len(starts), np.int64)
    for i in range(len(starts)):
        days[i], place = _day(text, _skip_blanks(text, starts[i]))
        if not _ends(text[place]):
            days[i] = BAD
    return days


@kept_njit("data")
def parse_symbols(text, starts, suffix):
    """Symbols as numbers, int64[N]; OTHER with more digits or another suffix than `suffix`, uint8[...]; or BAD."""
    symbols = np.full(len(starts), BAD, np.int64)
    for i in range(len(starts)):
        value, count, place = _digits(text, _skip_blanks(text, starts[i]))
        suffix_at = place
        own = True
        if text[place] == _POINT:
            while not _ends(text[place]):
                at = place - suffix_at
                own &= at < len(suffix) and text[place] == suffix[min(at, len(suffix) - 1)]
                place += 1
            own &= place - suffix_at == len(suffix)
        if count > 0 and _ends(text[place]):
            symbols[i] = value if own and count <= 6 else OTHER
    return symbols
