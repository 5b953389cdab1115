"""Which orders did a training step see? `python -m mars_lmm.data.batches RUN_OR_PREPARED --step K`.

Batches are a pure function of the set, the seed and the step, so they are made again rather than recorded.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mars_lmm.data.datasets import BLOCK, OrderRows
from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import COLUMNS, Columns
from mars_lmm.data.prepared import TRAIN, PreparedSet
from mars_lmm.data.replay import is_order
from mars_lmm.data.samplers import PermutationBatchSampler
from mars_lmm.market import types as t
from mars_lmm.os_errors import in_words

SHOWN = ("time", "kind", "side", "price", "size", "order_id", "source_row")
LARGEST = int(np.iinfo(np.int64).max)  # of the numbers that key an order of rows
SIDES = {t.SELL: "sell", t.BUY: "buy"}


@dataclass(frozen=True)
class Batches:
    """What the batches of a run depend on, beside its rows.

    Attributes:
        batch_size: Rows of a batch on each rank.
        world_size: Ranks.
        seed: Seed of the order of rows.
        block: Row groups whose rows are mixed; None: all.
        batches_per_step: Batches that each rank reads for one step of the optimiser, within an epoch.
    """

    batch_size: int
    world_size: int
    seed: int
    block: int | None
    batches_per_step: int = 1

    def rows_of(self, groups: np.ndarray, step: int) -> list[tuple[int, int]]:
        """The rank and the row number of all rows that a step sees, rank by rank.

        Args:
            groups: int64[G + 1], where the row groups of the training split begin and end.
            step: The step, counted from 0.
        """
        rows = []
        for rank in range(self.world_size):
            sampler = PermutationBatchSampler(groups, self.batch_size, self.seed, self.world_size, rank, self.block)
            # The last step of an epoch takes what batches are left of it.
            epoch, within = divmod(step, -(-len(sampler) // self.batches_per_step))
            first = within * self.batches_per_step
            sampler.samples_consumed = (epoch * len(sampler) + first) * sampler.global_batch
            batches = islice(sampler, self.batches_per_step)
            rows += [(rank, row) for batch in batches for row in batch]
        return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a step saw; the last line is one JSON object.

    Returns:
        The exit status: 0, or 2 if the run or the data cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.data.batches", description="Show what a step saw.")
    parser.add_argument("path", help="a run's folder, which knows its batches, or a prepared set")
    parser.add_argument("--step", type=int, required=True, help="the step, counted from 0 as in metrics.csv")
    parser.add_argument("--batch-size", type=int, help="of a prepared set: rows of a batch on each rank (16)")
    parser.add_argument("--world-size", type=int, help="of a prepared set: ranks (1)")
    parser.add_argument("--seed", type=int, help="of a prepared set: seed of the order of rows (0)")
    parser.add_argument("--rank", type=int, help="only this rank's rows")
    parser.add_argument("--row", type=int, help="only this one of them, counted from 0")
    parser.add_argument("--orders", type=int, default=5, help="how many orders of each session in a row to print (5)")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(show(options)))
    except (OSError, ValueError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace) -> dict[str, Any]:
    """Print the rows that a step saw, and return them.

    Raises:
        ValueError: An option is out of range; as DataError: the run or the data cannot be read.
    """
    if not 0 <= options.step <= LARGEST or options.orders < 0:
        raise ValueError(f"--step and --orders count from 0; a step is at most {LARGEST}")
    prepared, batches = _find(options)
    rows = OrderRows(prepared, TRAIN)
    seen = batches.rows_of(rows.groups, options.step)
    if options.rank is not None:
        if not 0 <= options.rank < batches.world_size:
            raise ValueError(f"--rank {options.rank}: the ranks are 0 to {batches.world_size - 1}")
        seen = [(rank, row) for rank, row in seen if rank == options.rank]
    if options.row is not None:
        if not 0 <= options.row < len(seen):
            raise ValueError(f"--row {options.row}: the step saw rows 0 to {len(seen) - 1}")
        seen = [seen[options.row]]
    orders_of = _order_reader(prepared)
    described = [_show_row(rows, rank, row, orders_of, options.orders) for rank, row in seen]
    return {
        "prepared": str(prepared.path),
        "fingerprint": prepared.fingerprint,
        "step": options.step,
        **asdict(batches),
        "rows": described,
    }


def _find(options: argparse.Namespace) -> tuple[PreparedSet, Batches]:
    """The rows, and in which order they are read."""
    given = {name: getattr(options, name) for name in ("batch_size", "world_size", "seed")}
    checkpoints = Path(options.path) / "checkpoints"
    if checkpoints.is_dir():
        if any(value is not None for value in given.values()):
            raise ValueError("a run knows its batch size, world size and seed; leave them out, or give a prepared set")
        return _of_run(checkpoints)
    prepared = PreparedSet.load(options.path)
    defaults = {"batch_size": 16, "world_size": 1, "seed": 0}
    chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
    for name, least in (("batch_size", 1), ("world_size", 1), ("seed", 0)):
        if not least <= chosen[name] <= LARGEST:
            raise ValueError(f"--{name.replace('_', '-')} {chosen[name]}: it is {least} to {LARGEST}")
    return prepared, Batches(**chosen, block=BLOCK if prepared.is_remote else None)


def _of_run(checkpoints: Path) -> tuple[PreparedSet, Batches]:
    """What the newest checkpoint of a run tells of its batches; see `OrderDataModule.state_dict`."""
    files = sorted(checkpoints.glob("*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        raise DataError(checkpoints, "no checkpoint yet; give the prepared set with --batch-size and --seed")
    try:
        checkpoint = torch.load(files[-1], map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(files[-1], f"not a checkpoint, or not a whole one: {error}") from error
    try:
        state = checkpoint["OrderDataModule"]
        folder, fingerprint = state.pop("prepared"), state.pop("fingerprint")
        batches = Batches(**state)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            files[-1], "tells nothing of its batches; give the prepared set with --batch-size and --seed"
        ) from error
    prepared = PreparedSet.load(folder)
    if prepared.fingerprint != fingerprint:
        raise DataError(prepared.path, f"is not the set of the run: {prepared.fingerprint}, not {fingerprint}")
    return prepared, batches


def _order_reader(prepared: PreparedSet) -> Callable[[np.void], Columns]:
    """A function from a piece to its orders in the order flow; it keeps the flows read last."""

    @lru_cache(maxsize=4)
    def orders(session: int) -> tuple[Columns, np.ndarray]:
        flow = prepared.flow(session)
        return flow.columns, np.flatnonzero(is_order(flow.session, flow.columns))

    def read(piece: np.void) -> Columns:
        columns, rows = orders(int(piece["session"]))
        rows = rows[piece["start"] : piece["start"] + piece["length"]]
        if len(rows) < piece["length"]:
            raise DataError(prepared.path, "a session's order flow is shorter than its rows; prepare the data again")
        return {name: columns[name][rows] for name in COLUMNS}

    return read


def _show_row(
    rows: OrderRows, rank: int, row: int, orders_of: Callable[[np.void], Columns], shown: int
) -> dict[str, Any]:
    """Print a row, and describe it in plain values."""
    token, place, pieces = rows[row]["token"].numpy(), 0, []
    print(f"row {row:,} of the training split, on rank {rank}")
    for piece in rows.pieces(row):
        session, length = rows.prepared.sessions[piece["session"]], int(piece["length"])
        orders = orders_of(piece)
        pieces.append(
            {
                "session": f"{session['symbol']}_{session['date']}",
                "first_order": int(piece["start"]),
                "orders": length,
                "scored": length - int(piece["first_target"]),
                "from": _clock(orders["time"][0]),
                "to": _clock(orders["time"][-1]),
            }
        )
        print(
            "  {session}, {from} to {to}: {orders:,} orders from order {first_order:,} on, "
            "the last {scored:,} of them scored".format(**pieces[-1])
        )
        table = [("order", *SHOWN, "token")] if shown else []
        for number in range(min(shown, length)):
            time, kind, side, *numbers = (orders[name][number] for name in SHOWN)
            named = (_clock(time), t.KINDS[kind], SIDES.get(side, side))
            table.append((piece["start"] + number, *named, *numbers, token[place + number]))
        for line in table:
            print("    " + " ".join(f"{value:>18}" for value in line))
        place += length
    return {"rank": rank, "row": row, "pieces": pieces}


def _clock(time: np.integer) -> str:
    """Nanoseconds since midnight as HH:MM:SS.nnnnnnnnn."""
    seconds, nanoseconds = divmod(int(time), 10**9)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{nanoseconds:09}"


if __name__ == "__main__":
    sys.exit(main())
