"""Columns of times, however they are written, become dates and nanoseconds since midnight, exchange local."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from mars_lmm.data.feeds.common.columns.clock import NO_SHIFT, parse_clocks, parse_iso, parse_packed
from mars_lmm.data.feeds.common.columns.dates import NO_DAY
from mars_lmm.data.feeds.common.columns.numbers import EMPTY, TOO_LARGE, WHOLE, whole_units
from mars_lmm.data.feeds.common.columns.text import Column, Text

SECOND = 10**9
DAY = 24 * 60 * 60 * SECOND
QUARTER = 15 * 60 * SECOND  # a zone's offset changes at multiples of it

PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
PACKED = {"hhmmss": 0, "hhmmsscc": 2, "hhmmssmmm": 3}  # digits of a second's fraction
ISO, CLOCK = "iso", "clock"
FORMATS = (*PER_SECOND, *(f"epoch_{unit}" for unit in PER_SECOND), *PACKED, ISO, CLOCK)
"""Numbers of a unit since midnight; since 1970-01-01 UTC; 93000123 is 09:30:00.123; text as ISO 8601 has it.

A clock is what Chinese vendors write: HH:MM:SS.fff or HHMMSSmmm, alone or behind a date.
"""


class Times(NamedTuple):
    """N times.

    Attributes:
        day: int64[N], days since 1970-01-01, or NO_DAY where the time does not tell.
        nanoseconds: int64[N], since midnight.
        state: int8[N], WHOLE or why there is no time; see `mars_lmm.data.feeds.common.columns.numbers`.
    """

    day: np.ndarray
    nanoseconds: np.ndarray
    state: np.ndarray


def read_times(column: Column, style: str, zone: ZoneInfo) -> Times:
    """Read a column of times.

    Args:
        column: [N] numbers or text; timestamps and times of a parquet file are what they are, whatever the format.
        style: One of `FORMATS`.
        zone: The exchange's, for times since 1970 and text that names an offset from UTC.
    """
    if not isinstance(column, Text) and pa.types.is_timestamp(column.type):
        return _from_timestamps(column, zone)
    if not isinstance(column, Text) and pa.types.is_time(column.type):
        return _of_day(*_nanoseconds(column))
    if style in (ISO, CLOCK):
        return _from_text(Text.of(column), style, zone)
    if style in PACKED:
        value, state = whole_units(column, 1)
        nanoseconds = parse_packed(value, PACKED[style])
        return _of_day(np.where(nanoseconds < 0, DAY, nanoseconds), state)
    per_second = PER_SECOND[style.removeprefix("epoch_")]
    value, state = whole_units(column, SECOND // per_second, rounds=True)
    return _from_epoch(value, state, zone) if style.startswith("epoch_") else _of_day(value, state)


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


def _of_day(nanoseconds: np.ndarray, state: np.ndarray) -> Times:
    outside = (state == WHOLE) & ((nanoseconds < 0) | (nanoseconds >= DAY))
    return Times(np.full(len(state), NO_DAY), nanoseconds, np.where(outside, TOO_LARGE, state).astype(np.int8))


def _from_epoch(nanoseconds: np.ndarray, state: np.ndarray, zone: ZoneInfo) -> Times:
    day, rest = np.divmod(nanoseconds + zone_offsets(nanoseconds, zone), DAY)
    return Times(day, rest, state)


def _from_timestamps(column: pa.Array, zone: ZoneInfo) -> Times:
    value, state = _nanoseconds(column)
    if column.type.tz is not None:
        return _from_epoch(value, state, zone)
    return Times(*np.divmod(value, DAY), state)


def _nanoseconds(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Timestamps or times of the day in nanoseconds, int64[N], and their state."""
    unit = {"s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    state = np.where(column.is_null().to_numpy(zero_copy_only=False), EMPTY, WHOLE)
    integer = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    value = column.cast(integer).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    far = np.abs(value // 2) > 2**61 // unit
    return np.where(far, 0, value) * unit, np.where(far, TOO_LARGE, state).astype(np.int8)


def _from_text(text: Text, style: str, zone: ZoneInfo) -> Times:
    day, shift = np.full(len(text), NO_DAY), np.full(len(text), NO_SHIFT)
    nanoseconds, state = np.zeros(len(text), np.int64), np.zeros(len(text), np.int8)
    if style == CLOCK:
        parse_clocks(text.data, text.starts, text.ends, day, nanoseconds, state)
    else:
        parse_iso(text.data, text.starts, text.ends, day, nanoseconds, shift, state)
    told = (shift != NO_SHIFT) & (state == WHOLE)
    if told.any():
        utc = np.where(told, day * DAY + nanoseconds - shift * SECOND, 0)
        local = _from_epoch(utc, state, zone)
        day, nanoseconds = np.where(told, local.day, day), np.where(told, local.nanoseconds, nanoseconds)
    return Times(day, nanoseconds, state)
