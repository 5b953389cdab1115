import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mars_lmm.data.samplers import PermutationBatchSampler, permutation, permutation_in_blocks

ROWS, BATCH, SEED = 103, 8, 3
GROUPS = np.array([0, 20, 40, 47, 67, 70, 71, 91, ROWS])  # row groups of several shards


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


@pytest.fixture(params=[None, 1, 3], ids=["mixed", "groups", "blocks"])
def make_sampler(request):
    """Samplers of `ROWS` rows, all mixed or in blocks of row groups."""

    def make(batch_size=BATCH, world_size=1, rank=0):
        return PermutationBatchSampler(GROUPS, batch_size, SEED, world_size, rank, request.param)

    return make


@st.composite
def row_groups(draw):
    """Where row groups begin and end, and how many of them are mixed."""
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=15))
    return np.cumsum([0, *sizes]), draw(st.integers(1, 20))


@given(row_groups(), st.integers(0, 2**32), st.integers(0, 100))
def test_blocks_hold_each_row_once_and_each_group_is_fetched_once(groups_and_block, seed, epoch):
    groups, block = groups_and_block
    order = permutation_in_blocks(groups, block, seed, epoch)
    assert np.array_equal(np.sort(order), np.arange(groups[-1]))
    kept, fetched = [], []  # by a reader that keeps the last `block` groups
    for group in np.searchsorted(groups, order, side="right").tolist():
        if group in kept:
            kept.remove(group)
        else:
            fetched.append(group)
        kept = [*kept, group][-block:]
    assert sorted(fetched) == list(range(1, len(groups)))


def test_blocks_mix_their_rows_and_change_with_seed_and_epoch():
    groups = np.arange(0, 1001, 10)
    first = permutation_in_blocks(groups, 10, SEED, 0)
    assert np.array_equal(first, permutation_in_blocks(groups, 10, SEED, 0))
    for seed, epoch in ((SEED, 1), (SEED + 1, 0)):
        assert not np.array_equal(first, permutation_in_blocks(groups, 10, seed, epoch))
    neighbours = np.diff(first // 10) == 0
    assert neighbours.mean() < 0.2  # one in ten by chance, all of them if groups were read one by one


def test_blocks_are_the_same_everywhere():
    """Another order here would silently change every resumed run."""
    assert permutation_in_blocks(np.array([0, 4, 6, 10]), 2, 1, 2).tolist() == [1, 8, 3, 2, 7, 6, 9, 0, 5, 4]


def test_no_row_twice_in_an_epoch_and_epochs_differ(make_sampler):
    sampler = make_sampler()
    assert len(sampler) == ROWS // BATCH
    first, second = (np.concatenate(batches(sampler, len(sampler))) for _ in range(2))
    assert len(set(first)) == len(first) == len(sampler) * BATCH
    assert len(set(second)) == len(second)
    assert set(first) != set(second)  # other rows are left out
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("world_size", [2, 4])
def test_global_batches_do_not_depend_on_the_world_size(make_sampler, world_size):
    steps = 30  # past the second epoch
    alone = batches(make_sampler(), steps)
    ranks = [batches(make_sampler(BATCH // world_size, world_size, rank), steps) for rank in range(world_size)]
    for step in range(steps):
        shares = [rank[step] for rank in ranks]
        assert {len(share) for share in shares} == {BATCH // world_size}
        # Rank r has every row whose place in the global batch is r modulo the world size.
        assert [row for place in zip(*shares, strict=True) for row in place] == alone[step]


@given(
    groups_and_block=row_groups(),
    batch_size=st.integers(1, 4),
    stops=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 4])), max_size=4),
)
def test_goes_on_from_anywhere_on_any_number_of_ranks(groups_and_block, batch_size, stops):
    """A run cut off again and again, on other ranks each time, reads what an undisturbed one reads."""
    groups, block = groups_and_block
    global_batch = 4 * batch_size
    assume(groups[-1] >= global_batch)

    def read(done, count, world_size):
        taken = []
        for rank in range(world_size):
            share = global_batch // world_size
            sampler = PermutationBatchSampler(groups, share, SEED, world_size, rank, block)
            sampler.samples_consumed = done * global_batch
            taken.append(batches(sampler, count))
        return [[row for place in zip(*shares, strict=True) for row in place] for shares in zip(*taken, strict=True)]

    disturbed = []
    for count, world_size in stops:
        disturbed += read(len(disturbed), count, world_size) if count else []
    assert disturbed == read(0, len(disturbed), 1)


def test_too_few_rows():
    with pytest.raises(ValueError, match="7 training rows do not fill one batch of 4 rows on 2 ranks"):
        PermutationBatchSampler(np.array([0, 7]), 4, SEED, world_size=2)
