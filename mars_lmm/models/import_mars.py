"""Turn a released MarS order model into a checkpoint: `python -m mars_lmm.models.import_mars SRC.safetensors DST`.

The last line of standard output is one JSON object. The exit status is 0; 1 if the logits are not the expected ones; 2
if the model cannot be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mars_lmm.models.checkpoint import KEY, VERSION, load_order_model
from mars_lmm.models.mars_converters import load_converters
from mars_lmm.models.mars_weights import MarsOptions, MarsWeights, read_mars_weights
from mars_lmm.models.order_model import OrderModel
from mars_lmm.tokenizers.mars import MarsTokenizer
from mars_lmm.tokenizers.mars_coding import NUM_MARS_FEATURES

TOLERANCE = 1e-4


def main(arguments: list[str] | None = None) -> int:
    """Import a model.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mars_lmm.models.import_mars", description=__doc__.partition(":")[0]
    )
    parser.add_argument("source", type=Path, metavar="SRC.safetensors", help="a released order model")
    parser.add_argument("checkpoint", type=Path, metavar="DST", help="the checkpoint to write, or a folder for it")
    parser.add_argument("--check", type=Path, metavar="EXPECTED.safetensors", help="features and the logits they give")
    parser.add_argument("--converters", type=Path, nargs="+", metavar="PATH", help="the release's converters")
    parser.add_argument("--heads", type=int, metavar="N", help="attention heads, if the source does not tell")
    parser.add_argument("--window", type=int, metavar="N", help="orders that it reads, if the source does not tell")
    parser.add_argument("--volume-ratio-key", metavar="KEY", help="the source's table of the volume ratio")
    parser.add_argument("--trans-ratio-key", metavar="KEY", help="the source's table of the trade ratio")
    args = parser.parse_args(arguments)
    options = MarsOptions(args.heads, args.window, args.volume_ratio_key, args.trans_ratio_key)
    try:
        checkpoint = args.checkpoint / f"{args.source.stem}.ckpt" if args.checkpoint.is_dir() else args.checkpoint
        result = import_mars(args.source, checkpoint, args.converters, options)
        if args.check:
            result["max_abs_diff"] = max_abs_difference(load_order_model(checkpoint)[0], args.check)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    if not result.get("max_abs_diff", 0.0) <= TOLERANCE:
        print(f"error: the logits differ by {result['max_abs_diff']:g}, more than {TOLERANCE:g}", file=sys.stderr)
        return 1
    return 0


def import_mars(
    source: Path, checkpoint: Path, converters: list[Path] | None = None, options: MarsOptions | None = None
) -> dict[str, Any]:
    """Write a released order model as a checkpoint.

    Args:
        source: Its safetensors file.
        checkpoint: The file to write; it appears whole or not at all.
        converters: The release's folder of converters, or the files. Without them the model gives logits, and does not
            roll out.
        options: What the source leaves open.

    Returns:
        `parameters` of the source, its `unused` tensors, `model_parameters` of the checkpoint, its `embedding`,
        whether it has `converters`, and its path.

    Raises:
        ValueError: The source or a converter is not what was released, or they do not belong together.
    """
    read = read_mars_weights(source, options or MarsOptions())
    tokenizer = MarsTokenizer(read.bins, load_converters(converters) if converters else None)
    _write(checkpoint, source, read, tokenizer)
    model, _ = load_order_model(checkpoint)
    return {
        "parameters": read.parameters,
        "unused": read.unused,
        "model_parameters": model.num_parameters()["total"],
        "embedding": read.config.embedding,
        "converters": tokenizer.converters is not None,
        "checkpoint": str(checkpoint),
    }


@torch.inference_mode()
def max_abs_difference(model: OrderModel, expected: Path) -> float:
    """The largest difference between a model's logits and expected ones.

    Args:
        model: An imported model.
        expected: A safetensors file with `features` int [B, T, 15] and `logits` [B, T, V].

    Raises:
        ValueError: It is no such file.
    """
    try:
        tensors = load_file(expected)
        features, logits = tensors["features"], tensors["logits"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{expected} does not hold features and logits: {error}") from error
    shape = (*features.shape[:2], model.vocabulary)
    if features.shape[2:] != (1 + NUM_MARS_FEATURES,) or logits.shape != shape:
        raise ValueError(
            f"{expected} has features {list(features.shape)} and logits {list(logits.shape)}; the model reads "
            f"[B, T, {1 + NUM_MARS_FEATURES}] and gives [B, T, {model.vocabulary}]"
        )
    differences = []
    for row, wanted in zip(features, logits, strict=True):
        found = model.logits(model(row[None, :, 0].long(), row[None, :, 1:]))[0]
        differences.append((found - wanted.float()).abs().max())
    return float(torch.stack(differences).max())


def _write(checkpoint: Path, source: Path, read: MarsWeights, tokenizer: MarsTokenizer) -> None:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    run = {
        "version": VERSION,
        "config": {},
        "model": asdict(read.config),
        "optim": {},
        "tokenizer": tokenizer.to_dict(),
        "fingerprint": None,
        "cutoff": None,
        "imported": {"source": source.name, "sha256": digest},
    }
    weights = {f"model.{name}": weight for name, weight in read.weights.items()}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_name(f"{checkpoint.name}.{os.getpid()}.partial")
    try:
        torch.save({"state_dict": weights, KEY: run}, partial)
        os.replace(partial, checkpoint)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
