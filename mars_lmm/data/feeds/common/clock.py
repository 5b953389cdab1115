"""Columns of times, however they are written, become dates and nanoseconds since midnight, exchange local."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numba
import numpy as np
import pyarrow as pa

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.exact import EMPTY, NO_NUMBER, TOO_LARGE, WHOLE, text_buffers, whole_units

SECOND = 10**9
DAY = 24 * 60 * 60 * SECOND
NO_DAY = np.iinfo(np.int64).min  # a time without a date
NO_SHIFT = np.iinfo(np.int64).max  # a time without an offset from UTC
QUARTER = 15 * 60 * SECOND  # a zone's offset changes at multiples of it

_EPOCH = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"\d{4}(-?)\d{2}\1\d{2}", re.ASCII)

PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
FORMATS = (
    *PER_SECOND,
    *(f"epoch_{unit}" for unit in PER_SECOND),
    "hhmmssmmm",
    "iso",
)
"""Numbers of a unit since midnight; since 1970-01-01 UTC; 93000123 is 09:30:00.123; text as ISO 8601 has it."""


class Times(NamedTuple):
    """N times.

    Attributes:
        day: int64[N], days since 1970-01-01, or NO_DAY where the time does not tell.
        nanoseconds: int64[N], since midnight.
        state: int8[N], WHOLE or why there is no time; see `mars_lmm.data.feeds.common.exact`.
    """

    day: np.ndarray
    nanoseconds: np.ndarray
    state: np.ndarray


def day_number(text: str) -> int:
    """YYYY-MM-DD or YYYYMMDD in days since 1970-01-01; NO_DAY if it is no date."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH if _DATE.fullmatch(text) else NO_DAY
    except ValueError:
        return NO_DAY


def iso_date(day: int) -> str:
    """Days since 1970-01-01 as YYYY-MM-DD."""
    return date.fromordinal(day + _EPOCH).isoformat()


def read_times(column: pa.Array, style: str, zone: ZoneInfo) -> Times:
    """Read a column of times.

    Args:
        column: [N] numbers or text; timestamps of a parquet file are what they are, whatever the format.
        style: One of `FORMATS`.
        zone: The exchange's, for times since 1970 and text that names an offset from UTC.
    """
    if pa.types.is_timestamp(column.type):
        return _from_timestamps(column, zone)
    if style == "iso":
        return _from_text(column, zone)
    if style == "hhmmssmmm":
        value, state = whole_units(column, Fraction(1))
        nanoseconds = _clock(value)
        return _of_day(np.where(nanoseconds < 0, DAY, nanoseconds), state)
    per_second = PER_SECOND[style.removeprefix("epoch_")]
    value, state = whole_units(column, Fraction(SECOND, per_second), rounds=True)
    return _from_epoch(value, state, zone) if style.startswith("epoch_") else _of_day(value, state)


def _of_day(nanoseconds: np.ndarray, state: np.ndarray) -> Times:
    outside = (state == WHOLE) & ((nanoseconds < 0) | (nanoseconds >= DAY))
    return Times(np.full(len(state), NO_DAY), nanoseconds, np.where(outside, TOO_LARGE, state).astype(np.int8))


def _from_epoch(nanoseconds: np.ndarray, state: np.ndarray, zone: ZoneInfo) -> Times:
    day, rest = np.divmod(nanoseconds + zone_offsets(nanoseconds, zone), DAY)
    return Times(day, rest, state)


def _from_timestamps(column: pa.Array, zone: ZoneInfo) -> Times:
    unit = {"s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    state = np.where(column.is_null().to_numpy(zero_copy_only=False), EMPTY, WHOLE)
    value = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    far = np.abs(value // 2) > 2**61 // unit
    state = np.where(far, TOO_LARGE, state).astype(np.int8)
    value = np.where(far, 0, value) * unit
    if column.type.tz is not None:
        return _from_epoch(value, state, zone)
    return Times(*np.divmod(value, DAY), state)


def _from_text(column: pa.Array, zone: ZoneInfo) -> Times:
    data, offsets = text_buffers(column)
    day, nanoseconds, shift, state = (np.zeros(len(column), np.int64) for _ in range(4))
    _read_iso(data, offsets, day, nanoseconds, shift, state)
    told = (shift != NO_SHIFT) & (state == WHOLE)
    if told.any():
        utc = np.where(told, day * DAY + nanoseconds - shift * SECOND, 0)
        local = _from_epoch(utc, state, zone)
        day, nanoseconds = np.where(told, local.day, day), np.where(told, local.nanoseconds, nanoseconds)
    return Times(day, nanoseconds, state.astype(np.int8))


def zone_offsets(nanoseconds: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """A zone's offset from UTC at times since 1970, in nanoseconds."""
    quarters, which = np.unique(nanoseconds // QUARTER, return_inverse=True)
    return np.array([_offset(quarter, zone) for quarter in quarters.tolist()], np.int64)[which]


def _offset(quarter: int, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromtimestamp(quarter * (QUARTER // SECOND), UTC)
        return int(moment.astimezone(zone).utcoffset().total_seconds()) * SECOND
    except (OverflowError, ValueError, OSError):
        return 0  # beyond the calendar


@kept_njit("data")
def _clock(value):
    """Numbers HHMMSSmmm as nanoseconds since midnight; -1 where they are no such time."""
    out = np.empty(len(value), np.int64)
    for i in range(len(value)):
        seconds, millisecond = value[i] // 1000, value[i] % 1000
        minutes, second = seconds // 100, seconds % 100
        hour, minute = minutes // 100, minutes % 100
        fits = 0 <= hour < 24 and minute < 60 and second < 60
        out[i] = ((hour * 60 + minute) * 60 + second) * SECOND + millisecond * 10**6 if fits else -1
    return out


@kept_njit("data")
def _read_iso(data, offsets, day, nanoseconds, shift, state):
    """Read [YYYY-MM-DD(T| )]HH:MM[:SS[.fff]][Z|+HH:MM]; `shift` is the offset in seconds."""
    for i in range(len(day)):
        at, end = offsets[i], offsets[i + 1]
        day[i], shift[i] = NO_DAY, NO_SHIFT
        if at == end:
            state[i] = EMPTY
            continue
        state[i] = NO_NUMBER
        if end - at > 10 and data[at + 4] == ord("-"):
            year, month, date = _number(data, at, 4), _number(data, at + 5, 2), _number(data, at + 8, 2)
            separated = data[at + 7] == ord("-") and (data[at + 10] == ord("T") or data[at + 10] == ord(" "))
            if (
                not separated
                or not 1900 <= year < 2100
                or not 1 <= month <= 12
                or not 1 <= date <= _month_days(year, month)
            ):
                continue
            day[i] = _days(year, month, date)
            at += 11
        if end - at < 5 or data[at + 2] != ord(":"):
            continue
        hour, minute, second, part = _number(data, at, 2), _number(data, at + 3, 2), 0, 0
        at += 5
        if end - at >= 3 and data[at] == ord(":"):
            second = _number(data, at + 1, 2)
            at += 3
            if at < end and data[at] == ord("."):
                at += 1
                first = at
                while at < end and ord("0") <= data[at] <= ord("9"):
                    if at - first < 9:
                        part = part * 10 + np.int64(data[at]) - ord("0")
                    at += 1
                if at == first:
                    continue
                for _ in range(at - first, 9):
                    part *= 10
        if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
            continue
        if at < end and data[at] == ord("Z"):
            shift[i] = 0
            at += 1
        elif end - at >= 5 and (data[at] == ord("+") or data[at] == ord("-")):
            sign = 1 if data[at] == ord("+") else -1
            hours = _number(data, at + 1, 2)
            at += 4 if data[at + 3] == ord(":") else 3
            minutes = _number(data, at, 2) if end - at == 2 else -1
            if not (0 <= hours < 24 and 0 <= minutes < 60):
                continue
            shift[i] = sign * (hours * 3600 + minutes * 60)
            at += 2
        if at != end or (shift[i] != NO_SHIFT and day[i] == NO_DAY):
            continue
        nanoseconds[i] = ((hour * 60 + minute) * 60 + second) * SECOND + part
        state[i] = WHOLE


@numba.njit(nogil=True)
def _number(data, at, digits):
    """A number of so many digits; -1 if they are none."""
    number = 0
    for place in range(at, at + digits):
        if not ord("0") <= data[place] <= ord("9"):
            return -1
        number = number * 10 + np.int64(data[place]) - ord("0")
    return number


@numba.njit(nogil=True)
def _month_days(year, month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@numba.njit(nogil=True)
def _days(year, month, date):
    """Days from 1970-01-01, counting years from March so that leap days come last."""
    year -= month <= 2
    month = (month + 9) % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + date - 1 - 719_468
