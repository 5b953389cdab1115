"""Columns of text: values as places of a buffer, which nothing copies until it must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.compilation import kept_njit

MAX_SHOWN = 40  # characters of a value that messages show


@dataclass(frozen=True)
class Text:
    """A column of N texts.

    Attributes:
        data: uint8[...], the buffer.
        starts: int64[N], where the values begin in it.
        ends: int64[N], where they end.
    """

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, column: Column) -> Text:
        """Any column as text; null is ""."""
        if isinstance(column, Text):
            return column
        if not pa.types.is_binary(column.type):
            column = pc.cast(pc.cast(column, pa.string()), pa.binary())
        if not len(column):
            return cls(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
        column = pc.fill_null(column, b"")
        _, places, data = column.buffers()
        places = np.frombuffer(places, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
        return cls(np.frombuffer(data or b"", np.uint8), places[:-1], places[1:])

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, kept: np.ndarray) -> Text:
        """The values that a mask, bool[N], keeps."""
        return Text(self.data, self.starts[kept], self.ends[kept])

    def arrow(self) -> pa.Array:
        """The values in a row, as pyarrow's functions need them: binary[N]."""
        places = np.append(0, np.cumsum(self.ends - self.starts))
        data = np.empty(places[-1], np.uint8)
        _gather(self.data, self.starts, places, data)
        buffers = [None, pa.py_buffer(places.astype(np.int32)), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers)

    def words(self) -> tuple[np.ndarray, list[str]]:
        """Few different texts: int64[N], the number of each value's text, and the texts."""
        encoded = self.arrow().dictionary_encode()
        words = [word.decode(errors="replace") for word in encoded.dictionary.to_pylist()]
        return encoded.indices.to_numpy().astype(np.int64), words


Column = Text | pa.Array
"""What a file holds: text, or floats and timestamps that a parquet file has as such."""


class Shown:
    """The values of a column as messages show them."""

    def __init__(self, column: Column):
        self._column = column

    def __getitem__(self, i: int) -> Any:
        if not isinstance(self._column, Text):
            return self._column[i].as_py()
        start, end = self._column.starts[i], self._column.ends[i]
        return self._column.data[start : min(start + MAX_SHOWN, end)].tobytes().decode(errors="replace")


def where(column: Column, kept: np.ndarray) -> Column:
    """The values of any column that a mask, bool[N], keeps."""
    return column.where(kept) if isinstance(column, Text) else column.filter(pa.array(kept))


@kept_njit("data", _nrt=False)
def _gather(data, starts, places, out):
    for i in range(len(starts)):
        for k in range(places[i + 1] - places[i]):
            out[places[i] + k] = data[starts[i] + k]
