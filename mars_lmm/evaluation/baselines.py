"""Simulations of the baselines from a model's starts: they trade in its stead."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L

from mars_lmm import __version__
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.evaluation.config import BASELINES
from mars_lmm.evaluation.trajectories import MANIFEST, SimulationRun, read_manifest
from mars_lmm.simulation.config import AGENTS, RolloutConfig
from mars_lmm.simulation.fitting import fit_baselines
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.simulate import NANOS_PER_MINUTE, simulate

_MADE_FOR = "made_for"  # in a baseline's manifest
_FITS = "fits"
_CANCELS = {"cst": "newest"}  # of the model of unit orders: units, and not whole orders of another size


class Baselines:
    """Simulations of the baselines, each in a folder of its name.

    Args:
        run: The model's simulation, whose starts they have.
        prepared: The set that they are fitted to.
        folder: Where they are.
    """

    def __init__(self, run: SimulationRun, prepared: PreparedSet, folder: Path):
        self._run, self._prepared, self._folder = run, prepared, folder

    def place(self, name: str) -> Path:
        """The folder of a baseline's simulation."""
        return self._folder / name

    def finished(self, name: str) -> bool:
        """Whether it is there, made for the same starts, number and length of rollouts, data and version."""
        manifest = self.place(name) / MANIFEST
        return manifest.exists() and read_manifest(manifest).get(_MADE_FOR) == self._wanted

    def simulate(
        self, name: str, trained: Trained, settings: RolloutConfig, trainer: L.Trainer, command: str | None
    ) -> None:
        """Make it.

        Args:
            name: One of `BASELINES`.
            trained: The model that it trades instead of.
            settings: Limits, and how many books at once.
            trainer: Which device makes the rollouts.
            command: The command line, for the manifest.
        """
        manifest = self._run.manifest
        print(f"{BASELINES[name]}, from the same {len(manifest['starts'])} starts:")
        config = replace(
            settings,
            starts=0,
            at=self._run.moments,
            saved=[],
            warm_up=None,
            rollouts=manifest["rollouts"],
            # Half a nanosecond more, so that the number is no less than the horizon when it is rounded down.
            minutes=(manifest["horizon_ns"] + 0.5) / NANOS_PER_MINUTE,
            rules=manifest["rules"],
            cancels=_CANCELS.get(name, manifest["cancels"]),
            seed=manifest["seed"],
            agents={name: {"agent": name} | self._parameters(name)},
            background=AGENTS,
        )
        about = {"checkpoint": str(trained.checkpoint), "command": command, _MADE_FOR: self._wanted}
        simulate(config, trained, self.place(name), about, trainer=trainer)

    def _parameters(self, name: str) -> dict[str, str]:
        return {"parameters": str(self._fits[name])} if name in self._fits else {}

    @cached_property
    def _fits(self) -> dict[str, Path]:
        return fit_baselines(self._prepared, self._folder / _FITS)

    @property
    def _wanted(self) -> dict[str, Any]:
        same = ("rollouts", "horizon_ns", "rules", "cancels", "seed")
        return {key: self._run.manifest[key] for key in same} | {
            "moments": self._run.moments,
            "prepared": self._prepared.fingerprint,
            "version": __version__,
        }
