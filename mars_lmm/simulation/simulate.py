"""Simulate rollouts and write trajectories: from a configuration to a folder that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pyarrow.parquet as pq

from mars_lmm.simulation.agents.registry import seat_plans
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.output.counts import rejected_by_start, summarize
from mars_lmm.simulation.output.figures import draw_figures
from mars_lmm.simulation.output.recording import ACCOUNTS, DEPTH, ENDS, FILLS, ROLLOUTS
from mars_lmm.simulation.output.trajectories import join, replay_table
from mars_lmm.simulation.running.identity import weights_checksum
from mars_lmm.simulation.running.lowering import FLOAT32, LOSS, Lowering
from mars_lmm.simulation.running.plan import Plan, Work
from mars_lmm.simulation.running.predict import COUNTS, RolloutModule, Scenario, check_trainer, default_trainer
from mars_lmm.simulation.starts.listing import list_starts
from mars_lmm.simulation.starts.start import Start

NANOS_PER_MINUTE = 60 * 10**9
# A rollout ends, and says so, after this many times the orders of the busiest real continuation; with agents, each of
# them may make as many.
MAX_ORDERS_RATIO = 5
MOST_DRAWN = 6  # starts in the figures, evenly spread over all
REPLAY, MANIFEST = "replay.parquet", "simulation.json"
BATCHES = ".batches"
"""What the name of the folder of finished batches ends with; it lies beside the output."""


def simulate(
    config: RolloutConfig,
    trained: Trained,
    output: Path,
    about: dict[str, Any],
    precision: str = FLOAT32,
    trainer: L.Trainer | None = None,
) -> dict[str, Any] | None:
    """Make rollouts and write them, with the real continuations, to a folder.

    The batches of an interrupted simulation wait beside that folder. One with the same settings, model and starts
    makes those that are missing; any other begins anew.

    Args:
        config: Which rollouts.
        trained: The model, and the set that its starts are in.
        output: The folder to write; replaced if it exists.
        about: Entries to add to `simulation.json`: where the model came from.
        precision: Of the weights, one of `mars_lmm.models.precision.PRECISIONS`.
        trainer: Which devices make the rollouts; None: one, a GPU if there is one.

    Returns:
        What `simulation.json` holds; None in all processes but the first.

    Raises:
        DataError: The set holds no start with the time, or the orders before it, that are needed; or there is no such
            rule file.
        ValueError: A start cannot be made, or the settings of agents, of rules or of the Trainer do not fit.
    """
    trainer = trainer or default_trainer()
    check_trainer(trainer)
    coding = trained.coding
    config = config.settled(coding)
    horizon = int(config.minutes * NANOS_PER_MINUTE)
    starts = list_starts(config, trained.prepared, coding, trained.model.config.window)

    plan = Plan(len(starts), config.rollouts, config.books_at_once)
    drawn = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_DRAWN)).round().astype(int)).tolist()
    end_times = np.array([start.end_time(horizon) for start in starts])
    seats = seat_plans(config.agents)
    scenario = Scenario(config, coding, starts, end_times, _order_limit(starts, len(seats)), drawn, seats)
    work = Work(output.with_name(output.name + BATCHES), plan.num_batches)
    lowering = Lowering(precision, trained.prepared, coding, starts)
    module = RolloutModule(trained.model, scenario, plan, work, lowering)
    trainer.predict(module, return_predictions=False)
    if not trainer.is_global_zero:
        return None
    # Not a barrier of the processes' own: some may be at work for hours when others are done.
    while work.missing():
        time.sleep(1)
    model = {"prepared": trained.prepared.address, "weights": weights_checksum(trained.model)}
    return _assemble(about | model | _describe(scenario, horizon, precision), scenario, work, output)


def _order_limit(starts: Sequence[Start], num_agents: int) -> int:
    """Orders after which a rollout ends; as many as there may be where a start has no real continuation."""
    if any(start.continuation is None for start in starts):
        return c.NEVER
    busiest = max(len(start.continuation) for start in starts)
    return (1 + num_agents) * MAX_ORDERS_RATIO * busiest + 1000


def _describe(scenario: Scenario, horizon: int, precision: str) -> dict[str, Any]:
    config, session = scenario.config, scenario.starts[0].session
    return {
        "symbol": session.symbol,
        "date": session.date,
        "tick_size": session.tick_size,
        "seed": config.seed,
        "sampling": vars(config.sampling),
        "rules": config.rules,
        "cancels": config.cancels,
        "attention": config.attention,
        "recalibration": config.recalibration,
        "precision": precision,
        "horizon_ns": horizon,
        "rollouts": config.rollouts,
        "agents": [seat.name for seat in scenario.seats],
        "agent_settings": config.agents,
        "background": [number for number, seat in enumerate(scenario.seats, 1) if seat.agent.background],
        "drawn": list(scenario.watched),
        "starts": [
            {
                "start": index,
                **start.describe(),
                "tick_size": start.session.tick_size,
                "end_ns": int(end),
            }
            for index, (start, end) in enumerate(zip(scenario.starts, scenario.end_times, strict=True))
        ],
    }


def _assemble(manifest: dict[str, Any], scenario: Scenario, work: Work, output: Path) -> dict[str, Any]:
    """Make one folder of all batches, and move it to its place."""
    parts = work.parts()
    whole = work.folder / output.name
    with work.whole_folder(whole) as folder:
        pq.write_table(
            replay_table([start.continuation for start in scenario.starts]), folder / REPLAY, compression="zstd"
        )
        for name in (ROLLOUTS, ENDS, DEPTH, *((FILLS, ACCOUNTS) if scenario.seats else ())):
            join((part / name for part in parts), folder / name)
        counted = [json.loads((part / COUNTS).read_text()) for part in parts]
        accounts = pq.read_table(folder / ACCOUNTS) if scenario.seats else None
        ends = pq.read_table(folder / ENDS)
        manifest = manifest | summarize(counted, ends, manifest["agents"], accounts)
        rejected = rejected_by_start(ends, len(scenario.starts))
        manifest["starts"] = [start | counts for start, counts in zip(manifest["starts"], rejected, strict=True)]
        if manifest["precision"] != FLOAT32:
            manifest["loss"] = json.loads((work.folder / LOSS).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        draw_figures(manifest, folder)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists():
        before = work.folder / f"before.{output.name}"
        shutil.rmtree(before, ignore_errors=True)  # of a process that was killed at this place
        os.replace(output, before)
    os.replace(whole, output)
    work.forget()
    return manifest
