"""What a Trainer and the other settings of a run have to agree on."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.parallelize import ExecutionConfig
from mars_lmm.training.schedules import ScheduleConfig


def check_agreement(
    trainer: L.Trainer, optim: OptimConfig, schedule: ScheduleConfig, execution: ExecutionConfig
) -> None:
    """Refuse settings that do not go together; needs neither data nor model.

    The Trainer has to stop with the schedule: without `max_steps` it also forgets the loader's state on a resume at the
    end of an epoch.

    Raises:
        ValueError: The Trainer does not stop with the schedule; Muon was asked for where a rank holds only a part of
            each matrix, or a dtype of shards where there are none.
    """
    if not 0 < trainer.max_steps <= schedule.max_steps:
        raise ValueError(
            f"the Trainer's max_steps is {trainer.max_steps}, the schedule ends at {schedule.max_steps} steps: set "
            "trainer.max_steps = schedule.max_steps"
        )
    strategy = trainer.strategy
    if optim.name == "muon" and type(strategy) not in (SingleDeviceStrategy, DDPStrategy):
        raise ValueError(
            f"optim=muon needs whole matrices, and {type(strategy).__name__} may share them out between ranks: use DDP "
            "or optim=adamw"
        )
    if execution.sharded_dtype != ExecutionConfig.sharded_dtype and not isinstance(strategy, ModelParallelStrategy):
        raise ValueError(
            f"execution.sharded_dtype={execution.sharded_dtype} needs sharded weights: add trainer=fsdp, or set "
            "trainer.precision instead"
        )
