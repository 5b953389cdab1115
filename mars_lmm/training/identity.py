"""Which run wrote a checkpoint, and whether another run may go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models.checkpoint import VERSION, order_tokenizer
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.training.optimizers import OptimConfig

FIXED = (
    "seed",
    "schedule.warmup_steps",
    "schedule.decay",
    "schedule.decay_fraction",
    "trainer.accumulate_grad_batches",
)
"""Keys of the run config that decide the weights, beside all of `model` and `optim`. The length of the run may change,
and whatever only says where and how it runs; so may `trainer.gradient_clip_val`, which a run that diverged can go on
with a lower one of."""


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
        "address": prepared.address,
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
    a word. So do the seed and the other keys of `FIXED`.

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
    for key in FIXED:
        before, now = (_value(run["config"], key) for run in (saved, current))
        if before != now:
            differences.append(f"{key} was {before}, is {now}")
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


def _value(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None if there is none."""
    return reduce(lambda part, name: part.get(name) if isinstance(part, Mapping) else None, key.split("."), config)
