"""Training rows as tensors: a prepared split, memory-mapped through Hugging Face `datasets` or fetched from a store."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Dataset as ArrowDataset
from datasets.exceptions import DatasetGenerationError
from torch import Tensor
from torch.utils.data import Dataset

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.remote_rows import RemoteRows
from mars_lmm.data.rows import COLUMNS, decode_market, decode_pieces, decode_tokens, row_groups, segments

BLOCK = 16  # row groups of a remote set that are mixed, and kept in memory


class OrderRows(Dataset[dict[str, Tensor]]):
    """The rows of one split: T + 1 consecutive orders of a session each, or several short sessions and padding.

    Rows are numbered over the split's shards, one after the other. The shards of a local set are converted once to an
    Arrow file, inside the prepared folder or, where that is read-only, in the user's cache, and memory-mapped from
    there, so that rows are read at random without holding the split in memory; a changed shard is converted anew. Of a
    set in an object store, row groups are fetched as they are needed.

    Args:
        prepared: The prepared set.
        split: `train` or `validation`.
        cached: Row groups of a remote set that each process keeps in memory.

    Attributes:
        prepared: The prepared set.
        groups: int64[G + 1], the rows where row groups begin and end.

    Raises:
        ValueError: The split has no rows.
        DataError: A shard cannot be read, or does not hold the rows that the manifest tells of.
    """

    def __init__(self, prepared: PreparedSet, split: str, cached: int = BLOCK):
        shards = prepared.splits[split]["shards"]
        if not shards:
            raise ValueError(f"the {split} split of {prepared.path} is empty; prepare it again with more sessions")
        _, self.groups = row_groups(shards)
        self.prepared = prepared
        self._rows: RemoteRows | ArrowDataset
        if prepared.is_remote:
            self._rows = RemoteRows(prepared, shards, cached)
        else:
            self._rows = _mapped_rows(prepared, split, shards)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.groups[-1])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One row: `__getitems__` without its first dimension."""
        return {name: column[0] for name, column in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """A batch of rows, which a DataLoader asks for in one call.

        Args:
            indices: B row numbers.

        Returns:
            `token` int64[B, T + 1]; `market` int16[B, T + 1, F]; `segment` uint8[B, T + 1], a number for each session
            within the row, and `rows.PADDING` behind the last; `scored` bool[B, T], which of the row's orders, from
            the second on, are targets.
        """
        table = self._rows[indices]
        segment, scored = segments(*decode_pieces(table), self.prepared.row_length)
        return {
            "token": torch.from_numpy(decode_tokens(table).astype(np.int64)),
            "market": torch.from_numpy(decode_market(table)),
            "segment": torch.from_numpy(segment),
            "scored": torch.from_numpy(scored),
        }

    def pieces(self, index: int) -> np.ndarray:
        """What a row is made of: PIECE[P]."""
        return decode_pieces(self._rows[[index]])[0]


def _mapped_rows(prepared: PreparedSet, split: str, shards: Sequence[Mapping[str, Any]]) -> ArrowDataset:
    for shard in shards:
        with prepared.open(shard["file"]) as file:
            found = pq.ParquetFile(file).metadata.num_rows
            if found != shard["rows"]:
                raise DataError(shard["file"], f"holds {found} rows, not {shard['rows']}; prepare the data again")
    try:
        rows = ArrowDataset.from_parquet(
            [glob.escape(str(prepared.path / shard["file"])) for shard in shards],
            split=split,
            cache_dir=str(_cache_folder(prepared)),
            columns=COLUMNS,
        )
    except DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno:  # no room for the Arrow file; a damaged shard has no number
            raise cause from error
        raise DataError(prepared.path, f"the {split} rows cannot be read ({cause}); prepare the data again") from error
    return rows.with_format("arrow")


def _cache_folder(prepared: PreparedSet) -> Path:
    """Where a local set's rows are mapped from: inside it, or in the user's cache if it is on a read-only share."""
    inside = prepared.path / ".arrow"
    if os.access(inside if inside.exists() else prepared.path, os.W_OK):
        return inside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mars_lmm", prepared.fingerprint)
