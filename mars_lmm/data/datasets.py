"""Training rows as tensors: a prepared split, memory-mapped through Hugging Face `datasets` or fetched from a store."""

from __future__ import annotations

import glob

import numpy as np
import torch
from datasets import Dataset as ArrowDataset
from torch import Tensor
from torch.utils.data import Dataset

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.remote_rows import RemoteRows
from mars_lmm.data.rows import COLUMNS, decode_market, decode_pieces, decode_tokens, row_groups, segments

BLOCK = 16


class OrderRows(Dataset[dict[str, Tensor]]):
    """The rows of one split: T + 1 consecutive orders of a session each, or several short sessions and padding.

    Rows are numbered over the split's shards, one after the other. The shards of a local set are converted once to an
    Arrow file inside the prepared folder and memory-mapped from there, so that rows are read at random without holding
    the split in memory; a changed shard is converted anew. Of a set in an object store, row groups are fetched as they
    are needed.

    Args:
        prepared: The prepared set.
        split: `train` or `validation`.
        cached: Row groups of a remote set that each process keeps in memory.

    Attributes:
        prepared: The prepared set.
        groups: int64[G + 1], the rows where row groups begin and end.

    Raises:
        ValueError: The split has no rows.
        DataError: The shards do not hold the rows that the manifest tells of.
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
            self._rows = _mapped_rows(prepared, split, [shard["file"] for shard in shards], len(self))

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


def _mapped_rows(prepared: PreparedSet, split: str, files: list[str], num_rows: int) -> ArrowDataset:
    rows = ArrowDataset.from_parquet(
        [glob.escape(str(prepared.path / file)) for file in files],
        split=split,
        cache_dir=str(prepared.path / ".arrow"),
        columns=COLUMNS,
    )
    if len(rows) != num_rows:
        raise DataError(
            prepared.path, f"the {split} shards hold {len(rows)} rows, not {num_rows}; prepare the data again"
        )
    return rows.with_format("arrow")
