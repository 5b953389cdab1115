"""Typed run configurations: what Hydra composes is checked here, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from mars_lmm.data.config import DataConfig
from mars_lmm.data.market import load_rules
from mars_lmm.evaluation.config import EvaluateConfig
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.models.precision import PRECISIONS
from mars_lmm.simulation.config import SESSION_RULES, VENUE_RULES, RolloutConfig
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.parallelize import ExecutionConfig
from mars_lmm.training.schedules import ScheduleConfig


@dataclass
class TrainConfig:
    """`train.py`: prepare data, train an order model."""

    name: str = MISSING
    """The run: its folder is outputs/NAME."""
    seed: int = 0
    """Seed of the weights and of the order of rows."""
    fresh: bool = False
    """Forget what the run folder holds; otherwise the same command goes on with the last checkpoint."""
    data: DataConfig = field(default_factory=DataConfig)
    """The data."""
    model: OrderModelConfig = field(default_factory=OrderModelConfig)
    """The network."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Length of the run and learning rate."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of lightning.Trainer."""
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """Compilation, recomputation and sharding."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name."""
    logger: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by name."""

    def __post_init__(self):
        if self.model.embedding != "orders":
            raise ValueError(
                f"model.embedding={self.model.embedding}: imported MarS models read other features than prepared sets "
                "hold; train with model.embedding=orders"
            )


@dataclass
class SimulateConfig(RolloutConfig):
    """`simulate.py`: rollouts of a trained model from held-out starts."""

    run: str = MISSING
    """The run folder that train.py wrote; with `prepared`, any folder to write to."""
    checkpoint: str = "best"
    """Which of its checkpoints: best or last; or a file, also of an imported model, or an exported folder."""
    prepared: str | None = None
    """The prepared set to start from; by default the one that the run was trained on."""
    precision: str = "float32"
    """Of the weights: float32, bfloat16, or int8 or float8 for the blocks' matrices. What it does to the loss is
    measured and told."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of lightning.Trainer: which devices make the rollouts."""

    def __post_init__(self):
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: choose {', '.join(PRECISIONS)}")
        if self.rules not in (SESSION_RULES, VENUE_RULES):
            load_rules(self.rules)


_store = ConfigStore.instance()
for _name, _schema in (("train", TrainConfig), ("simulate", SimulateConfig), ("evaluate", EvaluateConfig)):
    _store.store(name=f"{_name}_schema", node=_schema)
