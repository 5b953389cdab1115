"""Columns of numbers, as text or as numbers, become whole numbers of a unit without a float in between."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.compilation import kept_njit
from mars_lmm.data.ledger import Ledger

# What became of a value.
WHOLE, EMPTY, NO_NUMBER, TOO_FINE, TOO_LARGE = range(5)
LARGEST = 2**62  # no sum or difference of two values overflows


class Units(NamedTuple):
    """A column of N whole numbers.

    Attributes:
        value: int64[N]; 0 where there is none.
        state: int8[N], WHOLE or why there is no value.
    """

    value: np.ndarray
    state: np.ndarray

    @property
    def is_empty(self) -> np.ndarray:
        """bool[N], where the column says nothing."""
        return self.state == EMPTY

    def check(self, ledger: Ledger, source: object, rows: np.ndarray, name: str, column: pa.Array) -> np.ndarray:
        """Refuse what is no whole number of units; an empty value is none of these.

        Args:
            ledger: Takes the bad rows.
            source: The file.
            rows: int64[N], the rows' numbers.
            name: What the column is, for the reasons.
            column: The column as read, for the details.

        Returns:
            bool[N], the rows at fault.
        """
        faults = {
            NO_NUMBER: (f"{name} is no number", "{}: check the column and the row"),
            TOO_FINE: (f"{name} is finer than its unit", "{} is not a whole number of units"),
            TOO_LARGE: (f"{name} is too large", "{}"),
        }
        for state, (reason, detail) in faults.items():
            ledger.check(source, rows, self.state == state, reason, detail, Shown(column))
        return self.state > EMPTY


class Shown:
    """The values of a column as messages show them."""

    def __init__(self, column: pa.Array):
        self._column = column

    def __getitem__(self, i: int) -> str:
        value = self._column[i].as_py()
        return repr(value.decode(errors="replace")[:40] if isinstance(value, bytes) else str(value)[:40])


def whole_units(column: pa.Array, per_one: Fraction, tolerance: float = 1e-6, rounds: bool = False) -> Units:
    """Values times a factor, exactly.

    Args:
        column: [N] text, integers, decimals or floats; null and "" are empty.
        per_one: Units in a value of 1.
        tolerance: How many units a float may be away from a whole number of them.
        rounds: Round what is finer than the unit, half up, instead of refusing it; for factors that are integers.
    """
    if pa.types.is_floating(column.type):
        return _from_floats(column, float(per_one), np.inf if rounds else tolerance)
    data, offsets = text_buffers(column)
    twos, fives = _powers(per_one.denominator, 2), _powers(per_one.denominator, 5)
    down = max(twos, fives)
    scaled = per_one * 10**down
    up = 0
    while scaled.numerator % 10 == 0:
        scaled /= 10
        up += 1
    units = Units(np.zeros(len(column), np.int64), np.zeros(len(column), np.int8))
    _read(data, offsets, scaled.numerator, scaled.denominator, up - down, rounds, *units)
    return units


def text_buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """A column as text: uint8[*], all of it, and int32[N + 1], where the values begin and end."""
    if not pa.types.is_binary(column.type):
        column = pc.cast(pc.cast(column, pa.string()), pa.binary())
    column = pc.fill_null(column, b"")
    _, offsets, data = column.buffers()
    offsets = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1] if len(column) else np.zeros(1)
    return np.frombuffer(data or b"", np.uint8), offsets.astype(np.int64)


def _powers(number: int, prime: int) -> int:
    count = 0
    while number % prime == 0:
        number //= prime
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


@kept_njit("data")
def _read(data, offsets, numerator, denominator, exponent, rounds, value, state):
    """Read decimal numbers, times numerator / denominator * 10 ** exponent."""
    zero = ord("0")
    for i in range(len(value)):
        place, end = offsets[i], offsets[i + 1]
        if place == end:
            state[i] = EMPTY
            continue
        negative = data[place] == ord("-")
        if negative or data[place] == ord("+"):
            place += 1
        number = digits = 0
        scale = exponent
        behind_point = too_large = False
        while place < end:
            digit = np.int64(data[place]) - zero
            if 0 <= digit <= 9:
                digits += 1
                if number <= (LARGEST - digit) // 10:
                    number = number * 10 + digit
                    scale -= behind_point
                elif not behind_point:
                    too_large = True
                elif digit > 0 and number % 10 == 0:
                    number += 1  # decimals that do not fit matter only in that there are some
            elif data[place] == ord(".") and not behind_point:
                behind_point = True
            else:
                break
            place += 1
        if digits > 0 and place + 1 < end and (data[place] == ord("e") or data[place] == ord("E")):
            place += 1
            falls = data[place] == ord("-")
            if falls or data[place] == ord("+"):
                place += 1
            power = 0
            first = place
            while place < end and place - first < 4 and zero <= data[place] <= ord("9"):
                power = power * 10 + np.int64(data[place]) - zero
                place += 1
            if place == first:
                place = -1
            scale += -power if falls else power
        if digits == 0 or place != end:
            state[i] = NO_NUMBER
            continue
        while scale < 0 and number > 0 and number % 10 == 0:  # room for the factor
            number //= 10
            scale += 1
        if number > LARGEST // numerator:
            too_large = True
        if too_large:
            state[i] = TOO_LARGE
            continue
        number *= numerator
        while scale > 0 and 0 < number <= LARGEST // 10:
            number *= 10
            scale -= 1
        if number > 0 and scale > 0:
            state[i] = TOO_LARGE
            continue
        dropped = 0
        while scale < 0 and number > 0 and (rounds or number % 10 == 0):
            dropped = number % 10
            number //= 10
            scale += 1
        if (scale < 0 and number > 0) or number % denominator > 0:
            state[i] = TOO_FINE
            continue
        number = number // denominator + (dropped >= 5)
        value[i] = -number if negative else number
