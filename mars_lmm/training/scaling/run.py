"""The runs of a ladder, one process each: finished ones are kept, killed ones go on, failed ones stop no other."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.training.fit import METRICS, forget
from mars_lmm.training.scaling.plan import Cell
from mars_lmm.whole_files import write_text

SETTINGS, LOG, LOCK = "cell.json", "log.txt", "lock"
TOLD_LINES = 6
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        cell: The run.
        fault: Its last lines if it failed, else None.
        found: It was finished before.
    """

    cell: Cell
    fault: str | None = None
    found: bool = False


class CellRunner:
    """Trains cells into their folders below `folder`.

    Args:
        folder: The ladder's.
        name: The ladder's; runs are called NAME-CELL.
        prepared: The data of all of them.
        parallel: Runs at a time.
    """

    def __init__(self, folder: Path, name: str, prepared: PreparedSet, parallel: int):
        self.folder, self.name, self.prepared, self.parallel = folder, name, prepared, parallel
        self._running: set[subprocess.Popen] = set()
        self._stopped = threading.Event()

    def place(self, cell: Cell) -> Path:
        """A cell's run folder."""
        return self.folder / "cells" / cell.name

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell was trained to its end.

        Raises:
            ValueError: It was, with other settings.
        """
        if not (self.place(cell) / METRICS).exists():
            return False
        before, now = self._saved(cell), self._settings(cell)
        if before != now:
            raise ValueError(
                f"{self.place(cell)} was trained with other settings ({_differences(before, now)}): give the ladder "
                "another name=..., or remove that folder"
            )
        return True

    def run(self, cells: list[Cell], told: Callable[[Outcome], None]) -> list[Outcome]:
        """Train what is not done; `told` hears of each cell as it ends."""
        with ThreadPoolExecutor(self.parallel) as pool:
            futures = [pool.submit(self._run_one, cell) for cell in cells]
            outcomes = []
            try:
                for future in as_completed(futures):
                    outcomes.append(future.result())
                    told(outcomes[-1])
            except BaseException:  # the keyboard too: no process outlives the ladder
                self._stopped.set()
                for future in futures:
                    future.cancel()
                for process in list(self._running):
                    process.terminate()
                raise
        return outcomes

    def command(self, cell: Cell) -> list[str]:
        """The command line that trains a cell."""
        return [
            *_train_program(),
            *cell.overrides,
            f"name={self.name}-{cell.name}",
            f"data.prepared={_quoted(self.prepared.address)}",
            f"hydra.run.dir={_quoted(str(self.place(cell)))}",
        ]

    def _run_one(self, cell: Cell) -> Outcome:
        place = self.place(cell)
        place.mkdir(parents=True, exist_ok=True)
        # The process holds the lock too, so that it is not trained twice when the ladder is killed and started again.
        with (place / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_done(cell):
                return Outcome(cell, found=True)
            if self._saved(cell) not in (None, self._settings(cell)):
                forget(place)  # unfinished, and of other settings; before those are overwritten, whoever is killed
            write_text(place / SETTINGS, json.dumps(self._settings(cell), indent=1) + "\n")
            with (place / LOG).open("w") as log:
                if self._stopped.is_set():
                    return Outcome(cell, "stopped")
                process = subprocess.Popen(
                    self.command(cell),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(),
                    pass_fds=[lock.fileno()],
                )
                self._running.add(process)
                code = process.wait()
                self._running.discard(process)
        if code or not (place / METRICS).exists():
            return Outcome(cell, f"exit code {code}\n{_last_lines(place / LOG)}")
        return Outcome(cell)

    def _environment(self) -> dict[str, str]:
        """Runs beside each other share the cores instead of fighting for them."""
        share = {"OMP_NUM_THREADS": str(threads_each(self.parallel))} if self.parallel > 1 else {}
        return share | os.environ

    def _settings(self, cell: Cell) -> dict:
        return {"overrides": list(cell.overrides), "data": self.prepared.fingerprint}

    def _saved(self, cell: Cell) -> dict | None:
        try:
            return json.loads((self.place(cell) / SETTINGS).read_text())
        except FileNotFoundError:
            return None


class Progress:
    """A line for each cell that ends: which of how many, its loss, the time gone and the time left.

    Args:
        costs: What each cell that is to be trained will cost, in any unit, by name.
        total: Number of cells, finished ones included.
    """

    def __init__(self, costs: dict[str, float], total: int):
        self._left, self._total = dict(costs), total
        self._all = sum(costs.values())
        self._ended = total - len(costs)
        self._started = time.monotonic()

    def tell(self, outcome: Outcome, nats: float | None) -> None:
        """Print the line."""
        self._ended += 1
        self._left.pop(outcome.cell.name)
        gone, left = time.monotonic() - self._started, sum(self._left.values())
        result = "FAILED" if nats is None else f"{nats:.4f} nats"
        print(
            f"[{self._ended}/{self._total}] {outcome.cell.name}: {result}; {clock(gone)} gone, "
            f"about {clock(gone * left / (self._all - left))} left",
            flush=True,
        )
        if outcome.fault:
            print("    " + outcome.fault.replace("\n", "\n    "), file=sys.stderr, flush=True)


def threads_each(parallel: int) -> int:
    """CPU threads of each of so many runs."""
    return max(1, (os.cpu_count() or 1) // parallel)


def clock(seconds: float) -> str:
    """h:mm:ss."""
    return f"{seconds // 3600:.0f}:{seconds // 60 % 60:02.0f}:{int(seconds) % 60:02d}"


def _train_program() -> list[str]:
    """The root script, or what an installation has in its place."""
    script = _ROOT / "train.py"
    if script.exists():
        return [sys.executable, str(script)]
    return [str(Path(sys.executable).with_name("mars-train"))]


def _quoted(text: str) -> str:
    """A value that Hydra takes as it is."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _differences(before: dict | None, now: dict) -> str:
    old, new = (set((settings or {}).get("overrides", [])) for settings in (before, now))
    told = [f"was {' '.join(sorted(old - new))}"] if old - new else []
    told += [f"is {' '.join(sorted(new - old))}"] if new - old else []
    return ", ".join(told) or "other data"


def _last_lines(log: Path) -> str:
    """The end of a log, of a progress bar its last state."""
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join([line for line in lines if line.strip()][-TOLD_LINES:])
