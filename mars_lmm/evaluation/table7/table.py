"""The table: every quantity's distribution and forecast, beside the published figures."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.grid import num_minutes
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.table7.classes import accuracies
from mars_lmm.evaluation.table7.overlap import overlaps
from mars_lmm.evaluation.table7.published import PUBLISHED
from mars_lmm.evaluation.table7.quantities import LABELS, RETURNS, quantities
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun


def table7(run: SimulationRun, source: str = SIMULATION, seed: int = 0) -> dict:
    """Hold a simulated source against the replay as MarS's table 7 does.

    Distributions and terciles are of every minute of the horizon. The accuracy of a return is that of the window which
    begins at the start, a forecast; that of the other quantities counts every minute.

    Args:
        run: S starts and their replay.
        source: The simulated source.
        seed: Seed of the bootstrap over starts.

    Returns:
        `rows`: for each quantity its `name`, `label`, `overlap`, `floor`, `ceiling` (see `overlaps`), `accuracy`,
        `accuracy_vote`, `majority`, `by_window` (see `accuracies`), `means` of both sources over all that is known, and
        `published`, the similarity and accuracy that MarS reports. What they rest on: `starts`, `symbols`,
        `rollouts`, `minutes`.

    Raises:
        ValueError: The horizon is shorter than one minute.
    """
    minutes = num_minutes(run)
    starts = Bootstrap([start["symbol"] for start in run.manifest["starts"]], seed)
    replay, simulation = quantities(run, REPLAY), quantities(run, source)
    return {
        "rows": [
            {
                "name": name,
                "label": LABELS[name],
                "means": {REPLAY: _mean(replay[name], starts), source: _mean(simulation[name], starts)},
                **overlaps(replay[name], simulation[name], starts, seed),
                **accuracies(replay[name], simulation[name], starts, slice(1) if name in RETURNS else slice(None)),
                "published": dict(zip(("overlap", "accuracy"), PUBLISHED[name], strict=True)),
            }
            for name in replay
        ],
        "starts": len(run.manifest["starts"]),
        "symbols": len(starts.members),
        "rollouts": run.num_rollouts(source),
        "minutes": minutes,
    }


def _mean(values: np.ndarray, starts: Bootstrap) -> float:
    """Mean over the symbols of the mean of all that is known of each."""
    known = np.isfinite(values)
    return starts.ratio(np.where(known, values, 0).sum(axis=(1, 2)), known.sum(axis=(1, 2)))[0]
