"""Batches of rollouts through Lightning's predict loop: every process makes its share and writes it itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch.utils.data import DataLoader

from mars_lmm.models.order_model import OrderModel
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.engine.rollout_engine import RolloutEngine
from mars_lmm.simulation.output.recording import record_batch
from mars_lmm.simulation.running.identity import identity
from mars_lmm.simulation.running.lowering import LOSS, Lowering
from mars_lmm.simulation.running.plan import Plan, Work
from mars_lmm.simulation.running.progress import SimulationProgress
from mars_lmm.simulation.starts.start import Start
from mars_lmm.whole_files import write_text

COUNTS = "counts.json"


@dataclass
class Scenario:
    """All that a batch of rollouts is made from.

    Attributes:
        config: Which rollouts, settled.
        coding: How orders are coded.
        starts: Where they begin.
        end_times: int64[N], when those of each start end.
        order_limit: Accepted orders after which a rollout ends.
        watched: Starts whose first rollout's depth is recorded.
        seats: The agents.
    """

    config: RolloutConfig
    coding: Coding
    starts: Sequence[Start]
    end_times: np.ndarray
    order_limit: int
    watched: Sequence[int]
    seats: Sequence[SeatPlan]

    def engine(self, model: OrderModel, start: np.ndarray, rollout: np.ndarray) -> RolloutEngine:
        """The engine of a batch, before its first step."""
        engine = make_engine(self.config, model, self.coding, self.starts, start, rollout, self.order_limit, self.seats)
        engine.progress[:, c.END_TIME] = torch.from_numpy(self.end_times[start]).to(engine.progress.device)
        return engine


class RolloutModule(L.LightningModule):
    """Makes the batches that are missing.

    Args:
        model: The model as it was trained.
        scenario: What to make.
        plan: Which rollouts make a batch.
        work: Where the batches go.
        lowering: The precision of the weights.
    """

    def __init__(self, model: OrderModel, scenario: Scenario, plan: Plan, work: Work, lowering: Lowering):
        super().__init__()
        # Where fewer batches are missing than there are processes, some have nothing to do.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.model = model
        self._scenario, self._plan, self._work, self._lowering = scenario, plan, work, lowering
        self._numbers: list[int] = []
        self._progress: SimulationProgress | None = None

    def setup(self, stage: str) -> None:
        """Find the batches that are missing, and share them out between the processes."""
        strategy, scenario = self.trainer.strategy, self._scenario
        if self.trainer.is_global_zero:
            about = scenario.coding, scenario.starts, scenario.end_times, scenario.seats
            precision, device = self._lowering.precision, strategy.root_device.type
            self._work.begin(identity(scenario.config, precision, device, self.model, *about))
        # What rank 0 finds counts: others might look when it is further already.
        missing = strategy.broadcast(self._work.missing() if self.trainer.is_global_zero else [])
        processes = self.trainer.world_size
        self._numbers = missing[self.trainer.global_rank :: processes]
        if self.trainer.is_global_zero and 0 < len(missing) < processes:
            print(
                f"warning: {len(missing)} batches are to make and there are {processes} processes: some have nothing "
                f"to do; a smaller books_at_once than {scenario.config.books_at_once} makes more batches",
                file=sys.stderr,
            )

    def predict_dataloader(self) -> DataLoader:
        """The numbers of this process's batches."""
        return DataLoader(self._numbers, batch_size=None)

    def on_predict_start(self) -> None:
        """Lower the weights, now that they are on their device, and show the line."""
        if self._lowering.lowers:
            lowered = self._lowering.lower(self.model)
            # The first batch is rank 0's, so that its price is known before any simulation is whole.
            if self.trainer.is_global_zero:
                write_text(self._work.folder / LOSS, json.dumps(self._lowering.price(self.model, lowered)))
            self.model = lowered
        rollouts = sum(len(self._plan.batch(number)[0]) for number in self._numbers)
        shared = self.trainer.world_size, self.trainer.is_global_zero
        self._progress = SimulationProgress(rollouts, self._scenario.config.minutes, *shared)

    def predict_step(self, number: int, index: int) -> int:
        """Make a batch; returns its number, which tells the Trainer that it is done."""
        began = time.perf_counter()
        start, rollout = self._plan.batch(number)
        watched = np.flatnonzero((rollout == 0) & np.isin(start, self._scenario.watched)).tolist()
        try:
            engine = self._scenario.engine(self.model, start, rollout)
            self._progress.begin_batch(engine)
            with self._work.whole_folder(self._work.part(number)) as folder:
                counts = record_batch(engine, start, rollout, watched, folder, self._progress.chunk)
                counts["seconds"] = time.perf_counter() - began
                (folder / COUNTS).write_text(json.dumps(counts))
        except BaseException:
            self._progress.close()  # so that the message has a line of its own
            raise
        return number

    def on_predict_end(self) -> None:
        """Close the line."""
        self._progress.close()


def default_trainer(**settings: Any) -> L.Trainer:
    """A Trainer for one device that leaves nothing on the disk."""
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler"),
        False,
    )
    return L.Trainer(**({"devices": 1, "inference_mode": False} | quiet | settings))


def check_trainer(trainer: L.Trainer) -> None:
    """Refuse settings that rollouts cannot keep.

    Raises:
        ValueError: The Trainer casts, cuts models up, leaves batches out, or shares them out itself.
    """
    if trainer.precision != "32-true":
        raise ValueError(f"trainer.precision={trainer.precision}: choose the weights of rollouts with precision=...")
    if type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy):
        raise ValueError(
            f"trainer.strategy: {type(trainer.strategy).__name__} shares a model out, and each process rolls out with "
            "a whole one: use trainer.strategy=auto or ddp"
        )
    # 1.0 means all batches, and 1 a single one.
    if isinstance(trainer.limit_predict_batches, int) or trainer.limit_predict_batches != 1.0:
        raise ValueError(
            f"trainer.limit_predict_batches={trainer.limit_predict_batches}: a simulation is made whole; for a smaller "
            "one use starts=..., rollouts=... or minutes=..."
        )
    if trainer._accelerator_connector.use_distributed_sampler:
        raise ValueError(
            "trainer.use_distributed_sampler=true: batches are shared out by what is missing; leave it off"
        )
