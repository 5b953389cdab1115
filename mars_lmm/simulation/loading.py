"""A trained model and the data that it starts from, found from a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models.checkpoint import load_order_model, order_tokenizer
from mars_lmm.models.order_model import OrderModel
from mars_lmm.paths import TRAINING_SUMMARY
from mars_lmm.simulation.engine.coding import Coding, coding_of


@dataclass
class Trained:
    """What rollouts are made with.

    Attributes:
        model: In eval mode, on its device.
        coding: How it codes orders.
        prepared: The set that rollouts start from.
        checkpoint: Where the model came from.
    """

    model: OrderModel
    coding: Coding
    prepared: PreparedSet
    checkpoint: Path


def load_trained(
    run: Path | str, checkpoint: str = "best", prepared: Path | str | None = None, device: str = "auto"
) -> Trained:
    """Load what `train.py` wrote, or any checkpoint with any prepared set.

    Args:
        run: The run's folder.
        checkpoint: One of its checkpoints, best or last; or a file, also of an imported model, or an exported folder.
        prepared: A prepared set; None: the one that the run was trained on.
        device: auto, cpu or cuda.

    Raises:
        DataError: Something is not there.
        ValueError: The checkpoint's tokenizer is not the prepared set's, or it was imported without converters.
    """
    run = Path(run)
    summary = run / TRAINING_SUMMARY
    if prepared is None and not summary.exists():
        raise DataError(summary, "no such file: give run=FOLDER of a finished train.py run, or prepared=SET")
    found = PreparedSet.load(prepared or json.loads(summary.read_text())["prepared"])
    named = run / "checkpoints" / f"{checkpoint}.ckpt"
    path = named if named.exists() else Path(checkpoint)
    if not path.exists():
        raise DataError(path, f"no such checkpoint: give checkpoint=best, last or a path; {named} is none")
    model, described = load_order_model(path, found.tokenizer_checksum)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Trained(model.eval().to(device), coding_of(order_tokenizer(described)), found, path)
