"""Training rows as tensors: a prepared split, memory-mapped through Hugging Face `datasets`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset as ArrowDataset
from torch import Tensor
from torch.utils.data import Dataset

from mars_lmm.data.prepared import PreparedSet


class OrderRows(Dataset[dict[str, Tensor]]):
    """The rows of one split; a row is a window of T + 1 consecutive orders of a session.

    The parquet file is converted once to an Arrow file inside the prepared folder and memory-mapped from
    there, so that rows are read at random without holding the split in memory. A changed parquet file is
    converted anew.

    Args:
        prepared: The prepared set.
        split: `train` or `validation`.

    Raises:
        ValueError: The split has no rows.
    """

    def __init__(self, prepared: PreparedSet, split: str):
        if prepared.splits[split]["rows"] == 0:
            raise ValueError(
                f"the {split} split of {prepared.path} is empty: its sessions hold fewer than "
                f"{prepared.row_length + 1} orders; prepare it again with more sessions or shorter rows"
            )
        self._window = prepared.row_length + 1
        self._num_market_features = prepared.num_market_features
        self._rows = ArrowDataset.from_parquet(
            str(prepared.split_file(split)),
            split=split,
            cache_dir=str(prepared.path / ".arrow"),
            columns=["token", "market", "first_target"],
        ).with_format("arrow")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One row: `__getitems__` without its first dimension."""
        return {name: column[0] for name, column in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """A batch of rows, which a DataLoader asks for in one call.

        Args:
            indices: B row numbers.

        Returns:
            `token` int64[B, T + 1], `market` int16[B, T + 1, F] and `first_target` int64[B].
        """
        rows = self._rows[indices]
        token = _values(rows, "token").reshape(-1, self._window)
        market = _values(rows, "market").reshape(-1, self._window, self._num_market_features)
        return {
            "token": torch.from_numpy(token.astype(np.int64)),
            "market": torch.from_numpy(market.astype(np.int16)),
            "first_target": torch.from_numpy(rows["first_target"].to_numpy().astype(np.int64)),
        }


def _values(rows: pa.Table, column: str) -> np.ndarray:
    """All elements of a column of fixed-size lists, flat."""
    return rows[column].combine_chunks().flatten().to_numpy()
