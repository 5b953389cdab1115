"""The leak audit: sound sets pass, planted leaks are caught, and training does not depend on what comes after it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from mars_lmm.data import audit
from mars_lmm.data.audit import find_leaks
from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds.synthetic import SyntheticConfig, SyntheticFeed, synthetic_session
from mars_lmm.data.flow import OrderFlow
from mars_lmm.data.prepare import prepare
from mars_lmm.data.prepared import MANIFEST, TOKENIZER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.data.rows import RowWriter, coded_orders, packed_file, shard_file
from mars_lmm.data.windows import cut
from mars_lmm.market import types as t
from mars_lmm.tokenizers.orders import OrderTokenizer

MARKET = SyntheticConfig(sessions=2, minutes=2, seed=5)
CUTOFF = "09:31:10"


def config(root, **settings):
    defaults = {"cutoff": CUTOFF, "row_length": 64, "context": 16, "workers": 1, "synthetic": MARKET}
    return DataConfig(root=str(root), **(defaults | settings))


@pytest.fixture(scope="module")
def by_time(tmp_path_factory):
    """Two short sessions, their ends held out."""
    return prepare(config(tmp_path_factory.mktemp("by_time")))


@pytest.fixture
def planted(by_time, tmp_path):
    """A copy of `by_time` to plant leaks in."""
    shutil.copytree(by_time.path, tmp_path / "set")
    return PreparedSet.load(tmp_path / "set")


def edit(prepared, **fields):
    """The set with other fields in its manifest."""
    changed = replace(prepared, **fields)
    (prepared.path / MANIFEST).write_text(json.dumps(changed.to_dict()))
    return PreparedSet.load(prepared.path)


def write_rows(prepared, split, pieces, tokenizer=None):
    """The set with other rows in a split, which hold what their pieces name."""
    tokenizer = tokenizer or prepared.tokenizer()
    shards = []
    for number, entry in enumerate(prepared.sessions):
        file = shard_file(split, entry)
        coded = coded_orders(*tokenizer.encode(replay(prepared.flow(number)).observed))
        coded = np.append(coded, coded[-prepared.row_length :])  # for pieces that reach beyond the session
        with RowWriter(prepared.path / file, prepared.row_length) as writer:
            writer.write(pieces[number], lambda _, coded=coded: coded)
        shards.append({"file": file, "rows": writer.num_rows})
    rows = sum(shard["rows"] for shard in shards)
    return edit(prepared, splits=prepared.splits | {split: prepared.splits[split] | {"rows": rows, "shards": shards}})


def cuts(prepared, split, ends=None):
    """The pieces of a split; that of training ends elsewhere if told."""
    found = []
    for number, entry in enumerate(prepared.sessions):
        held_out = entry["training_orders"]
        if split == TRAIN:
            found.append(cut(number, 0, ends[number] if ends else held_out, prepared.row_length, 0))
        else:
            found.append(cut(number, held_out, entry["orders"], prepared.row_length, 16))
    return found


def test_sound_sets_have_no_leak(small_set, by_time):
    assert find_leaks(small_set) == []
    assert find_leaks(by_time) == []


def test_packed_rows_and_a_sample_of_the_orders(tmp_path, monkeypatch):
    """Sessions shorter than a row share rows; and bins are fitted to some of the orders alone."""
    monkeypatch.setattr("mars_lmm.data.preparation.sample.MAX_ORDERS", 500)
    market = replace(MARKET, sessions=5, minutes=1)
    prepared = prepare(config(tmp_path, row_length=900, context=700, cutoff="09:30:30", synthetic=market))
    assert [shard["file"] for shard in prepared.splits[TRAIN]["shards"]] == [packed_file(TRAIN)]
    assert find_leaks(prepared) == []
    # Another seed is another sample.
    sessions = [entry | {"sample_seed": 77} for entry in prepared.sessions]
    assert find_leaks(edit(prepared, sessions=sessions)) == ["the tokenizer is not what the training orders alone make"]


def test_rewritten_rows_are_sound(planted):
    """What plants the leaks below does no more than that."""
    for split in (TRAIN, VALIDATION):
        planted = write_rows(planted, split, cuts(planted, split))
    assert find_leaks(planted) == []


def test_a_training_row_across_the_cutoff(planted):
    pieces = cuts(planted, TRAIN)
    held_out = planted.sessions[1]["training_orders"]
    pieces[1]["start"][-1] += 1
    assert find_leaks(write_rows(planted, TRAIN, pieces)) == [
        f"rows/train/SYN_2024-01-03.parquet: reads held-out orders, from {held_out} on "
        f"(rows: 1, the first is row {len(pieces[1]) - 1}, orders {held_out - 64} to {held_out} of SYN_2024-01-03)",
        "SYN_2024-01-03: orders of the train split are not scored "
        f"(orders: 1, the first is {held_out - 65 + pieces[1]['first_target'][-1]})",
        f"SYN_2024-01-03: orders {held_out} to {held_out} are scored in both splits",
    ]


@pytest.mark.parametrize("split", [TRAIN, VALIDATION])
def test_every_order_is_a_target_once(planted, split):
    """A shard that the manifest leaves out, or names twice; the rows that are left are sound."""
    entry = planted.splits[split]
    session = planted.sessions[1]
    first, end = (1, session["training_orders"]) if split == TRAIN else (session["training_orders"], session["orders"])
    for shards, what in ((entry["shards"][:1], "not scored"), ([*entry["shards"], entry["shards"][1]], "scored more")):
        rows = sum(shard["rows"] for shard in shards)
        leaks = find_leaks(edit(planted, splits=planted.splits | {split: entry | {"shards": shards, "rows": rows}}))
        (leak,) = leaks
        assert leak.startswith(f"SYN_2024-01-03: orders of the {split} split are {what}")
        assert leak.endswith(f"(orders: {end - first}, the first is {first})")


def test_counts_that_are_not_the_sets(planted):
    entry = planted.splits[TRAIN]
    changed = {"rows": entry["rows"] + 1, "orders": entry["orders"] - 2}
    assert find_leaks(edit(planted, splits=planted.splits | {TRAIN: entry | changed})) == [
        f"the shards of the train split have {entry['rows']} rows, the manifest says {entry['rows'] + 1}",
        f"the train split has {entry['orders']} orders to score, the manifest says {entry['orders'] - 2}",
    ]


def test_an_order_without_a_past(planted):
    pieces = cuts(planted, TRAIN)
    pieces[0]["first_target"][0] = 0
    (leak,) = find_leaks(write_rows(planted, TRAIN, pieces))
    assert "scores an order without the one before it (rows: 1, the first is row 0" in leak


def test_held_out_orders_scored_in_training(planted):
    ends = [entry["orders"] for entry in planted.sessions]
    leaks = find_leaks(write_rows(planted, TRAIN, cuts(planted, TRAIN, ends)))
    for entry in planted.sessions:
        name, first = f"SYN_{entry['date']}", entry["training_orders"]
        assert f"{name}: orders {first} to {entry['orders'] - 1} are scored in both splits" in leaks
        assert any(f"rows/train/{name}.parquet: " in leak and "reads held-out orders" in leak for leak in leaks)
    assert len(leaks) == 4


def test_training_orders_scored_as_held_out(planted):
    pieces = cuts(planted, VALIDATION)
    pieces[0]["first_target"][0] -= 1
    leaks = find_leaks(write_rows(planted, VALIDATION, pieces))
    last = planted.sessions[0]["training_orders"] - 1
    assert f"SYN_2024-01-02: orders {last} to {last} are scored in both splits" in leaks
    assert any("scores orders that are trained on" in leak for leak in leaks)


def test_bins_fitted_on_everything(planted):
    observed = [replay(planted.flow(number)).observed for number in range(2)]
    tokenizer = OrderTokenizer.fit(np.concatenate(observed), takers_rest=True)
    tokenizer.save(planted.path / TOKENIZER)
    for split in (TRAIN, VALIDATION):
        planted = write_rows(planted, split, cuts(planted, split), tokenizer)
    unsigned = "the tokenizer is not what the training orders alone make"
    assert find_leaks(planted) == [unsigned, "the tokenizer is not the manifest's"]
    assert find_leaks(edit(planted, tokenizer_checksum=tokenizer.checksum)) == [unsigned]


def test_a_manifest_with_another_cutoff(planted):
    (leak,) = find_leaks(edit(planted, cutoff={"kind": "time", "value": "09:31:30"}))
    assert "'09:31:30'" in leak
    assert f"'{CUTOFF}'" in leak


def test_a_recipe_with_another_cutoff(planted):
    """A cut-off moved everywhere, to before where the rows end."""
    settings = planted.recipe["settings"] | {"cutoff": "09:31:00"}
    cutoff = {"kind": "time", "value": "09:31:00"}
    leaks = find_leaks(edit(planted, cutoff=cutoff, recipe=planted.recipe | {"settings": settings}))
    for text in ("reads held-out orders", "the manifest says", "training orders alone"):
        assert any(text in leak for leak in leaks)


def test_rows_that_hold_other_orders_than_they_name(planted):
    """The last held-out orders under the name of the first training orders."""
    tokens = cut(0, planted.sessions[0]["training_orders"], planted.sessions[0]["orders"], 64, 0)[:1]
    coded = coded_orders(*planted.tokenizer().encode(replay(planted.flow(0)).observed))
    moved = coded[int(tokens["start"][0]) :]
    file = shard_file(TRAIN, planted.sessions[0])
    pieces = cuts(planted, TRAIN)[0]
    with RowWriter(planted.path / file, planted.row_length) as writer:
        writer.write(pieces[:1], lambda _: moved)
        writer.write(pieces[1:], lambda _: coded)
    (leak,) = find_leaks(planted)
    which = "(rows: 1, the first is row 0, orders 0 to 64 of SYN_2024-01-02)"
    assert leak == f"{file}: holds other orders than it names {which}"


def test_rows_that_the_manifest_does_not_know(planted):
    pieces = cuts(planted, TRAIN)
    pieces[0]["session"][0] = 9
    file = shard_file(TRAIN, planted.sessions[0])
    leaks = find_leaks(write_rows(planted, TRAIN, pieces))
    assert leaks == [
        f"{file}: row group 0 names session 9, which the manifest does not have",
        "SYN_2024-01-02: orders of the train split are not scored (orders: 64, the first is 1)",
    ]
    pieces[0][0] = (0, planted.sessions[0]["orders"] - 10, 65, 1)
    (leak, *_) = find_leaks(write_rows(planted, TRAIN, pieces))
    assert "names orders that the session does not have" in leak
    shards = planted.splits[TRAIN]["shards"]
    fewer = edit(
        planted, splits=planted.splits | {TRAIN: planted.splits[TRAIN] | {"shards": [shards[0] | {"rows": 1}]}}
    )
    assert f"{file}: {len(pieces[0])} rows, the manifest's 1" in find_leaks(fewer)


def test_a_flow_that_was_changed(planted):
    path = planted.path / planted.sessions[0]["flow"]
    flow = OrderFlow.read(path)
    late = flow.time >= config("").cutoff_time
    OrderFlow(flow.session, flow.columns | {"time": np.where(late, flow.time + 1, flow.time - 10**10)}).write(path)
    leaks = find_leaks(planted)
    assert any("holds other orders than it names" in leak for leak in leaks)
    OrderFlow(replace(flow.session, date="2024-01-09"), flow.columns).write(path)
    assert any("not of the manifest's session" in leak for leak in find_leaks(planted))


def test_metadata_that_describes_no_session(planted, capsys):
    """Of a flow that another version of the program wrote, and of one that lost a part."""
    file = planted.sessions[0]["flow"]
    table = pq.read_table(planted.path / file)
    session = json.loads(table.schema.metadata[b"session"])
    for changed in (session | {"venue": "XNAS"}, {"symbol": "SYN"}, []):
        metadata = table.schema.metadata | {b"session": json.dumps(changed).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), planted.path / file)
        status, _, told = run(capsys, planted.path)
        assert status == 2
        assert f"{file}: its metadata does not describe a session; prepare the data again" in told


@pytest.mark.parametrize("name", ["orders", "training_orders", "sample_seed"])
@pytest.mark.parametrize("value", [None, "1", -1, 1.5, 2**63])
def test_numbers_of_a_session_that_are_none(planted, capsys, name, value):
    sessions = [planted.sessions[0], planted.sessions[1] | {name: value}]
    edit(planted, sessions=sessions)
    status, _, told = run(capsys, planted.path)
    assert status == 2
    assert f"{MANIFEST}: {name} of SYN_2024-01-03 is {value!r}, no count" in told


@pytest.mark.parametrize("settings", [{}, {"cutoff": None}, {"cutoff": "noon"}, []])
def test_a_recipe_without_a_cutoff(planted, capsys, settings):
    edit(planted, recipe=planted.recipe | {"settings": settings})
    status, _, told = run(capsys, planted.path)
    assert status == 2
    assert f"{MANIFEST}: the recipe tells no cut-off" in told


def run(capsys, path):
    status = audit.main([str(path)])
    out, err = capsys.readouterr()
    return status, json.loads(out.splitlines()[-1]) if out else None, err


def test_the_command(planted, capsys):
    rows = sum(split["rows"] for split in planted.splits.values())
    assert run(capsys, planted.path)[:2] == (0, {"sessions": 2, "rows": rows, "leaks": 0})
    edit(planted, tokenizer_checksum="none")
    status, result, told = run(capsys, planted.path)
    assert (status, result["leaks"]) == (1, 1)
    assert "leak: the tokenizer is not the manifest's" in told


@pytest.mark.parametrize(
    "lost", ["flow/SYN/2024-01-02.parquet", "rows/train/SYN_2024-01-02.parquet", MANIFEST, TOKENIZER]
)
@pytest.mark.parametrize("content", [None, b"", b"PAR1 and not much more"])
def test_unreadable_sets(planted, capsys, lost, content):
    (planted.path / lost).unlink()
    if content is not None:
        (planted.path / lost).write_bytes(content)
    status, result, told = run(capsys, planted.path)
    assert (status, result) == (2, None)
    assert lost in told.splitlines()[-1]


def spliced(make, cutoff_time):
    """Sessions whose orders from the cut-off on are another market's: its limit orders, seven times as large."""

    def make_spliced(self, session):
        flow = make(self, session)
        other = synthetic_session(replace(self.options, seed=self.options.seed + 1), session.date == "2024-01-03")
        before = flow.time < cutoff_time(session)
        after = (other.time >= cutoff_time(session)) & (other.kind == t.LIMIT)
        change = {"order_id": other.order_id + 10**7, "size": 7 * other.size}
        columns = {
            name: np.concatenate([column[before], change.get(name, other.columns[name])[after]])
            for name, column in flow.columns.items()
        }
        return OrderFlow(flow.session, columns)

    return make_spliced


@pytest.mark.parametrize("cutoff", [CUTOFF, "2024-01-03"])
def test_training_is_the_same_whatever_comes_after_it(cutoff, tmp_path, monkeypatch):
    settings = {"cutoff": cutoff}
    first = prepare(config(tmp_path / "first", **settings))

    def cutoff_time(session):
        return config("").cutoff_time if cutoff == CUTOFF else 0 if session.date >= cutoff else 2**62

    monkeypatch.setattr(SyntheticFeed, "_make", spliced(SyntheticFeed._make, cutoff_time))
    second = prepare(config(tmp_path / "second", **settings))
    assert find_leaks(second) == []
    files = [TOKENIZER, *(shard["file"] for shard in first.splits[TRAIN]["shards"])]
    assert len(files) == (3 if cutoff == CUTOFF else 2)
    for file in files:
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()
    for shard in first.splits[VALIDATION]["shards"]:
        assert (first.path / shard["file"]).read_bytes() != (second.path / shard["file"]).read_bytes()
