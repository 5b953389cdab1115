"""Bins and distances against NumPy and brute force; replicates against recomputing them."""

import numpy as np
import pytest

from mars_lmm.evaluation.lob_bench.binning import (
    DECILES,
    DISCRETE,
    FREEDMAN_DIACONIS,
    cut,
    decile_thresholds,
    freedman_diaconis,
)
from mars_lmm.evaluation.lob_bench.distances import Draws, compare, distance_interval, interval
from mars_lmm.evaluation.lob_bench.scores import Sample


def sample(values, sequence):
    order = np.argsort(values, kind="stable")
    return Sample(np.asarray(values, np.float64)[order], np.asarray(sequence)[order], order)


def random_sample(generator, num_sequences=5, length=40, shift=0.0):
    return sample(
        np.round(generator.normal(shift, 1, num_sequences * length), 1), np.repeat(np.arange(num_sequences), length)
    )


def plain(num_real, num_generated):
    return Draws(np.ones((1, num_real)), np.ones((1, num_generated)))


@pytest.mark.parametrize("seed", range(20))
def test_freedman_diaconis_is_numpys_bit_for_bit(seed):
    generator = np.random.default_rng(seed)
    values = np.sort(np.round(generator.standard_t(2, 3000) * 100) / generator.choice([1, 2, 3, 7]))
    edges = np.histogram_bin_edges(values, "fd")
    found = freedman_diaconis(values)
    assert found.num_thresholds == len(edges)
    np.testing.assert_array_equal(found.group, np.searchsorted(edges, values, side="right"))


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [1.0, 2.0, 2.0, 2.0, 3.0, 9.0]])
def test_freedman_diaconis_of_few_values(values):
    values = np.array(values)
    edges = np.histogram_bin_edges(values, "fd")
    found = freedman_diaconis(values)
    assert found.num_thresholds == len(edges)
    np.testing.assert_array_equal(found.group, np.searchsorted(edges, values, side="right"))


def test_a_value_that_most_share_does_not_hide_the_others():
    values = np.sort(np.concatenate([np.zeros(90), np.linspace(-1, 1, 10)]))
    group = freedman_diaconis(values).group
    zero = values == 0
    assert len(np.unique(group[zero])) == 1
    assert len(np.unique(group[~zero])) > 2
    assert not np.isin(group[~zero], group[zero]).any()


def test_outliers_take_no_memory():
    values = np.append(np.linspace(0, 1, 100_000), 1e12)
    assert cut(values, FREEDMAN_DIACONIS).num_thresholds > 10**12


def test_a_value_that_fills_deciles_has_a_bin_of_its_own():
    values = np.array([1e-6] * 10 + [2e-6] * 50 + [3e-6] * 40)
    thresholds = decile_thresholds(values)
    assert (np.diff(thresholds) > 0).all()
    groups = np.searchsorted(thresholds, values, side="right")
    assert len({*groups[:10], *groups[10:60], *groups[60:]}) == 3


@pytest.mark.parametrize("bins", [DISCRETE, FREEDMAN_DIACONIS, DECILES])
def test_properties(bins):
    generator = np.random.default_rng(3)
    one, other = random_sample(generator), random_sample(generator, 7, 30, 0.5)
    forth, back = compare(one, other, bins, plain(5, 7)), compare(other, one, bins, plain(7, 5))
    assert 0 < forth.l1[0] < 1
    assert forth.l1[0] == back.l1[0]
    assert forth.wasserstein[0] == back.wasserstein[0]
    same = compare(one, one, bins, plain(5, 5))
    assert same.l1[0] == 0
    assert same.wasserstein[0] == 0
    apart = compare(one, one._replace(values=one.values + 100), bins, plain(5, 5))
    assert apart.l1[0] == pytest.approx(1, abs=0.02)


def test_wasserstein_by_brute_force():
    generator = np.random.default_rng(4)
    one, other = random_sample(generator), random_sample(generator, 7, 30, 0.5)
    grid = np.unique(np.concatenate([one.values, other.values]))
    shares = [np.array([(side.values <= x).mean() for x in grid]) for side in (one, other)]
    scale = np.concatenate([one.values, other.values]).std(ddof=1)
    expected = np.sum(np.abs(shares[0] - shares[1])[:-1] * np.diff(grid)) / scale
    assert compare(one, other, DISCRETE, plain(5, 7)).wasserstein[0] == pytest.approx(expected, rel=1e-12)


def repeated(original, counts):
    """The values of sequences as often as they were drawn."""
    return np.repeat(original.values, counts[original.sequence].astype(int))


@pytest.mark.parametrize("bins", [DISCRETE, FREEDMAN_DIACONIS, DECILES])
def test_replicates_equal_the_distances_of_resampled_sequences(bins):
    generator = np.random.default_rng(5)
    real, generated = random_sample(generator), random_sample(generator, 7, 30, 0.5)
    draws = Draws(
        generator.multinomial(5, np.full(5, 1 / 5), 8).astype(float),
        generator.multinomial(7, np.full(7, 1 / 7), 8).astype(float),
    )
    found = compare(real, generated, bins, draws)
    pooled = np.sort(np.concatenate([real.values, generated.values]))
    group = dict(zip(pooled, cut(pooled, bins).group, strict=True))
    for replicate in range(8):
        p = repeated(real, draws.real[replicate])
        q = repeated(generated, draws.generated[replicate])
        shares = [
            np.bincount([group[x] for x in side], minlength=max(group.values()) + 1) / len(side) for side in (p, q)
        ]
        assert found.l1[replicate] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2, rel=1e-12)
        grid = np.unique(pooled)
        cumulated = [np.searchsorted(np.sort(side), grid, side="right") / len(side) for side in (p, q)]
        area = np.sum(np.abs(cumulated[0] - cumulated[1])[:-1] * np.diff(grid)) / pooled.std(ddof=1)
        assert found.wasserstein[replicate] == pytest.approx(area, rel=1e-12)
        assert found.rows[replicate] == len(p) + len(q)


def test_sides_without_values():
    some, none = sample([1.0, 2.0], [0, 0]), sample([], np.empty(0, int))
    for one, other in ((some, none), (none, some)):
        found = compare(one, other, FREEDMAN_DIACONIS, plain(1, 1))
        assert found.l1[0] == 1
        assert np.isnan(found.wasserstein[0])
    assert np.isnan(compare(none, none, FREEDMAN_DIACONIS, plain(1, 1)).l1[0])
    constant = compare(sample([1.0, 1.0], [0, 0]), sample([1.0], [0]), FREEDMAN_DIACONIS, plain(1, 1))
    assert (constant.l1[0], constant.wasserstein[0]) == (0, 0)


def test_intervals_surround_the_number():
    values = np.concatenate([[0.1], np.random.default_rng(6).normal(0.3, 0.1, 100)])
    low, high = interval(values)
    assert low < 0.1 < high
    assert distance_interval(values)[0] == 0
    assert np.isnan(interval(np.array([np.nan, 1.0]))).all()
    assert np.isnan(distance_interval(np.array([0.1]))).all()
