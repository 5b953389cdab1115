"""What a simulation left on disk: its manifest, its rollouts and the replay they are held against."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import UNDATED
from mars_lmm.simulation.starts.recorded import Moment

REPLAY, SIMULATION = "Replay", "Simulation"

# The columns of a trajectory that an evaluation reads; a file may have more.
COLUMNS = (
    *("start", "rollout", "time", "kind", "side", "size", "filled", "fill_value", "last_price"),
    *("price", "bid", "ask", "bid_size", "ask_size", "source", "order_id"),
)
_MANIFEST_KEYS = (
    *("horizon_ns", "rollouts", "starts", "seed", "checkpoint"),
    *("orders", "by_kind", "orders_per_second", "seconds", "rejected", "ended"),
)
_START_KEYS = ("start", "symbol", "date", "time_ns", "end_ns", "recorded", "tick_size", "bid", "ask", "last_price")

FOLDER, MANIFEST = "simulation", "simulation.json"
"""Where a run keeps its simulation, and what tells that it is finished."""

_NO_ORDERS = "holds no orders; check the horizon and the rejections in simulation.json"


@dataclass(frozen=True)
class SimulationRun:
    """Simulations from the same starts, and their replay.

    Starts that nobody knows the real continuation of, such as those of agents' warm-ups, are left out, and so are those
    of sessions without a date.

    Attributes:
        manifest: `simulation.json`, with the other starts alone, numbered anew; `tick_size` is the first one's.
        orders: For each source, the columns of its accepted orders, each an array [N], sorted by start,
            rollout and time.
        left_out: How many starts are left out.
        others: The manifests of the sources beside the replay and `SIMULATION`.
    """

    manifest: dict
    orders: dict[str, dict[str, np.ndarray]]
    left_out: int = 0
    others: dict[str, dict] = field(default_factory=dict)

    @property
    def simulated(self) -> dict[str, dict]:
        """The manifest of each simulated source; this simulation's own comes first."""
        return {SIMULATION: self.manifest} | self.others

    def num_rollouts(self, source: str) -> int:
        """Paths per start: the replay has one."""
        return 1 if source == REPLAY else self.simulated[source]["rollouts"]

    def path(self, source: str) -> np.ndarray:
        """Number of the path that each order belongs to, counted over starts and rollouts, int64[N]."""
        columns = self.orders[source]
        return columns["start"].astype(np.int64) * self.num_rollouts(source) + columns["rollout"]

    def beside(self, name: str, folder: Path) -> SimulationRun:
        """This and another simulation of the same starts, as one more source.

        Args:
            name: What to call it.
            folder: Its output folder.

        Raises:
            DataError: It cannot be read, or has other starts or another horizon.
        """
        other = SimulationRun.read(folder)
        mine, theirs = self.moments, other.moments
        if mine != theirs or self.manifest["horizon_ns"] != other.manifest["horizon_ns"]:
            listed = ", ".join(f'"{moment}"' for moment in mine)
            raise DataError(
                folder / MANIFEST,
                f"has other starts, or other minutes, than {name} is to be compared with; simulate that run with "
                f"starts=0 at='[{listed}]' minutes={self.manifest['horizon_ns'] / 60e9:g}",
            )
        return replace(
            self,
            orders=self.orders | {name: other.orders[SIMULATION]},
            others=self.others | {name: other.manifest},
        )

    @property
    def moments(self) -> list[str]:
        """When the starts are, as `simulate.py` takes them for `at`."""
        return [str(Moment(start["symbol"], start["date"], start["time_ns"])) for start in self.manifest["starts"]]

    @classmethod
    def read(cls, folder: Path) -> SimulationRun:
        """Read a simulation's output folder.

        Raises:
            DataError: A file is missing, unreadable, empty, or does not fit the others; or no start has a real
                continuation, a date, and all of its minutes at a stretch.
        """
        path = folder / MANIFEST
        manifest = read_manifest(path)
        kept = _comparable(path, manifest["starts"], manifest["horizon_ns"])
        orders = {
            REPLAY: _read_orders(folder / "replay.parquet", manifest, kept, 1),
            SIMULATION: _read_orders(folder / "rollouts.parquet", manifest, kept, manifest["rollouts"]),
        }
        starts = [manifest["starts"][number] | {"start": place} for place, number in enumerate(kept)]
        left_out = len(manifest["starts"]) - len(starts)
        return cls(manifest | {"starts": starts, "tick_size": starts[0]["tick_size"]}, orders, left_out)


def read_manifest(path: Path) -> dict:
    """The content of a finished simulation's `simulation.json`.

    Raises:
        DataError: It is missing, unreadable, or lacks something.
    """
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


def _comparable(path: Path, starts: list[dict], horizon: int) -> list[int]:
    """Numbers of the starts whose rollouts can be held against what really happened, minute by minute."""
    recorded = [start["start"] for start in starts if start["recorded"]]
    if not recorded:
        raise DataError(
            path,
            f"none of the {len(starts)} starts has a real continuation that its rollouts could be held against; "
            "simulate starts of recorded sessions, by starts=N or at=[...], beside saved ones and warm-ups",
        )
    dated = [number for number in recorded if starts[number]["date"] != UNDATED]
    if not dated:
        raise DataError(
            path,
            f"the sessions of all {len(recorded)} recorded starts are without a date, and minute bars need one; give "
            "the data's source a date, prepare the set again, and simulate again",
        )
    # Steps of time are counted by the clock: they would lose what comes after a break, or what a close cuts off.
    whole = [number for number in dated if starts[number]["end_ns"] - starts[number]["time_ns"] == horizon]
    if not whole:
        raise DataError(
            path,
            f"the minutes of all {len(dated)} starts go across a break or beyond the close, and are counted by the "
            "clock; simulate from other starts, as simulate.py continuous=true finds them",
        )
    return whole


def _read_orders(path: Path, manifest: dict, kept: list[int], num_rollouts: int) -> dict[str, np.ndarray]:
    """The columns of the kept starts' orders, by the starts' new numbers."""
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
        raise DataError(path, _NO_ORDERS)
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
    inside = np.isin(columns["start"], kept)
    if not inside.any():
        raise DataError(path, _NO_ORDERS)
    columns = {name: column[inside] for name, column in columns.items()}
    return columns | {"start": np.searchsorted(kept, columns["start"]).astype(np.int32)}
