"""CSV files with a header, read block by block: which columns are there, under whatever name, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.text_fields import Fields
from mars_lmm.data.ledger import Ledger

BLOCK = 1 << 23
MAX_LINE = 1 << 20  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COMMA, _NEWLINE = ord(","), ord("\n")


class Layout(NamedTuple):
    """The columns of a kind of file.

    Attributes:
        name: What the file holds.
        mark: Names of columns of which a file of this kind has all, and no other kind has.
        columns: What vendors call each column, the preferred name first. Case does not matter.
        optional: Columns that may be missing.
    """

    name: str
    mark: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()


def detect(head: bytes, layouts: Sequence[Layout]) -> Layout | None:
    """The first layout whose marks are in a file's header; None if there is none.

    Args:
        head: How the file begins.
        layouts: What to look for.
    """
    header = set(_header(head.partition(b"\n")[0]))
    return next((layout for layout in layouts if header.issuperset(map(str.lower, layout.mark))), None)


def read_csv(file: RawFile, layout: Layout, ledger: Ledger) -> Iterator[Fields]:
    """A file's rows, some megabytes at a time.

    Args:
        file: The file.
        layout: Its columns.
        ledger: Takes rows with too few or too many columns.

    Yields:
        The columns of the layout that the file has.

    Raises:
        DataError: The file cannot be read; or it is damaged, and the ledger says that this is an error.
    """
    with file.open() as stream:
        header = _header(stream.readline(MAX_LINE))
        found = {}
        for column, names in layout.columns.items():
            places = [header.index(name.lower()) for name in names if name.lower() in header]
            if places:
                found[column] = places[0]
        missing = [layout.columns[name][0] for name in layout.columns if name not in found.keys() | layout.optional]
        if missing:
            ledger.refuse(file, 1, "columns missing", f"the header lacks {', '.join(missing)}")
            return
        slots = np.full(len(header), -1)
        slots[list(found.values())] = np.arange(len(found))
        for first_row, block in read_lines(stream, file, 2, ledger):
            text = np.frombuffer(block, np.uint8)
            num_rows = block.count(b"\n")
            starts, counts = _split(text, num_rows, slots, len(found))
            rows = np.arange(first_row, first_row + num_rows)
            fields = Fields(file, ledger, text, rows, starts, list(found))
            detail = f"{{}} columns instead of {len(header)}; the row is cut or damaged, get the file again"
            fields.refuse(counts != len(header), "wrong number of columns", detail, counts)
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
    rest = b""
    while block := stream.read(BLOCK):
        lines, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield first_row, lines + newline
            first_row += lines.count(b"\n") + 1
        if len(rest) > MAX_LINE:
            ledger.refuse(file, first_row, "no text lines", f"no line end within {MAX_LINE} bytes; get the file again")
            return
    if rest:
        yield first_row, rest + b"\n"


def _header(line: bytes) -> list[str]:
    """The columns' names, in lower case."""
    text = line.removeprefix(BYTE_ORDER_MARK).decode(errors="replace")
    return [name.strip().strip('"').lower() for name in text.split(",")]


@kept_njit("data")
def _split(text, num_rows, slots, num_slots):
    """Where the fields begin, int64[num_rows, num_slots], and how many fields each row has, int64[num_rows]."""
    starts = np.zeros((num_rows, num_slots), np.int64)
    counts = np.zeros(num_rows, np.int64)
    row = column = start = 0
    for place in range(len(text)):
        if text[place] == _COMMA or text[place] == _NEWLINE:
            if column < len(slots) and slots[column] >= 0:
                starts[row, slots[column]] = start
            column += 1
            start = place + 1
            if text[place] == _NEWLINE:
                counts[row] = column
                row += 1
                column = 0
    return starts, counts
