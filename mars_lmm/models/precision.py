"""Weights of fewer bits for rollouts, and what that does to the loss.

A rollout's step reads all weights once, so fewer bytes are less to move; what they cost is told by `loss_change`.
Whatever the weights, RoPE angles, softmaxes and cumulative sums stay float32 or better.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mars_lmm.models.order_model import OrderModel

PRECISIONS = ("float32", "bfloat16", "int8", "float8")
FLOAT8_CAPABILITY = (8, 9)
"""The first compute capability with float8."""


def lower_precision(model: OrderModel, precision: str) -> OrderModel:
    """Copy a model for rollouts, on its device, with other weights.

    Args:
        model: A trained model, in float32 or bfloat16.
        precision: "float32" or "bfloat16": everything. "int8" or "float8" (e4m3): the blocks' matrices, with a scale a
            row, multiplied with activations that stay bfloat16 (weight-only); everything else bfloat16. The ring cache
            is in the first of these, or in bfloat16.

    Returns:
        A model in eval mode that does not learn; the one given stays as it is.

    Raises:
        ValueError: The precision is unknown, torchao is not installed, or the device has no float8.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if precision == "float8":
        _check_float8(model.transformer.norm.weight.device)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    lowered = copy.deepcopy(model).to(dtype).eval()
    if precision in ("int8", "float8"):
        _quantize_blocks(lowered, precision)
    return lowered.requires_grad_(False)


@torch.no_grad()
def loss_change(
    reference: OrderModel, lowered: OrderModel, batches: Iterable[Mapping[str, Tensor]]
) -> tuple[float, float]:
    """Mean nats per order of two models over the same orders.

    Args:
        reference: As it was trained.
        lowered: From `lower_precision`.
        batches: Each with `token` int64 [B, T], `market` int [B, T, F], `scored` bool [B, T-1] of the orders after the
            first, and perhaps `segment` int [B, T]; as the data module's loaders give them. Gone through once.

    Returns:
        Nats of the reference and of the lowered model.

    Raises:
        ValueError: No order is scored.
    """
    nats, scored = [0.0, 0.0], 0
    for batch in batches:
        nats = [so_far + _sum_nats(model, batch) for so_far, model in zip(nats, (reference, lowered), strict=True)]
        scored += int(batch["scored"].sum())
    if not scored:
        raise ValueError("no order of the batches is scored; give batches with orders to score")
    return nats[0] / scored, nats[1] / scored


def _sum_nats(model: OrderModel, batch: Mapping[str, Tensor]) -> float:
    device = model.transformer.norm.weight.device
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    token, market, segment = batch["token"], batch["market"], batch.get("segment")
    hidden = model(token[:, :-1], market[:, :-1], None if segment is None else segment[:, :-1])
    return float((model.nll(hidden, token[:, 1:]).double() * batch["scored"]).sum())


def _check_float8(device: torch.device) -> None:
    needed = ".".join(map(str, FLOAT8_CAPABILITY))
    if device.type != "cuda":
        raise ValueError(
            f"float8 needs a GPU of compute capability {needed} or better, and the model is on {device}; "
            "move it there, or choose int8"
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < FLOAT8_CAPABILITY:
        raise ValueError(
            f"float8 needs a GPU of compute capability {needed} or better; {torch.cuda.get_device_name(device)} has "
            f"{'.'.join(map(str, capability))}; choose int8"
        )


def _quantize_blocks(model: OrderModel, precision: str) -> None:
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise ValueError(f"{precision} weights need torchao: pip install 'mars-lmm[quantized]'") from error
    config = Int8WeightOnlyConfig if precision == "int8" else Float8WeightOnlyConfig
    quantize_(model.transformer.blocks, config(set_inductor_config=False))
