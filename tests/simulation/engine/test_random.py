import numba
import numpy as np

from mars_lmm.simulation.engine.random import make_uniforms

uniforms = make_uniforms(numba.njit)


def draw(seed, rollout, step, count=7):
    out = np.empty(count)
    uniforms(seed, rollout, step, out)
    return out


def test_a_number_depends_on_its_counter_alone():
    np.testing.assert_array_equal(draw(3, 5, 7), draw(3, 5, 7))
    np.testing.assert_array_equal(draw(3, 5, 7, 3), draw(3, 5, 7, 7)[:3])
    different = {draw(seed, rollout, step)[0] for seed in range(5) for rollout in range(5) for step in range(5)}
    assert len(different) == 125


def test_the_numbers_are_uniform_and_uncorrelated():
    sample = np.stack([draw(0, rollout, step) for rollout in range(50) for step in range(200)])
    assert ((sample >= 0) & (sample < 1)).all()
    counts = np.histogram(sample, bins=20, range=(0, 1))[0]
    expected = sample.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-square, 19 degrees of freedom, p = 0.0007
    correlation = np.corrcoef(sample, rowvar=False) - np.eye(7)
    assert abs(correlation).max() < 0.04
    assert abs(np.corrcoef(sample[:-1, 0], sample[1:, 0])[0, 1]) < 0.04


def test_large_counters_and_negative_seeds_work():
    assert len({draw(-1, 2**40, 10**9)[0], draw(-1, 2**40 + 1, 10**9)[0], draw(1, 2**40, 10**9)[0]}) == 3
