"""The checkpoint that a run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: that of the newest validation.

    Args:
        dirpath: The folder of the checkpoint.

    Attributes:
        path: The file.
        hold: Asked before each save; the file stays as it is where the answer is yes.
    """

    def __init__(self, dirpath: str | Path):
        self.path = Path(dirpath) / "last.ckpt"
        self.hold: Callable[[], bool] = lambda: False

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not trainer.fast_dev_run and not self.hold():
            trainer.save_checkpoint(self.path, weights_only=False)
