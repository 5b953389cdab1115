"""Loaders for training and validation; the training loader resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from mars_lmm.data.datasets import BLOCK, OrderRows
from mars_lmm.data.prepared import TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.samplers import PermutationBatchSampler


class ResumableLoader(DataLoader):
    """A training loader whose state is the number of samples handed out.

    Workers read ahead, so the sampler's own position says nothing about what was trained on; the loader
    counts the batches as they leave it. The Trainer stores the state in every checkpoint. The loader has a
    length, because without one the Trainer fetches a batch ahead and loses it on resume.

    Args:
        rows: The training rows.
        sampler: The order of the batches.
        **options: Further arguments of DataLoader.
    """

    def __init__(self, rows: OrderRows, sampler: PermutationBatchSampler, **options: Any):
        super().__init__(rows, batch_sampler=sampler, **options)

    @property
    def samples_consumed(self) -> int:
        """Rows that all ranks together have taken since the run began."""
        return self.batch_sampler.samples_consumed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches that are left of the epoch."""
        for batch in super().__iter__():
            self.batch_sampler.samples_consumed += self.batch_sampler.global_batch
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the run stands, and what that number depends on."""
        sampler = self.batch_sampler
        return {
            "samples_consumed": sampler.samples_consumed,
            "seed": sampler.seed,
            "global_batch": sampler.global_batch,
            "block": sampler.block,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: The seed, the global batch or the block is another one: rows would be repeated or left out.
        """
        here = self.state_dict()
        meanings = {
            "seed": "data seed",
            "global_batch": "batch_size * devices",
            "block": "data.block (None: a local set)",
        }
        for name, meaning in meanings.items():
            if state[name] != here[name]:
                raise ValueError(
                    f"cannot resume: the checkpoint was written with {meaning} = {state[name]}, this run has "
                    f"{here[name]}; set it back, or start a new run"
                )
        self.batch_sampler.samples_consumed = state["samples_consumed"]


class OrderDataModule(L.LightningDataModule):
    """Training and validation rows of a prepared set.

    The Trainer must be told `use_distributed_sampler=False`: the samplers here know of the ranks, and what
    the Trainer would put in their place shuffles in its own way.

    Args:
        prepared: The prepared set.
        batch_size: Rows of a batch on each device.
        num_workers: Worker processes of each loader; 0 reads in the training process.
        seed: Seed of the order of training rows.
        block: Of a set in an object store: row groups whose rows are mixed with each other, and which each process
            keeps in memory. The rows of a local set are all mixed.
    """

    def __init__(self, prepared: PreparedSet, batch_size: int, num_workers: int = 0, seed: int = 0, block: int = BLOCK):
        super().__init__()
        self.prepared = prepared
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.block = block

    def train_dataloader(self) -> ResumableLoader:
        """Batches in an order of their own in every epoch, all of the same size."""
        rows = OrderRows(self.prepared, TRAIN, self.block)
        world_size, rank = self._share()
        sampler = PermutationBatchSampler(rows.groups, self.batch_size, self.seed, world_size, rank, self._mixed())
        return ResumableLoader(rows, sampler, **self._options())

    def val_dataloader(self) -> DataLoader:
        """Every validation row once, in fixed order; rank r of W takes rows r, r + W, and so on."""
        rows = OrderRows(self.prepared, VALIDATION, self.block)
        world_size, rank = self._share()
        sampler = BatchSampler(range(rank, len(rows), world_size), self.batch_size, drop_last=False)
        return DataLoader(rows, batch_sampler=sampler, **self._options())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint tells of the batches, so that `mars_lmm.data.batches` can make any of them again."""
        return {
            "prepared": self.prepared.address,
            "fingerprint": self.prepared.fingerprint,
            "batch_size": self.batch_size,
            "world_size": self._share()[0],
            "seed": self.seed,
            "block": self._mixed(),
            "batches_per_step": self.trainer.accumulate_grad_batches,
        }

    def _mixed(self) -> int | None:
        """Row groups whose rows are mixed; None: all."""
        return self.block if self.prepared.is_remote else None

    def _share(self) -> tuple[int, int]:
        """Number of data-parallel ranks, and which one this is."""
        share = self.trainer.distributed_sampler_kwargs if self.trainer is not None else None
        return (share["num_replicas"], share["rank"]) if share is not None else (1, 0)

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate,
        }


def collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave the segments out of a batch without packed rows: a model on a card need not look for them then."""
    if (batch["segment"] == batch["segment"][:, :1]).all():
        del batch["segment"]
    return batch
