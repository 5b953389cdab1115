"""Make a folder for others of a checkpoint: `python -m mars_lmm.models.export CHECKPOINT_OR_RUN FOLDER`, and back.

`--back FOLDER CHECKPOINT` makes a checkpoint of such a folder. The last line of standard output is one JSON object.
`mars_lmm.models.folder` says what is in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from mars_lmm.models.card import render
from mars_lmm.models.checkpoint import KEY, build_model, load_weights, order_tokenizer, read_checkpoint
from mars_lmm.models.folder import CONFIG, write_folder
from mars_lmm.os_errors import in_words
from mars_lmm.paths import TRAINING_SUMMARY

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(arguments: list[str] | None = None) -> int:
    """Export a checkpoint, or make one of an exported folder.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.models.export", description=__doc__.partition(":")[0])
    parser.add_argument("source", type=Path, help="a checkpoint, or a run folder for its best one; or a FOLDER")
    parser.add_argument("target", type=Path, help="the folder to write, which must be new; or the CHECKPOINT")
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights; by default the checkpoint's")
    parser.add_argument("--back", action="store_true", help="the source is an exported folder, the target a checkpoint")
    options = parser.parse_args(arguments)
    if options.back and options.dtype:
        parser.error("--dtype goes with an export, not with --back")
    try:
        if options.back:
            result = export_back(options.source, options.target)
        else:
            result = export(options.source, options.target, options.dtype)
    except (OSError, ValueError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0


def export(source: Path, folder: Path, dtype: str | None = None) -> dict[str, Any]:
    """Write a checkpoint's model as a folder, with a card that tells what is known of it.

    Args:
        source: A checkpoint, or a run folder for its best one. What the run folder holds beside it goes into the card.
        folder: Where to; it must not exist, or be empty.
        dtype: Of `DTYPES`; None leaves the weights as they are.

    Returns:
        The `folder`, the number of `parameters`, the `bytes` of all files.

    Raises:
        ValueError: The source is no checkpoint, its tensors do not fit its model, or the folder is not empty.
    """
    path, run_folder = find_checkpoint(source)
    checkpoint = read_checkpoint(path)
    run = checkpoint[KEY]
    with torch.device("meta"):
        model = build_model(run)
    parameters = model.num_parameters()
    costs = {"flops_per_order": model.flops_per_token(model.config.window), "kv_bytes": model.kv_bytes(1)}
    load_weights(model, checkpoint, path, assign=True)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    if dtype is not None:
        weights = {name: w.to(DTYPES[dtype]) if w.is_floating_point() else w for name, w in weights.items()}
    tokenizer = order_tokenizer(run)
    config = {
        "model": run["model"],
        "bins": dict(zip(("types", "prices", "sizes", "intervals"), tokenizer.bins, strict=True)),
        "tokenizer": tokenizer.checksum,
        "parameters": parameters,
        **costs,
        "dtype": " and ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()})),
        "scores": run_scores(run_folder) if run_folder else None,
        "run": {name: value for name, value in run.items() if name not in ("model", "tokenizer")},
    }
    write_folder(folder, weights, run["tokenizer"], config, render(config, path.name))
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {"folder": str(folder), "parameters": parameters["total"], "bytes": size}


def export_back(folder: Path, path: Path) -> dict[str, Any]:
    """Make a checkpoint of an exported folder: the same weights to the bit, without an optimiser.

    Args:
        folder: From `export`.
        path: The file to write, which must not exist; it appears whole or not at all.

    Returns:
        The `checkpoint`, the number of `parameters`, the `bytes` of the file.

    Raises:
        ValueError: The folder is no whole exported model, or the file exists.
    """
    if not (folder / CONFIG).exists():
        raise ValueError(f"{folder} holds no exported model: it has no {CONFIG}")
    if path.exists():
        raise ValueError(f"{path} is there already: give another name, or remove it first")
    checkpoint = read_checkpoint(folder)
    with torch.device("meta"):
        model = build_model(checkpoint[KEY])
    parameters = model.num_parameters()
    load_weights(model, checkpoint, folder, assign=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        torch.save(checkpoint, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return {"checkpoint": str(path), "parameters": parameters["total"], "bytes": path.stat().st_size}


def find_checkpoint(source: Path) -> tuple[Path, Path | None]:
    """The checkpoint that is meant, and the folder of its run where that is known.

    Raises:
        ValueError: There is none.
    """
    if (source / CONFIG).exists():
        raise ValueError(f"{source} is an exported model already; --back makes a checkpoint of it")
    best = source / "checkpoints" / "best.ckpt"
    path = best if source.is_dir() else source
    if not path.exists():
        raise ValueError(f"{path}: no such checkpoint; give one, or the folder of a run that has been validated")
    run_folder = path.resolve().parent.parent
    return path, run_folder if (run_folder / TRAINING_SUMMARY).exists() else None


def run_scores(run_folder: Path) -> dict[str, Any]:
    """What the run's own files say of the model: its best validation, the baselines, the evaluation of its rollouts."""
    training = json.loads((run_folder / TRAINING_SUMMARY).read_text())
    scores = {name: training[name] for name in ("nats", "baselines", "seconds", "commands")}
    evaluation, facts = (run_folder / "evaluation" / f"{name}.json" for name in ("evaluation", "facts"))
    if evaluation.exists():
        evaluated = json.loads(evaluation.read_text())
        scores["evaluation"] = {name: evaluated[name] for name in ("verdict", "sources", "simulation", "rates")}
        if evaluated["verdict"]["facts"]:
            scores["evaluation"]["facts"] = json.loads(facts.read_text())["comparison"]["facts"]
    return scores


if __name__ == "__main__":
    sys.exit(main())
