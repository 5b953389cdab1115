"""Prove that training knows nothing of what is held out: `python -m mars_lmm.data.audit PREPARED`.

Which orders are held out is worked out anew from the order flow, and so are the rows and the bins; of the manifest only
the recipe is believed. Leaks go to standard error; the last line of standard output is one JSON object. The exit status
is 0 if there is no leak, 1 if there is one, and 2 if the set cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from mars_lmm.data.config import DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import FlowFile
from mars_lmm.data.ledger import SKIP, Ledger
from mars_lmm.data.preparation.sample import Sample, join
from mars_lmm.data.preparation.units import held_out_from
from mars_lmm.data.prepared import MANIFEST, NEVER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.replay import Replayer
from mars_lmm.data.rows import CODED, COLUMNS, coded_orders, decode_market, decode_pieces, decode_tokens, places
from mars_lmm.os_errors import in_words
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.orders import OrderTokenizer

SPLITS = (TRAIN, VALIDATION)
COUNTED = ("orders", "training_orders", "sample_seed")  # numbers that the manifest tells of a session


def main(arguments: list[str] | None = None) -> int:
    """Audit a prepared set.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.data.audit", description=__doc__.partition(":")[0])
    parser.add_argument("prepared", metavar="PREPARED", help="folder or URL of a prepared set")
    options = parser.parse_args(arguments)
    try:
        prepared = PreparedSet.load(options.prepared)
        leaks = find_leaks(prepared)
    except (OSError, ValueError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 2
    for leak in leaks:
        print(f"leak: {leak}", file=sys.stderr)
    rows = sum(split["rows"] for split in prepared.splits.values())
    print(json.dumps({"sessions": len(prepared.sessions), "rows": rows, "leaks": len(leaks)}))
    return int(len(leaks) > 0)


def find_leaks(prepared: PreparedSet) -> list[str]:
    """What the training split of a set knows of what is held out, and where set and manifest differ; empty if nothing.

    Each session is replayed once, in memory for its book and a part of its orders; the rest goes to temporary files.

    Raises:
        DataError: A file of the set cannot be read.
    """
    with TemporaryDirectory() as folder:
        audit = _Audit(prepared, Path(folder))
        audit.run()
    return audit.leaks


@dataclass(frozen=True)
class _Orders:
    """A session's orders, worked out from its flow.

    Attributes:
        coded: CODED[N].
        training: How many of them come before the first that is held out.
    """

    coded: np.ndarray
    training: int


@dataclass(frozen=True)
class _Group:
    """A row group of B rows, made of P pieces.

    Attributes:
        pieces: PIECE[P].
        row: int64[P], the row of each piece, counted over the whole file.
        place: int64[P], where each piece begins among the group's orders, counted over its rows.
        room: int64[P], orders from there to the end of the row.
        coded: CODED[B * (T + 1)].
    """

    pieces: np.ndarray
    row: np.ndarray
    place: np.ndarray
    room: np.ndarray
    coded: np.ndarray


class _Audit:
    """An audit under way.

    Attributes:
        leaks: What was found so far.
    """

    def __init__(self, prepared: PreparedSet, folder: Path):
        self.leaks: list[str] = []
        self._prepared, self._folder = prepared, folder
        self._tokenizer = prepared.tokenizer()
        manifest = f"{prepared.path}/{MANIFEST}"
        try:
            self._config = DataConfig(cutoff=prepared.recipe["settings"]["cutoff"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(manifest, f"the recipe tells no cut-off ({error}); prepare the data again") from error
        for entry, name in product(prepared.sessions, COUNTED):
            value = entry.get(name)
            if type(value) is not int or not 0 <= value <= NEVER:
                raise DataError(manifest, f"{name} of {_name(entry)} is {value!r}, no count; prepare the data again")
        self._targets = dict.fromkeys(SPLITS, 0)  # orders to score, over all sessions so far
        self._group = lru_cache(maxsize=2)(self._read_group)  # packed rows hold many sessions

    def run(self) -> None:
        """Audit the whole set."""
        self._check_cutoff()
        # Each session's sample joins the others before the next session is replayed.
        self._check_bins(join(self._checked_sessions()))
        for split, targets in self._targets.items():
            told = self._prepared.splits[split]["orders"]
            if told != targets:
                self.leaks.append(f"the {split} split has {targets} orders to score, the manifest says {told}")

    def _check_cutoff(self) -> None:
        """The manifest's cut-off is the recipe's."""
        value = self._config.cutoff
        expected = {"kind": "date" if self._config.cutoff_is_date else "time", "value": value}
        if self._prepared.cutoff != expected:
            self.leaks.append(f"the manifest's cut-off is {self._prepared.cutoff}, the recipe's {expected}")

    def _checked_sessions(self) -> Iterator[Path]:
        """Check that rows hold the orders that they name, and that those lie on the split's side of the cut-off.

        Yields:
            A sample of each session's training orders, in a file that the next one takes over.
        """
        groups = self._groups_by_session()
        for number, entry in enumerate(tqdm(self._prepared.sessions, desc="audit", unit="session")):
            path = self._folder / "sample"
            orders = self._orders(number, path)
            self._check_manifest(number, orders)
            scored: dict[str, list[np.ndarray]] = {split: [np.empty((0, 2), np.int64)] for split in SPLITS}
            for split, file, group in groups[number]:
                scored[split].append(self._check_group(split, file, group, number, orders))
            self._check_targets(_name(entry), orders, {split: np.concatenate(spans) for split, spans in scored.items()})
            yield path

    def _check_targets(self, name: str, orders: _Orders, scored: dict[str, np.ndarray]) -> None:
        """Every order of a split is a target exactly once, except that a session's first is none.

        Args:
            name: The session's.
            orders: Its orders.
            scored: By split, where each piece's targets begin and end, int64[K, 2].
        """
        end, held_out = len(orders.coded), max(orders.training, 1)
        edges = np.unique(np.concatenate([*scored.values(), [[1, held_out], [held_out, end]]]))
        start, length = edges[:-1], np.diff(edges)  # runs of orders that are scored alike
        times = {split: _times(spans, start) for split, spans in scored.items()}
        for split, (first, last) in zip(SPLITS, ((1, held_out), (held_out, end)), strict=True):
            self._targets[split] += max(last - first, 0)
            missing = (start >= first) & (start < last) & (times[split] == 0)
            for fault, what in ((missing, "are not scored"), (times[split] > 1, "are scored more than once")):
                if fault.any():
                    which = f"(orders: {length[fault].sum()}, the first is {start[fault.argmax()]})"
                    self.leaks.append(f"{name}: orders of the {split} split {what} {which}")
        both = np.flatnonzero((times[TRAIN] > 0) & (times[VALIDATION] > 0))
        if len(both):
            which = f"orders {start[both[0]]} to {edges[both[-1] + 1] - 1}"
            self.leaks.append(f"{name}: {which} are scored in both splits")

    def _check_bins(self, observed: np.ndarray) -> None:
        """The tokenizer is the one that is fitted to the sampled orders of training, int64[N, NUM_OBSERVED]."""
        takers_rest = not any(session["rebuilt_takers"] for session in self._prepared.sessions)
        if not len(observed):
            self.leaks.append("no order comes before the cut-off: the set has nothing to be trained on")
        elif OrderTokenizer.fit(observed, takers_rest).checksum != self._tokenizer.checksum:
            self.leaks.append("the tokenizer is not what the training orders alone make")
        if self._tokenizer.checksum != self._prepared.tokenizer_checksum:
            self.leaks.append("the tokenizer is not the manifest's")

    def _groups_by_session(self) -> dict[int, list[tuple[str, str, int]]]:
        """Split, file and number of the row groups that each session is in."""
        groups: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
        for split in SPLITS:
            shards, told = self._prepared.splits[split]["shards"], self._prepared.splits[split]["rows"]
            listed = sum(shard["rows"] for shard in shards)
            if listed != told:
                self.leaks.append(f"the shards of the {split} split have {listed} rows, the manifest says {told}")
            for shard in shards:
                with self._prepared.open(shard["file"]) as file:
                    rows = pq.ParquetFile(file)
                    if rows.metadata.num_rows != shard["rows"]:
                        self.leaks.append(
                            f"{shard['file']}: {rows.metadata.num_rows} rows, the manifest's {shard['rows']}"
                        )
                    for group in range(rows.num_row_groups):
                        pieces, _ = decode_pieces(rows.read_row_group(group, columns=["pieces"]))
                        for number in np.unique(pieces["session"]).tolist():
                            groups[number].append((split, shard["file"], group))
        for number in sorted(groups):
            if not 0 <= number < len(self._prepared.sessions):
                _, file, group = groups[number][0]
                self.leaks.append(f"{file}: row group {group} names session {number}, which the manifest does not have")
        return groups

    def _orders(self, number: int, sample_path: Path) -> _Orders:
        """Replay a session; writes a sample of the orders before the cut-off."""
        entry = self._prepared.sessions[number]
        path = self._folder / "coded"
        sample = Sample(entry["sample_seed"], o.NUM_OBSERVED)
        ledger = Ledger(SKIP)
        count, training = 0, None
        with self._prepared.open(entry["flow"]) as file, path.open("wb") as coded:
            flow = FlowFile(file)
            if flow.session != self._prepared.session(number):
                self.leaks.append(f"{entry['flow']}: a flow of {flow.session}, not of the manifest's session")
            held_out = held_out_from(self._config, flow.session)
            replayer = Replayer(flow.session)
            for columns in flow.parts():
                part = replayer.put(columns, ledger)
                late = columns["time"][part.row] >= held_out
                if training is None:
                    first = int(late.argmax()) if late.any() else len(late)
                    sample.add(part.observed[:first])
                    training = count + first if late.any() else None
                coded.write(coded_orders(*self._tokenizer.encode(part.observed)).tobytes())
                count += len(late)
        if ledger.rejections:
            self.leaks.append(f"{entry['flow']}: the exchange rejects {len(ledger.rejections)} orders; it was changed")
        sample.save(sample_path)
        orders = np.memmap(path, CODED, "r") if count else np.empty(0, CODED)
        path.unlink()  # it goes with the last reference
        return _Orders(orders, count if training is None else training)

    def _check_manifest(self, number: int, orders: _Orders) -> None:
        entry = self._prepared.sessions[number]
        told = entry["orders"], entry["training_orders"]
        found = len(orders.coded), orders.training
        if told != found:
            self.leaks.append(
                f"{_name(entry)}: {found[1]} of {found[0]} orders come before the cut-off, "
                f"the manifest says {told[1]} of {told[0]}"
            )

    def _check_group(self, split: str, file: str, group: int, number: int, orders: _Orders) -> np.ndarray:
        """Check a session's pieces in a row group; where the targets of the K sound ones begin and end, int64[K, 2]."""
        found = self._group(file, group)
        own = np.flatnonzero(found.pieces["session"] == number)
        start, length = found.pieces["start"][own], found.pieces["length"][own].astype(np.int64)
        first_target = found.pieces["first_target"][own]
        scored = start + np.clip(first_target, 0, length)
        sound = (start >= 0) & (length > 0) & (start + length <= len(orders.coded)) & (length <= found.room[own])
        faults = [
            (~sound, "names orders that the session does not have"),
            (sound & ~_same(found, own, orders.coded, sound), "holds other orders than it names"),
            (first_target < 1, "scores an order without the one before it"),
        ]
        if split == TRAIN:
            faults.append((start + length > orders.training, f"reads held-out orders, from {orders.training} on"))
        else:
            faults.append((scored < orders.training, f"scores orders that are trained on, before {orders.training}"))
        for fault, what in faults:
            if fault.any():
                at = int(fault.argmax())
                which = (
                    f"orders {start[at]} to {start[at] + length[at] - 1} of {_name(self._prepared.sessions[number])}"
                )
                self.leaks.append(
                    f"{file}: {what} (rows: {np.count_nonzero(fault)}, the first is row {found.row[own[at]]}, {which})"
                )
        return np.stack([scored, start + length], axis=1)[sound]

    def _read_group(self, file: str, group: int) -> _Group:
        with self._prepared.open(file) as handle:
            rows = pq.ParquetFile(handle)
            table = rows.read_row_group(group, columns=COLUMNS)
            first = sum(rows.metadata.row_group(before).num_rows for before in range(group))
        pieces, counts = decode_pieces(table)
        token, market = decode_tokens(table), decode_market(table)
        size = token.shape[1]
        row, within = places(pieces, counts)
        coded = coded_orders(token.reshape(-1), market.reshape(-1, market.shape[2]))
        return _Group(pieces, first + row, row * size + within, size - within, coded)


def _same(group: _Group, own: np.ndarray, coded: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Which of a session's pieces in a row group hold the orders that they name, bool[K]; the unsound are not read."""
    length = np.where(sound, group.pieces["length"][own], 0)
    piece = np.repeat(np.arange(len(own)), length)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    here = group.coded[group.place[own][piece] + within]
    there = coded[group.pieces["start"][own][piece] + within]
    differs = (_bytes(here) != _bytes(there)).any(axis=1)
    return np.bincount(piece[differs], minlength=len(own)) == 0


def _times(spans: np.ndarray, order: np.ndarray) -> np.ndarray:
    """In how many of the spans int64[K, 2] each order lies."""
    begun, ended = (np.searchsorted(np.sort(edges), order, side="right") for edges in spans.T)
    return begun - ended


def _bytes(coded: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(coded).view(np.uint8).reshape(len(coded), CODED.itemsize)


def _name(session: dict) -> str:
    return f"{session['symbol']}_{session['date']}"


if __name__ == "__main__":
    sys.exit(main())
