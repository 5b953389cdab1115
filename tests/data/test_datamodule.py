from types import SimpleNamespace

import pytest
from prepared_sets import numbered_rows, write_prepared

from mars_lmm.data.datamodule import OrderDataModule

ROWS, VALIDATION_ROWS, BATCH = 23, 7, 4
STEPS = 13  # into the third epoch of five batches


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared(folder, numbered_rows(ROWS, 6), numbered_rows(VALIDATION_ROWS, 6))


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
