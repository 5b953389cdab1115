"""Rows of numbers in a CSV file without a header, read part by part, exactly, and fast.

A general CSV reader takes as long for LOBSTER's forty columns of a book as everything that comes after it together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.files import BLOCK, RawFile
from mars_lmm.data.ledger import Ledger

# What a column holds.
INTEGER = 0  # at most 18 digits
SECONDS = 1  # seconds since midnight with at most 14 decimals, to be read as nanoseconds
TEXT = 2  # anything; read as 0
MEANINGS = {
    INTEGER: (re.compile(r"-?[0-9]{1,18}"), "an integer"),
    SECONDS: (re.compile(r"[0-9]{1,5}(\.[0-9]{1,14})?"), "a time in seconds since midnight"),
    TEXT: (re.compile(r".*"), "text"),
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MALFORMED = "malformed row"
MAX_LINE = 4 * BLOCK  # bytes


class NumberRows:
    """Reads the rows of an open file.

    Args:
        stream: The unpacked content.
        source: The file's name, for messages.
        choose_columns: What the columns hold, given their number in the first row.
        ledger: Takes rows that cannot be read.

    Attributes:
        line: How many lines were read so far.
    """

    def __init__(self, stream: BinaryIO, source: str, choose_columns: Callable[[int], list[int]], ledger: Ledger):
        self.line = 0
        self._stream, self._source, self._ledger = stream, source, ledger
        self._text, self._at = b"", 0  # what is read, and how much of it is done with
        self._ended = False
        self._more()
        self._text = self._text.removeprefix(BYTE_ORDER_MARK)
        first = self._text.partition(b"\n")[0]
        self._columns = np.array(choose_columns(first.count(b",") + 1))
        self._values = np.empty((0, len(self._columns)), np.int64)

    @classmethod
    @contextmanager
    def open(cls, file: RawFile, choose_columns: Callable[[int], list[int]], ledger: Ledger) -> Iterator[NumberRows]:
        """Open a file.

        Raises:
            DataError: The file cannot be read; also while it is read.
        """
        with file.open() as stream:
            yield cls(stream, str(file), choose_columns, ledger)

    def read(self, num_lines: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the next lines.

        Args:
            num_lines: How many, at most.

        Returns:
            int64[N], the numbers of the good rows among them, counted from 1; and int64[N, C], their values, which the
            next call overwrites. Fewer than `num_lines` lines are left when `line` did not move as far.

        Raises:
            DataError: A row cannot be read, and the ledger says that this is an error.
        """
        if len(self._values) < num_lines:
            self._values = np.empty((num_lines, len(self._columns)), np.int64)
        values = self._values
        rows = np.empty(num_lines, np.int64)
        count, last = 0, self.line + num_lines
        while self.line < last:
            text = np.frombuffer(self._text, np.uint8)[self._at :]
            good, used = _parse(text, self._columns, values[count : count + last - self.line])
            rows[count : count + good] = np.arange(self.line + 1, self.line + good + 1)
            count += good
            self.line += good
            self._at += used
            if self.line == last:
                break
            # A line that is not whole yet, or one that cannot be read.
            end = self._text.find(b"\n", self._at)
            if end >= 0:
                self.line += 1
                self._refuse(self._text[self._at : end])
                self._at = end + 1
            elif not self._more():
                break
        return rows[:count], values[:count]

    def _more(self) -> bool:
        """Read another block; the last line gets the end that it may lack."""
        self._text, self._at = self._text[self._at :], 0
        if len(self._text) > MAX_LINE:
            raise DataError(self._source, f"no end within {MAX_LINE} bytes: this is no CSV file", self.line + 1)
        block = self._stream.read(BLOCK)
        if block:
            self._text += block
            return True
        if self._ended or not self._text:
            return False
        self._ended = True
        self._text += b"\n"
        return True

    def _refuse(self, line: bytes) -> None:
        values = line.decode(errors="replace").removesuffix("\r").split(",")
        fault = self._fault(values)
        if self._ended:
            fault = f"the last line is cut ({fault}): the file is truncated, get it again"
        self._ledger.refuse(self._source, self.line, MALFORMED, fault)

    def _fault(self, values: list[str]) -> str:
        if len(values) != len(self._columns):
            return f"{len(values)} columns instead of {len(self._columns)}"
        for number, (value, column) in enumerate(zip(values, self._columns.tolist(), strict=True), start=1):
            pattern, meaning = MEANINGS[column]
            if not pattern.fullmatch(value):
                return f"column {number}: {value[:40]!r} is not {meaning}"
        return "not a row of numbers"


@kept_njit("data", _nrt=False)
def _parse(text, columns, values):
    """Parse lines into the rows of `values`; return how many were good, and the bytes that they take."""
    comma, newline, minus, point, zero = ord(","), ord("\n"), ord("-"), ord("."), ord("0")
    row = place = start = 0
    while row < len(values):
        for column in range(len(columns)):
            end = newline if column == len(columns) - 1 else comma
            if columns[column] == TEXT:
                values[row, column] = 0
                while place < len(text) and text[place] != comma and text[place] != newline:
                    place += 1
            else:
                negative = columns[column] == INTEGER and place < len(text) and text[place] == minus
                place += negative
                digits = 0
                value = 0
                while place < len(text):
                    digit = np.int64(text[place]) - zero
                    if digit < 0 or digit > 9:
                        break
                    value = value * 10 + digit
                    digits += 1
                    place += 1
                if digits == 0 or digits > (18 if columns[column] == INTEGER else 5):
                    return row, start
                if columns[column] == SECONDS:
                    decimals = 0
                    if place < len(text) and text[place] == point:
                        place += 1
                        while place < len(text):
                            digit = np.int64(text[place]) - zero
                            if digit < 0 or digit > 9:
                                break
                            if decimals < 9:
                                value = value * 10 + digit
                            elif decimals == 9:
                                value += digit >= 5
                            decimals += 1
                            place += 1
                        if decimals == 0 or decimals > 14:
                            return row, start
                    for _ in range(decimals, 9):
                        value *= 10
                values[row, column] = -value if negative else value
            if end == newline and place + 1 < len(text) and text[place] == ord("\r") and text[place + 1] == newline:
                place += 1
            if place >= len(text) or text[place] != end:
                return row, start
            place += 1
        row += 1
        start = place
    return row, start
