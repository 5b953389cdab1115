"""Estimators against plain formulas, and weights against repetition."""

import numpy as np
import pytest
import torch

from mars_lmm.evaluation.facts import estimators as e

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_t(5, (6, 9)) * 1e-3
Y = 0.4 * X + 1e-3 * GENERATOR.standard_normal((6, 9))
X[2, 4] = np.nan
X, Y = torch.from_numpy(X), torch.from_numpy(Y)
ONES = torch.ones(1, 6, dtype=torch.float64)
COUNTS = torch.tensor([[2.0, 0, 1, 3, 0, 1]], dtype=torch.float64)
REPEATED = torch.arange(6).repeat_interleave(COUNTS[0].long())


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def kurtosis_formula(x):
    x = x[x.isfinite()].numpy()
    n, deviation = len(x), x - x.mean()
    m2, m4 = (deviation**2).sum(), (deviation**4).sum()
    scale = (n - 2) * (n - 3)
    return n * (n + 1) * (n - 1) * m4 / (scale * m2**2) - 3 * (n - 1) ** 2 / scale


def skewness_formula(x):
    x = x[x.isfinite()].numpy()
    n, deviation = len(x), x - x.mean()
    return np.sqrt(n * (n - 1)) / (n - 2) * (deviation**3).mean() / (deviation**2).mean() ** 1.5


def test_plain_values():
    valid = X.isfinite()
    assert e.correlation(X, Y, ONES)[0] == pytest.approx(np.corrcoef(X[valid], Y[valid])[0, 1], rel=1e-12)
    assert e.kurtosis(X, ONES)[0] == pytest.approx(kurtosis_formula(X), rel=1e-12)
    assert e.skewness(X, ONES)[0] == pytest.approx(skewness_formula(X), rel=1e-12)
    counts = tensor([0.0, 3, 1, 0, 7, 2])
    assert e.fano_factor(counts, ONES)[0] == pytest.approx((counts.var() / counts.mean()).item())


def test_known_kurtosis_and_skewness():
    assert e.kurtosis(tensor([[1.0, 2, 3, 4, 5]]), ONES[:, :1])[0] == pytest.approx(-1.2)
    assert e.skewness(tensor([[0.0, 0, 0, 1]]), ONES[:, :1])[0] == pytest.approx(2)


@pytest.mark.parametrize("estimator", [e.kurtosis, e.skewness])
def test_a_weight_is_a_repetition(estimator):
    repeated = torch.ones(1, len(REPEATED), dtype=torch.float64)
    assert estimator(X, COUNTS).item() == pytest.approx(estimator(X[REPEATED], repeated).item(), rel=1e-9)
    weighted = e.correlation(X, Y, COUNTS).item()
    assert weighted == pytest.approx(e.correlation(X[REPEATED], Y[REPEATED], repeated).item(), rel=1e-9)


def test_what_is_not_there_is_nan():
    empty, constant = tensor([[]] * 6), tensor([[0.25] * 3] * 6)
    ramp = torch.arange(18, dtype=torch.float64).reshape(6, 3)
    for estimator in (e.kurtosis, e.skewness):
        assert estimator(empty, ONES).isnan().all()
        assert estimator(constant, ONES).isnan().all()
    assert e.correlation(empty, empty, ONES).isnan().all()
    assert e.correlation(constant, ramp, ONES).isnan().all()
    assert e.correlation(X[:1, :2], Y[:1, :2], ONES[:, :1]).isnan().all()
    assert e.fano_factor(tensor([0.0] * 6), ONES).isnan().all()
    assert e.power_law_exponent(ONES[:, :4]).isnan().all()
    assert e.power_law_exponent(tensor([[-1.0] * 9])).isnan().all()


def test_power_law_is_recovered():
    lags = torch.arange(1, 21, dtype=torch.float64)
    curves = torch.stack([0.3 * lags**-0.4, 0.1 * lags**-1.5])
    assert e.power_law_exponent(curves).tolist() == pytest.approx([0.4, 1.5], abs=0.005)
    sparse = lags[::3]
    assert e.power_law_exponent(curves[:, ::3], sparse).tolist() == pytest.approx([0.4, 1.5], abs=0.005)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 101])
def test_quantiles_interpolate(size):
    values = GENERATOR.standard_normal(size)
    for q in (0.0, 0.05, 0.5, 0.99, 1.0):
        assert e.quantile(torch.from_numpy(values), q).item() == pytest.approx(np.quantile(values, q), rel=1e-12)


def test_mean_over_symbols_skips_what_is_missing():
    values = tensor([[1.0, 3.0], [np.nan, 5.0], [np.nan, np.nan]])
    assert e.mean_over_symbols(values).tolist() == pytest.approx([2, 5, np.nan], nan_ok=True)
    weights = tensor([3.0, 1.0])
    assert e.mean_over_symbols(values, weights).tolist() == pytest.approx([1.5, 5, np.nan], nan_ok=True)
