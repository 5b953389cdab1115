"""Dates: days since 1970-01-01, of text and as text."""

from __future__ import annotations

import re
from datetime import date

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.text import Text

NO_DAY = np.iinfo(np.int64).min
FIRST_YEAR, LAST_YEAR = 1900, 2099

_EPOCH = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"\d{4}(-?)\d{2}\1\d{2}", re.ASCII)
_jit = numba.njit(nogil=True, inline="always", _nrt=False)


def day_number(text: str) -> int:
    """YYYY-MM-DD or YYYYMMDD in days since 1970-01-01; NO_DAY if it is no date."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH if _DATE.fullmatch(text) else NO_DAY
    except ValueError:
        return NO_DAY


def iso_date(day: int) -> str:
    """Days since 1970-01-01 as YYYY-MM-DD."""
    return date.fromordinal(day + _EPOCH).isoformat()


def read_dates(column: Text) -> np.ndarray:
    """Days since 1970-01-01, int64[N], of YYYYMMDD or YYYY-MM-DD, with . or / as well; NO_DAY for all else."""
    days = np.empty(len(column), np.int64)
    _parse(column.data, column.starts, column.ends, days)
    return days


@kept_njit("data", _nrt=False)
def _parse(data, starts, ends, days):
    for i in range(len(days)):
        days[i], place = date_at(data, starts[i], ends[i])
        if place != ends[i]:
            days[i] = NO_DAY


@_jit
def digits_at(data, place, end):
    """The digits from a place on, eighteen at most: their value, their number, and the place behind them."""
    value = count = 0
    while place < end and ord("0") <= data[place] <= ord("9") and count < 18:
        value = value * 10 + np.int64(data[place]) - ord("0")
        count += 1
        place += 1
    return value, count, place


@_jit
def date_at(data, place, end):
    """A date as `read_dates` takes it, or NO_DAY; and the place behind it."""
    year, count, place = digits_at(data, place, end)
    if count == 8:
        return _day(year // 10_000, year // 100 % 100, year % 100), place
    if count != 4 or place == end:
        return NO_DAY, place
    separator = data[place]
    if separator != ord("-") and separator != ord(".") and separator != ord("/"):
        return NO_DAY, place
    month, count, place = digits_at(data, place + 1, end)
    if count == 0 or count > 2 or place == end or data[place] != separator:
        return NO_DAY, place
    day, count, place = digits_at(data, place + 1, end)
    if count == 0 or count > 2:
        return NO_DAY, place
    return _day(year, month, day), place


@_jit
def _day(year, month, day):
    """Days since 1970-01-01, or NO_DAY; years count from March so that leap days come last."""
    if not FIRST_YEAR <= year <= LAST_YEAR or not 1 <= month <= 12:
        return NO_DAY
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 28 + leap if month == 2 else 30 + (month not in (4, 6, 9, 11))
    if not 1 <= day <= longest:
        return NO_DAY
    year -= month <= 2
    month = (month + 9) % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719_468
