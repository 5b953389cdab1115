"""When the newest checkpoint is written, and how: a run that is killed at any time goes on exactly."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from mars_lmm.whole_files import whole_file

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What schedulers and users send to end a run early."""
BATCHES_PER_QUESTION = 16
"""Many ranks ask each other after so many batches whether to save or stop: an answer means to wait for the device."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints in one file that appears whole or not at all.

    Lightning's own goes through the folder for temporary files. Where that is on another disk, the last step is a
    copy, which can be cut off; and the whole checkpoint is held in memory twice.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            torch.save(checkpoint, file)


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: after each validation, at the end, and in between every so many steps or minutes.

    It is written only where a run can go on exactly: right after an optimiser step, and after the validation that is
    due there; and not while it is told to hold back, as `Divergence` does while the loss is suspicious. SIGTERM, SIGINT
    (Ctrl+C) and SIGUSR1 end the run at the next such place with a checkpoint, and an exit status of 128 + the signal's
    number; a second Ctrl+C ends it at once. Many ranks look for time and signals every `BATCHES_PER_QUESTION` batches.

    Args:
        dirpath: The folder of the checkpoint.
        every_n_train_steps: Optimiser steps between checkpoints; None: time alone decides.
        every_n_minutes: Minutes between checkpoints; None: steps alone decide.

    Attributes:
        path: The file.
        hold: Asked before each save; the file stays as it is where the answer is yes.

    Raises:
        ValueError: A number is not above 0.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int | None = None, every_n_minutes: float | None = 10.0):
        for name, value in (("every_n_train_steps", every_n_train_steps), ("every_n_minutes", every_n_minutes)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be above 0, or null")
        self.path = Path(dirpath) / "last.ckpt"
        self.hold: Callable[[], bool] = lambda: False
        self.every_n_train_steps = every_n_train_steps
        self.every_n_minutes = every_n_minutes
        self._signal: int | None = None
        self._saved_at = time.monotonic()
        self._step = 0
        self._unasked = 0  # batches since the ranks asked each other
        self._unlogged: dict[str, Any] | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Listen for signals, and log what the run that is resumed was about to when it wrote its checkpoint."""
        # Instead of Lightning's handlers, which end the run in the middle of an accumulation, or save there. At its end
        # the Trainer puts back what was there before.
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                signal.signal(number, self._take_note)
        self._saved_at = time.monotonic()
        if self._unlogged is not None:
            for logger in trainer.loggers:
                logger.log_metrics(self._unlogged["metrics"], step=self._unlogged["step"])
                logger.save()
        self._unlogged = None

    def on_train_batch_start(self, trainer: L.Trainer, *batch: Any) -> None:
        """Remember the step, to tell which batches complete one."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *batch: Any) -> None:
        """Save if it is time to, and no validation follows: a resumed run would leave that out."""
        self._unasked += 1
        if trainer.fast_dev_run or trainer.global_step == self._step or _validation_follows(trainer):
            return
        steps = self.every_n_train_steps
        ends = trainer.global_step == trainer.max_steps  # without a validation
        due = ends or (steps is not None and trainer.global_step % steps == 0)
        asked = self._is_asked(trainer)
        if due or asked:
            self._unlogged = _about_to_log(trainer)
            self._save(trainer)
            self._unlogged = None
        if asked:
            self._stop_if_told(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save, unless gradients are being accumulated: they are not part of a checkpoint."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if trainer.fast_dev_run or not fitting or trainer.fit_loop._should_accumulate():
            return
        self._save(trainer)
        self._stop_if_told(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What the step that the checkpoint is of logs after it was written."""
        return {"unlogged": self._unlogged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Log that at the start."""
        self._unlogged = state_dict["unlogged"]

    def _is_asked(self, trainer: L.Trainer) -> bool:
        """Whether the time or a signal wants a checkpoint now."""
        if trainer.world_size > 1 and self._unasked < BATCHES_PER_QUESTION:
            return False
        self._unasked = 0
        minutes = self.every_n_minutes
        late = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        # The ranks' clocks differ, and a signal may reach one of them alone; all of them have to save together.
        return trainer.strategy.reduce_boolean_decision(late or self._signal is not None, all=False)

    def _save(self, trainer: L.Trainer) -> None:
        if not self.hold():
            trainer.save_checkpoint(self.path)
            self._saved_at = time.monotonic()

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
            print("\nstopping after this step; once more to stop at once", file=sys.stderr)

    def _stop_if_told(self, trainer: L.Trainer) -> None:
        if not trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False):
            return
        number = self._signal or signal.SIGTERM
        if trainer.is_global_zero:
            name = signal.Signals(number).name
            print(f"\n{name}: stopped at step {trainer.global_step:,}; the same command goes on", file=sys.stderr)
        raise SystemExit(128 + number)


def _validation_follows(trainer: L.Trainer) -> bool:
    """Whether the Trainer validates after this batch; the last step's validation is asked for later, by the module."""
    loop = trainer.fit_loop.epoch_loop
    if trainer.global_step == trainer.max_steps:
        return loop._should_check_val_epoch()
    return loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def _about_to_log(trainer: L.Trainer) -> dict[str, Any] | None:
    """What the Trainer logs of this batch once its callbacks are through, if it does."""
    connector = trainer._logger_connector
    if not connector.should_update_logs:
        return None
    metrics = {name: value.item() for name, value in connector.metrics["log"].items()}
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    return {"step": step, "metrics": metrics | {"epoch": trainer.current_epoch}}
