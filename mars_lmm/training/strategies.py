"""Sharded training whose checkpoints are those of one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from mars_lmm.models.checkpoint import read_checkpoint


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all devices, with checkpoints of one file that any number of devices goes on from.

    Lightning numbers an optimiser's weights in the order of the module, `Optimizer.state_dict` in that of its
    parameter groups: states written by one process would be given to other weights. Here whole tensors are gathered
    for, and cut after, the state dicts that one process has.

    Args:
        tensor_parallel_size: Devices that share each matrix product; only 1 is supported.

    Raises:
        ValueError: Tensor parallelism is asked for.
    """

    def __init__(self, tensor_parallel_size: int = 1):
        if tensor_parallel_size != 1:
            raise ValueError(
                f"tensor_parallel_size is {tensor_parallel_size}; only 1 is supported: queries, keys and values are "
                "one matrix, as are the two sides of the gated MLP, and cutting those by rows would mix their parts. "
                "Shard over all devices instead, which is enough for models of a few billion parameters"
            )
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Let the Trainer call `load_optimizer_state_dict`."""
        return True

    def setup_environment(self) -> None:
        """Shard over all devices of all nodes; Lightning's default is to shard over nodes alone."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole weights, on the CPU of rank 0; empty on the others."""
        return self._gather(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """What `optimizer.state_dict()` is in one process, on the CPU of rank 0; empty on the others."""
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        whole = optimizer.state_dict()
        state = {number: self._gather(values) for number, values in whole["state"].items()}
        return whole | {"state": state} if self.is_global_zero else {}

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the file on every rank, for each to take its part."""
        return read_checkpoint(Path(checkpoint_path))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Cut the weights of a whole model."""
        current = self.lightning_module.state_dict()
        state = {name: _cut(value, current.get(name)) for name, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Cut the states of optimisers of a whole model."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                number: {name: _cut(value, weights[number]) for name, value in values.items()}
                for number, values in saved["state"].items()
            }
            optimizer.load_state_dict(dict(saved) | {"state": state})

    def _gather(self, state: Mapping[str, Any]) -> dict[str, Any]:
        gathered = {}
        for name, value in state.items():
            whole = value.full_tensor() if isinstance(value, DTensor) else value  # of all ranks together
            if self.is_global_zero:
                gathered[name] = whole.cpu() if isinstance(whole, Tensor) else whole
        return gathered


def _cut(value: Any, like: Any) -> Any:
    """This rank's part of a value that belongs to a sharded weight; what is not of its shape stays whole."""
    if not isinstance(like, DTensor) or not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
