import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mars_lmm.data.prepare as preparation
from mars_lmm.bench.lobster_text import write_lobster
from mars_lmm.data.config import DataConfig, FeedConfig
from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.flow import FlowFile
from mars_lmm.data.preparation import units
from mars_lmm.data.prepare import prepare
from mars_lmm.data.prepared import MANIFEST, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.data.rows import decode_pieces
from mars_lmm.tokenizers.orders import OrderTokenizer


def pieces_of(prepared, split):
    """(session, start, length, first target) of every piece of a split."""
    tables = [pq.read_table(prepared.path / shard["file"]) for shard in prepared.splits[split]["shards"]]
    return [piece for table in tables for piece in decode_pieces(table)[0].tolist()]


def targets(prepared, split):
    """(session, index) of every scored target of a split."""
    return [
        (session, start + place)
        for session, start, length, first in pieces_of(prepared, split)
        for place in range(first, length)
    ]


def files(folder):
    """Every file of a set and its content."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_rows_are_the_replayed_orders(small_set):
    tokenizer = small_set.tokenizer()
    for split, session in ((TRAIN, 0), (VALIDATION, 1)):
        token, market = tokenizer.encode(replay(small_set.flow(session)).observed)
        rows = OrderRows(small_set, split)
        batch = rows.__getitems__(list(range(len(rows))))
        for number, (of, start, length, _) in enumerate(pieces_of(small_set, split)):
            assert (of, length) == (session, small_set.row_length + 1)
            assert batch["token"][number].tolist() == token[start : start + length].tolist()
            assert batch["market"][number].tolist() == market[start : start + length].tolist()


def test_each_order_is_scored_once(small_set):
    orders = [session["orders"] for session in small_set.sessions]
    assert sorted(targets(small_set, TRAIN)) == [(0, index) for index in range(1, orders[0])]
    assert sorted(targets(small_set, VALIDATION)) == [(1, index) for index in range(1, orders[1])]
    for split in (TRAIN, VALIDATION):
        assert small_set.splits[split]["orders"] == len(targets(small_set, split))


def test_a_split_by_time_scores_the_afternoon_after_the_morning(small_data, tmp_path):
    config = replace(small_data, cutoff="09:34:30", root=str(tmp_path), context=30)
    prepared = prepare(config)
    for index, session in enumerate(prepared.sessions):
        times = replay(prepared.flow(index)).tape[:, 0]
        first = session["training_orders"]
        assert times[first - 1] < config.cutoff_time <= times[first]
    train, validation = targets(prepared, TRAIN), targets(prepared, VALIDATION)
    assert len(set(train) | set(validation)) == len(train) + len(validation)
    firsts = {index: session["training_orders"] for index, session in enumerate(prepared.sessions)}
    assert all(target < firsts[session] for session, target in train)
    assert all(target >= firsts[session] for session, target in validation)
    # Held-out rows read the last training orders as context, and no row of training reads beyond the cut.
    starts = [start for session, start, _, _ in pieces_of(prepared, VALIDATION) if session == 0]
    assert min(starts) == firsts[0] - 1 - 30
    assert all(start + length <= firsts[session] for session, start, length, _ in pieces_of(prepared, TRAIN))


def test_bins_come_from_the_training_split_alone(small_set):
    observed = replay(small_set.flow(0)).observed
    assert small_set.tokenizer_checksum == OrderTokenizer.fit(observed, takers_rest=True).checksum


def test_sessions_too_short_for_a_row_are_packed(tmp_path):
    config = DataConfig(
        root=str(tmp_path),
        cutoff="2024-01-05",
        row_length=2_000,
        context=100,
        workers=1,
        synthetic=SyntheticConfig(sessions=5, minutes=2),
    )
    prepared = prepare(config)
    assert prepared.dropped == []
    assert prepared.splits[TRAIN]["rows"] < 3
    assert {session for session, *_ in pieces_of(prepared, TRAIN)} == {0, 1, 2}
    orders = [session["orders"] for session in prepared.sessions]
    wanted = [(session, index) for session in range(3) for index in range(1, orders[session])]
    assert sorted(targets(prepared, TRAIN)) == wanted
    rows = OrderRows(prepared, TRAIN)
    assert rows[0]["scored"].sum() == sum(target[0] in (0, 1) for target in wanted)


def test_the_same_recipe_is_found_and_another_makes_another_set(small_data, small_set):
    assert prepare(small_data) == small_set
    assert prepare(replace(small_data, batch_size=8, workers=2)) == small_set
    assert prepare(replace(small_data, feed="lobster", prepared=str(small_set.path))) == small_set
    other = prepare(replace(small_data, context=8))
    assert other.path != small_set.path
    assert other.fingerprint != small_set.fingerprint


def test_parallel_preparation_gives_the_same_bytes(small_data, small_set, tmp_path):
    again = prepare(replace(small_data, root=str(tmp_path), workers=2))
    assert again.fingerprint == small_set.fingerprint
    expected = {name: content for name, content in files(small_set.path).items() if ".arrow" not in str(name)}
    assert files(again.path) == expected


def test_several_feeds_make_one_set(tmp_path):
    text = tmp_path / "lobster"
    text.mkdir()
    write_lobster(text, 3_000)
    config = DataConfig(
        feed=None,
        feeds=[FeedConfig("lobster", str(text)), FeedConfig(options={"sessions": 2, "minutes": 5, "seed": 5})],
        root=str(tmp_path),
        cutoff="09:34",
        row_length=64,
        context=16,
        workers=1,
    )
    with pytest.raises(DataError, match="SYN_2024-01-02 is in another source too"):
        prepare(config)
    for path in list(text.iterdir()):
        path.rename(text / path.name.replace("SYN", "TEST"))
    prepared = prepare(config)
    assert [session["symbol"] for session in prepared.sessions] == ["TEST", "SYN", "SYN"]
    assert [session["rebuilt_takers"] for session in prepared.sessions] == [True, False, False]
    assert not prepared.tokenizer().takers_rest
    files = prepared.sessions[0]["source"].split(" and ")
    assert all((text / file).exists() for file in files)


def test_a_flow_explains_itself(small_set):
    session = small_set.sessions[0]
    table = pq.read_table(small_set.path / session["flow"])
    assert session["flow"] == "flow/SYN/2024-01-02.parquet"
    assert table.column_names == [
        *("symbol", "date", "sequence", "time", "kind", "side"),
        *("price", "size", "order_id", "owner", "flags", "source_row"),
    ]
    assert set(table["symbol"].to_pylist()) == {"SYN"}
    assert {str(day) for day in table["date"].to_pylist()} == {"2024-01-02"}
    assert table["sequence"].to_pylist() == list(range(len(table)))
    assert FlowFile(small_set.path / session["flow"]).session == small_set.session(0)


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        ("2024-01-02", "leaves a split empty: the sessions lie from 2024-01-02 to 2024-01-02"),
        ("2024-01-03", "leaves a split empty: the sessions lie from 2024-01-02 to 2024-01-02"),
        ("09:30", "no order lies before data.cutoff=09:30"),
        ("23:00", "the validation split is empty with data.cutoff=23:00"),
    ],
)
def test_an_empty_split_is_an_error_and_leaves_nothing(tmp_path, cutoff, message):
    market = SyntheticConfig(sessions=1, minutes=8)
    config = DataConfig(root=str(tmp_path), cutoff=cutoff, row_length=64, context=0, synthetic=market)
    with pytest.raises(DataError, match=message):
        prepare(config)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_folder_that_is_no_set_is_named(tmp_path):
    with pytest.raises(DataError, match=r"prepared.json: not a prepared set"):
        PreparedSet.load(tmp_path)
    (tmp_path / MANIFEST).write_text('{"schema_version": 0}')
    with pytest.raises(DataError, match="schema version 0"):
        PreparedSet.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cutoff": "noon"}, "data.cutoff='noon'"),
        ({"cutoff": "24:00"}, "data.cutoff='24:00'"),
        ({"cutoff": "2024-02-30"}, "data.cutoff='2024-02-30'"),
        ({"feed": "lobster"}, "needs data.path"),
        ({"feed": "tape"}, "no feed 'tape'; choose one of"),
        ({"feed": "lobster", "path": "x", "options": {"tick": 1}}, "feed lobster: unknown option tick"),
        ({"feed": "lobster", "path": "x", "options": {"price_tick": 0}}, "price_tick=0: must be a whole number"),
        ({"feed": None}, "name a feed"),
        ({"path": "somewhere"}, "the synthetic market is made, not read"),
        ({"context": 256}, "context shorter than itself"),
        ({"batch_size": 0}, "too small"),
        ({"on_error": "ignore"}, "choose raise or skip"),
        ({"executor": "spark"}, "choose processes or ray"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)


def test_tokens_fill_their_type(small_set):
    table = pq.read_table(small_set.path / small_set.splits[TRAIN]["shards"][0]["file"])
    token = table["token"].combine_chunks().flatten().to_numpy()
    assert token.dtype == np.uint16
    assert token.max() < 49_152


@pytest.fixture
def text(tmp_path):
    """A folder with one session as LOBSTER's two files, and how to prepare it."""
    folder = tmp_path / "lobster"
    folder.mkdir()
    write_lobster(folder, 3_000)
    return DataConfig(
        feed="lobster",
        path=str(folder),
        root=str(tmp_path / "sets"),
        cutoff="09:34",
        row_length=64,
        context=16,
        workers=1,
    )


def left(config):
    """What a preparation left in its root."""
    return [path.name for path in Path(config.root).iterdir() if not path.name.startswith(".")]


def test_a_training_part_shorter_than_a_row_of_a_session_too_long_for_memory(text, monkeypatch):
    short = replace(text, row_length=2_500)
    expected = files(prepare(replace(short, root=f"{text.root}/whole")).path)
    monkeypatch.setattr(units, "MAX_HELD", 100)
    assert files(prepare(short).path) == expected


def test_a_file_that_changes_while_it_is_read_is_no_set(text, monkeypatch):
    def replay_and_change(*arguments):
        result = units.replay_session(*arguments)
        for path in Path(text.path).iterdir():
            path.write_text(path.read_text() + "\n")
        return result

    monkeypatch.setattr(preparation, "replay_session", replay_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        prepare(text)
    assert left(text) == []


def test_what_the_system_refuses_costs_no_work(text, monkeypatch):
    undisturbed = files(prepare(replace(text, root=f"{text.root}/undisturbed")).path)

    def fail(*_):
        raise OSError(errno.EIO, "the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_session", fail)
        with pytest.raises(OSError, match="the disk is away"):
            prepare(text)
    assert [name.rpartition(".")[2] for name in left(text) if name != "undisturbed"] == ["partial"]
    monkeypatch.setattr(preparation, "replay_session", lambda *_: pytest.fail("was done already"))
    assert files(prepare(text).path) == undisturbed


def test_what_cannot_be_read_is_an_error_or_listed(text):
    (half,) = Path(text.path).glob("*message*")
    (Path(text.path) / half.name.replace("SYN", "HALF")).write_text(half.read_text())
    (Path(text.path) / "damaged.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match="its other half is missing"):
        prepare(text)
    prepared = prepare(replace(text, on_error="skip"))
    reasons = {entry["session"]: entry["reason"] for entry in prepared.dropped}
    assert reasons.keys() == {half.name.replace("SYN", "HALF"), "damaged.zip"}
    assert "cannot be read" in reasons["damaged.zip"]


def test_an_instrument_that_is_not_there(text):
    with pytest.raises(DataError, match="MSFT: asked for by symbols, and in none of the files"):
        prepare(replace(text, symbols=["SYN", "MSFT"]))
    prepared = prepare(replace(text, symbols=["SYN", "MSFT"], on_error="skip"))
    assert [entry["session"] for entry in prepared.dropped] == ["MSFT"]


def test_why_no_session_is_left(text):
    for path in Path(text.path).iterdir():
        path.write_text("garbage\n" + path.read_text().partition("\n")[2])
    with pytest.raises(DataError, match=r"row 1: malformed row"):
        prepare(text)
    for path in Path(text.path).iterdir():
        path.write_text("garbage\n")
    with pytest.raises(DataError, match=r"no session is left; SYN_2024-01-02: .*malformed row"):
        prepare(replace(text, on_error="skip"))


def test_where_files_lie_is_no_part_of_a_set(text, tmp_path):
    before = prepare(text)
    Path(text.path).rename(tmp_path / "elsewhere")
    after = prepare(replace(text, path=str(tmp_path / "elsewhere"), root=str(tmp_path / "again")))
    assert files(after.path) == files(before.path)
