import numpy as np
import pytest

from mars_lmm.data.samplers import PermutationBatchSampler, permutation

ROWS, BATCH, SEED = 103, 8, 3


def batches(sampler, count):
    """The next `count` batches, epoch after epoch, as a loader takes them."""
    taken = []
    while len(taken) < count:
        for rows in sampler:
            sampler.samples_consumed += sampler.global_batch
            taken.append(rows)
            if len(taken) == count:
                break
    return taken


def test_permutation_holds_each_row_once():
    assert np.array_equal(np.sort(permutation(1000, SEED, 0)), np.arange(1000))


def test_permutation_depends_on_seed_and_epoch_alone():
    first = permutation(1000, SEED, 0)
    assert np.array_equal(first, permutation(1000, SEED, 0))
    assert not np.array_equal(first, permutation(1000, SEED, 1))
    assert not np.array_equal(first, permutation(1000, SEED + 1, 0))


def test_permutation_is_the_same_everywhere():
    """Another order here would silently change every resumed run."""
    assert permutation(10, 1, 2).tolist() == [4, 2, 0, 6, 1, 5, 9, 8, 7, 3]


def test_permutation_has_no_preferred_place():
    """Mean place of each row over many epochs, against five standard errors of a uniform one."""
    epochs, rows = 400, 50
    places = np.mean([np.argsort(permutation(rows, 0, epoch)) for epoch in range(epochs)], axis=0)
    standard_error = np.sqrt((rows**2 - 1) / 12 / epochs)
    assert np.abs(places - (rows - 1) / 2).max() < 5 * standard_error


def test_no_row_twice_in_an_epoch_and_epochs_differ():
    sampler = PermutationBatchSampler(ROWS, BATCH, SEED)
    assert len(sampler) == ROWS // BATCH
    first, second = (np.concatenate(batches(sampler, len(sampler))) for _ in range(2))
    assert len(set(first)) == len(first) == len(sampler) * BATCH
    assert len(set(second)) == len(second)
    assert set(first) != set(second)  # other rows are left out
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("world_size", [2, 4])
def test_global_batches_do_not_depend_on_the_world_size(world_size):
    steps = 30  # past the second epoch
    alone = batches(PermutationBatchSampler(ROWS, BATCH, SEED), steps)
    ranks = [
        batches(PermutationBatchSampler(ROWS, BATCH // world_size, SEED, world_size, rank), steps)
        for rank in range(world_size)
    ]
    for step in range(steps):
        shares = [rank[step] for rank in ranks]
        assert {len(share) for share in shares} == {BATCH // world_size}
        assert sorted(row for share in shares for row in share) == sorted(alone[step])


def test_goes_on_from_any_number_of_samples():
    whole = batches(PermutationBatchSampler(ROWS, BATCH, SEED), 30)
    for done in range(30):
        sampler = PermutationBatchSampler(ROWS, BATCH, SEED)
        sampler.samples_consumed = done * BATCH
        assert batches(sampler, 30 - done) == whole[done:]


def test_too_few_rows():
    with pytest.raises(ValueError, match="7 training rows do not fill one batch of 4 rows on 2 ranks"):
        PermutationBatchSampler(7, 4, SEED, world_size=2)
