"""The law's fit against planted laws, and against what it must refuse."""

import numpy as np
import pytest

from mars_lmm.training.scaling.fit import COUNTS, bootstrap, fit_rows, interval
from mars_lmm.training.scaling.huber import fit_huber
from mars_lmm.training.scaling.law import NAMES, Law
from mars_lmm.training.scaling.projection import EXPONENTS, fit_projection, fit_weighted

CHINCHILLA = Law(1.69, 406.4, 410.7, 0.34, 0.28)  # Hoffmann et al. 2022, equation 10
ORDERS = Law(6.9, 20.0, 900.0, 0.4, 0.6)
SMALL = (np.geomspace(1e4, 1e6, 5), np.array([1.5e5, 3e5, 6e5]))
LARGE = (np.geomspace(4e7, 1.6e10, 7), np.geomspace(2e9, 5e11, 6))


def runs(law, sizes, budgets, noise=0.0, seed=0):
    """N, D and the law's loss on a grid, with log-normal noise."""
    N, D = (values.ravel() for values in np.meshgrid(sizes, budgets))
    return N, D, law(N, D) * np.exp(np.random.default_rng(seed).normal(0, noise, len(N)))


def rows_of(N, D, nats):
    """A ladder's table of such runs."""
    return [
        {
            "cell": f"c{i}",
            "size": f"{n:.0f}",
            "non_embedding": n,
            "total": 1.2 * n + 1000,
            "blocks": 0.8 * n,
            "budget": d,
            "orders": d,
            "nats": y,
        }
        for i, (n, d, y) in enumerate(zip(N, D, nats, strict=True))
    ]


def values(law):
    return [getattr(law, name) for name in NAMES]


@pytest.mark.parametrize(("law", "grid"), [(CHINCHILLA, LARGE), (ORDERS, SMALL), (Law(6, 5, 3e3, 0.2, 0.7), SMALL)])
def test_a_planted_law_comes_back(law, grid):
    points = runs(law, *grid)
    assert values(fit_projection(*points)) == pytest.approx(values(law), rel=1e-6)
    assert values(fit_huber(*points)) == pytest.approx(values(law), rel=1e-4)


def test_a_law_without_a_floor_has_none():
    law = Law(0, 10, 10, 0.1, 0.05)
    found = fit_projection(*runs(law, *SMALL))
    assert abs(found.E) < 1e-6
    assert (found.alpha, found.beta) == pytest.approx((0.1, 0.05), rel=1e-6)


def test_coefficients_are_never_negative():
    """Loss that grows with the size: the best law with A >= 0 has A = 0."""
    N, D, loss = runs(ORDERS, *SMALL)
    found = fit_projection(N, D, loss + 1e-3 * np.log(N))
    assert min(found.E, found.A, found.B) >= 0


def test_intervals_hold_a_noisy_law_and_both_methods_agree():
    points = runs(CHINCHILLA, *LARGE, noise=0.003)
    sample = bootstrap(*points, resamples=500, seed=0)
    fits = fit_projection(*points), fit_huber(*points)
    for name in NAMES:
        low, high = interval(getattr(sample, name))
        assert low < getattr(CHINCHILLA, name) < high
        assert all(low < getattr(fit, name) < high for fit in fits)
    low, high = interval(sample.size_exponent)
    assert low < 0.28 / 0.62 < high < low + 0.05


def test_a_weight_is_a_repetition():
    N, D, loss = runs(ORDERS, *SMALL, noise=0.003)
    weight = np.random.default_rng(1).integers(0, 3, len(N))
    place = np.repeat(np.arange(len(N)), weight)
    weighted = fit_weighted(N, D, loss, weight[None].astype(float))
    assert [value[0] for value in values(weighted)] == pytest.approx(
        values(fit_projection(N[place], D[place], loss[place])), rel=1e-6
    )


def test_no_point_of_a_fine_grid_is_better():
    """The descent ends at the lowest error of all exponents, not in some other basin."""
    N, D, loss = runs(ORDERS, *SMALL, noise=0.01, seed=3)
    found = fit_projection(N, D, loss)
    best = np.sum((found(N, D) / loss - 1) ** 2)
    for alpha in np.geomspace(0.02, 2.9, 40):
        for beta in np.geomspace(0.02, 2.9, 40):
            columns = np.stack([np.ones_like(N), (N / 1e5) ** -alpha, (D / 3e5) ** -beta], 1) / loss[:, None]
            solution, *_ = np.linalg.lstsq(columns, np.ones_like(N), rcond=None)
            if (solution >= 0).all():
                assert np.sum((columns @ solution - 1) ** 2) >= best * (1 - 1e-9)


@pytest.mark.parametrize("compute", [1e15, 1e20])
def test_the_optimum_is_the_least_loss_of_its_compute(compute):
    N, D = CHINCHILLA.optimum(compute)
    assert pytest.approx(compute) == 6 * N * D
    around = N * np.geomspace(0.1, 10, 201)
    losses = CHINCHILLA(around, compute / 6 / around)
    assert losses.argmin() == 100


@pytest.mark.parametrize(
    ("sizes", "budgets", "message"),
    [
        (SMALL[0][:1], SMALL[1], "1 different sizes, at least 3"),
        (SMALL[0], SMALL[1][:1], "1 different budgets, at least 3"),
        (SMALL[0][:2], SMALL[1][:2], "2 different sizes.*2 different budgets.*4 runs, at least 5"),
        ([], [], "0 different sizes"),
    ],
)
@pytest.mark.parametrize("fit", [fit_projection, fit_huber])
def test_runs_that_determine_no_law_are_refused(fit, sizes, budgets, message):
    with pytest.raises(ValueError, match=message):
        fit(*runs(ORDERS, sizes, budgets))


def test_a_diverged_run_is_refused():
    N, D, loss = runs(ORDERS, *SMALL)
    loss[3] = np.nan
    with pytest.raises(ValueError, match="1 of 15 runs"):
        fit_projection(N, D, loss)


def test_an_exponent_at_the_edge_is_told():
    """A loss that falls as a step cannot be a power law: the exponent runs to the end of the grid."""
    N, D, _ = runs(ORDERS, *SMALL)
    loss = 7 + 3 * (N < 2e4) + 400 / D**0.5
    fit = fit_rows(rows_of(N, D, loss), resamples=20)["non_embedding"]
    assert fit["law"]["alpha"] == EXPONENTS[1]
    assert any("alpha is at the edge of the grid" in warning for warning in fit["warnings"])


def test_held_out_runs_are_predicted_by_the_others_alone():
    N, D, nats = runs(ORDERS, *SMALL)
    largest = np.flatnonzero(N / N.max() == 1)
    nats[largest] *= 1.01
    fits = fit_rows(rows_of(N, D, nats), resamples=20)
    assert set(fits) == set(COUNTS)
    size, budget = fits["non_embedding"]["held_out"]
    assert {run["cell"] for run in size["runs"]} == {f"c{i}" for i in largest}
    assert values(Law(**size["law"])) == pytest.approx(values(ORDERS), rel=1e-6)
    assert size["error"] == pytest.approx(1 - 1 / 1.01, rel=1e-5)
    assert size["beyond"] == pytest.approx(10**0.5)
    # With three budgets there is no law without one of them; that is said, not left out.
    assert "2 different budgets" in budget["skipped"]


def test_a_budget_is_held_out_whole():
    """Sizes with large batches miss a budget by more than those with small ones."""
    N, D, _ = runs(ORDERS, SMALL[0], np.geomspace(1.5e5, 1.2e6, 4))
    orders = D * np.where(N.max() == N, 0.96, 1.0)
    rows = [row | {"budget": budget} for row, budget in zip(rows_of(N, orders, ORDERS(N, orders)), D, strict=True)]
    _, budget = fit_rows(rows, resamples=20)["non_embedding"]["held_out"]
    assert {run["cell"] for run in budget["runs"]} == {f"c{i}" for i in np.flatnonzero(D.max() == D)}
    assert budget["error"] < 1e-6
    assert budget["beyond"] == pytest.approx(2 * 0.96)
    assert all(run["unchanged_error"] > 0 for run in budget["runs"])


def test_one_budget_of_whole_batches_is_one_budget():
    N, D, loss = runs(ORDERS, SMALL[0], [3e5])
    with pytest.raises(ValueError, match="1 different budgets"):
        fit_projection(N, D * [1, 1.01, 0.99, 1.02, 0.98], loss)


def test_the_guess_to_beat_is_the_next_smaller_runs_loss():
    N, D, nats = runs(ORDERS, *SMALL)
    (size, _) = fit_rows(rows_of(N, D, nats), resamples=20)["non_embedding"]["held_out"]
    before = ORDERS(SMALL[0][-2], SMALL[1]) / ORDERS(SMALL[0][-1], SMALL[1]) - 1
    assert [run["unchanged_error"] for run in size["runs"]] == pytest.approx(before)
