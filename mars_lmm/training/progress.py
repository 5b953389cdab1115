"""A progress bar over the steps of a run, whatever its epochs."""

from __future__ import annotations

from typing import Any

import lightning as L
from tqdm import tqdm


class StepProgress(L.Callback):
    """One bar from the first to the last step, with the latest losses; validation shows a bar of its own."""

    def __init__(self):
        self._train: tqdm | None = None
        self._validation: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Open the bar where the run stands."""
        shown = trainer.is_global_zero
        self._train = tqdm(
            total=trainer.max_steps, initial=trainer.global_step, desc="train", unit="step", disable=not shown
        )

    def on_train_batch_end(self, trainer: L.Trainer, *batch: Any) -> None:
        """Move the bar, and show the losses as often as they are logged: to read one is to wait for the device."""
        steps = trainer.global_step - self._train.n  # none while gradients accumulate
        self._train.update(steps)
        if steps and trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:
            self._show_losses(trainer)

    def _show_losses(self, trainer: L.Trainer) -> None:
        losses = {name: trainer.callback_metrics.get(f"{name}/nats") for name in ("train", "validation")}
        self._train.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items() if loss is not None})

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Open a bar for this validation."""
        shown = trainer.is_global_zero
        self._validation = tqdm(
            total=sum(trainer.num_val_batches), desc="validate", unit="batch", leave=False, disable=not shown
        )

    def on_validation_batch_end(self, *batch: Any) -> None:
        """Move the validation's bar."""
        self._validation.update()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the validation's bar."""
        self._validation.close()
        self._show_losses(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the bar."""
        self._train.close()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Close what is open, so that the message has a line of its own."""
        for bar in (self._validation, self._train):
            if bar is not None:
                bar.close()
