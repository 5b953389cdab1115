"""Rollouts as forecasts of what really happened: price, volume and spread, minute by minute."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.grid import MINUTE, Grid, num_minutes, ratio
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.likelihood.crps import climatology_crps, fair_crps
from mars_lmm.evaluation.likelihood.pit import histograms, pit_cells, share_below, uniformity
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun

BINS = 10
DRAWS = 1999
BANDS = {"50": 0.25, "90": 0.05}  # share below the central band
LABELS = {"price": "price move (bp)", "volume": "traded a minute", "spread": "mean spread (ticks)"}


def calibration(run: SimulationRun, source: str = SIMULATION, seed: int = 0) -> dict:
    """Hold the rollouts of each start, as an ensemble forecast, against its replay.

    What is forecast, for every minute after the start: the log return of the mid-price since the start, the size traded
    in the minute, and the minute's mean spread. A minute of a start counts where all its paths have a value.

    Args:
        run: S starts, R rollouts each, M whole minutes.
        source: The simulated source.
        seed: Seed of the bootstrap and of the test's draws.

    Returns:
        For `price`, `volume` and `spread`, whose `label` names the unit:

        - `pit`: `shares` of the replay's transforms [BINS], each start counting alike, and `low` and `high`, between
          which 95 % of calibrated models' shares lie; `p_value` of the test that the replay is like a rollout.
        - `coverage`: the share of the transforms in the central 50 and 90 %. A calibrated model reaches
          0.5 and 0.9 with any number of rollouts.
        - `crps`: the mean score.
        - `skill`: 1 less its ratio to that of a climatology, the other starts' replays of the same minute; NaN with
          fewer than two rollouts or three starts of a symbol.

        Each band of `coverage`, `crps` and `skill` has `value`, `low`, `high`, and the values `by_minute` [M] and
        `by_start` [S].

        And what it rests on: `starts`, `rollouts`, `minutes`.

    Raises:
        ValueError: The horizon is shorter than one minute.
    """
    minutes = num_minutes(run)
    starts = Bootstrap([start["symbol"] for start in run.manifest["starts"]], seed)
    replay, simulation = _forecasts(run, REPLAY), _forecasts(run, source)
    return {
        name: {"label": label} | _scores(np.concatenate([replay[name], simulation[name]], axis=1), starts, seed)
        for name, label in LABELS.items()
    } | {"starts": len(run.manifest["starts"]), "rollouts": run.num_rollouts(source), "minutes": minutes}


def _forecasts(run: SimulationRun, source: str) -> dict[str, np.ndarray]:
    """By name, float64[S, R, M]."""
    grid = Grid(run, source, MINUTE)
    price = np.log(grid.mid_last())
    values = {
        "price": 1e4 * (price - price[:, :1]),
        "volume": grid.total(grid.orders["filled"]),
        "spread": grid.spread_mean(),
    }
    shape = (len(run.manifest["starts"]), grid.num_rollouts)
    return {name: series[:, 1:].reshape(*shape, -1) for name, series in values.items()}


def _scores(paths: np.ndarray, starts: Bootstrap, seed: int) -> dict:
    """Scores of the rollouts, paths 1 to R of [S, 1 + R, M], as forecasts of path 0."""
    known = np.isfinite(paths).all(axis=1)  # [S, M]
    paths = np.where(known[:, None], paths, 0)
    low, high = pit_cells(paths)
    crps = np.where(known, fair_crps(paths[:, 1:].swapaxes(0, 1), paths[:, 0]), np.nan)
    reference = np.full_like(crps, np.nan)
    for member in starts.members:
        reference[member] = climatology_crps(np.where(known, paths[:, 0], np.nan)[member])
    compared = np.isfinite(crps) & np.isfinite(reference)
    return {
        "pit": _transforms(low, high, known, starts, seed),
        "coverage": {
            band: _mean(share_below(low, high, 1 - tail)[:, 0] - share_below(low, high, tail)[:, 0], known, starts)
            for band, tail in BANDS.items()
        },
        "crps": _mean(crps, np.isfinite(crps), starts),
        "skill": _skill(np.where(compared, crps, 0), np.where(compared, reference, 0), starts),
    }


def _transforms(low: np.ndarray, high: np.ndarray, known: np.ndarray, starts: Bootstrap, seed: int) -> dict:
    """The histogram of the replay's transforms, where calibrated ones lie, and how far from them it is."""
    shares = histograms(low, high, known, BINS)
    some = known.any(axis=1)
    # Each start counts alike within its symbol, and each symbol alike.
    weights = np.zeros(len(known))
    members = [member[some[member]] for member in starts.members if some[member].any()]
    for member in members:
        weights[member] = 1 / (len(member) * len(members))
    if not members:
        missing = np.full(BINS, np.nan)
        return {"shares": missing, "low": missing, "high": missing, "p_value": np.nan}
    p_value, drawn = uniformity(shares[some], weights[some], DRAWS, seed)
    ends = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {"shares": weights[some] @ shares[some, 0], "low": ends[0], "high": ends[1], "p_value": p_value}


def _mean(values: np.ndarray, known: np.ndarray, starts: Bootstrap) -> dict:
    """The mean of values [S, M] where they are known: in all with its interval, by minute and by start."""
    values = np.where(known, values, 0)
    total, counted = values.sum(axis=1), known.sum(axis=1)
    return starts.percentile(starts.ratio(total, counted)) | {
        "by_minute": starts.ratio(values, known)[0],
        "by_start": ratio(total, counted),
    }


def _skill(crps: np.ndarray, reference: np.ndarray, starts: Bootstrap) -> dict:
    """1 less the ratio of the scores [S, M]: in all with its interval, by minute and by start."""
    totals = crps.sum(axis=1), reference.sum(axis=1)
    return starts.percentile(1 - starts.ratio(*totals)) | {
        "by_minute": 1 - starts.ratio(crps, reference)[0],
        "by_start": 1 - ratio(*totals),
    }
