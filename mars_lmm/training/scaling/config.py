"""What a ladder is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass
class SizeConfig:
    """One size of model."""

    name: str = MISSING
    """What the size is called in tables and folders."""
    overrides: list[str] = field(default_factory=list)
    """What makes the size, as on the command line of train.py: [model.width=64, model.layers=4, ...]."""
    learning_rate: float | None = None
    """Full learning rate; null: the ladder's."""
    batch_size: int | None = None
    """Rows in a batch; null: the ladder's."""


@dataclass
class ScalingConfig:
    """`python -m mars_lmm.training.scaling`: train sizes x budgets x seeds, one process each, and fit the law."""

    name: str = MISSING
    """The ladder: its folder is outputs/scaling/NAME."""
    base: list[str] = field(default_factory=list)
    """What all runs share, as on the command line of train.py: [data=..., model.window=256, ...]."""
    sizes: list[SizeConfig] = MISSING
    """Sizes of model."""
    budgets: list[int] = MISSING
    """Orders to train on: D."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of the weights and of the order of rows."""
    learning_rate: float | None = None
    """Full learning rate of sizes that name none; null: by the size, `rules.learning_rate`."""
    batch_size: int | None = None
    """Rows in a batch of sizes that name none; null: by the size, `rules.batch_orders`."""
    warmup: float = 0.05
    """Share of each run's steps over which the learning rate rises."""
    validations: int = 1
    """Validations of a run, evenly spaced, the last one at its end; a killed run goes on from the newest."""
    max_epochs: float = 4.0
    """How often a budget may go through the training split, at most (Muennighoff et al. 2023: up to four passes are
    worth nearly as much as new data)."""
    parallel: int = 1
    """Runs at a time; each gets its share of the CPU's cores."""
    resamples: int = 1000
    """Bootstrap resamples."""
    dry_run: bool = False
    """Print the plan and stop."""

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name={self.name!r} has to be the name of a folder: letters, digits, . _ -")
        for what, values in (
            ("sizes", [size.name for size in self.sizes]),
            ("budgets", self.budgets),
            ("seeds", self.seeds),
        ):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{what}={values}: name at least one, and none of them twice")
        for size in self.sizes:
            if not _NAME.fullmatch(size.name):
                raise ValueError(f"sizes: {size.name!r} becomes part of a folder's name: use letters, digits, . _ -")
        for what, value in (("budgets", min(self.budgets)), ("parallel", self.parallel), ("resamples", self.resamples)):
            if value < 1:
                raise ValueError(f"{what}: {value} is too small")
        if not 0 <= self.warmup < 1 or self.validations < 1 or self.max_epochs <= 0:
            raise ValueError(
                f"warmup={self.warmup} has to be in [0, 1), validations={self.validations} at least 1 and "
                f"max_epochs={self.max_epochs} above 0"
            )


ConfigStore.instance().store(name="scaling_schema", node=ScalingConfig)
