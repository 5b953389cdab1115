"""Run a batch to its end, and leave out of the steps what has ended: a step takes as long as there are books in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.batch import Batch
from mars_lmm.simulation.engine.rollout_engine import Chunk, RolloutEngine


def run_to_end(
    engine: RolloutEngine, after_step: Callable[[Batch, np.ndarray], None] = lambda batch, places: None
) -> Iterator[Chunk]:
    """Run all rollouts to their ends; whenever half of them are over, go on with a smaller batch.

    Args:
        engine: Before its first step. Its batch is up to date with every chunk; when all is over, nothing but the batch
            is of use.
        after_step: Called after every step with the batch that made it, and the places int64[n] of its rollouts in the
            engine's; it must not wait for the device.

    Yields:
        What happened, in chunks of the engine's size.
    """
    worker, places = engine, np.arange(len(engine))
    steps = len(engine.batch.record.rows)
    while (running := worker.running.cpu().numpy()).any():
        if 2 * np.count_nonzero(running) <= len(running):
            kept = torch.from_numpy(np.flatnonzero(running)).to(worker.progress.device)
            worker, places = worker.select(kept), places[running]
            engine.forecaster = None  # what the model knows is with the worker
        batch, here = worker.batch, places
        for chunk in worker.run(steps, lambda batch=batch, here=here: after_step(batch, here)):
            if worker is engine:
                yield chunk
            else:
                engine.batch.put(worker.batch, places)
                yield _spread(chunk, places, len(engine))


def _spread(chunk: Chunk, places: np.ndarray, size: int) -> Chunk:
    """A chunk of some rollouts as one of all."""
    rows = np.zeros((len(chunk.rows), size, c.NUM_ROW), dtype=np.int64)
    rows[..., c.ROW_SOURCE] = c.NOBODY
    rows[:, places] = chunk.rows
    fills = np.zeros((size, *chunk.fills.shape[1:]), dtype=np.int64)
    fills[places] = chunk.fills
    num_fills = np.zeros(size, dtype=np.int64)
    num_fills[places] = chunk.num_fills
    return Chunk(rows, fills, num_fills)
