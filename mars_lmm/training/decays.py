"""What a run has learnt whenever its learning rate has fallen to zero: one run, several budgets of orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from mars_lmm.data.prepared import TRAIN, PreparedSet
from mars_lmm.training.order_module import OrderModule


class DecayPoints(L.Callback):
    """Validates at each of the schedule's `decay_ends`, whatever `trainer.val_check_interval` is, and takes it down.

    With decay="wsd" each of these states is kept in a checkpoint of its own, decay-STEP.ckpt. The callback has to
    stand before those that write the checkpoint to resume from: once that is there, so is this one's.

    Args:
        folder: Where the checkpoints are written.

    Attributes:
        reached: Of each point reached so far its `step`, `orders_seen` and `validation_nats`; without validation none.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.reached: list[dict[str, Any]] = []
        self._interval: int | float | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *batch: Any) -> None:
        """Go back to the usual interval of validations."""
        if self._interval is not None:
            trainer.val_check_batch, self._interval = self._interval, None

    def on_train_batch_end(self, trainer: L.Trainer, module: OrderModule, *batch: Any) -> None:
        """Have a decay point validated after this batch."""
        if self._is_due(trainer, module):
            self._interval, trainer.val_check_batch = trainer.val_check_batch, 1

    def on_validation_end(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Take a decay point down, and keep its state."""
        if trainer.sanity_checking or not self._is_due(trainer, module):
            return
        self.reached.append(
            {
                "step": trainer.global_step,
                "orders_seen": orders_seen(trainer),
                "validation_nats": trainer.callback_metrics["validation/nats"].item(),
            }
        )
        if module.schedule.decay == "wsd":
            trainer.save_checkpoint(self.folder / f"decay-{trainer.global_step}.ckpt", weights_only=False)

    def _is_due(self, trainer: L.Trainer, module: OrderModule) -> bool:
        step = trainer.global_step
        return step in module.schedule.decay_ends and all(point["step"] != step for point in self.reached)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"reached": self.reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.reached = list(state_dict["reached"])


def orders_seen(trainer: L.Trainer) -> int:
    """Targets trained on so far, of all ranks and epochs, at the mean of a row."""
    return round(trainer.train_dataloader.samples_consumed * orders_of_row(trainer.datamodule.prepared))


def orders_of_row(prepared: PreparedSet) -> float:
    """Mean number of targets of a training row."""
    train = prepared.splits[TRAIN]
    return train["orders"] / train["rows"]
