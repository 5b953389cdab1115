"""The logged curves of a run: a file of rows for each of its starts, joined into `metrics.csv`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from mars_lmm.whole_files import write_text

CURVES = "metrics.csv"
ROWS = "curves"


class CurveLogger(Logger):
    """Appends each row to a file, a JSON object a line: what is there stays, whenever the run is killed.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str):
        super().__init__()
        self._folder = Path(save_dir) / ROWS
        self._version: int | None = None

    @property
    def name(self) -> str:
        """The folder of the rows."""
        return ROWS

    @property
    def version(self) -> int:
        """Which start of the run this is, counted from 0."""
        if self._version is None:
            self._version = len(_starts(self._folder))
        return self._version

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"start_{self.version}.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **metrics}, default=float) + "\n")

    def log_hyperparams(self, *parameters: Any, **options: Any) -> None:
        """They are in `config.resolved.yaml`."""


def join_curves(folder: Path) -> None:
    """Join the rows of all starts of a run; where two starts cover a step, the later one counts.

    Two rows of a step are the same one if the names in one are all in the other: what tells of speed is not logged at
    the same steps after a resume.
    """
    steps: dict[int, list[dict[str, Any]]] = {}
    for file in _starts(folder / ROWS):
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be cut off
                row = json.loads(line)
                rows = steps.setdefault(row["step"], [])
                same = (i for i, other in enumerate(rows) if row.keys() <= other.keys() or row.keys() >= other.keys())
                place = next(same, len(rows))
                rows[place : place + 1] = [row]
    rows = [row for step in sorted(steps) for row in steps[step]]
    names = sorted({name for row in rows for name in row} - {"step", "epoch"})
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["step", "epoch", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / CURVES, text.getvalue())


def _starts(folder: Path) -> list[Path]:
    """The files of rows, the oldest start's first."""
    return sorted(folder.glob("start_*.jsonl"), key=lambda file: int(file.stem.removeprefix("start_")))
