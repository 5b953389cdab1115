"""A whole training run, from nothing or from a checkpoint, down to its `metrics.json`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning as L

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.models.checkpoint import read_checkpoint
from mars_lmm.training.decays import DecayPoints, orders_seen
from mars_lmm.training.order_module import OrderModule
from mars_lmm.whole_files import write_text


class RunMetrics(L.Callback):
    """Follows the best validation and the time spent, across resumes.

    Attributes:
        validation_nats: The lowest nats per order of all validations; None before the first.
    """

    def __init__(self):
        self.validation_nats: float | None = None
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent in training and validation, in this process and those that it resumes."""
        return self._seconds_before + time.monotonic() - self._started

    def on_train_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Start the clock after loaders and model are set up."""
        self._started = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Keep the best validation."""
        if not trainer.sanity_checking:
            nats = trainer.callback_metrics["validation/nats"].item()
            best = self.validation_nats
            self.validation_nats = nats if best is None else min(nats, best)

    def state_dict(self) -> dict[str, float | None]:
        """What a resumed run has to know."""
        return {"validation_nats": self.validation_nats, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Go on from `state_dict`."""
        self.validation_nats = state_dict["validation_nats"]
        self._seconds_before = state_dict["seconds"]


def train(
    module: OrderModule,
    datamodule: OrderDataModule,
    trainer: L.Trainer,
    folder: Path,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Train until the Trainer's `max_steps` and write `metrics.json`, which an interrupted run does not have.

    Args:
        module: Model, optimiser and schedule.
        datamodule: The data.
        trainer: A Trainer with `use_distributed_sampler=False`.
        folder: The run folder, which exists.
        checkpoint: Where to go on from; None starts anew.

    Returns:
        What `metrics.json` holds: the best `validation_nats`, `step`, `orders_seen` (targets of all ranks and
        epochs, on average over rows), `seconds`, `parameters`, and `decays`, what `DecayPoints` took down.

    Raises:
        ValueError: The checkpoint cannot be read, or belongs to another run.
        FloatingPointError: The run diverged (`mars_lmm.training.divergence`).
    """
    if checkpoint is not None:
        read_checkpoint(checkpoint)  # the Trainer would fail without naming the file
    run, decays = RunMetrics(), DecayPoints(folder / "checkpoints")
    trainer.callbacks[:0] = [run, decays]  # before the checkpoints, which hold their state
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    metrics = {
        "validation_nats": run.validation_nats,
        "step": trainer.global_step,
        "orders_seen": orders_seen(trainer),
        "seconds": run.seconds,
        "parameters": module.model.num_parameters(),
        "decays": decays.reached,
    }
    if trainer.is_global_zero:
        write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics
