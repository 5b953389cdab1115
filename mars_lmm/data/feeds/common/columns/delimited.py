"""Delimited text, such as CSV, block by block: where the values are, and how many each row has."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.text import Text
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import Ledger

BLOCK = 1 << 22  # bytes that are parsed at once
MAX_LINE = 1 << 20  # bytes
BLANKS = b" \t\r\n"
COLUMNS_MISSING, NUM_COLUMNS = "columns missing", "wrong number of columns"
_jit = numba.njit(nogil=True, inline="always", _nrt=False)
_NEWLINE, _QUOTE, _BLANK, _TAB, _RETURN = (ord(sign) for sign in '\n" \t\r')


@dataclass
class CsvForm:
    """How a CSV file is written.

    Attributes:
        delimiter: Between values; blanks around them mean nothing.
        names: The columns of files without a header; empty: the first line names them.
    """

    delimiter: str = ","
    names: list[str] = field(default_factory=list)


def csv_header(file: RawFile) -> list[str]:
    """The columns that the first line of a CSV file names.

    Raises:
        DataError: The file cannot be read.
    """
    with file.open() as stream:
        return header_of(stream.readline(MAX_LINE), CsvForm())


def header_of(line: bytes, form: CsvForm) -> list[str]:
    """The columns that a line names."""
    text = line.removeprefix(codecs.BOM_UTF8).decode(errors="replace").rstrip("\r\n")
    try:
        return [name.strip() for name in next(csv.reader([text], delimiter=form.delimiter), [])]
    except csv.Error:
        return []


def read_csv(file: RawFile, wanted: Sequence[str], form: CsvForm, ledger: Ledger) -> Iterator[Fields]:
    """Some columns of a CSV file; see `tables.read_table`. A quoted value stays on its line."""
    with file.open() as stream:
        names, first_row = form.names, 1
        if not names:
            line = stream.readline(MAX_LINE)
            if not line:
                ledger.refuse(file, None, "empty file", "it has not even a header; get the file again")
                return
            names, first_row = header_of(line, form), 2
        missing = [name for name in wanted if name not in names]
        if missing:
            ledger.refuse(file, 1, COLUMNS_MISSING, f"the header lacks {', '.join(missing)}")
            return
        slots = np.full(len(names), -1)
        slots[[names.index(name) for name in wanted]] = np.arange(len(wanted))
        num_blank, blanks = 0, BLANKS.replace(form.delimiter.encode(), b"")
        detail = f"{{}} columns instead of {len(names)}; the row is cut or damaged, get the file again"
        for row, block in read_lines(stream, file, first_row, ledger):
            if row == 1:
                block = block.removeprefix(codecs.BOM_UTF8)
            # Blank lines are rows, bad ones, unless the file ends with them.
            told = len(block.rstrip(blanks))
            if told:
                before = np.arange(row - num_blank, row)
                ledger.check(file, before, np.ones(num_blank, bool), NUM_COLUMNS, detail, np.ones(num_blank, int))
                num_blank = 0
            size = block.index(b"\n", told) + 1 if told else 0
            num_blank += block.count(b"\n", size)
            text = np.frombuffer(block, np.uint8, size)
            line_ends = text == _NEWLINE
            rows = row + np.arange(np.count_nonzero(line_ends))
            marks = np.flatnonzero(line_ends | (text == ord(form.delimiter)))
            starts, ends = (np.zeros((len(wanted), len(rows)), np.int64) for _ in range(2))
            counts = np.zeros(len(rows), np.int64)
            _split(text, marks, slots, starts, ends, counts)
            columns = {name: Text(text, starts[i], ends[i]) for i, name in enumerate(wanted)}
            fields = Fields(file, ledger, rows, columns)
            fields.refuse(counts != len(names), NUM_COLUMNS, detail, counts)
            yield fields.keep(fields.good)


def read_lines(stream: BinaryIO, file: RawFile, first_row: int, ledger: Ledger) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines.

    Args:
        stream: The file's unpacked content.
        file: The file.
        first_row: The number of the next line.
        ledger: Takes what follows a line without an end.

    Yields:
        The first line's number, and lines, each with its end; the file's last one gets it if it lacks it.

    Raises:
        DataError: A line has no end within reason, and the ledger says that this is an error.
    """
    rest, row = b"", first_row
    while block := stream.read(BLOCK):
        lines, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield row, lines + newline
            row += lines.count(b"\n") + 1
        if len(rest) > MAX_LINE:
            ledger.refuse(file, row, "no text lines", f"no line end within {MAX_LINE} bytes; get the file again")
            return
    if rest:
        yield row, rest + b"\n"


@kept_njit("data", _nrt=False)
def _split(text, marks, slots, starts, ends, counts):
    """Find the values of some columns.

    Args:
        text: uint8[...], whole lines.
        marks: int64[...], where its delimiters and line ends are.
        slots: int64[...], the number of each column among the wanted, or -1.
        starts: int64[C, N], to be filled: where the values begin.
        ends: int64[C, N], to be filled: where they end.
        counts: int64[N], to be filled: how many each row has, wanted or not.
    """
    row = column = start = 0
    for place in marks:
        last = text[place] == _NEWLINE
        quoted = text[start] == _QUOTE and (place < start + 2 or text[place - 1] != _QUOTE)
        if quoted and not last:
            continue
        if column < len(slots) and slots[column] >= 0:
            starts[slots[column], row], ends[slots[column], row] = _trimmed(text, start, place)
        column += 1
        start = place + 1
        if last:
            counts[row] = column
            row += 1
            column = 0


@_jit
def _trimmed(text, start, end):
    """A value's place without the blanks and the quotes around it."""
    if start < end and text[start] > _QUOTE and text[end - 1] > _QUOTE:
        return start, end  # as nearly all are: blanks and quotes come first among the characters
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    if end - start > 1 and text[start] == _QUOTE and text[end - 1] == _QUOTE:
        return start + 1, end - 1
    return start, end


@_jit
def _is_blank(sign):
    return sign in (_BLANK, _TAB, _RETURN)
