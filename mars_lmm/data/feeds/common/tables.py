"""Tables of named columns, CSV or parquet, read part by part; what cannot be read goes to the ledger."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import RAISE, Ledger

PARQUET, CSV = ".parquet", ".csv"
PART_ROWS = 1 << 16
BLOCK = 1 << 22  # bytes of a CSV file that are parsed at once
ANY_BYTES = "latin-1"  # CSV is read as if so written: any byte is a character then, and none is lost
MAX_SHOWN = 80  # characters of a bad line that messages show
PLAIN = (
    *(pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_decimal128, pa.types.is_boolean),
    *(pa.types.is_date, pa.types.is_time, pa.types.is_timestamp),
)
TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
UNREADABLE = "unreadable file"


@dataclass
class Part:
    """Some rows of a table.

    Attributes:
        rows: int64[N], their numbers, counted from 1; those of a CSV file as an editor counts lines.
        columns: Each array[N] by its name. Text is binary.
    """

    rows: np.ndarray
    columns: dict[str, pa.Array]


@dataclass
class CsvForm:
    """How a CSV file is written.

    Attributes:
        delimiter: Between values.
        names: The columns of files without a header; empty: the first line names them.
        quoted: Values may stand in double quotes; else a quote is a character like others.
    """

    delimiter: str = ","
    names: list[str] = field(default_factory=list)
    quoted: bool = True


def read_table(file: RawFile, wanted: Sequence[str], form: CsvForm, ledger: Ledger) -> Iterator[Part]:
    """Read some columns of a table.

    Args:
        file: Parquet if its name says so, else CSV.
        wanted: The columns' names.
        form: How a CSV file is written.
        ledger: Takes rows, and files, that cannot be read.

    Yields:
        The rows in order.

    Raises:
        DataError: A row or the file cannot be read, and the ledger says that this is an error.
    """
    try:
        yield from (_read_parquet if file.name.endswith(PARQUET) else _read_csv)(file, wanted, form, ledger)
    except (pa.ArrowException, OSError) as error:
        ledger.refuse(file, None, UNREADABLE, str(error).partition("\n")[0])
    except DataError as error:
        if ledger.on_error == RAISE:
            raise
        ledger.refuse(file, None, UNREADABLE, error.reason)


def csv_header(file: RawFile, ledger: Ledger) -> list[str] | None:
    """The columns that the first line of a CSV file names; None if the file cannot be read, and was refused."""
    try:
        with file.open() as stream:
            return _header(_without_mark(stream), CsvForm())
    except DataError as error:
        ledger.refuse(file, None, UNREADABLE, error.reason)
        return None


def _read_parquet(file: RawFile, wanted: Sequence[str], _: CsvForm, ledger: Ledger) -> Iterator[Part]:
    packed = file.member is not None or not str(file.path).endswith(PARQUET)
    with pq.ParquetFile(pa.BufferReader(file.read()) if packed else file.path) as table:
        _require(file, wanted, table.schema_arrow.names)
        row = 1
        for batch in table.iter_batches(PART_ROWS, columns=list(dict.fromkeys(wanted))):
            rows = np.arange(row, row + len(batch))
            row += len(batch)
            yield Part(rows, {name: _plain(file, name, batch.column(name)) for name in wanted})


def _plain(file: RawFile, name: str, column: pa.Array) -> pa.Array:
    """A column as numbers, dates or times if it is of these, else as bytes."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(is_type(column.type) for is_type in PLAIN):
        return column
    if any(is_type(column.type) for is_type in TEXT):
        return column.cast(pa.binary())
    raise DataError(str(file), f"column {name} is of type {column.type}: numbers, dates, times or text are needed")


def _read_csv(file: RawFile, wanted: Sequence[str], form: CsvForm, ledger: Ledger) -> Iterator[Part]:
    bad: list[pa.csv.InvalidRow] = []
    with file.open() as packed:
        stream = _without_mark(packed)
        names = form.names or _header(stream, form)
        _require(file, wanted, names)
        # By number: names may occur twice.
        numbers = {name: str(names.index(name)) for name in wanted}
        row = 1 if form.names else 2
        first = row
        reader = pa.csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK,
                encoding=ANY_BYTES,
                column_names=[str(i) for i in range(len(names))],
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=form.delimiter,
                quote_char='"' if form.quoted else False,
                ignore_empty_lines=False,
                invalid_row_handler=lambda line: bad.append(line) or "skip",
            ),
            convert_options=pa.csv.ConvertOptions(
                check_utf8=False,
                include_columns=sorted(set(numbers.values())),
                column_types={number: pa.binary() for number in numbers.values()},
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            skipped = np.array([line.number + first - 1 for line in bad], np.int64)
            rows = np.setdiff1d(np.arange(row, row + len(batch) + len(bad)), skipped)[: len(batch)]
            row = int(rows[-1]) + 1 if len(rows) else row
            yield Part(rows, {name: _as_written(batch.column(number)) for name, number in numbers.items()})
            _refuse(file, bad, first, row, ledger)
        _refuse(file, bad, first, None, ledger)


def _without_mark(stream: BinaryIO) -> io.BufferedReader:
    """A file's content behind its byte order mark, if it has one."""
    buffered = io.BufferedReader(stream)
    if buffered.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
        buffered.read(len(codecs.BOM_UTF8))
    return buffered


def _header(stream: io.BufferedReader, form: CsvForm) -> list[str]:
    line = stream.readline(BLOCK).decode(errors="replace").rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=form.delimiter), [])
    except csv.Error:
        return []


def _as_written(column: pa.Array) -> pa.Array:
    """A column that was read as `ANY_BYTES`, as the file has it."""
    data = column.buffers()[2]
    if data is None or np.frombuffer(data, np.uint8).max(initial=0) < 128:
        return column
    return pa.array([value.decode().encode(ANY_BYTES) for value in column.to_pylist()], pa.binary())


def _require(file: RawFile, wanted: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(str(file), f"no column {missing[0]!r}; the file has {', '.join(map(repr, names)) or 'none'}")


def _refuse(file: RawFile, bad: list[pa.csv.InvalidRow], first: int, before: int | None, ledger: Ledger) -> None:
    """Refuse the bad lines before some row, and take them off the list."""
    while bad and (before is None or bad[0].number + first - 1 < before):
        line = bad.pop(0)
        text = line.text.encode(ANY_BYTES).decode(errors="replace")
        detail = f"{line.actual_columns} columns instead of {line.expected_columns}: {text[:MAX_SHOWN]!r}"
        ledger.refuse(file, line.number + first - 1, "wrong number of columns", detail)
