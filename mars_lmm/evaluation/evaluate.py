"""Evaluate a run: what is missing is simulated, what is finished is not done again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import lightning as L
import pyarrow.parquet as pq
from tqdm import tqdm

from mars_lmm.evaluation import report, tasks
from mars_lmm.evaluation.config import TASKS, EvaluateConfig
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.results import Results
from mars_lmm.evaluation.summary import read_curves, summarize
from mars_lmm.evaluation.trajectories import SimulationRun
from mars_lmm.paths import TRAINING_SUMMARY
from mars_lmm.training.curves import CURVES

FOLDER, PAGE = "evaluation", "report.html"


def evaluate(config: EvaluateConfig, trainer: L.Trainer | None = None, command: str | None = None) -> dict:
    """Score a run's simulation, and write a report.

    Writes to RUN/evaluation: for each task a JSON file, as soon as it is done; and when all are done `bars.parquet`,
    `evaluation.json`, one SVG for each figure, and `report.html`, of which RUN gets a copy. The report shows the
    results of other tasks, too, where they were made from the same material.

    Args:
        config: What to score.
        trainer: Which device makes rollouts and reads orders; None: a GPU if there is one.
        command: The command line that repeats the evaluation, for the report.

    Returns:
        The content of `evaluation.json`; see `summarize`.

    Raises:
        DataError: A file is missing or cannot be used; the message names it.
        ValueError: The horizon is shorter than a minute, or a setting does not fit.
    """
    material = Material(config, trainer, command)
    training = _training(material.folder)
    curves = read_curves(material.folder / CURVES) if training else None
    run = material.run  # simulates what is missing, which has lines of its own
    output = material.folder / FOLDER
    results = Results(material, output)
    with tqdm(total=len(TASKS) + 2, desc="evaluate", unit="stage") as progress:
        found: dict[str, dict | None] = {}
        for task in TASKS:
            progress.set_postfix_str(task)
            found[task] = results.find(task)
            if found[task] is None and task in config.tasks:
                found[task] = results.keep(task, tasks.RUN[task](material))
            progress.update()

        progress.set_postfix_str("figures")
        commands = _commands(run, training, command, output)
        evaluation = json.loads(dumps(summarize(material, found, training, commands, curves)))
        drawn = report.draw(evaluation, *found.values())
        progress.update()

        progress.set_postfix_str("report")
        page = report.render(evaluation, *found.values(), drawn)
        with tempfile.TemporaryDirectory(dir=output, prefix=".report-") as name:
            folder = Path(name)
            pq.write_table(material.bars, folder / "bars.parquet", compression="zstd")
            (folder / "evaluation.json").write_text(dumps(evaluation, indent=1))
            for name, svg in drawn.items():
                (folder / f"{name}.svg").write_text(svg)
            (folder / PAGE).write_text(page)
            for path in folder.iterdir():
                os.replace(path, output / path.name)
        shutil.copyfile(output / PAGE, material.folder / PAGE)
        progress.update()
    return evaluation


def _training(folder: Path) -> dict | None:
    """How the model came to be, if the run folder knows."""
    path = folder / TRAINING_SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def _commands(run: SimulationRun, training: dict | None, command: str | None, output: Path) -> list[str]:
    """How to repeat it all; an evaluation that has simulated is named once."""
    made = [*(training["commands"] if training else []), run.manifest.get("command"), command]
    return [*dict.fromkeys(filter(None, made)), f"python -m mars_lmm.evaluation.facts {output / 'bars.parquet'}"]
