"""Evaluate a simulation: bars, facts, figures, report."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import figures, report, verdicts
from mars_lmm.evaluation.activity import activity, fan, tails
from mars_lmm.evaluation.bars import MINUTE, minute_bars
from mars_lmm.evaluation.facts import panels, stylized_facts
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun
from mars_lmm.simulation.engine.columns import PLANNED_ENDS


def evaluate(simulation_dir: Path, output_dir: Path, training: dict | None, command: str | None = None) -> dict:
    """Score a simulation against its replay and write a report.

    Writes `bars.parquet`, `facts.json`, `evaluation.json`, and, drawn from the two JSON files, one SVG for each
    figure and `report.html`. Files appear only when all of them are made; older ones are replaced.

    Args:
        simulation_dir: The output folder of a simulation.
        output_dir: Where to write.
        training: How the model came to be, for the report: `metrics_csv`, `nats`, `baselines`, `model`,
            `parameters` (with a `total`), `seconds`, `data`, `commands`; None if unknown.
        command: The command line that repeats the evaluation, for the report.

    Returns:
        What `evaluation.json` holds beside the figures' data: `simulation`, `training`, `agreement`,
        `coverage`, `rates`, `notes`, `commands`.

    Raises:
        DataError: A file is missing or cannot be used; the message names it.
        ValueError: The horizon is shorter than a minute.
    """
    with tqdm(total=4, desc="evaluate", unit="stage") as progress:
        progress.set_postfix_str("bars")
        run = SimulationRun.read(simulation_dir)
        curves = _read_curves(Path(training["metrics_csv"])) if training else None
        bars = minute_bars(run)
        progress.update()

        progress.set_postfix_str("facts")
        facts = json.loads(dumps(_facts(bars)))
        progress.update()

        fans, orders = fan(run, bars), activity(run)
        summary = {
            "simulation": _simulation(run),
            "training": training,
            "agreement": {name: facts["comparison"][name] for name in ("shown_by_replay", "agreed")},
            "coverage": fans["coverage"],
            "rates": orders["rates"],
            "notes": _notes(run, facts),
            "commands": _commands(run, training, command, output_dir),
        }
        evaluation = json.loads(dumps(summary | {"curves": curves, "fan": fans, "activity": orders}))

        output_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}-") as name:
            folder = Path(name)
            pq.write_table(bars, folder / "bars.parquet", compression="zstd")
            (folder / "facts.json").write_text(dumps(facts, indent=1))
            (folder / "evaluation.json").write_text(dumps(evaluation, indent=1))

            progress.set_postfix_str("figures")
            drawn = _draw(evaluation, facts)
            for name, svg in drawn.items():
                (folder / f"{name}.svg").write_text(svg)
            progress.update()

            progress.set_postfix_str("report")
            (folder / "report.html").write_text(report.render(evaluation, facts, drawn))
            output_dir.mkdir(exist_ok=True)
            for path in folder.iterdir():
                os.replace(path, output_dir / path.name)
            progress.update()
    return {name: evaluation[name] for name in summary}


def _facts(bars: pa.Table) -> dict:
    """The content of `facts.json`."""
    sources = panels(bars)
    judgements = {source: verdicts.judge(panel) for source, panel in sources.items()}
    return {
        "facts": stylized_facts(sources),
        "comparison": verdicts.compare(judgements),
        "sources": {
            source: {
                "paths": judgement.num_paths,
                "starts_per_symbol": judgement.num_starts,
                "curves": judgement.curves,
            }
            for source, judgement in judgements.items()
        },
        "tails": tails(sources),
    }


def _simulation(run: SimulationRun) -> dict:
    """What was simulated."""
    manifest = run.manifest
    orders = len(run.orders[SIMULATION]["time"])
    # Counted over all starts, also those that are left out.
    rejected = sum(manifest["rejected"].values())
    sent = manifest["orders"] + rejected
    return {
        "symbols": sorted({start["symbol"] for start in manifest["starts"]}),
        "dates": sorted({start["date"] for start in manifest["starts"]}),
        "starts": len(manifest["starts"]),
        "left_out": run.left_out,
        "rollouts": manifest["rollouts"],
        "minutes": manifest["horizon_ns"] / MINUTE,
        "tick_size": manifest["tick_size"],
        "seed": manifest["seed"],
        "checkpoint": manifest["checkpoint"],
        "orders": orders,
        "replay_orders": len(run.orders[REPLAY]["time"]),
        "orders_per_second": manifest["orders_per_second"],
        "seconds": manifest["seconds"],
        "rejected": rejected / sent,
        "rejected_by_reason": {reason: count / sent for reason, count in manifest["rejected"].items()},
        "ended": manifest["ended"],
    }


def _notes(run: SimulationRun, facts: dict) -> list[str]:
    """What a reader has to know before believing the numbers."""
    notes = []
    if run.left_out:
        every = len(run.manifest["starts"]) + run.left_out
        notes.append(
            f"{run.left_out} of {every} starts are left out: nobody knows what really came after them, or on which day."
        )
    starts = facts["sources"][REPLAY]["starts_per_symbol"]
    if starts < verdicts.FEWEST_STARTS:
        notes.append(
            f"There are {starts} starts per symbol; with fewer than {verdicts.FEWEST_STARTS} no interval is "
            "worth a verdict, so every fact says “cannot tell”. Simulate more starts."
        )
    notes.append(
        f"The replay is one path per start, the simulation {run.manifest['rollouts']}, so the replay's "
        "intervals are wider. A fact that the replay cannot show on so few paths may still be a fact."
    )
    ended = run.manifest["ended"].items()
    cut_off = {reason: count for reason, count in ended if reason not in PLANNED_ENDS and count}
    if cut_off:
        reasons = ", ".join(f"{count} by {reason}" for reason, count in cut_off.items())
        notes.append(
            f"Some rollouts ended before the horizon ({reasons}); their last prices are carried forward, "
            "which makes their returns too small."
        )
    return notes


def _commands(run: SimulationRun, training: dict | None, command: str | None, output_dir: Path) -> list[str]:
    commands = list(training["commands"]) if training else []
    commands += [made for made in (run.manifest.get("command"), command) if made]
    return [*commands, f"python -m mars_lmm.evaluation.facts {output_dir / 'bars.parquet'}"]


def _read_curves(path: Path) -> dict[str, list[list[float]]]:
    """The loss curves of a CSV log, as pairs of step and nats.

    Raises:
        DataError: The file is missing or holds no validation loss.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(path, "not found; it is the log of the training run") from error
    curves = {
        name: [[int(row["step"]), float(row[f"{name}/nats"])] for row in rows if row.get(f"{name}/nats")]
        for name in ("train", "validation")
    }
    if not curves["validation"]:
        raise DataError(path, "holds no values of validation/nats; train past the first validation")
    return curves


def _draw(evaluation: dict, facts: dict) -> dict[str, str]:
    drawn = {
        "fan": figures.to_svg(figures.fan_figure, evaluation["fan"]),
        "facts": figures.to_svg(figures.facts_figure, facts),
        "activity": figures.to_svg(figures.activity_figure, evaluation["activity"]),
    }
    if evaluation["training"]:
        drawn["loss"] = figures.to_svg(figures.loss_figure, evaluation["curves"], evaluation["training"]["baselines"])
    return drawn
