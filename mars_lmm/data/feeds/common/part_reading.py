"""Reading some rows of a table, column by column, and keeping account of the bad ones."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from mars_lmm.data.feeds.common.exact import WHOLE, Shown, Units, whole_units
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.tables import Part
from mars_lmm.data.ledger import Ledger

UNKNOWN = -3  # a code that means nothing


class PartReading:
    """Some rows of a table, and which of them are bad.

    Args:
        file: The table.
        part: The rows.
        ledger: Takes the bad ones.

    Attributes:
        rows: int64[N], their numbers.
        columns: The columns as read.
        bad: bool[N].
    """

    def __init__(self, file: RawFile, part: Part, ledger: Ledger):
        self.rows, self.columns = part.rows, part.columns
        self.bad = np.zeros(len(part.rows), bool)
        self._file, self._ledger = file, ledger

    def check(self, fault: np.ndarray, reason: str, detail: str, values: Any) -> None:
        """Refuse rows at fault, if they are not bad already."""
        self.bad |= self._ledger.check(self._file, self.rows, fault & ~self.bad, reason, detail, values)

    def leave_out(self, ignored: np.ndarray) -> None:
        """Drop rows that mean nothing."""
        count = int(np.count_nonzero(ignored))
        if count:
            self._ledger.counts["ignored"] += count
            self.rows, self.bad = self.rows[~ignored], self.bad[~ignored]
            self.columns = {name: column.filter(pa.array(~ignored)) for name, column in self.columns.items()}

    def units(self, name: str, per_one: Fraction, meaning: str, tolerance: float = 1e-6) -> Units:
        """A column of numbers; those that are none are bad rows."""
        units = whole_units(self.columns[name], per_one, tolerance)
        good = Units(units.value, np.where(self.bad, WHOLE, units.state))
        self.bad |= good.check(self._ledger, self._file, self.rows, meaning, self.columns[name])
        return units

    def words(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column of few different texts: int64[N], the number of each row's text, and the texts."""
        column = self.columns[name]
        if not pa.types.is_binary(column.type):
            column = column.cast(pa.string()).cast(pa.binary())
        encoded = column.fill_null(b"").dictionary_encode()
        return encoded.indices.to_numpy().astype(np.int64), [
            word.decode(errors="replace") for word in encoded.dictionary.to_pylist()
        ]

    def numbers(self, name: str, per_one: Fraction, meaning: str) -> np.ndarray:
        """A column that must hold numbers, int64[N]; empty values are bad rows too."""
        units = self.units(name, per_one, meaning)
        self.check(units.is_empty, f"{meaning} is missing", "row {}", self.rows)
        return units.value

    def codes(self, name: str, meanings: Mapping[str, int], what: str) -> np.ndarray:
        """A column of codes as the integers that they mean, int64[N]; unknown codes are bad rows."""
        codes, words = self.words(name)
        values = np.array([*(meanings.get(word, UNKNOWN) for word in words), UNKNOWN])[codes]
        detail = f"{{}} is none of {', '.join(meanings)}"
        self.check(values == UNKNOWN, f"unknown {what}", detail, Shown(self.columns[name]))
        return values
