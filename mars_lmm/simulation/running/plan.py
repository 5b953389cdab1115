"""Which rollouts make a batch, and the folder in which batches wait for the others.

A batch is made by one process and appears there whole or not at all. Whoever is killed, the batches that are there
need not be made again, as long as the plan is the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mars_lmm.whole_files import PARTIAL, write_text

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """Rollouts, numbered by start and then within it, cut into batches.

    Attributes:
        num_starts: How many starts there are.
        rollouts: From each.
        books_at_once: In a batch, at most.
    """

    num_starts: int
    rollouts: int
    books_at_once: int

    @property
    def num_rollouts(self) -> int:
        """Rollouts in all."""
        return self.num_starts * self.rollouts

    @property
    def num_batches(self) -> int:
        """Batches in all."""
        return -(-self.num_rollouts // self.books_at_once)

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The start of each rollout of a batch, int64[B], ascending, and its number among the start's, int64[B]."""
        first = number * self.books_at_once
        rollout = np.arange(first, min(first + self.books_at_once, self.num_rollouts))
        return rollout // self.rollouts, rollout % self.rollouts


class Work:
    """The folder of finished batches, which all processes of a simulation see.

    Args:
        folder: Its place.
        num_batches: How many batches there will be.
    """

    def __init__(self, folder: Path, num_batches: int):
        self.folder, self._num_batches = folder, num_batches

    def begin(self, identity: dict[str, Any]) -> None:
        """Go on with what is there if it is of the same plan, and forget it otherwise. One process calls this.

        Args:
            identity: Plain values that decide every number of the result.
        """
        text = json.dumps(identity, indent=1, sort_keys=True)
        plan = self.folder / PLAN
        if not plan.exists() or plan.read_text() != text:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob(f"*{PARTIAL}"):
            shutil.rmtree(unfinished)
        write_text(plan, text)

    def part(self, number: int) -> Path:
        """The folder of a batch."""
        return self.folder / f"batch_{number:06d}"

    def parts(self) -> list[Path]:
        """The folders of all batches, in order."""
        return [self.part(number) for number in range(self._num_batches)]

    def missing(self) -> list[int]:
        """Numbers of the batches that are not there."""
        return [number for number in range(self._num_batches) if not self.part(number).exists()]

    @contextmanager
    def whole_folder(self, place: Path) -> Iterator[Path]:
        """Write a folder beside its place; at the end it is moved there."""
        partial = self.folder / f"{place.name}{PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            for file in partial.iterdir():
                _reach_the_disk(file)
            if place.exists():
                os.replace(place, self.folder / f"{place.name}.old{PARTIAL}")
            os.replace(partial, place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def forget(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def _reach_the_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
