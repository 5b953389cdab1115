"""Draws of whole units, and intervals against what is known of them."""

from statistics import NormalDist

import numpy as np
import pytest
import torch

from mars_lmm.evaluation.facts import bootstrap as b


def ids(*values):
    return torch.tensor(values, dtype=torch.int64)


def drawn(symbols, sessions, starts, paths=2, seed=1):
    """Bootstrap of a full grid: so many sessions a symbol, starts a session, paths a start."""
    grid = np.stack(np.meshgrid(*(range(n) for n in (symbols, sessions, starts, paths)), indexing="ij"), -1)
    symbol, session, start = torch.from_numpy(grid.reshape(-1, 4))[:, :3].T
    return b.Bootstrap.draw(symbol, session, session * starts + start, seed, replicates=200), symbol, session, start


@pytest.mark.parametrize(
    ("symbols", "sessions", "starts", "unit", "num_units"),
    [(2, 6, 3, b.SESSION, 6), (6, 2, 3, b.SESSION, 12), (2, 3, 4, b.START, 12), (1, 1, 3, b.START, 3)],
)
def test_sessions_are_drawn_where_there_are_enough(symbols, sessions, starts, unit, num_units):
    bootstrap, symbol, session, start = drawn(symbols, sessions, starts)
    assert (bootstrap.unit, bootstrap.num_units) == (unit, num_units)
    block = symbol * 100 + session if unit == b.SESSION else symbol * 100 + session * 10 + start
    assert len(bootstrap.index.unique()) == len(block.unique())
    for member in block.unique():
        assert (bootstrap.paths[:, block == member].std(dim=1) == 0).all()
    assert (bootstrap.paths[0] == 1).all()
    assert (bootstrap.paths.sum(dim=1) == len(symbol)).all()


def test_symbols_weigh_what_was_drawn_of_them():
    within = drawn(2, 6, 1)[0]
    assert (within.symbols == 1).all()
    across, symbol, *_ = drawn(8, 1, 3)
    assert across.symbols.shape == (201, 8)
    for number in range(8):
        assert (across.symbols[:, number] == across.paths[:, symbol == number].mean(dim=1)).all()


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_paths():
    symbol, session, start = ids(0, 0, 1, 1), ids(0, 0, 0, 0), ids(7, 8, 7, 9)
    turned = ids(3, 1, 0, 2)
    first = b.Bootstrap.draw(symbol, session, start, seed=3, replicates=50)
    second = b.Bootstrap.draw(symbol[turned], session[turned], start[turned], seed=3, replicates=50)
    other = b.Bootstrap.draw(symbol, session, start, seed=4, replicates=50)
    assert torch.equal(first.paths[:, turned], second.paths)
    assert not torch.equal(first.paths, other.paths)


def test_intervals_of_a_mean_are_students():
    """The mean of n normal values: the 95 % interval holds the truth about 95 times in 100."""
    covered, errors = 0, []
    for seed in range(200):
        values = torch.from_numpy(np.random.default_rng(seed).standard_normal(8))
        bootstrap = b.Bootstrap.draw(torch.zeros(8).long(), torch.zeros(8).long(), torch.arange(8), seed, 500)
        found = b.interval(bootstrap.draws @ values / 8, bootstrap)
        covered += found.low < 0 < found.high
        errors.append(found.error / (values.std().item() / 8**0.5))
    assert 0.9 < covered / 200 < 0.99
    assert np.mean(errors) == pytest.approx(1, abs=0.02)


def test_an_interval_needs_replicates():
    bootstrap = b.Bootstrap.draw(torch.zeros(8).long(), torch.zeros(8).long(), torch.arange(8), 0, 100)
    replicates = torch.linspace(0, 1, 101, dtype=torch.float64)
    replicates[1:10] = torch.nan
    found = b.interval(replicates, bootstrap)
    assert found.value == 0
    assert np.isnan([found.low, found.high, found.error]).all()


def test_student_t_series_in_the_tail_probability():
    """Tail of the normal at sqrt(n / (n - 1)) * t, with t from tables."""
    for n, t in ((6, 2.5706), (30, 2.0452)):
        assert b.tail_probability(n) == pytest.approx(NormalDist().cdf(-t * np.sqrt(n / (n - 1))), rel=0.02)
