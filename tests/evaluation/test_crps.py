"""The score against its definition and its closed form."""

import math

import numpy as np
import pytest

from mars_lmm.evaluation.likelihood.crps import climatology_crps, fair_crps


def _gaussian_crps(y):
    """Of N(0, 1): y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi) (Gneiting and Raftery 2007)."""
    phi = math.exp(-y * y / 2) / math.sqrt(2 * math.pi)
    return y * math.erf(y / math.sqrt(2)) + 2 * phi - 1 / math.sqrt(math.pi)


def test_against_the_definition():
    generator = np.random.default_rng(0)
    members, observed = generator.integers(0, 5, (7, 4)).astype(float), generator.standard_normal(4)
    pairs = [np.abs(members[i] - members[j]) for i in range(7) for j in range(7) if i != j]
    expected = np.abs(members - observed).mean(axis=0) - np.mean(pairs, axis=0) / 2
    np.testing.assert_allclose(fair_crps(members, observed), expected)


@pytest.mark.parametrize("observed", [0.0, -1.3, 2.5])
@pytest.mark.parametrize("size", [2, 5, 50])
def test_mean_is_the_gaussians_at_every_size(size, observed):
    members = np.random.default_rng(size).standard_normal((size, 100_000 // size))
    scores = fair_crps(members, np.full(members.shape[1], observed))
    error = scores.std() / math.sqrt(len(scores))
    assert scores.mean() == pytest.approx(_gaussian_crps(observed), abs=4 * error)


def test_one_member_has_no_score():
    assert np.isnan(fair_crps(np.zeros((1, 3)), np.ones(3))).all()


def test_climatology_leaves_out_the_start_and_what_is_missing():
    observed = np.random.default_rng(1).standard_normal((6, 3))
    observed[2, 1] = np.nan
    observed[:4, 2] = np.nan
    scores = climatology_crps(observed)
    for start in range(6):
        others = np.delete(observed, start, axis=0)
        assert scores[start, 0] == pytest.approx(fair_crps(others[:, 0], observed[start, 0]))
        known = others[np.isfinite(others[:, 1]), 1]
        if start != 2:
            assert scores[start, 1] == pytest.approx(fair_crps(known, observed[start, 1]))
    assert np.isnan(scores[2, 1])
    assert np.isnan(scores[:, 2]).all()  # two starts: one other
