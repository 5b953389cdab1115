"""A whole training run, from nothing or from a checkpoint, down to its `metrics.json`."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.models.checkpoint import read_checkpoint
from mars_lmm.training.checkpoints import WholeCheckpointIO
from mars_lmm.training.curves import CURVES, ROWS
from mars_lmm.training.decays import DecayPoints, orders_of_row, orders_seen
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.provenance import RESOLVED, RUN, record_start
from mars_lmm.training.wandb_run import RUN_ID
from mars_lmm.whole_files import PARTIAL, write_text

CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"
METRICS = "metrics.json"
VALIDATION = "validation/"
NATS = "validation/nats"


class RunMetrics(L.Callback):
    """Follows the validations, the orders seen and the time spent, across resumes.

    Logs `orders_seen` beside whatever else is logged, as an x-axis.

    Attributes:
        best: All `validation/*` metrics of the validation with the lowest nats per order; None before the first.
        final: Those of the newest validation.
    """

    def __init__(self):
        self.best: dict[str, float] | None = None
        self.final: dict[str, float] | None = None
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent in training and validation, in this process and those that it resumes."""
        return self._seconds_before + time.monotonic() - self._started

    def on_train_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Start the clock after loaders and model are set up."""
        self._started = time.monotonic()

    def on_train_batch_start(self, trainer: L.Trainer, *batch: Any) -> None:
        """Put right what loggers are told of a resumed run.

        The Trainer forgets an epoch that it resumed at the very end of, and a step if the last run ended after it.
        """
        loop = trainer.fit_loop
        epoch = loop.total_batch_idx // trainer.num_training_batches
        for progress in (loop.epoch_progress.total, loop.epoch_progress.current):
            progress.ready = progress.started = epoch + 1
            progress.processed = progress.completed = epoch
        loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, module: OrderModule, *batch: Any) -> None:
        """Log how far the run has come."""
        self._log_orders(trainer, module)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Log how far the run had come."""
        if not trainer.sanity_checking:
            self._log_orders(trainer, module)

    def _log_orders(self, trainer: L.Trainer, module: OrderModule) -> None:
        # In float32 neighbouring numbers above 16 million could not be told apart.
        seen = torch.tensor(orders_seen(trainer), dtype=torch.float64)
        module.log("orders_seen", seen, rank_zero_only=True)

    def on_validation_end(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Keep the best validation and the newest."""
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics.items()
            self.final = {name: value.item() for name, value in metrics if name.startswith(VALIDATION)}
            if self.best is None or self.final[NATS] < self.best[NATS]:
                self.best = self.final

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"best": self.best, "final": self.final, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.best, self.final = state_dict["best"], state_dict["final"]
        self._seconds_before = state_dict["seconds"]


def train(
    module: OrderModule,
    datamodule: OrderDataModule,
    trainer: L.Trainer,
    folder: Path,
    checkpoint: Path | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Train until the Trainer's `max_steps`; write `run.json` first and `metrics.json` last.

    An interrupted run has no `metrics.json`.

    Args:
        module: Model, optimiser and schedule.
        datamodule: The data.
        trainer: A Trainer with `use_distributed_sampler=False`.
        folder: The run folder.
        checkpoint: Where to go on from; None starts anew.
        command: The command line that repeats it.

    Returns:
        What `metrics.json` holds; see docs/training.md.

    Raises:
        ValueError: The checkpoint cannot be read, or belongs to another run.
        FloatingPointError: The run diverged (`mars_lmm.training.divergence`).
    """
    # Read here first, for the Trainer would fail without naming the file.
    step = None if checkpoint is None else read_checkpoint(checkpoint)["global_step"]
    if trainer.is_global_zero:
        (folder / METRICS).unlink(missing_ok=True)
        for partial in (folder / CHECKPOINTS).glob(f"*{PARTIAL}"):
            partial.unlink()
    module.run["provenance"] = record_start(folder, module.run, trainer, step, command)
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpointIO()
    run, decays = RunMetrics(), DecayPoints(folder / CHECKPOINTS)
    trainer.callbacks[:0] = [run, decays]  # before the checkpoints, which hold their state
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    metrics = _describe_result(module, datamodule, trainer, run) | {"decays": decays.reached}
    if trainer.is_global_zero:
        write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    return metrics


def _describe_result(
    module: OrderModule, datamodule: OrderDataModule, trainer: L.Trainer, run: RunMetrics
) -> dict[str, Any]:
    prepared = datamodule.prepared
    seen = orders_seen(trainer)
    rows_of_step = trainer.train_dataloader.batch_sampler.global_batch * trainer.accumulate_grad_batches
    return {
        "name": module.run["config"].get("name"),
        "validation_nats": None,
        "final_validation_nats": None,
        **{name.replace("/", "_"): value for name, value in (run.best or {}).items()},
        **{f"final_{name.replace('/', '_')}": value for name, value in (run.final or {}).items()},
        "step": trainer.global_step,
        "orders_seen": seen,
        "batch_orders": rows_of_step * orders_of_row(prepared),
        "sequence_length": prepared.row_length,
        "flops": module.model.flops_per_token(prepared.row_length) * seen,
        "parameters": module.model.num_parameters(),
        "learning_rate": module.optim.learning_rate,
        "seconds": run.seconds,
        "data_fingerprint": prepared.fingerprint,
    }


def forget(folder: Path) -> None:
    """Remove what training has left in a run folder, so that the next start is the first."""
    for name in (CHECKPOINTS, ROWS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (CURVES, METRICS, RESOLVED, RUN, RUN_ID, *(file.name for file in folder.glob("run.*.diff"))):
        (folder / name).unlink(missing_ok=True)
