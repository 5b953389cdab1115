"""A model as a folder that any program can read.

| file | what it holds |
|---|---|
| `model.safetensors` | the weights, each once |
| `config.json` | shape of the model, the run that trained it, hashes of the two files beside it |
| `tokenizer.json` | the bins |
| `README.md` | the model card |

It reads like a checkpoint, and cannot be resumed: the optimiser's state is not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT_VERSION = 1
WEIGHTS, CONFIG, TOKENIZER, CARD = "model.safetensors", "config.json", "tokenizer.json", "README.md"
_HASHED = (WEIGHTS, TOKENIZER)


def write_folder(folder: Path, weights: dict[str, Tensor], tokenizer: dict[str, Any], config: dict, card: str) -> None:
    """Write an exported model; the folder appears whole or not at all.

    Args:
        folder: Where to; it must not exist, or be empty.
        weights: Contiguous tensors by name, none of which shares memory with another.
        tokenizer: Plain values.
        config: The content of `config.json` but for its version and hashes; `read_folder` needs `model` and `run`.
        card: The content of `README.md`.

    Raises:
        ValueError: There is something in the folder's place.
    """
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ValueError(f"{folder} is there already: give the name of a new folder, or remove it first")
    building = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    building.mkdir(parents=True)
    try:
        save_file(weights, building / WEIGHTS, metadata={"format": "pt"})
        (building / TOKENIZER).write_text(json.dumps(tokenizer), encoding="utf-8")
        hashes = {name: _sha256(building / name) for name in _HASHED}
        config = {"format_version": FORMAT_VERSION, **config, "sha256": hashes}
        (building / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (building / CARD).write_text(card, encoding="utf-8")
        shutil.copymode(building / CARD, building / WEIGHTS)  # safetensors lets nobody else read it
        os.replace(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_folder` wrote.

    Returns:
        The weights, on the CPU; and `training.identity.describe_run` of the run.

    Raises:
        ValueError: A file is missing, damaged, or of another version; the message names it.
    """
    config = _read_json(folder / CONFIG)
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(f"{folder / CONFIG} has format version {version}, this program reads {FORMAT_VERSION}")
    try:
        for name in _HASHED:
            if _sha256(folder / name) != config["sha256"][name]:
                raise ValueError(f"{folder / name} is damaged, or of another model than {CONFIG}: export it again")
        weights = load_file(folder / WEIGHTS)
        return weights, config["run"] | {"model": config["model"], "tokenizer": _read_json(folder / TOKENIZER)}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG} does not describe an exported model: {error!r}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} holds no exported model: it has no {path.name}") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: it holds no object")
    return values


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} holds no whole model: it has no {path.name}") from error
