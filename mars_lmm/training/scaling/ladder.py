"""A whole ladder: plan, train what is missing, read the table, fit, draw, report."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import torch

from mars_lmm.data.prepare import prepare
from mars_lmm.data.prepared import TRAIN, VALIDATION, PreparedSet
from mars_lmm.training.scaling.config import ScalingConfig
from mars_lmm.training.scaling.figures import draw_figures
from mars_lmm.training.scaling.fit import COUNTS, fit_rows
from mars_lmm.training.scaling.law import Law
from mars_lmm.training.scaling.plan import Cell, Compose, folder_of, plan, short
from mars_lmm.training.scaling.report import write_report
from mars_lmm.training.scaling.run import CellRunner, Outcome, Progress, clock, threads_each
from mars_lmm.training.scaling.table import read_row, write_table
from mars_lmm.training.scaling.timing import estimate_seconds
from mars_lmm.whole_files import write_text


def run_ladder(ladder: ScalingConfig, compose: Compose, command: str) -> int:
    """Train and fit a ladder, or go on with it.

    Args:
        ladder: Its settings.
        compose: Makes the configuration of train.py from overrides.
        command: The command line that repeats it.

    Returns:
        The number of runs that failed.

    Raises:
        ValueError: The plan or the runs are not fit for a law.
    """
    prepared = prepare(compose(ladder.base).data)
    cells = plan(ladder, compose, prepared)
    rows = train_cells(ladder, cells, prepared)
    if ladder.dry_run or not rows:
        return 0 if ladder.dry_run else len(cells)
    folder = folder_of(ladder)
    write_table(rows, folder)
    fits = fit_rows(rows, ladder.resamples)
    about = _describe(ladder, cells, compose, prepared, command)
    write_text(folder / "fit.json", json.dumps({"about": about, "fits": fits}, indent=1) + "\n")
    figures = draw_figures(rows, fits[COUNTS[0]], COUNTS[0], folder)
    write_report(rows, fits, about, figures, folder / "report.md")
    print(f"\n{Law(**fits[COUNTS[0]]['law'])}\nwrote {folder}\nnext: read {folder / 'report.md'}")
    return len(cells) - len(rows)


def train_cells(ladder: ScalingConfig, cells: list[Cell], prepared: PreparedSet) -> list[dict[str, Any]]:
    """Print the plan, and unless it is a dry run train the cells that are not done.

    Returns:
        The table's rows of the cells that are done, the cheapest first.

    Raises:
        ValueError: A finished cell has other settings.
    """
    runner = CellRunner(folder_of(ladder), ladder.name, prepared, ladder.parallel)
    missing = [cell for cell in cells if not runner.is_done(cell)]
    seconds = _estimate(missing, prepared, ladder)
    _print_plan(cells, missing, seconds, prepared, ladder)
    if ladder.dry_run:
        return []
    progress = Progress(seconds or {cell.name: cell.flops for cell in missing}, len(cells))

    def tell(outcome: Outcome) -> None:
        nats = None if outcome.fault else read_row(outcome.cell, runner.place(outcome.cell), prepared)["nats"]
        progress.tell(outcome, nats)

    failed = {outcome.cell.name for outcome in runner.run(missing, tell) if outcome.fault}
    if failed:
        print(f"{len(failed)} of {len(cells)} runs failed: {', '.join(sorted(failed))}", file=sys.stderr)
    return [read_row(cell, runner.place(cell), prepared) for cell in cells if cell.name not in failed]


def _estimate(missing: list[Cell], prepared: PreparedSet, ladder: ScalingConfig) -> dict[str, float]:
    """Seconds of each run; none where runs will have a card, which the ladder leaves to them."""
    if torch.cuda.is_available():
        return {}
    return estimate_seconds(missing, prepared, threads_each(ladder.parallel), ladder.validations)


def _print_plan(
    cells: list[Cell], missing: list[Cell], seconds: dict[str, float], prepared: PreparedSet, ladder: ScalingConfig
) -> None:
    to_do = {cell.name for cell in missing}
    head = ("run", "N", "N total", "D", "epochs", "steps", "batch", "rate", "FLOPs", "time")
    print(("{:<20}" + "{:>12}" * 9).format(*head))
    for cell in cells:
        time = "done" if cell.name not in to_do else clock(seconds[cell.name]) if seconds else "?"
        values = (
            f"{cell.counts['non_embedding']:,}",
            f"{cell.counts['total']:,}",
            short(cell.budget),
            f"{cell.epochs:.2f}",
            f"{cell.steps:,}",
            f"{cell.batch_orders:,.0f}",
            f"{cell.learning_rate:g}",
            f"{cell.flops:.2e}",
            time,
        )
        print(f"{cell.name:<20}" + "".join(f"{value:>12}" for value in values))
    total = f", about {clock(sum(seconds.values()) / ladder.parallel)}" if seconds else ""
    print(
        f"{len(missing)} of {len(cells)} runs to train, {sum(c.flops for c in missing):.2e} operations{total}",
        flush=True,
    )
    repeats = [cell for cell in cells if cell.epochs > 1]
    if repeats:
        print(
            f"warning: {len(repeats)} runs go through the {prepared.splits[TRAIN]['orders']:,} orders of the training "
            f"split more than once, up to {max(cell.epochs for cell in repeats):.2f} times",
            file=sys.stderr,
        )


def _describe(
    ladder: ScalingConfig, cells: list[Cell], compose: Compose, prepared: PreparedSet, command: str
) -> dict[str, Any]:
    """What the report says of how the runs were made."""
    config = compose(ladder.base)
    optim = {key: value for key, value in asdict(config.optim).items() if key != "learning_rate"}
    schedule = {key: value for key, value in asdict(config.schedule).items() if not key.endswith("_steps")}
    split = {name: f"{prepared.splits[name]['orders']:,} orders to {name}" for name in (TRAIN, VALIDATION)}
    dates = sorted(session["date"] for session in prepared.sessions)
    symbols = sorted({session["symbol"] for session in prepared.sessions})
    cutoff = prepared.cutoff["value"]
    return {
        "name": ladder.name,
        "command": command,
        "data": f"{config.data.name}: {', '.join(symbols)}, {dates[0]} to {dates[-1]}, cut-off {cutoff}",
        "fingerprint": prepared.fingerprint,
        "orders": f"{split[TRAIN]}, {split[VALIDATION]}; rows of {prepared.row_length}, one permutation an epoch",
        "planned": len(cells),
        "resamples": ladder.resamples,
        "shapes": {
            cell.size: f"width {cell.model.width}, {cell.model.layers} layers, {cell.model.heads} heads, "
            f"window {cell.model.window}, head {cell.model.head}, dropout {cell.model.dropout:g}"
            for cell in cells
        },
        "optimiser": _in_words(optim) + f", gradients clipped at {config.trainer.get('gradient_clip_val')}, "
        f"precision {config.trainer.get('precision')}",
        "schedule": f"linear warm-up over {ladder.warmup:.0%} of each run's steps, then to the end of that run: "
        + _in_words(schedule),
    }


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
