"""Rows of a table, column by column, as exact integers; whatever is wrong with a row is said once."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from mars_lmm.data.feeds.common.columns.dates import NO_DAY, read_dates
from mars_lmm.data.feeds.common.columns.numbers import (
    EMPTY,
    LARGEST,
    NO_NUMBER,
    NOISE,
    TOO_FINE,
    TOO_LARGE,
    WHOLE,
    Units,
    whole_units,
)
from mars_lmm.data.feeds.common.columns.text import Column, Shown, Text, where
from mars_lmm.data.feeds.common.columns.times import Times, read_times
from mars_lmm.data.ledger import Ledger

UNKNOWN = -3  # a code that means nothing
LOCAL = ZoneInfo("UTC")  # for times that tell the exchange's own
FAULTS = {
    NO_NUMBER: ("is no number", "is {!r}"),
    TOO_FINE: ("is finer than its unit", "is {}, which is not a whole number of units"),
    TOO_LARGE: ("is too large", "is {}"),
}


class Fields:
    """Some columns of N rows.

    Args:
        source: The file.
        ledger: Takes rows at fault.
        rows: int64[N], the rows' numbers, counted from 1.
        columns: Each [N], by its name.

    Attributes:
        rows: As above.
        good: bool[N], the rows that nothing was found wrong with; a row is refused once.
    """

    def __init__(self, source: Any, ledger: Ledger, rows: np.ndarray, columns: Mapping[str, Column]):
        self.rows, self.good = rows, np.ones(len(rows), bool)
        self._source, self._ledger, self._columns = source, ledger, dict(columns)
        self._labels: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def named(self, names: Mapping[str, str]) -> Fields:
        """The same rows, the columns under names of one's own; details of faults go on to name theirs.

        Args:
            names: Theirs by ours.
        """
        named = self._like(self.rows, {ours: self[theirs] for ours, theirs in names.items()})
        named._labels = dict(names)
        named.good = self.good
        return named

    def keep(self, kept: np.ndarray) -> Fields:
        """The good ones of the rows for which `kept`, bool[N], is true."""
        kept = kept & self.good
        if kept.all():
            return self._like(self.rows, self._columns)
        return self._like(self.rows[kept], {name: where(column, kept) for name, column in self._columns.items()})

    def _like(self, rows: np.ndarray, columns: Mapping[str, Column]) -> Fields:
        """Other rows of the same file."""
        fields = Fields(self._source, self._ledger, rows, columns)
        fields._labels = self._labels
        return fields

    def _label(self, name: str) -> str:
        """What the file calls a column, for the details of `refuse`."""
        return self._labels.get(name, name).replace("{", "{{").replace("}", "}}")

    def leave_empty(self, name: str, empty: np.ndarray) -> None:
        """Take a column of text to say nothing where `empty`, bool[N], is true."""
        text = self[name]
        self._columns[name] = Text(text.data, text.starts, np.where(empty, text.starts, text.ends))

    def refuse(self, fault: np.ndarray, reason: str, detail: str, values: Any = None) -> None:
        """Refuse the rows at fault, unless they are refused already.

        Args:
            fault: bool[N].
            reason: The kind of fault.
            detail: What is wrong; shows a row's value at {}.
            values: [N], or the name of a column; the rows' numbers if there are none.

        Raises:
            DataError: Bad rows are errors.
        """
        fault = fault & self.good
        shown = self.rows if values is None else Shown(self[values]) if isinstance(values, str) else values
        self._ledger.check(self._source, self.rows, fault, reason, detail, shown)
        self.good &= ~fault

    def units(
        self, name: str, per_one: Fraction | int = 1, tolerance: float = 10**-NOISE, largest: int = LARGEST
    ) -> Units:
        """A column of numbers, some of which may be missing; see `whole_units`.

        Raises:
            DataError: A value is no whole number of units.
        """
        units = whole_units(self[name], per_one, tolerance, largest=largest)
        for state, (reason, detail) in FAULTS.items():
            self.refuse(units.state == state, f"{name} {reason}", f"{self._label(name)} {detail}", name)
        return units

    def numbers(
        self,
        name: str,
        per_one: Fraction | int = 1,
        least: int | None = None,
        most: int | None = None,
        empty: int | None = None,
    ) -> np.ndarray:
        """A column of numbers in units, int64[N]; 0 where a row is bad.

        Args:
            name: The column.
            per_one: Units in a value of 1.
            least: The smallest good value, in units.
            most: The largest.
            empty: What an empty value stands for; None: it is a fault.

        Raises:
            DataError: A value is missing, no whole number of units, or out of range.
        """
        value, state = self.units(name, per_one, largest=max(LARGEST, most or 0))
        if empty is None:
            self.refuse(state == EMPTY, f"{name} is missing", f"{self._label(name)} is empty")
        else:
            value = np.where(state == EMPTY, empty, value)
        outside = np.zeros(len(self), bool)
        if least is not None:
            outside |= value < least
        if most is not None:
            outside |= value > most
        self.refuse(outside, f"{name} out of range", f"{self._label(name)} is {{}}", name)
        return value

    def words(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column of few different texts: int64[N], the number of each row's text, and the texts."""
        return Text.of(self[name]).words()

    def codes(self, name: str, meanings: Mapping[str, int]) -> np.ndarray:
        """A column of codes as what they mean, int64[N]; those at fault are UNKNOWN.

        Raises:
            DataError: A value is no code.
        """
        codes, words = self.words(name)
        values = np.array([*(meanings.get(word, UNKNOWN) for word in words), UNKNOWN])[codes]
        detail = f"{self._label(name)} {{!r}} is not one of {', '.join(meanings)}"
        self.refuse(values == UNKNOWN, f"unknown {name}", detail, name)
        return values

    def times(self, name: str, style: str, zone: ZoneInfo = LOCAL) -> Times:
        """A column of times; see `read_times`.

        Raises:
            DataError: A value is no such time.
        """
        times = read_times(self[name], style, zone)
        detail = f"{self._label(name)} {{!r}} is not a time of the format {style}"
        self.refuse(times.state != WHOLE, "not a time", detail, name)
        return times

    def dates(self, name: str) -> np.ndarray:
        """A column of dates in days since 1970-01-01, int64[N]; see `read_dates`.

        Raises:
            DataError: A value is no date.
        """
        days = read_dates(Text.of(self[name]))
        self.refuse(days == NO_DAY, "not a date", f"{self._label(name)} {{!r}} is not a date", name)
        return days
