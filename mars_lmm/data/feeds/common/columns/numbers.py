"""Columns of numbers become whole numbers of a unit, text without a float in between."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.text import Column, Text

# What became of a value.
WHOLE, EMPTY, NO_NUMBER, TOO_FINE, TOO_LARGE = range(5)
LARGEST = 2**62  # no sum or difference of two values overflows
LARGEST_ID = 2**63 - 1  # ids are never added up
NOISE = 6  # decimals of a unit; what is finer is noise of a float that somebody wrote as text

_jit = numba.njit(nogil=True, inline="always", _nrt=False)


class Units(NamedTuple):
    """A column of N whole numbers.

    Attributes:
        value: int64[N]; 0 where there is none.
        state: int8[N], WHOLE or why there is no value.
    """

    value: np.ndarray
    state: np.ndarray


def whole_units(
    column: Column,
    per_one: Fraction | int,
    tolerance: float = 10**-NOISE,
    rounds: bool = False,
    largest: int = LARGEST,
) -> Units:
    """Values times a factor.

    Args:
        column: [N]; null and "" are empty.
        per_one: Units in a value of 1.
        tolerance: How many units a float may be away from a whole number of them.
        rounds: Round what is finer than the unit, half up, instead of refusing it; for factors that are integers.
        largest: The largest value, in units; of floats it is `LARGEST`.
    """
    per_one = Fraction(per_one)
    if not isinstance(column, Text) and pa.types.is_floating(column.type):
        return _from_floats(column, float(per_one), np.inf if rounds else tolerance)
    text = Text.of(column)
    # Factors of ten are but places of the point.
    down = max(_powers(per_one.denominator, 2), _powers(per_one.denominator, 5))
    scaled = per_one * 10**down
    up = _powers(scaled.numerator, 10)
    scaled /= 10**up
    units = Units(np.zeros(len(text), np.int64), np.zeros(len(text), np.int8))
    decimals = 0 if rounds else NOISE
    factor = (scaled.numerator, scaled.denominator, up - down)
    _parse(text.data, text.starts, text.ends, *factor, decimals, largest, *units)
    return units


def _powers(number: int, factor: int) -> int:
    count = 0
    while number % factor == 0:
        number //= factor
        count += 1
    return count


def _from_floats(column: pa.Array, per_one: float, tolerance: float) -> Units:
    exact = column.to_numpy(zero_copy_only=False).astype(np.float64) * per_one
    with np.errstate(invalid="ignore"):
        nearest = np.rint(exact)
        state = np.select(
            [np.isnan(exact), ~(np.abs(exact) < LARGEST), np.abs(exact - nearest) > tolerance],
            [EMPTY, TOO_LARGE, TOO_FINE],
            WHOLE,
        )
    value = np.where(state == WHOLE, nearest, 0).astype(np.int64)
    return Units(value, state.astype(np.int8))


@kept_njit("data", _nrt=False)
def _parse(data, starts, ends, numerator, denominator, exponent, decimals, largest, value, state):
    """Read decimal numbers, times numerator / denominator * 10 ** exponent."""
    for i in range(len(value)):
        if starts[i] == ends[i]:
            state[i] = EMPTY
            continue
        negative = data[starts[i]] == ord("-")
        signed = negative or data[starts[i]] == ord("+")
        state[i], number, scale, cut = _decimal(data, starts[i] + signed, ends[i], largest)
        scale += exponent
        if cut and (scale > -decimals or numerator * denominator > 1):
            state[i] = TOO_LARGE if scale > 0 else TOO_FINE
        if state[i] == WHOLE:
            state[i], number = _scaled(number, scale, numerator, denominator, decimals, largest)
            value[i] = -number if negative else number


@_jit
def _decimal(data, place, end, largest):
    """A number without its sign.

    Returns:
        Its state, its digits as an integer, the power of ten that these count, and whether decimals did not fit.
    """
    number = digits = scale = 0
    fits = True
    behind_point = too_large = cut = False
    while place < end:
        digit = np.int64(data[place]) - ord("0")
        if 0 <= digit <= 9:
            digits += 1
            fits = fits and number <= (largest - digit) // 10
            if fits:
                number = number * 10 + digit
                scale -= behind_point
            elif behind_point:
                cut |= digit > 0
            else:
                too_large = True
        elif data[place] == ord(".") and not behind_point:
            behind_point = True
        else:
            break
        place += 1
    if digits > 0 and place + 1 < end and (data[place] == ord("e") or data[place] == ord("E")):
        place += 1
        falls = data[place] == ord("-")
        place += falls or data[place] == ord("+")
        power = 0
        first = place
        while place < end and place - first < 4 and ord("0") <= data[place] <= ord("9"):
            power = power * 10 + np.int64(data[place]) - ord("0")
            place += 1
        digits *= place > first
        scale += -power if falls else power
    if digits == 0 or place != end:
        return NO_NUMBER, 0, 0, False
    return TOO_LARGE if too_large else WHOLE, number, scale, cut and not too_large


@_jit
def _scaled(number, scale, numerator, denominator, decimals, largest):
    """Number * 10 ** scale * numerator / denominator, rounded at so many decimals: its state and itself."""
    while scale < 0 and number > 0 and number % 10 == 0:  # room for the factor
        number //= 10
        scale += 1
    if number > largest // numerator:
        return TOO_LARGE, 0
    number *= numerator
    while scale > 0 and 0 < number <= largest // 10:
        number *= 10
        scale -= 1
    if number > 0 and scale > 0:
        return TOO_LARGE, 0
    dropped = 0
    while scale < -decimals and number > 0:
        dropped = number % 10
        number //= 10
        scale += 1
    number += dropped >= 5
    while scale < 0 and number > 0 and number % 10 == 0:
        number //= 10
        scale += 1
    if (scale < 0 and number > 0) or number % denominator > 0:
        return TOO_FINE, 0
    return WHOLE, number // denominator
