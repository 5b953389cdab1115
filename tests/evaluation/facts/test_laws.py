"""Maximum likelihood from counts, against torch's own densities and samples whose laws are known."""

import numpy as np
import pytest
import torch
from torch import distributions as d

from mars_lmm.evaluation.facts import laws

COUNT = 40_000


def draw(law, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "gamma": generator.gamma(0.35, 2.0, COUNT),
        "weibull": 3e-3 * generator.weibull(0.6, COUNT),
        "lognormal": generator.lognormal(-7.0, 1.7, COUNT),
        "exponential": generator.exponential(1e4, COUNT),
    }[law]


def counted(values, units=1):
    values = torch.from_numpy(np.asarray(values, dtype=np.float64))
    unit = torch.arange(len(values)) % units
    return laws.LogCounts.of(values, unit, units)


ONE = torch.ones(1, 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("law", "shape"), [("gamma", 0.35), ("weibull", 0.6), ("lognormal", 1.7), ("exponential", 1.0)]
)
def test_the_law_and_its_shape_are_found(law, shape):
    fits = laws.fit_laws(counted(draw(law)).drawn(ONE))
    assert fits[law].shape.item() == pytest.approx(shape, rel=0.02)
    aic = {name: 2 * fit.parameters - 2 * COUNT * fit.likelihood.item() for name, fit in fits.items()}
    best = min(aic, key=aic.get)
    assert best == law or (law == "exponential" and aic[law] - aic[best] < 6)  # it is a Gamma and a Weibull, too


@pytest.mark.parametrize("law", ["gamma", "weibull", "lognormal", "exponential"])
def test_likelihoods_are_the_densities_at_their_maximum(law):
    """The likelihood said is that of the values, and no parameters near by do better."""
    values = torch.from_numpy(draw("gamma", seed=1))
    values = values[values > 1e-6]
    fit = laws.fit_laws(counted(values).drawn(ONE))[law]
    shape, mean, mean_log = fit.shape.item(), values.mean(), values.log().mean()

    def likelihood(shape, scale=1.0):
        density = {
            "gamma": lambda: d.Gamma(shape, shape / mean / scale),
            "weibull": lambda: d.Weibull((values**shape).mean() ** (1 / shape) * scale, shape),
            "lognormal": lambda: d.LogNormal(mean_log + np.log(scale), shape),
            "exponential": lambda: d.Exponential(1 / mean / scale),
        }[law]()
        return density.log_prob(values).mean().item()

    assert fit.likelihood.item() == pytest.approx(likelihood(shape), abs=1e-4)
    assert likelihood(shape) > max(likelihood(shape, 0.97), likelihood(shape, 1.03))
    if fit.parameters > 1:
        assert likelihood(shape) > max(likelihood(0.97 * shape), likelihood(1.03 * shape))


def test_a_draw_is_a_repetition():
    values = draw("weibull")[:3000]
    draws = torch.tensor([[2.0, 0.0, 1.0]], dtype=torch.float64)
    repeated = np.concatenate([values[0::3], values[0::3], values[2::3]])
    ours = laws.fit_laws(counted(values, units=3).drawn(draws))
    theirs = laws.fit_laws(counted(repeated).drawn(ONE))
    for name in ours:
        assert ours[name].shape.item() == pytest.approx(theirs[name].shape.item(), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_units_do_not_matter(scale):
    values = draw("gamma")[:5000]
    fits = laws.fit_laws(counted(values * scale).drawn(ONE))
    assert fits["weibull"].shape.item() == pytest.approx(
        laws.fit_laws(counted(values).drawn(ONE))["weibull"].shape.item()
    )
    assert np.isfinite([fit.likelihood.item() for fit in fits.values()]).all()


def test_tails_of_known_exponent():
    generator = np.random.default_rng(3)
    exponent, better = laws.fit_tail(counted(5 * (1 + generator.pareto(1.5, COUNT))).drawn(ONE))
    assert exponent.item() == pytest.approx(1.5, rel=0.05)
    assert better.item() > 0.3
    _, better = laws.fit_tail(counted(generator.exponential(1.0, COUNT)).drawn(ONE))
    assert better.item() < -0.01


def test_a_tail_of_whole_numbers():
    """Sizes of 1, 2, 3, ... with P(X >= n) = n^-1.5."""
    sizes = np.floor(np.random.default_rng(4).random(COUNT) ** (-1 / 1.5))
    exponent, better = laws.fit_tail(counted(sizes).drawn(ONE))
    assert exponent.item() == pytest.approx(1.5, rel=0.1)
    assert better.item() > 0.3


def test_what_is_not_there_is_nan():
    for values in ([], [2.0] * 100, [1.0, 2.0, 3.0]):
        sample = counted(values).drawn(ONE)
        assert all(torch.isnan(fit.shape).all() for name, fit in laws.fit_laws(sample).items() if name != "exponential")
        assert torch.isnan(torch.stack(laws.fit_tail(sample))).all()
    many_alike = [1.0] * 100 + [5.0] * 10 + [100.0] * 50
    assert torch.isnan(torch.stack(laws.fit_tail(counted(many_alike).drawn(ONE)))).all()
