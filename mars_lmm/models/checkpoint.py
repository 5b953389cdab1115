"""A checkpoint's file, and the model rebuilt from that alone.

A checkpoint is Lightning's with one more key, `KEY`, of plain values: what `mars_lmm.training.identity.describe_run`
says of the run that wrote it. It is never unpickled: files are read with `weights_only=True`.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.orders import OrderTokenizer

KEY = "mars_lmm"
VERSION = 1


def build_model(run: dict[str, Any]) -> OrderModel:
    """The model of a run, with fresh weights."""
    bins = OrderTokenizer.from_dict(run["tokenizer"]).bins
    return OrderModel(OrderModelConfig(**run["model"]), bins, NUM_MARKET_FEATURES)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Open a checkpoint on the CPU; tensors are read from the file as they are used.

    Raises:
        ValueError: It is not a whole checkpoint of this program's version.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a checkpoint, or not a whole one: {error}") from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise ValueError(f"{path} was not written by mars_lmm training: it has no key {KEY!r}")
    version = checkpoint[KEY]["version"]
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, this program reads {VERSION}; train it again")
    return checkpoint


def load_order_model(path: Path, tokenizer_checksum: str | None = None) -> tuple[OrderModel, dict[str, Any]]:
    """Rebuild the model of a checkpoint from the file alone.

    Args:
        path: The checkpoint.
        tokenizer_checksum: `OrderTokenizer.checksum` of the data that the model will read, to be checked.

    Returns:
        The model, on the CPU, in evaluation mode; and `describe_run` of the run that trained it.

    Raises:
        ValueError: The file is not a whole checkpoint, or its tokenizer is another one.
    """
    checkpoint = read_checkpoint(path)
    run = checkpoint[KEY]
    checksum = OrderTokenizer.from_dict(run["tokenizer"]).checksum
    if tokenizer_checksum not in (None, checksum):
        raise ValueError(
            f"{path} was trained with tokenizer {checksum}, the data is coded with {tokenizer_checksum}: "
            "its tokens mean other orders; use the prepared set that the model was trained on"
        )
    model = build_model(run)
    prefix = "model."
    weights = checkpoint["state_dict"].items()
    model.load_state_dict({k.removeprefix(prefix): v for k, v in weights if k.startswith(prefix)})
    return model.eval(), run
