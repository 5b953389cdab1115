"""The nearest-neighbour divergence against closed forms, its formula, and samples of one law."""

import numpy as np
import pytest
from sequence_laws import make_sequences

from mars_lmm.evaluation.lob_bench import windows
from mars_lmm.evaluation.lob_bench.nearest_neighbours import nearest_neighbour_divergence, sequence_divergence


def gaussian(count, dimensions, seed, mean=0.0, deviation=1.0):
    return mean + deviation * np.random.default_rng(seed).standard_normal((count, dimensions))


@pytest.mark.parametrize(
    ("dimensions", "mean", "deviation"), [(1, 0.0, 1.0), (3, 0.0, 1.0), (1, 1.0, 1.0), (3, 0.5, 2.0), (1, 0.0, 0.7)]
)
def test_gaussians_against_the_closed_form(dimensions, mean, deviation):
    exact = dimensions * (np.log(deviation) + (1 + mean**2) / (2 * deviation**2) - 0.5)
    found = nearest_neighbour_divergence(gaussian(4000, dimensions, 1), gaussian(6000, dimensions, 2, mean, deviation))
    assert found == pytest.approx(exact, abs=0.08 + 0.05 * exact)


def test_formula():
    p, q = gaussian(40, 3, 1), gaussian(30, 3, 2, 0.3)
    r = np.sort(np.linalg.norm(p[:, None] - p, axis=2), axis=1)[:, 1]
    s = np.linalg.norm(p[:, None] - q, axis=2).min(axis=1)
    assert nearest_neighbour_divergence(p, q) == pytest.approx(3 * np.log(s / r).mean() + np.log(30 / 39), rel=1e-9)


def test_chunks_change_nothing(monkeypatch):
    p, q = gaussian(40, 3, 1), gaussian(30, 3, 2, 0.3)
    whole = nearest_neighbour_divergence(p, q)
    monkeypatch.setattr("mars_lmm.evaluation.lob_bench.nearest_neighbours.CHUNK", 70)
    assert nearest_neighbour_divergence(p, q) == pytest.approx(whole, rel=1e-12)


def test_points_that_coincide():
    """A discrete law has the divergence sum p ln(p / q); a scale does not matter."""
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    generator = np.random.default_rng(0)
    p, q = (generator.choice(4, (n, 1), p=law).astype(float) for n, law in ((4000, shares), (6000, shares[::-1])))
    exact = (shares * np.log(shares / shares[::-1])).sum()
    assert nearest_neighbour_divergence(p, q) == pytest.approx(exact, abs=0.06)
    assert nearest_neighbour_divergence(1e-3 * p, 1e-3 * q) == pytest.approx(nearest_neighbour_divergence(p, q))
    assert nearest_neighbour_divergence(p, p[::2]) == pytest.approx(0, abs=0.02)
    assert np.isnan(nearest_neighbour_divergence(np.ones((5, 2)), gaussian(9, 2, 1)))


def test_bad_points():
    good = gaussian(5, 2, 1)
    for p, q in ((good[:1], good), (good, good[:0]), (good, good[:, :1]), (good[:, 0], good)):
        with pytest.raises(ValueError, match="shapes"):
            nearest_neighbour_divergence(p, q)
    with pytest.raises(ValueError, match="finite"):
        nearest_neighbour_divergence(good, np.full((3, 2), np.nan))


def test_sequences_of_the_same_law_have_no_divergence():
    """Though windows of one sequence lie closer together than those of different ones."""
    real, generated = (make_sequences(12, rollouts, seed=seed, signature=1.0) for rollouts, seed in ((1, 1), (3, 2)))
    result = sequence_divergence(real, generated)
    assert result["low"] < 0 < result["high"]
    assert result["control_low"] < 0 < result["control_high"]
    assert (result["starts"], result["rollouts"], result["windows"]) == (12, 3, 156)
    first_rollouts = generated.select(np.arange(0, 36, 3))
    p, q = (windows.features(side, windows.cut(side, 50)[0]) for side in (real, first_rollouts))
    deviation = np.maximum(p.std(axis=0), 1e-9)
    naive = nearest_neighbour_divergence(p / deviation, q / deviation)
    assert naive > result["high"]


def test_sequences_of_another_law_have_one():
    real = make_sequences(12, seed=1)
    result = sequence_divergence(real, make_sequences(12, 3, seed=2, typical_size=150))
    assert result["low"] > max(result["control_high"], 1)
    assert result == sequence_divergence(real, make_sequences(12, 3, seed=2, typical_size=150))


def test_rollouts_that_not_all_starts_have_do_not_count():
    real, generated = make_sequences(7, seed=1), make_sequences(7, 3, seed=2)
    fewer = generated.select(np.delete(np.arange(21), [4, 20]))
    assert sequence_divergence(real, fewer)["rollouts"] == 2
    first_two = generated.select(np.flatnonzero(np.arange(21) % 3 < 2))
    assert sequence_divergence(real, first_two)["rollouts"] == 2


def test_too_few_starts_have_a_reason():
    result = sequence_divergence(make_sequences(5), make_sequences(12))
    assert np.isnan([result["divergence"], result["low"], result["control"]]).all()
    assert result["reason"].startswith("5 starts have")
