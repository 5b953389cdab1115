"""Fields of text as integers: columns of a part of a CSV file or log, exact, whatever the vendor's spelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from mars_lmm.data.feeds.common.text_parsers import (
    BAD,
    NOT_A_NUMBER,
    TOO_FINE,
    parse_clocks,
    parse_codes,
    parse_days,
    parse_moments,
    parse_numbers,
    parse_symbols,
)
from mars_lmm.data.ledger import Ledger


class Fields:
    """Some columns of N rows.

    Args:
        source: The file.
        ledger: Takes rows at fault.
        text: uint8[...]; the last row's end ends it.
        rows: int64[N], the rows' numbers, counted from 1.
        starts: int64[N, C], where the fields begin in the text.
        names: The columns' names.

    Attributes:
        rows: As above.
        good: bool[N], the rows that nothing was found wrong with; a row is refused once.
    """

    def __init__(
        self, source: Any, ledger: Ledger, text: np.ndarray, rows: np.ndarray, starts: np.ndarray, names: Sequence[str]
    ):
        self.rows, self.good = rows, np.ones(len(rows), bool)
        self._source, self._ledger = source, ledger
        self._text, self._starts, self._names = text, starts, list(names)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def keep(self, kept: np.ndarray) -> Fields:
        """The good ones of the rows for which `kept`, bool[N], is true."""
        kept = kept & self.good
        return Fields(self._source, self._ledger, self._text, self.rows[kept], self._starts[kept], self._names)

    def refuse(self, fault: np.ndarray, reason: str, detail: str, values: Any = None) -> None:
        """Refuse the rows at fault, bool[N], unless they are refused already.

        Args:
            fault: bool[N].
            reason: The kind of fault.
            detail: What is wrong; shows a row's value at {}.
            values: [N]; the rows' numbers if there are none.

        Raises:
            DataError: Bad rows are errors.
        """
        fault = fault & self.good
        self._ledger.check(self._source, self.rows, fault, reason, detail, self.rows if values is None else values)
        self.good &= ~fault

    def starts(self, name: str) -> np.ndarray:
        """Where a column's fields begin, int64[N]."""
        return self._starts[:, self._names.index(name)]

    def numbers(self, name: str, unit: int, least: int, most: int, decimals: int = 0) -> np.ndarray:
        """A column's decimals in units, int64[N].

        Args:
            name: The column.
            unit: How many of the last decimal make a unit: 10 for thousandths that are to be hundredths.
            least: The smallest good value, in units.
            most: The largest.
            decimals: How many are read; what follows them must be noise of a float.

        Raises:
            DataError: A value is no number, no multiple of the unit, or out of range.
        """
        value, fault = parse_numbers(self._text, self.starts(name), decimals)
        shown = _Shown(self._text, self.starts(name))
        self.refuse(fault == NOT_A_NUMBER, "not a number", f"{name} is {{!r}}", shown)
        off = (fault == TOO_FINE) | (value % unit != 0)
        self.refuse(off, f"{_what(name)} off its unit", f"{name} is {{}}", shown)
        units = value // unit
        outside = (units < least) | (units > most)
        self.refuse(outside, f"{_what(name)} out of range", f"{name} is {{}}", shown)
        return units

    def codes(self, name: str, codes: Mapping[str, int]) -> np.ndarray:
        """A column's values translated by `codes`, int64[N]; those at fault are BAD.

        Raises:
            DataError: A value is no code.
        """
        packed = parse_codes(self._text, self.starts(name))
        translated = np.full(len(packed), BAD, np.int64)
        known = np.zeros(len(packed), bool)
        for code, meaning in codes.items():
            own = packed == int.from_bytes(code.encode(), "big")
            translated[own] = meaning
            known |= own
        detail = f"{name} {{!r}} is not one of {', '.join(codes)}"
        self.refuse(~known, f"unknown {_what(name)}", detail, _Shown(self._text, self.starts(name)))
        return translated

    def moments(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Times of day, alone or after a date: HH:MM:SS.fff, HHMMSSfff, YYYY.MM.DDTHH:MM:SS.fff, YYYYMMDDHHMMSSfff.

        Args:
            name: The column.

        Returns:
            int64[N] dates as YYYYMMDD, 0 where there is none; int64[N] nanoseconds since midnight.

        Raises:
            DataError: A value is no time of day.
        """
        days, times = parse_moments(self._text, self.starts(name))
        detail = f"{name} {{!r}} is not a time of day"
        self.refuse(times == BAD, "not a time", detail, _Shown(self._text, self.starts(name)))
        return days, times

    def clock(self, name: str, fraction_digits: int) -> np.ndarray:
        """Times of day, HHMMSS and so many digits of a second's fraction, in nanoseconds since midnight, int64[N].

        Raises:
            DataError: A value is no time of day.
        """
        value = self.numbers(name, 1, 0, 10**18)
        times = parse_clocks(value, fraction_digits)
        self.refuse(times == BAD, "not a time", f"{name} {{}} is not a time of day", value)
        return times

    def days(self, name: str) -> np.ndarray:
        """Dates as YYYYMMDD, int64[N]: YYYY.MM.DD, with - or /, or YYYYMMDD.

        Raises:
            DataError: A value is no date.
        """
        days = parse_days(self._text, self.starts(name))
        self.refuse(days == BAD, "not a date", f"{name} {{!r}} is not a date", _Shown(self._text, self.starts(name)))
        return days

    def iso_dates(self, days: np.ndarray) -> dict[int, str]:
        """The ISO dates of YYYYMMDD, int64[N]; 0 is none and is left out.

        Raises:
            DataError: There is no such day.
        """
        dates = {}
        for day in np.unique(days[self.good]).tolist():
            if day == 0:
                continue
            try:
                dates[day] = date(day // 10_000, day // 100 % 100, day % 100).isoformat()
            except ValueError:
                self.refuse(days == day, "not a date", "there is no day {}", days)
        return dates

    def symbols(self, name: str, suffix: str) -> np.ndarray:
        """Symbols of up to six digits as numbers, int64[N]: leading zeros may be lost, and a market's suffix follow.

        Args:
            name: The column.
            suffix: The market's own: ".SH".

        Returns:
            The numbers; OTHER with another market's suffix, and for longer symbols.

        Raises:
            DataError: A value is no symbol.
        """
        symbols = parse_symbols(self._text, self.starts(name), np.frombuffer(suffix.encode(), np.uint8))
        shown = _Shown(self._text, self.starts(name))
        self.refuse(symbols == BAD, "not a symbol", f"{name} {{!r}} is not a number", shown)
        return symbols


class _Shown:
    """Fields as text, by row, for messages."""

    def __init__(self, text: np.ndarray, starts: np.ndarray):
        self._text, self._starts = text, starts

    def __getitem__(self, row: int) -> str:
        start = self._starts[row]
        field = self._text[start : start + 40].tobytes().split(b"\n")[0].split(b",")[0]
        if b"=" in field:  # of a log, where blanks end fields
            field = field.split(b" ")[0]
        return field.strip().decode(errors="replace")


def _what(name: str) -> str:
    """What a column holds, as rows alike are grouped by it."""
    return name.replace("_", " ")
