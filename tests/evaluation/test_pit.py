"""Ranks of observations among ensembles, against counting and against laws that are known."""

import numpy as np
import pytest

from mars_lmm.evaluation.likelihood.pit import histograms, pit_cells, share_below, uniformity


def test_cells_against_counting():
    paths = np.random.default_rng(0).integers(0, 4, (3, 6, 5)).astype(float)
    low, high = pit_cells(paths)
    for start, path, minute in np.ndindex(paths.shape):
        among = paths[start, :, minute]
        below = np.count_nonzero(among < paths[start, path, minute])
        equal = np.count_nonzero(among == paths[start, path, minute])  # itself included
        assert low[start, path, minute] == pytest.approx(below / 6)
        assert high[start, path, minute] == pytest.approx((below + equal) / 6)


def test_cells_of_one_rollout_are_halves():
    low, high = pit_cells(np.array([[[1.0, 5.0, 2.0], [3.0, 4.0, 2.0]]]))
    assert low[0, 0].tolist() == [0, 0.5, 0]
    assert high[0, 0].tolist() == [0.5, 1, 1]  # a tie says nothing


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rollouts", [1, 7, 32])
def test_transforms_of_one_law_are_uniform(rollouts, ties):
    paths = np.random.default_rng(rollouts).standard_normal((6000, 1 + rollouts, 1))
    low, high = pit_cells(np.round(paths) if ties else paths)
    shares = histograms(low, high, np.ones((6000, 1), dtype=bool), 10)[:, 0]
    np.testing.assert_allclose(shares.mean(axis=0), 0.1, atol=0.02)
    for tail in (0.05, 0.25):
        inside = share_below(low, high, 1 - tail)[:, 0] - share_below(low, high, tail)[:, 0]
        assert inside.mean() == pytest.approx(1 - 2 * tail, abs=0.02)


def test_histograms_leave_unknown_minutes_out():
    paths = np.random.default_rng(2).standard_normal((4, 5, 6))
    known = np.ones((4, 6), dtype=bool)
    known[:, 4:] = False
    known[3] = False
    cells = pit_cells(paths)
    part = histograms(*(cell[..., :4] for cell in cells), np.ones((4, 4), dtype=bool), 7)
    np.testing.assert_allclose(histograms(*cells, known, 7)[:3], part[:3])
    assert np.isnan(histograms(*cells, known, 7)[3]).all()


def _p_value(paths, seed):
    shares = histograms(*pit_cells(paths), np.ones((len(paths), paths.shape[2]), dtype=bool), 10)
    return uniformity(shares, np.full(len(paths), 1 / len(paths)), 199, seed)[0]


def test_the_test_keeps_its_level_where_minutes_depend_on_each_other():
    generator = np.random.default_rng(3)
    found = [_p_value(generator.standard_normal((6, 9, 20)).cumsum(axis=2), seed) for seed in range(300)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("bias", "width"), [(1.5, 1.0), (0.0, 0.3), (0.0, 4.0)])
def test_biased_narrow_and_wide_forecasts_are_found(bias, width):
    paths = np.random.default_rng(4).standard_normal((30, 17, 10))
    paths[:, 1:] = bias + width * paths[:, 1:]
    assert _p_value(paths, 0) < 0.01


def test_a_copy_of_every_path_tells_nothing():
    paths = np.repeat(np.random.default_rng(5).standard_normal((8, 1, 10)), 6, axis=1)
    assert _p_value(paths, 0) == 1


def test_one_rollout_each_of_three_starts_cannot_be_told_apart():
    """The replay is always above. Of the eight choices of paths, this one and its opposite are as far from flat."""
    paths = np.array([[2.0], [1.0]])[None].repeat(3, axis=0)
    shares = histograms(*pit_cells(paths), np.ones((3, 1), dtype=bool), 10)
    assert uniformity(shares, np.full(3, 1 / 3), 1999, 0)[0] == pytest.approx(2 / 8, abs=0.04)
