import copy
import dataclasses
import errno
import json
import os
import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from prepared_sets import market_of, numbered_rows, with_packed, write_prepared, write_split

from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import MANIFEST, TOKENIZER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.rows import PADDING, RowWriter, coded_orders
from mars_lmm.data.windows import cut

T = 6
TRAIN_TOKENS, VALIDATION_TOKENS = numbered_rows(20, T), numbered_rows(5, T)


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "set", TRAIN_TOKENS, VALIDATION_TOKENS, first_target=np.arange(5))


@pytest.fixture
def remote(prepared):
    """The same set in an object store."""
    store = fsspec.filesystem("memory")
    store.put(str(prepared.path), "/bucket/set", recursive=True)
    yield PreparedSet.load("memory://bucket/set")
    store.rm("/bucket", recursive=True)


@pytest.fixture(params=["local", "remote"])
def either(request):
    return request.getfixturevalue("prepared" if request.param == "local" else "remote")


def test_a_batch_is_the_rows_asked_for(either):
    rows = OrderRows(either, TRAIN)
    wanted = [13, 2, 2, 19, 0]
    batch = rows.__getitems__(wanted)
    assert {name: (x.dtype, tuple(x.shape)) for name, x in batch.items()} == {
        "token": (torch.int64, (5, T + 1)),
        "market": (torch.int16, (5, T + 1, 42)),
        "segment": (torch.uint8, (5, T + 1)),
        "scored": (torch.bool, (5, T)),
    }
    assert np.array_equal(batch["token"], TRAIN_TOKENS[wanted])
    assert np.array_equal(batch["market"], market_of(TRAIN_TOKENS)[wanted])
    assert not batch["segment"].any()
    assert batch["scored"].all()


def test_a_single_row(either):
    rows = OrderRows(either, VALIDATION)
    assert len(rows) == 5
    assert np.array_equal(rows[3]["token"], VALIDATION_TOKENS[3])
    assert rows[3]["scored"].tolist() == [False] * 3 + [True] * 3
    assert rows.pieces(3).tolist() == [(3, 0, T + 1, 4)]


def test_packed_rows_tell_their_sessions_apart(prepared):
    """Sessions of 3, 2 and 4 orders in rows of 7."""
    rows = OrderRows(with_packed(prepared, TRAIN, np.split(np.arange(9), [3, 5])), TRAIN)
    assert len(rows) == 22
    batch = rows.__getitems__([20, 21])
    assert batch["token"].tolist() == [[0, 1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 0, 0, 0]]
    assert batch["segment"].tolist() == [[0, 0, 0, 1, 1] + [PADDING] * 2, [0] * 4 + [PADDING] * 3]
    assert batch["scored"].tolist() == [[1, 1, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0]]


def test_rows_are_mapped_from_inside_the_set(prepared):
    OrderRows(prepared, TRAIN)
    assert list((prepared.path / ".arrow").rglob("*.arrow"))


def test_rows_of_a_read_only_set_are_mapped_from_the_users_cache(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(prepared.path))
    assert np.array_equal(OrderRows(prepared, TRAIN)[4]["token"], TRAIN_TOKENS[4])
    assert list((tmp_path / "cache" / "mars_lmm" / prepared.fingerprint).rglob("*.arrow"))
    assert not (prepared.path / ".arrow").exists()


def test_a_folder_may_have_any_name(tmp_path):
    write_prepared(tmp_path / "set [1]*", TRAIN_TOKENS, VALIDATION_TOKENS)
    prepared = PreparedSet.load(tmp_path / "set [1]*")
    assert np.array_equal(OrderRows(prepared, TRAIN)[4]["token"], TRAIN_TOKENS[4])
    assert prepared.tokenizer().checksum == prepared.tokenizer_checksum


def test_rows_count_on_over_many_shards_in_their_order(tmp_path):
    """More shards than have one digit, each of its own number of rows."""
    prepared = write_prepared(tmp_path / "set", TRAIN_TOKENS, VALIDATION_TOKENS)
    token = numbered_rows(91, T)
    coded = coded_orders(token.ravel(), market_of(token).reshape(token.size, -1))
    shards = []
    for number, rows in enumerate(np.split(np.arange(91), np.cumsum(np.arange(13, 0, -1))[:-1])):
        file = f"rows/{TRAIN}/{number}.parquet"
        with RowWriter(prepared.path / file, T) as writer:
            for row in rows:
                writer.write(cut(0, row * (T + 1), (row + 1) * (T + 1), T, 0)[-1:], lambda _: coded)
        shards.append({"file": file, "rows": len(rows)})
    rows = OrderRows(dataclasses.replace(prepared, splits={TRAIN: {"shards": shards}}), TRAIN)
    assert rows.__getitems__(list(range(91)))["token"][:, 0].tolist() == list(range(91))


def test_a_set_prepared_again_is_read_anew(prepared):
    OrderRows(prepared, TRAIN)
    changed = TRAIN_TOKENS[::-1].copy()
    shards = [prepared.path / shard["file"] for shard in prepared.splits[TRAIN]["shards"]]
    before = [os.stat(shard).st_mtime_ns for shard in shards]
    write_split(prepared.path, TRAIN, changed)
    for shard, time in zip(shards, before, strict=True):
        os.utime(shard, ns=(time + 10**9, time + 10**9))
    assert np.array_equal(OrderRows(prepared, TRAIN)[0]["token"], changed[0])


def test_an_empty_split_says_what_to_do(prepared):
    empty = dataclasses.replace(prepared, splits=prepared.splits | {VALIDATION: {"shards": []}})
    with pytest.raises(ValueError, match=r"the validation split of .*set is empty; prepare it again"):
        OrderRows(empty, VALIDATION)


def test_shards_that_are_not_the_manifests_are_refused(prepared):
    write_split(prepared.path, TRAIN, TRAIN_TOKENS[:-1])
    file = prepared.splits[TRAIN]["shards"][1]["file"]
    with pytest.raises(DataError, match=f"{file}: holds 9 rows, not 10; prepare the data again"):
        OrderRows(prepared, TRAIN)


@pytest.fixture
def grouped(tmp_path, monkeypatch):
    """600 rows in four row groups (256, 44, 256, 44) of a remote set; and the shards that were opened."""
    store, opened = fsspec.filesystem("memory"), []
    write_prepared(tmp_path / "set", numbered_rows(600, T), VALIDATION_TOKENS)
    store.put(str(tmp_path / "set"), "/bucket/grouped", recursive=True)
    fetch = PreparedSet.open

    def note(self, file):
        opened.append(file)
        return fetch(self, file)

    monkeypatch.setattr(PreparedSet, "open", note)
    yield PreparedSet.load("memory://bucket/grouped"), opened
    store.rm("/bucket", recursive=True)


def test_remote_row_groups_are_fetched_once_while_they_are_kept(grouped):
    prepared, opened = grouped
    rows = OrderRows(prepared, TRAIN, cached=2)
    assert np.diff(rows.groups).tolist() == [256, 44, 256, 44]
    opened.clear()
    for wanted in ([300, 2, 255], [555, 0, 301], [1]):
        assert rows.__getitems__(wanted)["token"][:, 0].tolist() == wanted
    assert len(opened) == 2
    rows.__getitems__([256])
    assert len(opened) == 3
    assert rows.__getitems__([0, 300, 599, 299])["token"][:, 0].tolist() == [0, 300, 599, 299]


def test_remote_rows_go_to_workers(grouped):
    """By fork or by pickle: nothing that is open goes along."""
    rows = OrderRows(grouped[0], TRAIN)
    rows[0]
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[400]["token"], rows[400]["token"])


@pytest.mark.parametrize(
    "change",
    [lambda data: None, lambda data: b"", lambda data: data[: len(data) // 2], lambda data: bytes(len(data))],
)
def test_a_broken_shard_is_named(either, change):
    shard = f"{either.path}/{either.splits[TRAIN]['shards'][0]['file']}"
    store, path = fsspec.core.url_to_fs(shard)
    changed = change(store.cat(path))
    store.rm(path)
    if changed is not None:
        store.pipe(path, changed)
    with pytest.raises(DataError, match=f"{shard}: cannot be read: .*; prepare the data again"):
        OrderRows(either, TRAIN)[0]


def test_a_local_shard_with_damaged_pages_is_refused(prepared):
    shard = prepared.path / prepared.splits[TRAIN]["shards"][0]["file"]
    data = bytearray(shard.read_bytes())
    data[4 : len(data) // 4] = bytes(len(data) // 4 - 4)
    shard.write_bytes(data)
    with pytest.raises(DataError, match="set: the train rows cannot be read"):
        OrderRows(prepared, TRAIN)


def test_a_full_disk_is_no_fault_of_the_file_that_is_read(prepared):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"), prepared.open(TOKENIZER):
        raise full


def test_a_url_may_end_with_a_slash(remote):
    prepared = PreparedSet.load("memory://bucket/set/")
    assert prepared == remote
    assert np.array_equal(OrderRows(prepared, TRAIN)[4]["token"], TRAIN_TOKENS[4])


def places(fields, path=()):
    """Where the values of nested fields are, as the keys that lead there."""
    for key, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def refused(folder):
    """The file that a set is refused for, None if it is not."""
    try:
        PreparedSet.load(folder)
    except DataError as error:
        return error.source
    return None


def test_a_manifest_that_lacks_what_readers_need_is_refused(small_set, tmp_path):
    """Any one of its keys is left out; what is not refused is told for information alone."""
    original = json.loads((small_set.path / MANIFEST).read_text())
    kept, manifest = set(), tmp_path / MANIFEST
    for *outer, last in places(original):
        if outer[:1] == ["recipe"] or outer[-1:] == ["counts"] or isinstance(last, int):
            continue
        fields = copy.deepcopy(original)
        inner = fields
        for key in outer:
            inner = inner[key]
        del inner[last]
        manifest.write_text(json.dumps(fields))
        source = refused(tmp_path)
        assert source in (None, str(manifest))
        if source is None:
            kept.add(last)
    informative = {"kind", "value", "counts", "rejected"}
    by_audit_and_simulation = {"orders", "training_orders", "held_out_from", "sample_seed"}
    assert kept <= informative | by_audit_and_simulation
    for text in ("[]", "null", "1", '"text"', "{}", '{"schema_version": 2}'):
        manifest.write_text(text)
        with pytest.raises(DataError, match=MANIFEST):
            PreparedSet.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", "", '{"version": 1}'])
def test_a_tokenizer_that_cannot_be_read_is_named(prepared, content):
    (prepared.path / TOKENIZER).write_text(content)
    with pytest.raises(DataError, match=TOKENIZER):
        prepared.tokenizer()


def test_a_remote_shard_of_another_length_is_refused(remote):
    shards = [shard | {"rows": shard["rows"] + 1} for shard in remote.splits[TRAIN]["shards"]]
    changed = dataclasses.replace(remote, splits={TRAIN: {"shards": shards}})
    with pytest.raises(DataError, match="row group 0 holds 10 rows, not 11"):
        OrderRows(changed, TRAIN)[0]
