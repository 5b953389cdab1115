import json
import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
from prepared_sets import numbered_rows, with_packed, write_prepared

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.data.prepared import VALIDATION, PreparedSet

ROWS, VALIDATION_ROWS, BATCH = 23, 7, 4
STEPS = 13  # into the third epoch of five batches


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared(folder, numbered_rows(ROWS, 6), numbered_rows(VALIDATION_ROWS, 6))


@pytest.fixture(scope="module")
def remote(prepared):
    """The same set in an object store."""
    store = fsspec.filesystem("memory")
    store.put(str(prepared.path), "/bucket/loaders", recursive=True)
    yield PreparedSet.load("memory://bucket/loaders")
    store.rm("/bucket", recursive=True)


def loader(prepared, num_workers=0, seed=1, batch_size=BATCH):
    return OrderDataModule(prepared, batch_size, num_workers, seed).train_dataloader()


def rows_of(batch):
    return batch["token"][:, 0].tolist()


def take(loader, count):
    """Rows of the next `count` batches, epoch after epoch."""
    taken = []
    while len(taken) < count:
        for batch in loader:
            taken.append(rows_of(batch))
            if len(taken) == count:
                break
    return taken


def test_has_a_length(prepared):
    assert len(loader(prepared)) == ROWS // BATCH


def test_segments_come_only_where_rows_are_packed(tmp_path):
    whole, packed = numbered_rows(4, 6), [np.arange(3), np.arange(4)]
    prepared = with_packed(write_prepared(tmp_path, whole, whole), VALIDATION, packed)
    first, last = OrderDataModule(prepared, 4).val_dataloader()
    assert "segment" not in first
    assert last["segment"].tolist() == [[0] * 3 + [1] * 4]


def test_workers_do_not_change_the_order(prepared):
    assert take(loader(prepared, num_workers=2), STEPS) == take(loader(prepared), STEPS)


def test_state_counts_what_was_handed_out_and_not_what_was_read_ahead(prepared):
    reading_ahead = loader(prepared, num_workers=2)
    batches = iter(reading_ahead)
    next(batches), next(batches)
    assert reading_ahead.state_dict()["samples_consumed"] == 2 * BATCH


@pytest.mark.parametrize(("num_workers", "stops"), [(0, range(STEPS)), (2, (3, 5))])
def test_resumes_exactly_at_any_batch(prepared, num_workers, stops):
    whole = take(loader(prepared), STEPS)
    for stop in stops:
        stopped = loader(prepared, num_workers)
        take(stopped, stop)
        resumed = loader(prepared, num_workers)
        resumed.load_state_dict(stopped.state_dict())
        assert take(resumed, STEPS - stop) == whole[stop:]


def test_a_remote_set_is_read_in_blocks_and_resumes_exactly(remote):
    """Two shards, a row group each: in blocks of one group, the rows of one follow those of the other."""

    def blocks(num_workers=0):
        return OrderDataModule(remote, 1, num_workers, seed=1, block=1).train_dataloader()

    whole = take(blocks(), 2 * ROWS)
    for epoch in (whole[:ROWS], whole[ROWS:]):
        shards = [row >= 12 for (row,) in epoch]
        assert sorted(row for (row,) in epoch) == list(range(ROWS))
        assert sum(a != b for a, b in pairwise(shards)) == 1
    stopped = blocks(num_workers=2)
    take(stopped, 30)
    resumed = blocks()
    resumed.load_state_dict(stopped.state_dict())
    assert take(resumed, 2 * ROWS - 30) == whole[30:]
    with pytest.raises(ValueError, match=r"data\.block \(None: a local set\) = 1, this run has 16"):
        loader(remote, batch_size=1).load_state_dict(stopped.state_dict())


def consume_forever(prepared, journal):
    """Take batches with two workers, from where the journal ends, and write down each before taking the next."""
    os.setsid()  # a process group of its own, killed as one
    reading, lines = loader(prepared, num_workers=2), read_journal(journal)
    if lines:
        reading.load_state_dict(lines[-1]["state"])
    with journal.open("a") as file:
        while True:
            for batch in reading:
                file.write(json.dumps({"rows": rows_of(batch), "state": reading.state_dict()}) + "\n")
                file.flush()


def read_journal(journal):
    """The whole lines of a journal; what a kill has cut off is taken away."""
    whole, newline, _ = journal.read_bytes().rpartition(b"\n")
    journal.write_bytes(whole + newline)
    return [json.loads(line) for line in whole.splitlines()]


def test_a_reader_that_is_killed_at_any_moment_goes_on_with_the_very_next_batch(prepared, tmp_path):
    journal, chance = tmp_path / "journal", random.Random(0)
    journal.touch()
    for _ in range(4):
        size = journal.stat().st_size
        reader = multiprocessing.get_context("fork").Process(target=consume_forever, args=(prepared, journal))
        reader.start()
        while journal.stat().st_size <= size:
            assert reader.is_alive()
            time.sleep(0.005)
        time.sleep(chance.random() / 10)
        os.killpg(reader.pid, signal.SIGKILL)
        reader.join()
    consumed = [line["rows"] for line in read_journal(journal)]
    assert len(consumed) >= 4
    assert consumed == take(loader(prepared), len(consumed))


@pytest.mark.parametrize(
    ("other", "message"),
    [({"seed": 2}, "data seed = 1, this run has 2"), ({"batch_size": 2}, "devices = 4, this run has 2")],
)
def test_refuses_to_resume_in_another_order(prepared, other, message):
    with pytest.raises(ValueError, match=message):
        loader(prepared, **other).load_state_dict(loader(prepared).state_dict())


def test_validation_rows_come_once_in_fixed_order(prepared):
    batches = list(OrderDataModule(prepared, BATCH).val_dataloader())
    assert [rows_of(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6]]


def test_ranks_share_the_rows(prepared):
    train, validation = [], []
    for rank in range(2):
        data = OrderDataModule(prepared, BATCH // 2, seed=1)
        data.trainer = SimpleNamespace(distributed_sampler_kwargs={"num_replicas": 2, "rank": rank})
        train.append(take(data.train_dataloader(), STEPS))
        validation += [row for batch in data.val_dataloader() for row in rows_of(batch)]
    together = [sorted(a + b) for a, b in zip(*train, strict=True)]
    assert together == [sorted(batch) for batch in take(loader(prepared), STEPS)]
    assert sorted(validation) == list(range(VALIDATION_ROWS))
