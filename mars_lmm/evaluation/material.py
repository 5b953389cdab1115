"""What the tasks of an evaluation read, made when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.evaluation.bars import minute_bars
from mars_lmm.evaluation.baselines import Baselines
from mars_lmm.evaluation.config import BASELINES, EvaluateConfig, EvaluatedRollouts
from mars_lmm.evaluation.sequences.from_trajectories import real_sequences, simulated_sequences
from mars_lmm.evaluation.sequences.sequences import Sequences
from mars_lmm.evaluation.trajectories import FOLDER, MANIFEST, SIMULATION, SimulationRun, read_manifest
from mars_lmm.market.types import DEPTH
from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.simulation.config import QUEUE_RULES
from mars_lmm.simulation.engine.coding import coding_of
from mars_lmm.simulation.loading import Trained, load_trained
from mars_lmm.simulation.running.identity import weights_checksum
from mars_lmm.simulation.running.predict import check_trainer, default_trainer
from mars_lmm.simulation.simulate import NANOS_PER_MINUTE, simulate
from mars_lmm.simulation.starts.recorded import Moment, starts_at
from mars_lmm.simulation.starts.start import Start

BEST = "best"

_WEIGHTS = "weights"
# Settings that the manifest has under their own names.
_RECORDED = ("rollouts", "seed", "rules", "cancels", "attention", "recalibration")


class Material:
    """Everything about a run that is scored; what it lacks is simulated.

    Args:
        config: Which run, held against whom.
        trainer: Which device makes rollouts and reads orders, one; None: a GPU if there is one.
        command: The command line, to be told in the manifests of what is simulated.

    Raises:
        ValueError: The Trainer has several processes, or settings that rollouts cannot keep.
    """

    def __init__(self, config: EvaluateConfig, trainer: L.Trainer | None = None, command: str | None = None):
        self.config, self.folder, self.command = config, Path(config.run), command
        self.trainer = trainer or default_trainer()
        check_trainer(self.trainer)
        if self.trainer.world_size > 1:
            raise ValueError(
                f"trainer: {self.trainer.world_size} processes, and an evaluation has one: make the rollouts by "
                "simulate.py with them first, and evaluate with trainer.devices=1"
            )

    @cached_property
    def run(self) -> SimulationRun:
        """The model's simulation, the baselines' and those of other runs, side by side.

        Raises:
            DataError: The run's finished simulation was made by other weights than its checkpoint holds now.
            ValueError: It was made with other settings than those that are asked for.
        """
        folder = self.folder / FOLDER
        if (folder / MANIFEST).exists():
            _check_settings(self.config.simulation, folder)
            self._check_weights(folder)
        else:
            about = {"checkpoint": str(self.trained.checkpoint), "command": self.command}
            simulate(self.config.simulation, self.trained, folder, about, trainer=self.trainer)
        run = SimulationRun.read(folder)
        if self.config.baselines:
            baselines = Baselines(run, self.prepared, self.folder / "baselines")
            for name in self.config.baselines:
                if not baselines.finished(name):
                    baselines.simulate(name, self.trained, self.config.simulation, self.trainer, self.command)
                run = run.beside(BASELINES[name], baselines.place(name))
        for other in map(Path, self.config.models):
            run = run.beside(other.name, other / FOLDER)
        return run

    @cached_property
    def bars(self) -> pa.Table:
        """Minute bars of all sources."""
        return minute_bars(self.run)

    @property
    def checkpoint(self) -> str:
        """The checkpoint that made the simulation, if no other is asked for."""
        manifest = self.folder / FOLDER / MANIFEST
        if self.config.checkpoint or not manifest.exists():
            return self.config.checkpoint or BEST
        recorded = Path(read_manifest(manifest)["checkpoint"])
        # A run that has been moved has taken its checkpoints along.
        own = self.folder / "checkpoints" / recorded.name
        return recorded.stem if recorded.parent.name == own.parent.name and own.exists() else str(recorded)

    @property
    def checkpoint_path(self) -> Path:
        """Where it is."""
        own = self.folder / "checkpoints" / f"{self.checkpoint}.ckpt"
        return own if own.exists() else Path(self.checkpoint)

    @cached_property
    def notes(self) -> list[str]:
        """What to know before believing what is made from this."""
        made_by = self.run.manifest.get(_WEIGHTS)
        if self.config.checkpoint is None or made_by is None or self._weights in (made_by, None):
            return []
        return [f"The likelihood is that of {self.checkpoint_path}; the simulation was made by other weights."]

    def _check_weights(self, folder: Path) -> None:
        """Refuse a simulation whose checkpoint has been replaced. Whoever names a checkpoint wants that one."""
        made_by = read_manifest(folder / MANIFEST).get(_WEIGHTS)  # older simulations do not tell
        if made_by is None or self.config.checkpoint is not None:
            return
        if self._weights not in (made_by, None):
            raise DataError(
                folder,
                f"was made by other weights than {self.checkpoint_path} holds now: remove the folder to simulate "
                "again, or name the checkpoint that made it, by checkpoint=PATH",
            )

    @cached_property
    def _weights(self) -> str | None:
        """The checksum of the checkpoint's weights; None where it is not at hand."""
        # Not those of `trained`, which needs a prepared set as well.
        path = self.checkpoint_path
        return weights_checksum(load_order_model(path)[0]) if path.exists() else None

    @cached_property
    def trained(self) -> Trained:
        """The model, on the CPU."""
        return load_trained(self.folder, self.checkpoint, self._address, device="cpu")

    @property
    def _address(self) -> str | None:
        """The prepared set that is asked for, or the simulation's."""
        manifest = self.folder / FOLDER / MANIFEST
        found = read_manifest(manifest).get("prepared") if manifest.exists() else None
        return self.config.prepared or found

    @cached_property
    def prepared(self) -> PreparedSet:
        """The prepared set that the starts are in."""
        if self._address is None:
            raise DataError(self.folder / FOLDER / MANIFEST, "lacks prepared; give prepared=SET, or simulate again")
        return PreparedSet.load(self._address)

    @cached_property
    def known_set(self) -> PreparedSet | None:
        """The prepared set for those who can do without."""
        try:
            return self.prepared
        except DataError:
            return None

    @property
    def hours(self) -> tuple[int, int] | None:
        """When the market opens and closes, nanoseconds since midnight, if that is known and the same in all starts."""
        if self.known_set is None:
            return None
        dates = {(start["symbol"], start["date"]) for start in self.run.manifest["starts"]}
        entries = [entry for entry in self.known_set.sessions if (entry["symbol"], entry["date"]) in dates]
        hours = {(entry["open_time"], entry["close_time"]) for entry in entries}
        return hours.pop() if len(hours) == 1 else None

    @cached_property
    def starts(self) -> list[Start]:
        """The starts themselves, made again."""
        moments = [Moment.parse(moment) for moment in self.run.moments]
        coding = coding_of(self.prepared.tokenizer())
        return starts_at(self.prepared, coding, moments, history=1, horizon=self.run.manifest["horizon_ns"])

    @cached_property
    def members(self) -> dict[str, np.ndarray]:
        """Numbers of the starts of each symbol."""
        symbols = np.array([start["symbol"] for start in self.run.manifest["starts"]])
        return {symbol: np.flatnonzero(symbols == symbol) for symbol in np.unique(symbols).tolist()}

    @cached_property
    def levels(self) -> dict[str, int]:
        """How many levels of the book count for each symbol: those that its feed shows."""
        shown = dict.fromkeys(self.members, DEPTH)
        for entry in self.prepared.sessions:
            if entry["symbol"] in shown and entry["levels"]:
                shown[entry["symbol"]] = min(shown[entry["symbol"]], entry["levels"])
        return {symbol: self.config.levels or levels for symbol, levels in shown.items()}

    @cached_property
    def real(self) -> Sequences:
        """What really came after each start, as messages and books."""
        ends = [start["end_ns"] for start in self.run.manifest["starts"]]
        return real_sequences(self.starts, ends, max(self.levels.values()))

    def sequences(self, source: str) -> Sequences:
        """The rollouts of a source as messages and books. They take much memory, so nobody keeps them."""
        manifest = self.run.simulated[source]
        if "background" not in manifest:
            folder = f"the simulation of {self.folder}" if source == SIMULATION else source
            raise DataError(folder, "was made by an older version, which did not tell `background`; simulate again")
        return simulated_sequences(
            self.starts,
            self.run.orders[source],
            manifest["rollouts"],
            QUEUE_RULES[manifest["cancels"]],
            manifest["background"],
            source,
            max(self.levels.values()),
        )


def _check_settings(config: EvaluatedRollouts, folder: Path) -> None:
    """Refuse settings that a finished simulation was not made with. Those left as they are by default fit any."""
    manifest = read_manifest(folder / MANIFEST)
    made = {name: manifest[name] for name in _RECORDED if name in manifest}  # older simulations tell fewer
    made |= {f"sampling.{name}": value for name, value in manifest.get("sampling", {}).items()}
    made |= {"minutes": manifest["horizon_ns"] / NANOS_PER_MINUTE, "starts": len(manifest["starts"])}
    if "agent_settings" in manifest:
        made["agents"] = manifest["agent_settings"]
    default = _settings(EvaluatedRollouts())
    differing = {
        name: value
        for name, value in _settings(config).items()
        if value != default[name] and value != made.get(name, value)
    }
    if differing:
        asked = " ".join(f"simulation.{name}={value}" for name, value in differing.items())
        found = ", ".join(f"{name}={made[name]}" for name in differing)
        raise ValueError(
            f"{asked}: {folder} is finished and was made with {found}; remove it to simulate anew, or leave out what "
            "differs"
        )
    named = {text: Moment.parse(text) for text in config.at}
    absent = [text for text, at in named.items() if not any(_is_at(start, at) for start in manifest["starts"])]
    if absent:
        raise ValueError(
            f"simulation.at: {folder} is finished and has no start at {', '.join(absent)}; remove it to simulate anew, "
            "or leave them out"
        )


def _is_at(start: dict, moment: Moment) -> bool:
    same = (start["symbol"], start["time_ns"]) == (moment.symbol, moment.time)
    return same and moment.date in (None, start["date"])


def _settings(config: EvaluatedRollouts) -> dict[str, Any]:
    """The settings that a manifest tells, as it tells them."""
    settings = {name: getattr(config, name) for name in _RECORDED}
    settings |= {f"sampling.{name}": value for name, value in vars(config.sampling).items()}
    settings["minutes"] = int(config.minutes * NANOS_PER_MINUTE) / NANOS_PER_MINUTE
    settings["agents"] = config.agents
    if not (config.saved or config.warm_up):  # which add to their number
        settings["starts"] = config.starts + len(config.at)
    return settings
