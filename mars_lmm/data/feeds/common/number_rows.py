"""Rows of numbers in a CSV file without a header, read part by part, exactly, and fast.

A general CSV reader takes as long for LOBSTER's forty columns of a book as everything that comes after it together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.files import BLOCK, DAMAGED, RawFile
from mars_lmm.data.feeds.common.words import MARGIN, WORD, digits_before, lowest_bit, separators
from mars_lmm.data.ledger import Ledger

# What a column holds.
INTEGER = 0
SECONDS = 1  # seconds since midnight, to be read as nanoseconds
TEXT = 2  # anything; read as 0
MAX_DIGITS, MAX_SECOND_DIGITS, MAX_DECIMALS = 18, 5, 14
MEANINGS = {
    INTEGER: (re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}"), "an integer"),
    SECONDS: (
        re.compile(rf"[0-9]{{1,{MAX_SECOND_DIGITS}}}(\.[0-9]{{1,{MAX_DECIMALS}}})?"),
        "a time in seconds since midnight",
    ),
    TEXT: (re.compile(r".*"), "text"),
}
EMPTY_LINES = re.compile(rb"(\r?\n)*\r?")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MARGINAL = bytes(MARGIN)
MALFORMED_ROW = "malformed row"
MALFORMED = -(10**18)  # no field is so long
NEWLINE, RETURN, MINUS, POINT = (ord(character) for character in "\n\r-.")
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
        self._text, self._at = 2 * MARGINAL, MARGIN  # what is read, and how much of it is done with
        self._ended = False
        self._more()
        if self._text.startswith(BYTE_ORDER_MARK, MARGIN):
            self._at += len(BYTE_ORDER_MARK)
        first = self._text.partition(b"\n")[0]
        self._columns = np.array(choose_columns(first.count(b",") + 1))
        self._values = self._spare = np.empty((0, len(self._columns)), np.int64)

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
            next call but one overwrites. Fewer than `num_lines` lines are left when `line` did not move as far; empty
            lines at the end of the file are none.

        Raises:
            DataError: The file cannot be read; or a row cannot, and the ledger says that this is an error.
        """
        self._values, self._spare = self._spare, self._values
        if len(self._values) < num_lines:
            self._values = np.empty((num_lines, len(self._columns)), np.int64)
        values = self._values
        rows = np.empty(num_lines, np.int64)
        count, last = 0, self.line + num_lines
        while self.line < last:
            text = np.frombuffer(self._text, np.uint8)
            good, self._at = _parse(text, self._at, self._columns, values[count : count + last - self.line])
            rows[count : count + good] = np.arange(self.line + 1, self.line + good + 1)
            count += good
            self.line += good
            if self.line == last:
                break
            # A line that is not whole yet, empty lines that may be the last ones, or a line that cannot be read.
            limit = len(self._text) - MARGIN
            end = self._text.find(b"\n", self._at, limit)
            if end < 0 or EMPTY_LINES.match(self._text, self._at, limit).end() == limit:
                if not self._more():
                    break
            else:
                self.line += 1
                self._refuse(self._text[self._at : end])
                self._at = end + 1
        return rows[:count], values[:count]

    def _more(self) -> bool:
        """Read another block; the last line gets the end that it may lack."""
        rest = self._text[self._at : -MARGIN]
        if len(rest) > MAX_LINE:
            raise DataError(self._source, f"no end within {MAX_LINE} bytes: this is no CSV file", self.line + 1)
        try:
            block = self._stream.read(BLOCK)
        except DAMAGED as error:  # told here, where the file is known: the other half of its pair is open too
            raise DataError(self._source, f"cannot be read ({error}); get the file again") from error
        if not block:
            if self._ended or not rest:
                return False
            self._ended, block = True, b"\n"
        self._text, self._at = b"".join((MARGINAL, rest, block, MARGINAL)), MARGIN
        return True

    def _refuse(self, line: bytes) -> None:
        values = line.decode(errors="replace").removesuffix("\r").split(",")
        fault = self._fault(values)
        if self._ended:
            fault = f"the last line is cut ({fault}): the file is truncated, get it again"
        self._ledger.refuse(self._source, self.line, MALFORMED_ROW, fault)

    def _fault(self, values: list[str]) -> str:
        if len(values) != len(self._columns):
            return f"{len(values)} columns instead of {len(self._columns)}"
        for number, (value, column) in enumerate(zip(values, self._columns.tolist(), strict=True), start=1):
            pattern, meaning = MEANINGS[column]
            if not pattern.fullmatch(value):
                return f"column {number}: {value[:40]!r} is not {meaning}"
        return "not a row of numbers"


@kept_njit("data", _nrt=False)
def _parse(text, place, columns, values):
    """Parse lines from `place` on into the rows of `values`.

    `text` has MARGIN more characters on both sides. Returns how many lines were good, and the place behind them.
    """
    cells = values.reshape(-1)
    cell = column = 0
    start = field = place
    while place < len(text) - MARGIN and cell < len(cells):
        found = separators(text, place)
        while found and cell < len(cells):
            end = place + lowest_bit(found)
            found &= found - np.uint64(1)
            ends_line = column == len(columns) - 1
            if (text[end] == NEWLINE) != ends_line:
                return cell // len(columns), start
            value = _value(text, field, end - (ends_line and text[end - 1] == RETURN), columns[column])
            if value == MALFORMED:
                return cell // len(columns), start
            cells[cell] = value
            field = end + 1
            cell += 1
            column += 1
            if ends_line:
                column, start = 0, field
        place += MARGIN
    return cell // len(columns), start


@numba.njit(nogil=True, forceinline=True)
def _value(text, start, end, meaning):
    """What a field says, or MALFORMED."""
    if meaning == TEXT:
        return 0
    if meaning == SECONDS:
        return _nanoseconds(text, start, end)
    negative = text[start] == MINUS
    value = _digits(text, start + negative, end, MAX_DIGITS)
    if value < 0:
        return MALFORMED
    return -value if negative else value


@numba.njit(nogil=True)
def _nanoseconds(text, start, end):
    point = start
    while point < end and text[point] != POINT:
        point += 1
    whole = _digits(text, start, point, MAX_SECOND_DIGITS)
    fraction, decimals = 0, 0
    if point < end:
        fraction, decimals = _digits(text, point + 1, end, MAX_DECIMALS), end - point - 1
    if whole < 0 or fraction < 0:
        return MALFORMED
    for _ in range(decimals, 10):
        fraction *= 10
    for _ in range(10, decimals):
        fraction //= 10
    return whole * 10**9 + (fraction + 5) // 10


@numba.njit(nogil=True, forceinline=True)
def _digits(text, start, end, most):
    """The number that a field holds, or -1: it has from 1 to `most` characters, all of them digits."""
    count = end - start
    if count < 1 or count > most:
        return -1
    if count <= WORD:
        return digits_before(text, end, count)
    return _long_digits(text, end, count)


@numba.njit(nogil=True)
def _long_digits(text, end, count):
    low = digits_before(text, end, WORD)
    high = digits_before(text, end - WORD, min(count - WORD, WORD))
    highest = digits_before(text, end - 2 * WORD, count - 2 * WORD) if count > 2 * WORD else 0
    if low < 0 or high < 0 or highest < 0:
        return -1
    return (highest * 10**WORD + high) * 10**WORD + low
