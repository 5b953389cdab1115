"""What a simulation left on disk: its manifest, its rollouts and the replay they are held against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError

REPLAY, SIMULATION = "Replay", "Simulation"

# The columns of a trajectory that an evaluation reads; a file may have more.
COLUMNS = (
    *("start", "rollout", "time", "kind", "side", "size", "filled", "fill_value", "last_price"),
    *("bid", "ask"),
)
_MANIFEST_KEYS = (
    *("tick_size", "horizon_ns", "rollouts", "starts", "seed", "checkpoint"),
    *("orders_per_second", "seconds", "rejected", "ended"),
)
_START_KEYS = ("start", "symbol", "date", "time_ns", "bid", "ask", "last_price")


@dataclass(frozen=True)
class SimulationRun:
    """A simulation and the replay of the same starts.

    Attributes:
        manifest: `simulation.json`.
        orders: For each source, the columns of its accepted orders, each an array [N], sorted by start,
            rollout and time.
    """

    manifest: dict
    orders: dict[str, dict[str, np.ndarray]]

    def num_rollouts(self, source: str) -> int:
        """Paths per start: the replay has one."""
        return 1 if source == REPLAY else self.manifest["rollouts"]

    def path(self, source: str) -> np.ndarray:
        """Number of the path that each order belongs to, counted over starts and rollouts, int64[N]."""
        columns = self.orders[source]
        return columns["start"].astype(np.int64) * self.num_rollouts(source) + columns["rollout"]

    @classmethod
    def read(cls, folder: Path) -> SimulationRun:
        """Read a simulation's output folder.

        Raises:
            DataError: A file is missing, unreadable, empty, or does not fit the others.
        """
        manifest = _read_manifest(folder / "simulation.json")
        orders = {
            REPLAY: _read_orders(folder / "replay.parquet", manifest, 1),
            SIMULATION: _read_orders(folder / "rollouts.parquet", manifest, manifest["rollouts"]),
        }
        return cls(manifest, orders)


def _read_manifest(path: Path) -> dict:
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(path, "not found; give the output folder of a finished simulation") from error
    except json.JSONDecodeError as error:
        raise DataError(path, f"not valid JSON ({error}); run the simulation again") from error
    missing = [key for key in _MANIFEST_KEYS if key not in manifest]
    missing += sorted({key for start in manifest.get("starts", []) for key in _START_KEYS if key not in start})
    if missing:
        raise DataError(path, f"lacks {', '.join(missing)}; run the simulation again")
    if [start["start"] for start in manifest["starts"]] != list(range(len(manifest["starts"]))):
        raise DataError(path, "starts are not numbered 0, 1, 2, ...; run the simulation again")
    return manifest


def _read_orders(path: Path, manifest: dict, num_rollouts: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(path, "not found; give the output folder of a finished simulation")
    try:
        present = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in present]
        if missing:
            raise DataError(path, f"lacks the columns {', '.join(missing)}; run the simulation again")
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"not a readable parquet file ({error}); run the simulation again") from error
    if not len(table):
        raise DataError(path, "holds no orders; check the horizon and the rejections in simulation.json")
    columns = {name: table[name].to_numpy() for name in COLUMNS}
    for name, number in (("start", len(manifest["starts"])), ("rollout", num_rollouts)):
        low, high = columns[name].min(), columns[name].max()
        if low < 0 or high >= number:
            raise DataError(
                path, f"has {name} {low}..{high}, simulation.json knows 0..{number - 1}; do not mix two runs"
            )
    path_number = columns["start"].astype(np.int64) * num_rollouts + columns["rollout"]
    forward = np.diff(path_number)
    unsorted = np.flatnonzero((forward < 0) | ((forward == 0) & (np.diff(columns["time"]) < 0)))
    if len(unsorted):
        raise DataError(
            path, "not sorted by start, rollout and time; run the simulation again", row=int(unsorted[0]) + 2
        )
    return columns
