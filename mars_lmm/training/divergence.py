"""Stops a run that has diverged, and keeps what it had learnt before.

A loss that is not finite is one case, a loss that stays far above its past for many steps in a row the other. The
losses of large models spike now and then: PaLM's did about twenty times (Chowdhery et al. 2022, section 5.1). OLMo 2
counts what is seven standard deviations away from the mean of the last thousand steps (OLMo team 2025, arXiv
2501.00656); OLMo-core passes over steps that are six away, out of the last 128. Here the window is the shorter one,
and median and median absolute deviation stand for mean and deviation, which a spike would raise itself.
"""

from __future__ import annotations

import math
import os
from collections import deque
from statistics import median
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, stack

from mars_lmm.training.checkpoints import LastCheckpoint
from mars_lmm.training.norms import all_finite
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.schedules import ScheduleConfig, decay_progress

MAD_TO_STD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
STEPS_PER_CHECK = 16
"""On an accelerator losses stay on the device for so many steps: to read one means to wait for it."""
ADVICE = (
    "start anew (fresh=true) with a lower optim.learning_rate or a longer schedule.warmup_steps, or go on from there "
    "with a lower trainer.gradient_clip_val"
)


class Divergence(L.Callback):
    """Raises FloatingPointError on a loss that is not finite, or far above its past for too long.

    The loss is that of an optimiser step, over its batches and ranks, so that all ranks stop together. Losses and
    weights are also checked before each validation and each checkpoint: none is written of a state that is not finite.
    `LastCheckpoint` is held back while the loss is suspicious, so that it is from before when the run is stopped; not
    at the end of a run, where nothing comes after that could tell.

    Args:
        factor: A loss is suspicious above the median of the window by this many standard deviations.
        window: Losses that it is compared with: the last ones after the warm-up that were not suspicious. Those of a
            decay of wsd are left out, as the loss rises again with the learning rate after it.
        patience: Suspicious steps in a row that stop the run.
    """

    def __init__(self, factor: float = 7.0, window: int = 128, patience: int = 50):
        if factor <= 0:
            raise ValueError(f"factor is {factor}; it must be above 0")
        if window < 2 or patience < 1:
            raise ValueError(f"window is {window} and patience {patience}; they must be at least 2 and 1")
        self.factor = factor
        self.patience = patience
        self._window: deque[float] = deque(maxlen=window)
        self._above = 0
        self._batches: list[Tensor] = []
        self._pending: list[tuple[int, list[Tensor]]] = []
        self._step = 0
        self._verdict: str | None = None
        self._trainer: L.Trainer | None = None

    def setup(self, trainer: L.Trainer, module: OrderModule, stage: str) -> None:
        """Know the trainer, as `state_dict` is not told it, and hold the last checkpoint back when need be."""
        self._trainer = trainer
        for last in _last_checkpoints(trainer):
            last.hold = self._is_suspicious

    def on_train_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Count from the step that the run goes on from."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, module: OrderModule, outputs: Any, *batch: Any) -> None:
        """Take down the loss, and read it now and then."""
        self._batches.append(outputs["loss"])
        if trainer.global_step == self._step:
            return  # gradients accumulate
        self._pending.append((self._step, self._batches))
        self._step, self._batches = trainer.global_step, []
        if trainer.strategy.root_device.type == "cpu" or self._step % STEPS_PER_CHECK == 0:
            self._read()

    def on_validation_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Find out before the validation and the checkpoints after it."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._check()

    def on_train_end(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Read the last losses."""
        self._check()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know.

        Raises:
            FloatingPointError: The state that is about to be saved is not finite, or part of a divergence.
        """
        self._check()
        return {"window": list(self._window), "above": self._above}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._window.extend(state_dict["window"])
        self._above = state_dict["above"]

    def _is_suspicious(self) -> bool:
        self._read()
        return self._above > 0 and self._step < self._trainer.max_steps

    def _check(self) -> None:
        self._read()
        if not all_finite(self._trainer.lightning_module.parameters()):
            self._stop(f"the weights are not finite after step {self._step - 1}")

    def _read(self) -> None:
        """Judge the losses that wait on the device."""
        if self._verdict is not None:
            raise FloatingPointError(self._verdict)
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        losses = stack([loss for _, batches in pending for loss in batches])
        # Lightning divides each batch's loss by the number that accumulate; an epoch's last step may have fewer.
        losses = self._trainer.strategy.reduce(losses * self._trainer.accumulate_grad_batches, reduce_op="mean")
        values = iter(losses.tolist())
        for step, batches in pending:
            self._judge(step, sum(next(values) for _ in batches) / len(batches))

    def _judge(self, step: int, loss: float) -> None:
        schedule: ScheduleConfig = self._trainer.lightning_module.schedule
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss} at step {step}")
        if step < schedule.warmup_steps:
            return
        if len(self._window) == self._window.maxlen:
            threshold = self._threshold()
            if loss > threshold:
                self._above += 1
                if self._above == self.patience:
                    self._stop(
                        f"the loss has been above {threshold:.4g} for {self.patience} steps, and is {loss:.4g} at "
                        f"step {step}; before, it was {median(self._window):.4g}"
                    )
                return
        self._above = 0
        if schedule.decay != "wsd" or decay_progress(step, schedule) == 0:
            self._window.append(loss)

    def _threshold(self) -> float:
        middle = median(self._window)
        return middle + self.factor * MAD_TO_STD * median(abs(loss - middle) for loss in self._window)

    def _stop(self, found: str) -> None:
        # Kept: whatever tries to save this state later, such as a checkpoint on an exception, fails too.
        self._verdict = f"{found}; {_last_good(self._trainer)}: {ADVICE}"
        raise FloatingPointError(self._verdict)


def _last_good(trainer: L.Trainer) -> str:
    paths = [callback.path for callback in _last_checkpoints(trainer) if callback.path.exists()]
    return f"{os.path.relpath(paths[0])} is from before" if paths else "no checkpoint was written before"


def _last_checkpoints(trainer: L.Trainer) -> list[LastCheckpoint]:
    return [callback for callback in trainer.callbacks if isinstance(callback, LastCheckpoint)]
