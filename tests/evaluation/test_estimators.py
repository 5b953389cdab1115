"""Estimators against plain formulas, and weights against repetition."""

import numpy as np
import pytest

from mars_lmm.evaluation import estimators as e

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_t(5, (6, 9)) * 1e-3
Y = 0.4 * X + 1e-3 * GENERATOR.standard_normal((6, 9))
X[2, 4] = np.nan
ONES = np.ones((1, 6))
COUNTS = np.array([2.0, 0, 1, 3, 0, 1])
REPEATED = np.repeat(np.arange(6), COUNTS.astype(int))


def kurtosis_formula(x):
    x = x[np.isfinite(x)]
    n, deviation = len(x), x - x.mean()
    m2, m4 = (deviation**2).sum(), (deviation**4).sum()
    scale = (n - 2) * (n - 3)
    return n * (n + 1) * (n - 1) * m4 / (scale * m2**2) - 3 * (n - 1) ** 2 / scale


def skewness_formula(x):
    x = x[np.isfinite(x)]
    n, deviation = len(x), x - x.mean()
    return np.sqrt(n * (n - 1)) / (n - 2) * (deviation**3).mean() / (deviation**2).mean() ** 1.5


def test_plain_values():
    valid = np.isfinite(X)
    assert e.correlation(X, Y, ONES)[0] == pytest.approx(np.corrcoef(X[valid], Y[valid])[0, 1], rel=1e-12)
    assert e.kurtosis(X, ONES)[0] == pytest.approx(kurtosis_formula(X), rel=1e-12)
    assert e.skewness(X, ONES)[0] == pytest.approx(skewness_formula(X), rel=1e-12)
    counts = np.array([0.0, 3, 1, 0, 7, 2])
    assert e.fano_factor(counts, ONES)[0] == pytest.approx(counts.var(ddof=1) / counts.mean())


def test_known_kurtosis_and_skewness():
    assert e.kurtosis(np.array([[1.0, 2, 3, 4, 5]]), np.ones((1, 1)))[0] == pytest.approx(-1.2)
    assert e.skewness(np.array([[0.0, 0, 0, 1]]), np.ones((1, 1)))[0] == pytest.approx(2)


@pytest.mark.parametrize("estimator", [e.kurtosis, e.skewness])
def test_a_weight_is_a_repetition(estimator):
    repeated = np.ones((1, len(REPEATED)))
    assert estimator(X, COUNTS[None])[0] == pytest.approx(estimator(X[REPEATED], repeated)[0], rel=1e-9)
    weighted = e.correlation(X, Y, COUNTS[None])[0]
    assert weighted == pytest.approx(e.correlation(X[REPEATED], Y[REPEATED], repeated)[0], rel=1e-9)


def test_what_is_not_there_is_nan():
    empty, constant = np.empty((6, 0)), np.full((6, 3), 0.25)
    for estimator in (e.kurtosis, e.skewness):
        assert np.isnan(estimator(empty, ONES)).all()
        assert np.isnan(estimator(constant, ONES)).all()
    assert np.isnan(e.correlation(empty, empty, ONES)).all()
    assert np.isnan(e.correlation(constant, np.arange(18.0).reshape(6, 3), ONES)).all()
    assert np.isnan(e.correlation(X[:1, :2], Y[:1, :2], np.ones((1, 1)))).all()
    assert np.isnan(e.fano_factor(np.zeros(6), ONES)).all()
    assert np.isnan(e.power_law_exponent(np.ones((1, 4)))).all()
    assert np.isnan(e.power_law_exponent(-np.ones((1, 9)))).all()


def test_power_law_is_recovered():
    lags = np.arange(1, 21)
    curves = np.stack([0.3 * lags**-0.4, 0.1 * lags**-1.5])
    assert e.power_law_exponent(curves) == pytest.approx([0.4, 1.5], abs=0.005)


def test_bootstrap_draws_whole_units_within_strata():
    unit = np.array([7, 7, 8, 8, 9, 9, 1, 2, 3])
    stratum = np.array([0] * 6 + [1] * 3)
    weights = e.bootstrap_weights(unit, stratum, replicates=200, seed=1)
    assert (weights[0] == 1).all()
    assert (weights[:, 0:6:2] == weights[:, 1:6:2]).all()
    assert (weights[:, :6].sum(axis=1) == 6).all()
    assert (weights[:, 6:].sum(axis=1) == 3).all()
    assert len(np.unique(weights, axis=0)) > 50
    assert (weights == e.bootstrap_weights(unit, stratum, replicates=200, seed=1)).all()


def test_mean_over_symbols_skips_what_is_missing():
    values = np.array([[1.0, 3.0], [np.nan, 5.0], [np.nan, np.nan]])
    assert e.mean_over_symbols(values) == pytest.approx([2, 5, np.nan], nan_ok=True)
