"""Typed run configurations: what Hydra composes is checked here, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from mars_lmm.data.config import DataConfig
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.simulation.simulate import RolloutConfig
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.schedules import ScheduleConfig

Config = TypeVar("Config")

ALLOWED_TARGETS = ("lightning.", "mars_lmm.", "torch.", "torchmetrics.")


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
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name."""
    logger: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by name."""


@dataclass
class SimulateConfig(RolloutConfig):
    """`simulate.py`: rollouts of a trained model from held-out starts."""

    run: str = MISSING
    """The run folder that train.py wrote."""
    checkpoint: str = "best"
    """Which of its checkpoints: best or last, or a file."""
    device: str = "auto"
    """Where the model runs: auto, cpu or cuda. The books are on the CPU."""


@dataclass
class EvaluateConfig:
    """`evaluate.py`: score a run's simulation and write its report."""

    run: str = MISSING
    """The run folder, with a simulation in it."""


_store = ConfigStore.instance()
for _name, _schema in (("train", TrainConfig), ("simulate", SimulateConfig), ("evaluate", EvaluateConfig)):
    _store.store(name=f"{_name}_schema", node=_schema)


def typed(config: DictConfig, schema: type[Config]) -> Config:
    """The composed configuration as an instance of its schema.

    Raises:
        ConfigCompositionException: A key is unknown (also one added with `+`), missing, or has a bad value.
    """
    _refuse_unknown_keys(config, schema, "")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigCompositionException(f"give a value: {', '.join(f'{key}=...' for key in missing)}")
    try:
        return OmegaConf.to_object(config)
    except ValueError as error:
        raise ConfigCompositionException(str(error)) from error


def _refuse_unknown_keys(config: DictConfig, schema: type, prefix: str) -> None:
    known = {entry.name: entry for entry in fields(schema)}
    for key in config:
        if key not in known:
            raise ConfigCompositionException(f"unknown key {prefix}{key}; {schema.__name__} has {', '.join(known)}")
        nested = known[key].default_factory
        if is_dataclass(nested):
            _refuse_unknown_keys(config[key], nested, f"{prefix}{key}.")


def build(config: dict[str, Any]) -> Any:
    """Instantiate a `_target_` configuration.

    Raises:
        ConfigCompositionException: A target is outside the packages that configurations may name, or its arguments
            do not fit it.
    """
    _check_targets(config)
    try:
        return instantiate(config, _convert_="all")
    except Exception as error:
        raise ConfigCompositionException(f"{config.get('_target_')}: {error}") from error


def _check_targets(config: Any) -> None:
    if isinstance(config, dict):
        target = config.get("_target_", ALLOWED_TARGETS[0])
        if not str(target).startswith(ALLOWED_TARGETS):
            raise ConfigCompositionException(
                f"_target_: {target} is not allowed; a configuration may name {', '.join(ALLOWED_TARGETS)}"
            )
    children = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for child in children:
        _check_targets(child)
