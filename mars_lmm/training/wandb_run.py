"""Weights & Biases: all starts of a run folder are one run there."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from mars_lmm.whole_files import write_text

RUN_ID = "wandb_id"


class RunWandbLogger(WandbLogger):
    """Lightning's logger, with the id that the run folder keeps.

    Lightning makes the Trainer's step the x-axis of all metrics, and W&B counts points by itself: a resumed run that
    begins at an older step adds its points again, where one that gave W&B the step would lose them.

    Args:
        save_dir: The run folder.
        **options: Further arguments of WandbLogger.
    """

    def __init__(self, save_dir: str, **options: Any):
        super().__init__(save_dir=save_dir, **{"id": _run_id(Path(save_dir))} | options)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run in W&B: the next job of a sweep, in this process, is another one."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


def _run_id(folder: Path) -> str | None:
    """The id in the run folder; the first start makes it, before anything else can go wrong."""
    file = folder / RUN_ID
    if rank_zero_only.rank == 0 and not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, secrets.token_hex(8))  # not of the seeded generators: runs with one seed would share it
    return file.read_text() if file.exists() else None
