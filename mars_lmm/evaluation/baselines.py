"""Simulations of the baselines from a model's starts: they trade in its stead."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L

from mars_lmm import __version__
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.evaluation.config import BASELINES, RECENT
from mars_lmm.evaluation.trajectories import MANIFEST, SimulationRun, read_manifest
from mars_lmm.simulation.agents.registry import BUILT_IN
from mars_lmm.simulation.config import AGENTS, RolloutConfig
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.fitting import fit_baselines, fit_recent
from mars_lmm.simulation.fitting.files import FITS
from mars_lmm.simulation.fitting.orders import fitted_symbols, training_orders
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.running.identity import file_checksum, source_checksums
from mars_lmm.simulation.simulate import NANOS_PER_MINUTE, simulate
from mars_lmm.simulation.starts.recorded import Moment

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
        """Whether it is there, made for the same starts, number and length of rollouts, data, parameters and code."""
        manifest = self.place(name) / MANIFEST
        fitted = _agent(name) not in FITS or self._fit(name).exists()
        return fitted and manifest.exists() and read_manifest(manifest).get(_MADE_FOR) == self._wanted(name)

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

        Raises:
            ValueError: An instrument has no training part that the baseline could be fitted to.
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
            cancels=_CANCELS.get(_agent(name), manifest["cancels"]),
            seed=manifest["seed"],
            recalibration=0,
            agents={name: {"agent": _agent(name)} | self._parameters(name)},
            background=AGENTS,
        )
        about = {"checkpoint": str(trained.checkpoint), "command": command, _MADE_FOR: self._wanted(name)}
        simulate(config, trained, self.place(name), about, trainer=trainer)

    def _parameters(self, name: str) -> dict[str, str]:
        if _agent(name) not in FITS:
            return {}
        if name.endswith(RECENT):
            return {"parameters": str(self._recent_fits[_agent(name)])}
        unfitted = {start["symbol"] for start in self._run.manifest["starts"]} - set(fitted_symbols(self._prepared))
        if unfitted:
            raise ValueError(
                f"{', '.join(sorted(unfitted))}: all sessions are held out, so there is nothing to fit {name} to; give "
                f"baselines=[noise], which is fitted to nothing, or {name}{RECENT}"
            )
        return {"parameters": str(self._fits[name])}

    @cached_property
    def _fits(self) -> dict[str, Path]:
        return fit_baselines(self._prepared, self._folder / _FITS)

    @cached_property
    def _recent_fits(self) -> dict[str, Path]:
        moments = [Moment.parse(moment) for moment in self._run.moments]
        return fit_recent(self._prepared, self._folder / (_FITS + RECENT), moments, self._recent_orders)

    @property
    def _recent_orders(self) -> int:
        """As many as the model is fitted to."""
        return self._run.manifest.get("recalibration") or OrderCoding.recalibration

    def _fit(self, name: str) -> Path:
        """Where the fits are written, for those who only look."""
        folder = _FITS + RECENT if name.endswith(RECENT) else _FITS
        return self._folder / folder / f"{_agent(name)}.json"

    def _wanted(self, name: str) -> dict[str, Any]:
        same = ("rollouts", "horizon_ns", "rules", "cancels", "seed")
        wanted = {key: self._run.manifest[key] for key in same} | {
            "moments": self._run.moments,
            "prepared": self._prepared.fingerprint,
            "version": __version__,
            "agent": source_checksums(BUILT_IN[_agent(name)]),
        }
        if _agent(name) in FITS:
            code = (Path(inspect.getsourcefile(function)) for function in (training_orders, FITS[_agent(name)]))
            wanted |= {"fit": file_checksum(self._fit(name)), "fitting": [file_checksum(file) for file in code]}
        if name.endswith(RECENT):
            wanted["orders"] = self._recent_orders
        return wanted


def _agent(name: str) -> str:
    """The agent that trades as a baseline."""
    return name.removesuffix(RECENT)
