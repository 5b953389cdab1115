"""Which run wrote a checkpoint, and whether another run may go on from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models.checkpoint import VERSION, order_tokenizer
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.training.optimizers import OptimConfig


def describe_run(
    config: dict[str, Any], model: OrderModelConfig, optim: OptimConfig, prepared: PreparedSet
) -> dict[str, Any]:
    """The value of a checkpoint's `KEY`: plain values that rebuild the model and tell one run from another.

    Args:
        config: The resolved run config.
        model: Shape of the model.
        optim: Hyper-parameters of the optimiser.
        prepared: The training data.
    """
    return {
        "version": VERSION,
        "config": config,
        "model": asdict(model),
        "optim": asdict(optim),
        "tokenizer": prepared.tokenizer().to_dict(),
        "fingerprint": prepared.fingerprint,
        "cutoff": prepared.cutoff,
        "data": describe_data(prepared),
    }


def describe_data(prepared: PreparedSet) -> dict[str, Any]:
    """What a prepared set is made of, in few plain values."""
    return {
        "feeds": [feed["feed"] for feed in prepared.recipe["settings"]["feeds"]],
        "symbols": sorted({session["symbol"] for session in prepared.sessions}),
        "days": sorted({session["date"] for session in prepared.sessions}),
        "sessions": len(prepared.sessions),
        "orders": {split: counts["orders"] for split, counts in prepared.splits.items()},
    }


def check_resume(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuse to go on with anything but the run that wrote the checkpoint.

    The optimiser counts too: its settings are restored with its state, so other ones would be ignored without
    a word. The length of the run may change.

    Args:
        saved: `describe_run` of the checkpoint.
        current: `describe_run` of this run.

    Raises:
        ValueError: They differ; the message says in what.
    """
    differences = [
        f"{name}.{field} was {saved[name].get(field)}, is {value}"
        for name in ("model", "optim")
        for field, value in current[name].items()
        if saved[name].get(field) != value
    ]
    if saved["fingerprint"] != current["fingerprint"]:
        differences.insert(0, f"the data was {saved['fingerprint']}, is {current['fingerprint']}")
    if saved["tokenizer"] != current["tokenizer"]:
        checksums = [order_tokenizer(run).checksum for run in (saved, current)]
        differences.insert(0, "the tokenizer was {}, is {}".format(*checksums))
    if differences:
        raise ValueError(
            f"cannot resume, the checkpoint belongs to another run: {'; '.join(differences)}. "
            "Give this run the checkpoint's data and settings, or start a new one without a checkpoint"
        )
