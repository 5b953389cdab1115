"""Check order flow: `python -m mars_lmm.data.validate PATH...`.

A path is an order-flow parquet, a prepared set, or a folder of either. Problems go to standard error; the last line of
standard output is one JSON object. The exit status is 0 if there is no problem, 1 if there is one, and 2 if there is no
order flow to check. What only a replay can tell, such as an id submitted again while its order rests, is left to
`mars_lmm.data.audit`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import (
    ANONYMOUS,
    BY_ID,
    COLUMNS,
    FLAGS,
    HIDDEN,
    PRICED,
    SCHEMA,
    SCHEMA_VERSION,
    UNDATED,
    Session,
)
from mars_lmm.data.flow_files import FlowFiles
from mars_lmm.data.market import session_rules
from mars_lmm.data.replay import is_order
from mars_lmm.market import types as t

BATCH = 1 << 18  # rows in memory
IDS_AT_ONCE = 1 << 22  # of the ids that are looked up in one pass over a file
DAY = 24 * 3600 * 10**9
NO_ID = (t.CANCEL_AT, t.HALT, t.RESUME)  # kinds that bring no order and name none
ALL_FLAGS = sum(FLAGS.values())


def main(arguments: list[str] | None = None) -> int:
    """Check the order flow at some paths.

    Args:
        arguments: Command line; the process's own when None.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.data.validate", description=__doc__.partition(":")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="parquet, prepared set, or folder of them")
    options = parser.parse_args(arguments)
    flows = FlowFiles()
    try:
        for path in options.paths:
            flows.add(path)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows, problems = 0, len(flows.problems)
    _tell("problem", flows.problems)
    _tell("note", flows.notes)
    for file, told in flows.files.items():
        found = check_flow(file, told)
        rows += found.rows
        problems += len(found.problems)
        _tell("problem", [(file, text) for text in found.problems])
        _tell("note", [(file, text) for text in found.notes])
    print(json.dumps({"files": len(flows.files), "rows": rows, "problems": problems}))
    return int(problems > 0)


def _tell(word: str, texts: list[tuple[Path, str]]) -> None:
    for path, text in texts:
        print(f"{word}: {path}: {text}", file=sys.stderr)


def validate_flow(path: Path) -> list[str]:
    """What is wrong with an order-flow file, in words that say what to do; empty if nothing is."""
    return check_flow(path).problems


@dataclass
class FlowCheck:
    """What a check found.

    Attributes:
        rows: Rows of the file.
        problems: What is wrong and has to be changed.
        notes: What is worth knowing.
    """

    rows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_flow(path: Path, told: dict[str, Any] | None = None) -> FlowCheck:
    """Check an order-flow file, part by part; see `mars_lmm.data.flow`.

    Args:
        path: The parquet file.
        told: What the manifest of its set tells of its session; None if it is in no set.
    """
    found = FlowCheck()
    try:
        with pq.ParquetFile(path) as file:
            found.rows = file.metadata.num_rows
            session = _check_metadata(path, file, found)
            if _check_columns(file.schema_arrow, found):
                rows = _RowChecks(session)
                rows.run(file, found)
                _check_ids(file, rows.anonymous, found)
                if told is not None and session is not None:
                    _check_told(session, rows.learned, told, found)
    except FileNotFoundError:
        found.problems.append("no such file, though the manifest names it; prepare the data again")
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        found.problems.append(f"not a readable parquet file ({str(error).splitlines()[0]}); write it again")
    return found


def _check_metadata(path: Path, file: pq.ParquetFile, found: FlowCheck) -> Session | None:
    """Check what the file says of itself; its session, if it tells one."""
    metadata = file.schema_arrow.metadata or {}
    advice = "write the file with mars_lmm.data.flow.FlowWriter"
    version = metadata.get(b"schema_version", b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        found.problems.append(f"schema version {version}, this program reads {SCHEMA_VERSION}; {advice}")
    counts = _json((file.metadata.metadata or {}).get(b"counts"))
    if not isinstance(counts, dict):
        found.problems.append(f"the metadata has no counts; {advice}")
    try:
        session = Session(**_json(metadata.get(b"session")))
    except TypeError:
        found.problems.append(f"the metadata does not describe the session; {advice}")
        return None
    faults = _session_faults(session)
    found.problems += faults
    if faults:
        return None
    if path.absolute().parts[-2:] != session.file.parts:
        found.problems.append(f"a flow of {session.name} is looked for at {session.file}; move the file there")
    try:
        if session.rules:
            session_rules(session.rules)
    except ValueError as error:
        found.problems.append(f"the session's rules cannot be read: {error}")
    return session


def _check_told(session: Session, learned: int, told: dict[str, Any], found: FlowCheck) -> None:
    """Check that a flow is the one that its set was made of, as far as its manifest tells."""
    here = vars(session) | {"orders": learned}
    for name in here:
        if name in told and here[name] != told[name]:
            what = "orders within the session's hours" if name == "orders" else f"session's {name}"
            found.problems.append(
                f"{what}: {here[name]!r} here, {told[name]!r} in the set's manifest; prepare the data again"
            )


def _json(text: bytes | None) -> Any:
    try:
        return json.loads(text or b"null")
    except ValueError:
        return None


def _session_faults(session: Session) -> list[str]:
    """What is wrong with a session's fields."""
    faults = []
    if not isinstance(session.symbol, str):
        faults.append(f"the session's symbol is {session.symbol!r}, which is no text; write it as text")
    elif not session.symbol:
        faults.append("the session's symbol is empty; give one")
    if session.date != UNDATED and _day(session.date) is None:
        faults.append(f"the session's date is {session.date!r}; write it as 2024-01-02, or {UNDATED!r}")
    for name in ("source", "rules"):
        if not isinstance(getattr(session, name), str):
            faults.append(f"the session's {name} is no text; use an empty one if there is none")
    if not isinstance(session.rebuilt_takers, bool):
        faults.append(f"the session's rebuilt_takers is {session.rebuilt_takers!r}; give true or false")
    if type(session.tick_size) not in (int, float) or not 0 < session.tick_size < np.inf:
        faults.append(f"the session's tick size is {session.tick_size!r}; give the currency per tick")
    reference = session.reference_price
    if reference is not None and (type(reference) is not int or not 1 <= reference <= t.MAX_PRICE):
        faults.append(f"the session's reference price is {reference!r}; give it in ticks, or null")
    hours = (session.open_time, session.close_time)
    if any(type(hour) is not int for hour in hours) or not 0 <= hours[0] < hours[1] <= DAY:
        faults.append(
            f"the session is open from {hours[0]!r} to {hours[1]!r}; give nanoseconds since midnight, opening first"
        )
    return faults


def _day(text: Any) -> date | None:
    """The day that a date's text names, None unless it is an ISO date."""
    try:
        day = date.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return day if day.isoformat() == text else None


def _check_columns(schema: pa.Schema, found: FlowCheck) -> bool:
    """Whether all columns are there and of their types."""
    faults = []
    for column in SCHEMA:
        count = len(schema.get_all_field_indices(column.name))
        if count != 1:
            fault = f"there {count} times; keep one of them" if count else f"missing; add it as {column.type}"
            faults.append(f"column {column.name} is {fault}")
        elif schema.field(column.name).type not in (column.type, getattr(column.type, "value_type", None)):
            faults.append(f"column {column.name} is {schema.field(column.name).type}; write it as {column.type}")
    found.problems += faults
    return not faults


@dataclass
class _Fault:
    """A kind of fault: how many rows have it, and the first of them."""

    advice: str
    count: int = 0
    first: str = ""


class _RowChecks:
    """Checks the rows of a file in order.

    Args:
        session: What the file says its session is, if it does.

    Attributes:
        anonymous: Whether some rows are anonymous volume.
        learned: Rows that a model learns; 0 without a session.
    """

    def __init__(self, session: Session | None):
        self.anonymous = False
        self.learned = 0
        self._session = session
        self._faults: dict[str, _Fault] = {}
        self._row = 0  # rows before the part
        self._last_time = np.iinfo(np.int64).min

    def run(self, file: pq.ParquetFile, found: FlowCheck) -> None:
        """Check all rows."""
        for batch in file.iter_batches(BATCH, columns=SCHEMA.names):
            for name in SCHEMA.names:
                self._check_null(name, batch[name])
            self._check_session(batch)
            columns = {name: batch[name].fill_null(0).to_numpy(zero_copy_only=False) for name in COLUMNS}
            sequence = batch["sequence"].fill_null(-1).to_numpy()
            self._check_values(columns, sequence)
            self.anonymous |= bool((columns["flags"] & ANONYMOUS).any())
            if self._session is not None:
                self.learned += int(np.count_nonzero(is_order(self._session, columns)))
            self._row += len(batch)
        for fault, what in self._faults.items():
            found.problems.append(f"{fault} (rows: {what.count:,}, the first is {what.first}); {what.advice}")
        if self._session is not None and not self.learned:
            found.notes.append("no order lies within the session's hours, so there is nothing to learn from it")

    def _check_null(self, name: str, column: pa.Array) -> None:
        if name == "date" and self._session is not None and self._session.date == UNDATED:
            return
        if column.null_count:
            self._note(np.asarray(column.is_null()), f"{name} is null", "give every row a value")

    def _check_session(self, batch: pa.RecordBatch) -> None:
        """Symbol and date of each row are the session's."""
        if self._session is None:
            return
        day = None if self._session.date == UNDATED else _day(self._session.date)
        for name, expected in (("symbol", self._session.symbol), ("date", day)):
            column = batch[name]
            if isinstance(column, pa.DictionaryArray):
                column = column.dictionary_decode()
            if expected is None:
                differs = np.asarray(column.is_valid())
            else:
                differs = np.asarray(pc.not_equal(column, pa.scalar(expected, column.type)).fill_null(False))
            advice = "a file holds one instrument on one day; split it, or correct the metadata"
            # NumPy writes any day, where Python's calendar ends.
            shown = column.to_numpy(zero_copy_only=False) if name == "date" else column
            self._note(differs, f"{name} is not {expected}, which the metadata tells", advice, shown)

    def _check_values(self, columns: dict[str, np.ndarray], sequence: np.ndarray) -> None:
        time, kind, side = columns["time"], columns["kind"], columns["side"]
        price, size = columns["price"], columns["size"]
        expected = np.arange(self._row, self._row + len(sequence))
        self._note(sequence != expected, "sequence does not count the rows from 0", "number them in order", sequence)
        day = "give nanoseconds since midnight, exchange local, from 0 to 86,399,999,999,999"
        self._note((time < 0) | (time >= DAY), "time is not within a day", day, time)
        latest = np.maximum.accumulate(np.append(self._last_time, time))
        self._last_time = int(latest[-1])
        back = "sort the rows by time, those of one time as they happened"
        self._note(time < latest[:-1], "time goes back", back, time)
        kinds = f"use 0 to {t.NUM_KINDS - 1}, see mars_lmm.market.types"
        self._note((kind < 0) | (kind >= t.NUM_KINDS), "kind is unknown", kinds, kind)
        sided = ~np.isin(kind, (*BY_ID, t.HALT, t.RESUME))
        sides = f"use {t.SELL} to sell and {t.BUY} to buy"
        self._note(sided & (side != t.SELL) & (side != t.BUY), "side is unknown", sides, side)
        unknown = columns["flags"] & np.uint8(255 - ALL_FLAGS) != 0
        self._note(unknown, "flags are unknown", f"use sums of {FLAGS}", columns["flags"])
        traded = ~np.isin(kind, (t.HALT, t.RESUME))
        units = f"sizes are whole units from 1 to {t.MAX_SIZE:,}"
        self._note(traded & ((size < 1) | (size > t.MAX_SIZE)), "size is not positive, or too large", units, size)
        ticks = f"prices are whole ticks from 1 to {t.MAX_PRICE:,}"
        priced = np.isin(kind, PRICED)
        self._note(priced & ((price < 1) | (price > t.MAX_PRICE)), "price is not positive, or too large", ticks, price)
        self._note(columns["owner"] < 0, "owner is negative", "owners are 0 (unknown) and up", columns["owner"])

    def _note(self, fault: np.ndarray, what: str, advice: str, values: Any = None) -> None:
        if not fault.any():
            return
        entry = self._faults.setdefault(what, _Fault(advice))
        if not entry.count:
            at = int(fault.argmax())
            entry.first = f"row {self._row + at + 1}" + ("" if values is None else f": {values[at]}")
        entry.count += int(np.count_nonzero(fault))


def _check_ids(file: pq.ParquetFile, anonymous: bool, found: FlowCheck) -> None:
    """Look for orders that are cancelled or replaced without having been submitted."""
    count, first = 0, None
    for row, order_id in _unknown_ids(file):
        count += len(row)
        if len(row) and (first is None or row[0] < first[0]):
            first = int(row[0]), int(order_id[0])
    if first is None:
        return
    what = "cancels and replacements of orders that were not submitted before"
    text = f"{what} (rows: {count:,}, the first is row {first[0] + 1}: order {first[1]})"
    if anonymous:
        found.notes.append(f"{text}; they take anonymous volume at their price")
    else:
        found.problems.append(f"{text}; add the order, or the opening book as rows flagged {ANONYMOUS}")


def _unknown_ids(file: pq.ParquetFile) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that name an order without a row before them that submits it: int64[K] rows, ascending, and int64[K] ids.

    A pass over the file looks up a share of the ids, so that memory does not grow with the file.
    """
    passes = -(-file.metadata.num_rows // IDS_AT_ONCE)
    for number in range(passes):
        ids, rows, names = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, bool)]
        first = 0
        for batch in file.iter_batches(BATCH, columns=["kind", "order_id", "flags"]):
            kind, order_id, flags = (batch[name].fill_null(0).to_numpy() for name in ("kind", "order_id", "flags"))
            ours = np.flatnonzero((order_id % passes == number) & ~np.isin(kind, NO_ID) & (flags & HIDDEN == 0))
            ids.append(order_id[ours])
            rows.append(first + ours)
            names.append(np.isin(kind[ours], BY_ID))
            first += len(batch)
        order_id, row, by_id = map(np.concatenate, (ids, rows, names))
        submitted, place = np.unique(order_id[~by_id], return_index=True)
        submitted = np.append(submitted, np.iinfo(np.int64).max)
        since = np.append(row[~by_id][place], np.iinfo(np.int64).max)  # the row that first submits each
        order_id, row = order_id[by_id], row[by_id]
        at = np.searchsorted(submitted, order_id)
        unknown = (submitted[at] != order_id) | (since[at] > row)
        yield row[unknown], order_id[unknown]


if __name__ == "__main__":
    sys.exit(main())
