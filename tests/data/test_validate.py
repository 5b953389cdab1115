"""The order-flow validator: what the package writes passes, each planted fault is told, and no bytes make it crash."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data import validate
from mars_lmm.data.flow import ANONYMOUS, COLUMNS, HIDDEN, SCHEMA, UNDATED, FlowWriter, OrderFlow, Session
from mars_lmm.data.prepared import MANIFEST
from mars_lmm.data.replay import is_order
from mars_lmm.data.validate import check_flow, validate_flow
from mars_lmm.market import types as t

SESSION = Session("A", "2024-01-02", 0.01, 9 * 10**9, 50 * 10**9)
# Six orders a second apart; the fourth cancels the first.
ROWS = {
    "time": np.arange(10, 16) * 10**9,
    "kind": np.array([t.LIMIT, t.LIMIT, t.MARKET, t.CANCEL, t.LIMIT, t.LIMIT]),
    "side": np.array([t.BUY, t.SELL, t.BUY, t.BUY, t.BUY, t.SELL]),
    "price": np.array([99, 101, 0, 99, 98, 102]),
    "size": np.array([5, 6, 1, 5, 7, 8]),
    "order_id": np.array([1, 2, 3, 1, 5, 6]),
    "flags": np.zeros(6, np.uint8),
    "source_row": np.arange(1, 7),
}


def rows(**changes):
    """The six orders with single values changed: `rows(size={2: -1})`."""
    columns = {name: column.copy() for name, column in ROWS.items()}
    for name, values in changes.items():
        columns.setdefault(name, np.zeros(6, COLUMNS[name]))
        for row, value in values.items():
            columns[name][row] = value
    return columns


def write(folder, columns=None, session=SESSION):
    path = folder / session.file
    OrderFlow(session, columns or rows()).write(path)
    return path


def rewrite(path, change):
    """Write a flow again with its table changed."""
    table = pq.read_table(path)
    counts = pq.ParquetFile(path).metadata.metadata[b"counts"]
    metadata = table.schema.metadata
    table = change(table)
    pq.write_table(table.replace_schema_metadata(metadata | {b"counts": counts} | (table.schema.metadata or {})), path)


def test_what_the_package_writes_has_no_problem(tmp_path, synthetic_flow, small_set):
    path = tmp_path / synthetic_flow.session.file
    synthetic_flow.write(path)
    assert validate_flow(path) == []
    assert validate_flow(write(tmp_path)) == []
    assert validate_flow(write(tmp_path, session=replace(SESSION, date=UNDATED))) == []
    assert validate_flow(write(tmp_path, session=replace(SESSION, symbol="BRK/B"))) == []
    for file in small_set.path.glob("flow/*/*.parquet"):
        assert validate_flow(file) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"time": {2: 9 * 10**9}}, "time goes back (rows: 1, the first is row 3: 9000000000); sort the rows"),
        ({"time": {5: 24 * 3600 * 10**9}}, "time is not within a day (rows: 1, the first is row 6"),
        ({"time": {0: -1}}, "time is not within a day (rows: 1, the first is row 1: -1"),
        ({"kind": {1: 15}}, "kind is unknown (rows: 1, the first is row 2: 15"),
        ({"kind": {1: -1}}, "kind is unknown (rows: 1,"),
        ({"side": {1: -1, 4: 2}}, "side is unknown (rows: 2, the first is row 2: -1"),
        ({"flags": {3: 16}}, "flags are unknown (rows: 1, the first is row 4: 16"),
        ({"size": {2: 0}}, "size is not positive, or too large (rows: 1, the first is row 3: 0"),
        ({"size": {2: 2**31}}, "size is not positive, or too large (rows: 1,"),
        ({"price": {4: 0, 5: -2}}, "price is not positive, or too large (rows: 2, the first is row 5: 0"),
        ({"price": {4: 2**31}}, "price is not positive, or too large (rows: 1,"),
        ({"owner": {0: -1}}, "owner is negative (rows: 1, the first is row 1: -1"),
        (
            {"order_id": {3: 9}},
            "cancels and replacements of orders that were not submitted before (rows: 1, the first is row 4: order 9",
        ),
        (
            {"order_id": {3: 6}},
            "cancels and replacements of orders that were not submitted before (rows: 1, the first is row 4: order 6",
        ),
        (
            {"kind": {3: t.REPLACE}, "order_id": {3: 9}},
            "cancels and replacements of orders that were not submitted before (rows: 1,",
        ),
    ],
)
def test_a_planted_fault_is_told(tmp_path, changes, problem):
    (found,) = validate_flow(write(tmp_path, rows(**changes)))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {"price": {3: 0}},  # a cancel goes by its id
        {"side": {3: -1}},
        {"owner": {0: 7}, "order_id": {0: -1, 3: -1}},
        {"kind": {1: t.HALT, 2: t.RESUME}, "side": {1: -1, 2: -1}, "size": {1: 0, 2: 0}},
        {"kind": {3: t.CANCEL_AT}, "order_id": {3: 0}},
        {"flags": {2: HIDDEN}},
    ],
)
def test_what_is_no_fault(tmp_path, changes):
    assert validate_flow(write(tmp_path, rows(**changes))) == []


def test_faults_are_counted_over_all_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(validate, "BATCH", 4)
    monkeypatch.setattr(validate, "IDS_AT_ONCE", 3)
    path = tmp_path / SESSION.file
    with FlowWriter(path, SESSION) as writer:
        for delay, order_id in ((0, 1), (10, 77), (20, 5), (30, 2**63 - 1), (29, 78)):
            columns = rows(size={1: -1}, order_id={3: order_id})
            writer.append(columns | {"time": columns["time"] + delay * 10**9})
    found = check_flow(path)
    assert found.rows == 30
    # All of the last part comes before the end of the one before it.
    assert [problem.partition(";")[0] for problem in found.problems] == [
        "size is not positive, or too large (rows: 5, the first is row 2: -1)",
        "time goes back (rows: 6, the first is row 25: 39000000000)",
        "cancels and replacements of orders that were not submitted before (rows: 3, the first is row 10: order 77)",
    ]


def test_cancels_of_anonymous_volume_are_a_note(tmp_path):
    found = check_flow(write(tmp_path, rows(order_id={3: 9}, flags={0: ANONYMOUS})))
    assert found.problems == []
    (note,) = found.notes
    assert note.startswith(
        "cancels and replacements of orders that were not submitted before (rows: 1, the first is row 4"
    )


def test_a_session_that_is_never_open_is_a_note(tmp_path):
    found = check_flow(write(tmp_path, session=replace(SESSION, open_time=0, close_time=10)))
    assert found.problems == []
    assert found.notes == ["no order lies within the session's hours, so there is nothing to learn from it"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.drop_columns("owner"), "column owner is missing; add it as int32"),
        (lambda table: table.append_column("owner", table["owner"]), "column owner is there 2 times; keep one of them"),
        (
            lambda table: table.set_column(3, "time", table["time"].cast(pa.float64())),
            "column time is double; write it as int64",
        ),
        (
            lambda table: table.set_column(0, "symbol", pa.array(list("AABAAA"))),
            "symbol is not A, which the metadata tells (rows: 1, the first is row 3: B); a file holds one instrument",
        ),
        (
            lambda table: table.set_column(1, "date", pa.array([19724] * 5 + [19725], pa.date32())),
            "date is not 2024-01-02, which the metadata tells (rows: 1, the first is row 6: 2024-01-03",
        ),
        (
            lambda table: table.set_column(2, "sequence", pa.array([0, 1, 2, 4, 3, 5])),
            "sequence does not count the rows from 0 (rows: 2, the first is row 4: 4",
        ),
        (
            lambda table: table.set_column(7, "size", pa.array([1, None, 1, 1, 1, 1], pa.int64())),
            "size is null (rows: 1, the first is row 2); give every row a value",
        ),
        (
            lambda table: table.set_column(1, "date", pa.nulls(6, pa.date32())),
            "date is null (rows: 6,",
        ),
        (
            lambda table: table.replace_schema_metadata({b"schema_version": b"1"}),
            "schema version 1, this program reads 2; write the file with mars_lmm.data.flow.FlowWriter",
        ),
        (lambda table: table.replace_schema_metadata({b"counts": b"12"}), "the metadata has no counts"),
        (
            lambda table: table.replace_schema_metadata({b"session": b"[]"}),
            "the metadata does not describe the session",
        ),
        (
            lambda table: table.replace_schema_metadata({b"session": b"\xff"}),
            "the metadata does not describe the session",
        ),
    ],
)
def test_a_file_that_is_not_in_the_schema(tmp_path, change, problem):
    path = write(tmp_path)
    rewrite(path, change)
    assert any(found.startswith(problem) for found in validate_flow(path))


def test_symbols_may_be_plain_text(tmp_path):
    path = write(tmp_path)
    rewrite(path, lambda table: table.set_column(0, "symbol", pa.array(["A"] * 6)))
    assert validate_flow(path) == []


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("symbol", "", "the session's symbol is empty"),
        ("symbol", 1, "the session's symbol is 1, which is no text"),
        ("rebuilt_takers", "yes", "the session's rebuilt_takers is 'yes'; give true or false"),
        ("date", "2024-1-2", "the session's date is '2024-1-2'; write it as 2024-01-02"),
        ("date", 20240102, "the session's date is 20240102"),
        ("tick_size", 0, "the session's tick size is 0"),
        ("tick_size", float("nan"), "the session's tick size is nan"),
        ("open_time", 60 * 10**9, "the session is open from 60000000000 to 50000000000"),
        ("close_time", 50.5e9, "the session is open from"),
        ("source", None, "the session's source is no text"),
        ("rules", "atlantis", "the session's rules cannot be read: atlantis: no such rule file"),
        ("symbol", "B", "a flow of B_2024-01-02 is looked for at B/2024-01-02.parquet; move the file there"),
    ],
)
def test_metadata_is_checked(tmp_path, field, value, problem):
    path = write(tmp_path)
    session = json.dumps(asdict(SESSION) | {field: value}).encode()
    rewrite(path, lambda table: table.replace_schema_metadata({b"session": session}))
    assert any(found.startswith(problem) for found in validate_flow(path))


def run(capsys, *paths):
    status = validate.main(list(map(str, paths)))
    out, err = capsys.readouterr()
    return status, json.loads(out.splitlines()[-1]) if out else None, err


def test_the_command(tmp_path, capsys, small_set):
    write(tmp_path)
    bad = write(tmp_path, rows(size={2: 0}), replace(SESSION, date="2024-01-03"))
    assert run(capsys, tmp_path / SESSION.file) == (0, {"files": 1, "rows": 6, "problems": 0}, "")
    status, result, told = run(capsys, tmp_path)
    assert (status, result) == (1, {"files": 2, "rows": 12, "problems": 1})
    assert told.startswith(f"problem: {bad}: size is not positive")
    status, result, _ = run(capsys, small_set.path)
    assert (status, result["files"], result["problems"]) == (0, 2, 0)


def test_nothing_to_check(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "missing"):
        status, result, told = run(capsys, path)
        assert (status, result) == (2, None)
        assert told.startswith(f"error: {path}: no order flow")


@pytest.fixture
def prepared_set(small_set, tmp_path):
    """A copy of a prepared set to change."""
    return Path(shutil.copytree(small_set.path, tmp_path / "sets" / "one"))


@pytest.mark.parametrize(
    ("pick", "change"),
    [
        (lambda count: np.arange(100), None),
        (lambda count: np.arange(0), None),
        (lambda count: np.delete(np.arange(count), count // 2), None),
        (lambda count: np.insert(np.arange(count), count // 2, count // 2), None),
        (np.arange, "tick_size"),
    ],
)
def test_a_flow_that_is_not_the_sets(prepared_set, capsys, pick, change):
    """Sound in itself, but with other orders than its manifest tells of, or of another session."""
    entry = json.loads((prepared_set / MANIFEST).read_text())["sessions"][0]
    path = prepared_set / entry["flow"]
    flow = OrderFlow.read(path)
    picked = pick(len(flow))
    session = replace(flow.session, tick_size=7.0) if change else flow.session
    changed = OrderFlow(session, {name: column[picked] for name, column in flow.columns.items()})
    changed.write(path)
    _, result, told = run(capsys, prepared_set)
    here, there = (7.0, 0.01) if change else (np.count_nonzero(is_order(session, changed.columns)), entry["orders"])
    assert f"{path}: " in told
    assert f": {here} here, {there} in the set's manifest; prepare the data again" in told
    unsubmitted = "orders that were not submitted before" in told  # of what was cut away
    assert result["problems"] == 1 + unsubmitted


def test_flows_that_the_manifest_does_not_name_and_names_that_have_no_flow(prepared_set, capsys):
    first, second = sorted(prepared_set.glob("flow/*/*.parquet"))
    extra = OrderFlow.read(first)
    extra.session.date = "2024-02-01"
    extra.write(prepared_set / "flow" / extra.session.file)
    second.unlink()
    status, result, told = run(capsys, prepared_set)
    assert (status, result["files"], result["problems"]) == (1, 3, 2)
    assert f"{prepared_set / 'flow' / extra.session.file}: {MANIFEST} does not name this flow" in told
    assert f"{second}: no such file, though the manifest names it" in told


def test_a_folder_of_sets(prepared_set, capsys):
    """Rows and rejected rows are no flows, and a set without its manifest is told of, whatever lies beside it."""
    sets = prepared_set.parent
    (prepared_set / "rejected").mkdir()
    shutil.copy(next(prepared_set.glob("rows/*/*.parquet")), prepared_set / "rejected" / "SYN_2024-01-02.parquet")
    shutil.copytree(prepared_set, sets / "two")
    single = write(sets / "flows")
    assert run(capsys, sets)[:2] == (0, {"files": 5, "rows": run(capsys, sets)[1]["rows"], "problems": 0})
    (sets / "two" / MANIFEST).unlink()
    status, result, told = run(capsys, sets)
    assert (status, result["files"], result["problems"]) == (1, 5, 1)
    assert told == f"problem: {sets / 'two'}: a set without its manifest {MANIFEST}; prepare the data again\n"
    (prepared_set / MANIFEST).write_text("[]")
    (sets / "two").rename(sets / "two.partial")
    status, result, told = run(capsys, sets)
    assert (status, result["files"], result["problems"]) == (1, 5, 1)
    assert f"problem: {prepared_set / MANIFEST}: prepared-set schema version None" in told
    assert f"note: {sets / 'two.partial'}: a set that is not finished" in told
    assert run(capsys, single)[:2] == (0, {"files": 1, "rows": 6, "problems": 0})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sound")).read_bytes()


@pytest.mark.fuzz
@given(data=st.data())
def test_damaged_files_are_told(sound, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "A" / "2024-01-02.parquet"
    path.parent.mkdir()
    damaged = bytearray(sound)
    for place in data.draw(st.lists(st.integers(0, len(sound) - 1), max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(sound), len(sound) // 2, 8, 0]))])
    found = check_flow(path)
    assert found.problems or found.rows == 6


@pytest.mark.fuzz
@given(data=st.data())
def test_any_values_are_told_or_sound(tmp_path_factory, data):
    """Columns of any values of their types: the validator says no more and no less than the rules, row by row."""
    count = data.draw(st.integers(0, 12))
    columns = {}
    for name, dtype in COLUMNS.items():
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = st.one_of(st.integers(0, 3), st.integers(low, high))
        columns[name] = np.array(data.draw(st.lists(values, min_size=count, max_size=count)), dtype)
    found = check_flow(write(tmp_path_factory.mktemp("any"), columns))
    submitted, sound = set(), True
    latest = -(2**63)
    anonymous = bool((columns["flags"] & ANONYMOUS).any())
    for i in range(count):
        time, kind, side, price, size, order_id, owner, flags, _ = (int(columns[name][i]) for name in COLUMNS)
        pause = kind in (t.HALT, t.RESUME)
        by_id = kind in (t.CANCEL, t.REPLACE)
        sound &= latest <= time < 24 * 3600 * 10**9 and time >= 0 and 0 <= kind < t.NUM_KINDS
        sound &= side in (0, 1) or by_id or pause
        sound &= 0 < size < 2**31 or pause
        sound &= 0 < price < 2**31 or kind not in (t.LIMIT, t.IOC, t.FOK, t.POST_ONLY, t.REPLACE, t.CANCEL_AT)
        sound &= owner >= 0 and flags < 16
        if by_id and not flags & HIDDEN:
            sound &= anonymous or order_id in submitted
        elif kind != t.CANCEL_AT and not pause and not flags & HIDDEN:
            submitted.add(order_id)
        latest = max(latest, time)
    assert (found.problems == []) == sound


def test_the_schema_is_all_checked():
    assert [column.name for column in SCHEMA] == ["symbol", "date", "sequence", *COLUMNS]
