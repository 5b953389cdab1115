from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from mars_lmm.data.config import DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.prepare import prepare
from mars_lmm.data.prepared import MANIFEST, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.tokenizers.orders import OrderTokenizer


def targets(prepared, split):
    """(session, index) of every scored target of a split."""
    rows = pq.read_table(prepared.split_file(split), columns=["first_target", "session", "start"]).to_pylist()
    return [
        (row["session"], row["start"] + 1 + number)
        for row in rows
        for number in range(row["first_target"], prepared.row_length)
    ]


def test_rows_are_the_replayed_orders(small_set):
    tokenizer = small_set.tokenizer()
    coded = [tokenizer.encode(replay(small_set.flow(index)).observed) for index in range(2)]
    for split in (TRAIN, VALIDATION):
        for row in pq.read_table(small_set.split_file(split)).to_pylist():
            token, market = coded[row["session"]]
            window = slice(row["start"], row["start"] + small_set.row_length + 1)
            assert row["token"] == token[window].tolist()
            assert row["market"] == market[window].ravel().tolist()


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
    starts = pq.read_table(prepared.split_file(VALIDATION), columns=["session", "start"]).to_pylist()
    assert min(row["start"] for row in starts if row["session"] == 0) == firsts[0] - 1 - 30


def test_bins_come_from_the_training_split_alone(small_set):
    observed = replay(small_set.flow(0)).observed
    assert small_set.tokenizer_checksum == OrderTokenizer.fit(observed, takers_rest=True).checksum


def test_the_same_recipe_is_found_and_another_makes_another_set(small_data, small_set):
    assert prepare(small_data) == small_set
    assert prepare(replace(small_data, batch_size=8)) == small_set
    other = prepare(replace(small_data, context=8))
    assert other.path != small_set.path
    assert other.fingerprint != small_set.fingerprint


def test_preparation_is_deterministic(small_data, small_set, tmp_path):
    again = prepare(replace(small_data, root=str(tmp_path)))
    assert again.fingerprint == small_set.fingerprint
    for name in ("train.parquet", "validation.parquet", "tokenizer.json", MANIFEST):
        assert (again.path / name).read_bytes() == (small_set.path / name).read_bytes()


@pytest.mark.parametrize(
    ("cutoff", "row_length", "message"),
    [
        ("2023-01-01", 64, "no order lies before data.cutoff=2023-01-01"),
        ("2030-01-01", 64, "the validation split is empty with data.cutoff=2030-01-01"),
        ("09:37", 50_000, r"the train split is empty.* orders are fewer than a row of 50001"),
    ],
)
def test_an_empty_split_is_an_error_and_leaves_nothing(tmp_path, cutoff, row_length, message):
    market = SyntheticConfig(sessions=1, minutes=8)
    config = DataConfig(root=str(tmp_path), cutoff=cutoff, row_length=row_length, context=0, synthetic=market)
    with pytest.raises(DataError, match=message):
        prepare(config)
    assert list(tmp_path.iterdir()) == []


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
        ({"feed": "lobster"}, "needs data.path"),
        ({"feed": "tape"}, "choose synthetic or lobster"),
        ({"context": 256}, "context shorter than itself"),
        ({"batch_size": 0}, "too small"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)


def test_tokens_fill_their_type(small_set):
    token = pq.read_table(small_set.split_file(TRAIN))["token"].combine_chunks().flatten().to_numpy()
    assert token.dtype == np.uint16
    assert token.max() < 49_152
