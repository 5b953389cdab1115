"""Results on disk, one JSON file a task, known again by what they were made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mars_lmm import __version__
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.plain import dumps
from mars_lmm.whole_files import write_text

LAYOUT = 2
"""Raised with whatever results hold, and how they are computed."""

_IDENTITY = "identity"


class Results:
    """The results of a run's tasks.

    Args:
        material: What they are made from.
        folder: Where they are.
    """

    def __init__(self, material: Material, folder: Path):
        self._identity, self._folder = identity(material), folder

    def find(self, task: str) -> dict | None:
        """The result of a task, if it was made from the same material."""
        try:
            found = json.loads(self._path(task).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found if found.get(_IDENTITY) == self._identity else None

    def keep(self, task: str, result: dict) -> dict:
        """Write a result; returns it as it will be read."""
        text = dumps({_IDENTITY: self._identity} | result, indent=1)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._path(task), text)
        return json.loads(text)

    def _path(self, task: str) -> Path:
        return self._folder / f"{task}.json"


def identity(material: Material) -> str:
    """A hash that differs wherever a result would: of simulations, data, model, settings, version and layout."""
    config, known = material.config, material.known_set
    decides = {
        "version": [__version__, LAYOUT],
        "simulations": material.run.simulated,
        "prepared": known.fingerprint if known else None,
        "checkpoint": _mark(material.checkpoint_path),
        "levels": config.levels,
        "replicates": config.replicates,
        "seed": config.seed,
    }
    return hashlib.sha256(dumps(decides).encode()).hexdigest()[:16]


def _mark(path: Path) -> list:
    """What changes with a file, or with those of a folder, without reading it."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
