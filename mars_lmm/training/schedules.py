"""Learning rates as pure functions of the optimiser step."""

from __future__ import annotations

import math
from dataclasses import dataclass

DECAYS = ("cosine", "linear")


@dataclass
class ScheduleConfig:
    """Length of a run, and how the learning rate moves over it."""

    max_steps: int = 10_000
    """Optimiser steps of the run; the learning rate reaches zero there."""
    warmup_steps: int = 200
    """Steps over which the learning rate rises linearly to its full value."""
    decay: str = "cosine"
    """How it falls from there: "cosine" or "linear"."""

    def __post_init__(self):
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at least 0 and below max_steps ({self.max_steps})"
            )
        if self.decay not in DECAYS:
            raise ValueError(f"decay is {self.decay!r}; choose one of {', '.join(DECAYS)}")


def learning_rate_factor(step: int, schedule: ScheduleConfig) -> float:
    """What the full learning rate is multiplied by.

    Args:
        step: Optimiser steps taken so far.
        schedule: The schedule.

    Returns:
        (step + 1) / warmup_steps while warming up, then from 1 down to 0 at `max_steps`, and 0 from there on.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    progress = min(1.0, (step - schedule.warmup_steps) / (schedule.max_steps - schedule.warmup_steps))
    if schedule.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress
