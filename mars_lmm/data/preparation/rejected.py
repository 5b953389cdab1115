"""The list of the rows that a preparation left out."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.ledger import Ledger, Rejection

SCHEMA = pa.schema([("source", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])


class RejectedRows:
    """Writes what a ledger refuses; the file appears whole or not at all, and only if there is something to list.

    Args:
        path: The parquet file.
        on_error: Of the ledger.

    Attributes:
        ledger: The ledger to read with.
    """

    def __init__(self, path: Path, on_error: str):
        self.ledger = Ledger(on_error, self._spill)
        self._path = path
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Ledger:
        return self.ledger

    def _spill(self, rejections: list[Rejection]) -> None:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._partial, SCHEMA, compression="zstd")
        columns = {name: [getattr(rejection, name) for rejection in rejections] for name in SCHEMA.names}
        self._writer.write_table(pa.table(columns, SCHEMA))
        rejections.clear()

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None and self.ledger.rejections:
            self._spill(self.ledger.rejections)
        if self._writer is None:
            return
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink(missing_ok=True)
