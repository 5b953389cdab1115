"""Parquet files, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.text import Column, Text
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import Ledger

PARQUET = ".parquet"
PART_ROWS = 1 << 16
NUMBERS = (pa.types.is_float32, pa.types.is_float64, pa.types.is_timestamp, pa.types.is_time)
TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary),
    *(pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_null),
    *(pa.types.is_integer, pa.types.is_decimal128, pa.types.is_boolean, pa.types.is_date),
)


def read_parquet(file: RawFile, wanted: Sequence[str], ledger: Ledger) -> Iterator[Fields]:
    """Some columns of a parquet file; see `tables.read_table`."""
    packed = file.member is not None or file.path.suffix.lower() != PARQUET
    with pq.ParquetFile(pa.BufferReader(file.read()) if packed else file.path) as table:
        missing = [name for name in wanted if name not in table.schema_arrow.names]
        if missing:
            ledger.refuse(file, None, "columns missing", f"the file lacks {', '.join(missing)}")
            return
        row = 1
        for batch in table.iter_batches(PART_ROWS, columns=list(wanted)):
            rows = np.arange(row, row + len(batch))
            row += len(batch)
            places = {name: batch.schema.get_all_field_indices(name)[0] for name in wanted}
            columns = {name: _column(file, name, batch.column(place)) for name, place in places.items()}
            yield Fields(file, ledger, rows, columns)


def _column(file: RawFile, name: str, column: pa.Array) -> Column:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(is_type(column.type) for is_type in NUMBERS):
        return column
    if any(is_type(column.type) for is_type in TEXTS):
        return Text.of(column)
    raise DataError(str(file), f"column {name} is of type {column.type}: numbers, dates, times or text are needed")
