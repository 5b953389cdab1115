"""What `evaluate.py` is told: which run to score, on what, and against whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from mars_lmm.evaluation.trajectories import SIMULATION
from mars_lmm.simulation.config import RolloutConfig

ALL = "all"
TASKS = ("facts", "lob_bench", "table7", "likelihood")
FITTED_ONCE = {"noise": "Noise agent", "cst": "Cont-Stoikov-Talreja", "hawkes": "Hawkes", "bootstrap": "Bootstrap"}
RECENT = "_recent"
BASELINES = FITTED_ONCE | {name + RECENT: f"{FITTED_ONCE[name]}, recent" for name in FITTED_ONCE if name != "noise"}
"""Order flows that trade instead of the model, and what results call them. Recent ones are fitted to the last orders
before each start, the others to the training part."""
TO_HALVE = BASELINES["cst"]
"""Half of this one's distance is what is asked of a trained model."""


@dataclass
class EvaluatedRollouts(RolloutConfig):
    """Rollouts enough to be judged."""

    starts: int = 16
    minutes: float = 10.0
    continuous: bool = True


@dataclass
class EvaluateConfig:
    """`evaluate.py`: score a run's simulation and write its report."""

    run: str = MISSING
    """The run folder. Where it holds no finished simulation, one is made."""
    task: str = ALL
    """facts, lob_bench, table7, likelihood, or all of them."""
    checkpoint: str | None = None
    """Of the run, best or last; or a path, as in simulate.py. By default the simulation's; best where there is none."""
    prepared: str | None = None
    """The prepared set that starts are in; by default the simulation's."""
    simulation: EvaluatedRollouts = field(default_factory=EvaluatedRollouts)
    """Which rollouts to make where the run has no finished simulation. The baselines' are of the same starts, number
    and length as the model's."""
    baselines: list[str] = field(default_factory=lambda: list(FITTED_ONCE))
    """Whose rollouts the model's are compared with: noise, cst, hawkes, bootstrap, cst_recent, hawkes_recent,
    bootstrap_recent. They are made in RUN/baselines."""
    models: list[str] = field(default_factory=list)
    """Folders of other runs, whose finished simulations from the same starts are scored beside this one's."""
    levels: int | None = None
    """How many levels of the book count; by default those that the feed shows, ten at most."""
    replicates: int = 100
    """Of LOB-Bench's bootstrap."""
    seed: int = 0
    """Decides what is drawn for intervals and tests."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of lightning.Trainer: which device makes rollouts and reads orders."""

    def __post_init__(self):
        if self.task not in (*TASKS, ALL):
            raise ValueError(f"task={self.task!r}: choose {', '.join(TASKS)} or {ALL}")
        for name in self.baselines:
            if name not in BASELINES:
                raise ValueError(f"baselines: {name!r} is unknown; choose from {', '.join(BASELINES)}")
        if self.replicates < 1 or (self.levels is not None and not 1 <= self.levels <= 10):
            raise ValueError(f"replicates={self.replicates}, levels={self.levels}: give 1 or more, and levels up to 10")

        names = [SIMULATION, *(BASELINES[name] for name in self.baselines), *(Path(run).name for run in self.models)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(
                f"baselines, models: two sources are called {twice}; name each once, by a folder of its own"
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks to do."""
        return TASKS if self.task == ALL else (self.task,)
