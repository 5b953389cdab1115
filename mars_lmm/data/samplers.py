"""The order of training rows: a pure function of the seed and of how many samples were consumed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def permutation(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the rows in one epoch.

    Philox is a counter-based generator keyed by (seed, epoch). The rows are sorted by its raw output because
    numpy promises to keep that stream, but not what `Generator.permutation` makes of it.

    Returns:
        int64[num_rows], each row once.
    """
    keys = np.random.Philox(key=[seed, epoch]).random_raw(num_rows)
    return np.argsort(keys, kind="stable")


def permutation_in_blocks(groups: np.ndarray, block: int, seed: int, epoch: int) -> np.ndarray:
    """An order of the rows that reads few row groups at a time.

    Row groups come in random order; the rows of each `block` of them in a row are mixed.

    Args:
        groups: int64[G + 1], where row groups begin and end.
        block: Row groups whose rows are mixed with each other.
        seed: Seed of the order.
        epoch: Which epoch.

    Returns:
        int64[num_rows], each row once.
    """
    num_groups = len(groups) - 1
    keys = np.random.Philox(key=[seed, epoch]).random_raw(num_groups + int(groups[-1]))
    block_of_group = np.empty(num_groups, dtype=np.int64)
    block_of_group[np.argsort(keys[:num_groups], kind="stable")] = np.arange(num_groups) // block
    return np.lexsort((keys[num_groups:], np.repeat(block_of_group, np.diff(groups))))


class PermutationBatchSampler(Sampler[list[int]]):
    """This rank's share of every global batch, without end: epoch after epoch, each in its own order.

    The global batch of a step is the same set of rows for every world size, as long as
    `batch_size * world_size` stays the same. Rows that do not fill a global batch are left out of the epoch,
    other ones in every epoch.

    Args:
        groups: int64[G + 1], where row groups begin and end; the last number is that of the rows.
        batch_size: Rows of one batch on one rank.
        seed: Seed of the order, not negative.
        world_size: Number of ranks that share each global batch.
        rank: This rank.
        block: Row groups whose rows are mixed with each other; None mixes all rows.

    Attributes:
        samples_consumed: Rows that all ranks together have trained on: the whole state. An iterator starts
            here and ends with the epoch. Whoever takes batches moves it on; see `ResumableLoader`.

    Raises:
        ValueError: There are fewer rows than one global batch takes.
    """

    def __init__(
        self,
        groups: np.ndarray,
        batch_size: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
        block: int | None = None,
    ):
        self.groups = groups
        self.num_rows = int(groups[-1])
        self.global_batch = batch_size * world_size
        self.seed = seed
        self.world_size = world_size
        self.rank = rank
        self.block = block
        self.samples_consumed = 0
        if self.num_rows < self.global_batch:
            raise ValueError(
                f"{self.num_rows} training rows do not fill one batch of {batch_size} rows on {world_size} ranks; "
                "lower the batch size or prepare more data"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.num_rows // self.global_batch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the row numbers of each batch that is left of the epoch."""
        epoch, first = divmod(self.samples_consumed // self.global_batch, len(self))
        if self.block is None:
            order = permutation(self.num_rows, self.seed, epoch)
        else:
            order = permutation_in_blocks(self.groups, self.block, self.seed, epoch)
        for batch in range(first, len(self)):
            rows = order[batch * self.global_batch : (batch + 1) * self.global_batch]
            yield rows[self.rank :: self.world_size].tolist()
