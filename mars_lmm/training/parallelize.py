"""How a model is run: activations recomputed, weights sharded, blocks compiled. Model files know nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.utils.checkpoint import checkpoint

from mars_lmm.models.order_model import OrderModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DATA_PARALLEL = "data_parallel"  # what ModelParallelStrategy calls this dimension of its mesh
HEAD_METHODS = ("loss", "nll", "field_nll", "logits")
"""What is called of a head besides `forward`, for which alone FSDP2 gathers weights by itself."""


@dataclass
class ExecutionConfig:
    """What changes a run's speed and memory, and not what it learns."""

    compile: bool = False
    """Compile each block; pays on a GPU after the first minute."""
    activation_checkpointing: bool = False
    """Keep only what enters each block, and compute the rest again in the backward pass: less memory, a third more
    arithmetic."""
    sharded_dtype: str = "float32"
    """What sharded weights (trainer=fsdp) are gathered and computed in: "float32" or "bfloat16". Each device keeps its
    shard, and gradients are summed, in float32."""

    def __post_init__(self):
        if self.sharded_dtype not in DTYPES:
            raise ValueError(f"sharded_dtype is {self.sharded_dtype!r}; choose one of {', '.join(DTYPES)}")


def parallelize(model: OrderModel, mesh: DeviceMesh | None, execution: ExecutionConfig) -> None:
    """Change a model in place into what the devices run; names of weights stay as they are.

    Args:
        model: The model, with the same weights on every rank.
        mesh: The devices of the run, whose dimension "data_parallel" shards the weights; None: every device holds
            the whole model.
        execution: What to do.
    """
    if execution.activation_checkpointing:
        for block in model.transformer.blocks:
            # The block itself, instead of a wrapper around it, so that no name changes.
            block.forward = _recomputed(block.forward)
    if mesh is not None:
        shard(model, mesh[DATA_PARALLEL], DTYPES[execution.sharded_dtype])
    if execution.compile:
        for block in model.transformer.blocks:
            block.compile()


def shard(model: OrderModel, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Shard all weights with FSDP2: each block, the embedding and the head are gathered when they are used.

    Args:
        model: The model, with the same weights on every rank.
        mesh: One dimension of devices.
        dtype: What weights are gathered in.
    """
    # Inputs are not cast: the embedding takes integers, all that follows is in the weights' dtype, and the angles of
    # RoPE stay in float32.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.transformer.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # The tied head reads the embedding's tables, which then stay with what is gathered throughout.
    if model.config.head != "tied":
        fully_shard(model.embedding, mesh=mesh, mp_policy=policy)
    # The backward pass begins with the head, so it is not given back in between.
    fully_shard(model.head, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    for method in HEAD_METHODS:
        register_fsdp_forward_method(model.head, method)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def gather(model: OrderModel) -> None:
    """Keep whole weights on every device, so that ranks may take unequal numbers of validation batches.

    A rank that gathered weights for one more batch than the others would wait for them forever.
    """
    for unit in _units(model):
        unit.unshard()
        unit.set_reshard_after_forward(False, recurse=False)


def release(model: OrderModel) -> None:
    """Undo `gather`."""
    for unit in _units(model):
        unit.set_reshard_after_forward(unit not in (model, model.head), recurse=False)
        unit.reshard()


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # A function of its own, because the compiler does not enter torch's where a trace would begin with it.
    def recomputed(*args: Any) -> Tensor:
        return checkpoint(forward, *args, use_reentrant=False)

    return recomputed


def _units(model: OrderModel) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
