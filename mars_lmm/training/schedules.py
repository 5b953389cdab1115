"""Learning rates as pure functions of the optimiser step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

DECAYS = ("cosine", "linear", "wsd")


@dataclass
class ScheduleConfig:
    """Length of a run, and how the learning rate moves over it."""

    max_steps: int = 10_000
    """Optimiser steps of the run; the learning rate reaches zero there."""
    warmup_steps: int = 200
    """Steps over which the learning rate rises linearly to its full value."""
    decay: str = "cosine"
    """How it falls from there: "cosine" or "linear" over the whole run, or "wsd": it stays full, and falls only before
    each decay point and the end."""
    decay_points: list[int] = field(default_factory=list)
    """wsd: steps before `max_steps` at which the rate reaches zero, to go on in full from there."""
    decay_fraction: float = 0.2
    """wsd: the part of the steps since the last decay point, or the start, over which it falls."""

    def __post_init__(self):
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at least 0 and below max_steps ({self.max_steps})"
            )
        if self.decay not in DECAYS:
            raise ValueError(f"decay is {self.decay!r}; choose one of {', '.join(DECAYS)}")
        if self.decay_points and self.decay != "wsd":
            raise ValueError(f"decay_points are {self.decay_points}; only schedule.decay=wsd has any")
        if not 0 < self.decay_fraction <= 1:
            raise ValueError(f"decay_fraction is {self.decay_fraction}; it must be above 0 and at most 1")
        if any(a >= b for a, b in pairwise(self.decay_ends)):
            raise ValueError(
                f"decay_points are {self.decay_points}; they must rise and stay below max_steps ({self.max_steps})"
            )
        end = self.decay_ends[0]
        start = end - self.decay_steps(end)
        if self.decay == "wsd" and start < self.warmup_steps:
            raise ValueError(
                f"decay_points are {self.decay_points}: the decay to step {end} would begin at step {start}, before "
                f"warmup_steps ({self.warmup_steps}) are over; move the point or lower decay_fraction"
            )

    @property
    def decay_ends(self) -> list[int]:
        """Steps at which the learning rate reaches zero; the last one is `max_steps`."""
        return [*self.decay_points, self.max_steps]

    def decay_steps(self, end: int) -> int:
        """Steps over which the rate of wsd falls to zero at `end`, one of `decay_ends`: at least 1."""
        start = max((point for point in self.decay_points if point < end), default=0)
        return max(1, round(self.decay_fraction * (end - start)))


def learning_rate_factor(step: int, schedule: ScheduleConfig) -> float:
    """What the full learning rate is multiplied by.

    Warm-up-stable-decay with several decay points is WSD-S (Wen et al. 2024, arXiv 2410.05192): the run goes on from
    the decayed weights. Its decay is 1 - sqrt(progress) (Hägele et al. 2024, arXiv 2405.18392).

    Args:
        step: Optimiser steps taken so far.
        schedule: The schedule.

    Returns:
        (step + 1) / warmup_steps while warming up, then from 1 down to 0 at `max_steps`, and 0 from there on. With
        wsd 1 between the decays: a decay point's own step, which the next update is made with, is in full again.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.decay == "wsd":
        return 1 - math.sqrt(decay_progress(step, schedule))
    progress = min(1.0, (step - schedule.warmup_steps) / (schedule.max_steps - schedule.warmup_steps))
    if schedule.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress


def decay_progress(step: int, schedule: ScheduleConfig) -> float:
    """How far wsd is in a decay after `step` steps: 0 outside of one, 1 from `max_steps` on."""
    end = next((end for end in schedule.decay_ends if end > step), None)
    if end is None:
        return 1.0
    length = schedule.decay_steps(end)
    return max(0.0, (step - (end - length)) / length)
