"""Random numbers of training as a function of where the run stands, so that nothing of them has to be stored."""

from __future__ import annotations

import numpy as np
import torch


def seed_batch(seed: int, batch: int, rank: int) -> None:
    """Seed torch, on the CPU and on all devices, for one batch: the same numbers follow whatever was drawn before.

    Args:
        seed: The run's seed.
        batch: Number of the batch since the run began.
        rank: Data-parallel rank; each drops its own.
    """
    (state,) = np.random.SeedSequence((seed, batch, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state))
