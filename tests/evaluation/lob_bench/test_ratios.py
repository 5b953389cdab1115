"""The interval of how many times as far one model is as another."""

import numpy as np
import pytest

from mars_lmm.evaluation.lob_bench.ratios import ratio_interval


def replicates(value, seed, deviation=0.02, number=2000):
    """A distance, and replicates that are larger than it, as those of distances are."""
    return np.append(value, value + 0.05 + deviation * np.random.default_rng(seed).standard_normal(number))


def test_what_two_models_share_does_not_widen_the_interval():
    mine = replicates(0.2, 0)
    low, high = ratio_interval([mine], [2 * mine])
    assert (low, high) == pytest.approx((0.5, 0.5))
    apart = ratio_interval([mine], [2 * replicates(0.2, 1)])
    assert apart[0] < 0.42
    assert apart[1] > 0.58


def test_the_interval_of_a_ratio_by_the_delta_method():
    low, high = ratio_interval([replicates(0.2, 0, 0.004)], [replicates(0.4, 1, 0.008)])
    reach = 2.576 * 0.5 * np.sqrt(2 * 0.02**2)
    assert (low, high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=0.15 * reach)


def test_over_symbols_it_is_that_of_the_ratio_of_means():
    """Two alike make it narrower by the square root of 2; a larger one counts for more."""
    one = [replicates(0.2, 0, 0.002)], [replicates(0.4, 1, 0.004)]
    low, high = ratio_interval(*one)
    both = ratio_interval(*(2 * side for side in one))
    assert np.subtract(both, 0.5) == pytest.approx(np.subtract((low, high), 0.5) / np.sqrt(2), rel=0.03)
    unequal = ratio_interval([np.full(9, 0.1), np.full(9, 0.6)], [np.full(9, 0.4), np.full(9, 0.6)])
    assert unequal == pytest.approx((0.7, 0.7))


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ([replicates(0.2, 0), np.array([0.3])], [replicates(0.4, 1), np.array([0.5])]),  # a symbol with one start
        ([replicates(0.2, 0)], [np.array([0.5])]),
        ([replicates(0.2, 0)], [np.zeros(2001)]),  # a copy of the market
        ([replicates(0.2, 0)], [replicates(0.02, 1)]),  # might be one
    ],
)
def test_where_there_is_no_interval(mine, other):
    assert np.isnan(ratio_interval(mine, other)).all()


def test_no_ratio_is_below_zero():
    assert ratio_interval([replicates(0.01, 0)], [replicates(0.4, 1)])[0] == 0
