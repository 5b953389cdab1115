"""Rows of a set in an object store, fetched as they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.rows import COLUMNS, row_groups


class RemoteRows:
    """Rows by number, over all shards of a split. Whole row groups are fetched, and the latest stay in memory.

    Args:
        prepared: The prepared set.
        shards: `file` and `rows` of each shard.
        cached: Row groups to keep.
    """

    def __init__(self, prepared: PreparedSet, shards: Sequence[Mapping[str, Any]], cached: int):
        self._prepared = prepared
        self._groups, self._bounds = row_groups(shards)
        self._cached = cached
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()

    def __getitem__(self, indices: Sequence[int]) -> pa.Table:
        """Rows in the order asked for.

        Raises:
            DataError: A shard cannot be read.
        """
        rows = np.asarray(indices)
        group = np.searchsorted(self._bounds, rows, side="right") - 1
        # Group by group, so that no group is fetched twice for a batch, however few stay in memory.
        by_group = np.argsort(group, kind="stable")
        parts = [
            self._table(number).take(rows[group == number] - self._bounds[number])
            for number in np.unique(group).tolist()
        ]
        return pa.concat_tables(parts).take(np.argsort(by_group))

    def _table(self, number: int) -> pa.Table:
        if number not in self._tables:
            while len(self._tables) >= self._cached:
                self._tables.popitem(last=False)
            self._tables[number] = self._fetch(number)
        self._tables.move_to_end(number)
        return self._tables[number]

    def _fetch(self, number: int) -> pa.Table:
        name, group = self._groups[number]
        expected = self._bounds[number + 1] - self._bounds[number]
        # Opened anew each time: handles of object stores do not survive the fork of a loader's worker.
        with self._prepared.open(name) as file:
            table = pq.ParquetFile(file).read_row_group(group, columns=COLUMNS)
            if len(table) != expected:
                raise DataError(
                    name, f"row group {group} holds {len(table)} rows, not {expected}; prepare the data again"
                )
        return table
