"""A checkpoint's file, and the model rebuilt from that alone.

A checkpoint is Lightning's with one more key, `KEY`, of plain values: what `mars_lmm.training.identity.describe_run`
says of the run that wrote it. It is never unpickled: files are read with `weights_only=True`. An exported folder
(`mars_lmm.models.folder`) does as well.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from mars_lmm.models.folder import read_folder
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.tokenizers import mars
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.orders import OrderTokenizer

KEY = "mars_lmm"
VERSION = 2
PREFIX = "model."
"""What the names of the model's weights begin with among a checkpoint's."""


def order_tokenizer(run: dict[str, Any]) -> OrderTokenizer | mars.MarsTokenizer:
    """The tokenizer whose orders a run's model reads."""
    data = run["tokenizer"]
    return (mars.MarsTokenizer if data.get("kind") == mars.KIND else OrderTokenizer).from_dict(data)


def build_model(run: dict[str, Any]) -> OrderModel:
    """The model of a run, with fresh weights.

    Raises:
        ValueError: Its shape is one that this program does not know.
    """
    try:
        config = OrderModelConfig(**run["model"])
    except TypeError as error:
        raise ValueError(f"the model is of another version of this program: {error}") from error
    return OrderModel(config, order_tokenizer(run).bins, NUM_MARKET_FEATURES)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Open a checkpoint, or an exported folder, on the CPU; tensors are read from the file as they are used.

    Raises:
        ValueError: It is not a whole checkpoint of this program's version.
    """
    if path.is_dir():
        weights, run = read_folder(path)
        checkpoint = {KEY: run, "state_dict": {PREFIX + name: weight for name, weight in weights.items()}}
    else:
        checkpoint = _read_file(path)
    version = checkpoint[KEY]["version"]
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, this program reads {VERSION}; train it again")
    return checkpoint


def _read_file(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a checkpoint, or not a whole one: {error}") from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise ValueError(f"{path} was not written by mars_lmm training: it has no key {KEY!r}")
    return checkpoint


def load_weights(model: OrderModel, checkpoint: dict[str, Any], path: Path, assign: bool = False) -> None:
    """Give a model the weights of its checkpoint.

    Args:
        model: From `build_model`.
        checkpoint: From `read_checkpoint`.
        path: Where that was read.
        assign: Take the checkpoint's tensors, with their dtypes, instead of copying their values.

    Raises:
        ValueError: Tensors are missing, unknown, or of another shape; the message lists them.
    """
    weights = checkpoint["state_dict"].items()
    own = {name.removeprefix(PREFIX): weight for name, weight in weights if name.startswith(PREFIX)}
    try:
        model.load_state_dict(own, assign=assign)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model that it describes: {error}") from error


def load_order_model(path: Path, tokenizer_checksum: str | None = None) -> tuple[OrderModel, dict[str, Any]]:
    """Rebuild the model of a checkpoint from that alone.

    Args:
        path: The checkpoint, or an exported folder.
        tokenizer_checksum: `OrderTokenizer.checksum` of the data that the model will read, to be checked. An imported
            MarS model codes orders itself, so that it reads any data.

    Returns:
        The model, on the CPU, in evaluation mode; and `describe_run` of the run that trained it.

    Raises:
        ValueError: It is not a whole checkpoint, its tensors do not fit, or its tokenizer is another one.
    """
    checkpoint = read_checkpoint(path)
    run = checkpoint[KEY]
    tokenizer = order_tokenizer(run)
    checksum = tokenizer.checksum
    if isinstance(tokenizer, OrderTokenizer) and tokenizer_checksum not in (None, checksum):
        raise ValueError(
            f"{path} was trained with tokenizer {checksum}, the data is coded with {tokenizer_checksum}: "
            "its tokens mean other orders; use the prepared set that the model was trained on"
        )
    model = build_model(run)
    load_weights(model, checkpoint, path)
    return model.eval(), run
