import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mars_lmm.tokenizers.bins import MAX_SAMPLES, QuantileBins

integers = st.lists(st.integers(-50, 50) | st.integers(-(10**12), 10**12), min_size=1, max_size=400)


@settings(max_examples=200, deadline=None)
@given(integers, st.integers(2, 32), st.sampled_from([(), (0,), (-3, 7)]))
def test_bins_partition_the_integers_and_represent_themselves(values, num_bins, cuts):
    num_bins = max(num_bins, len(cuts) + 1)
    bins = QuantileBins.fit(np.array(values), num_bins, cuts)
    assert bins.num_bins == num_bins
    assert (bins.edges[1:] >= bins.edges[:-1]).all()
    used = np.unique(bins.encode(np.array(values)))
    for index in used:
        represented = bins.encode(bins.values[index])
        assert (represented == index).all()
    for cut in cuts:
        below, above = ({*bins.encode(np.array(side))} for side in split(values, cut))
        assert not below & above


def split(values, cut):
    """Values on both sides of a cut."""
    return [v for v in values if v <= cut], [v for v in values if v > cut]


def test_unseen_values_next_to_a_cut_fall_on_their_side():
    bins = QuantileBins.fit(np.repeat([-9, 5, 8], 10), 3, cuts=(0,))
    assert bins.encode(np.array([-9, 0, 1, 5])).tolist() == [0, 0, 1, 1]


@settings(max_examples=100, deadline=None)
@given(integers, st.integers(2, 32))
def test_bins_survive_json(values, num_bins):
    bins = QuantileBins.fit(np.array(values), num_bins)
    again = QuantileBins.from_dict(json.loads(json.dumps(bins.to_dict())))
    for name in ("edges", "values", "cumulative"):
        np.testing.assert_array_equal(getattr(again, name), getattr(bins, name))


def test_a_frequent_value_has_a_bin_of_its_own_and_the_rest_is_even():
    rng = np.random.default_rng(0)
    rest = rng.integers(1, 1_000_000, 60_000)
    values = np.concatenate([np.full(40_000, 500_000), rest])
    bins = QuantileBins.fit(values, 16)
    index = bins.encode(np.array([500_000]))[0]
    counts = np.bincount(bins.encode(values), minlength=16)
    assert counts[index] == np.count_nonzero(values == 500_000)
    np.testing.assert_allclose(np.delete(counts, index), 60_000 / 15, rtol=0.15)


def test_outliers_fall_into_the_end_bins():
    bins = QuantileBins.fit(np.arange(1000), 8)
    assert bins.encode(np.array([-(10**15)]))[0] == 0
    assert bins.encode(np.array([10**15]))[0] == 7


def test_common_values_are_drawn_with_their_weights_and_rare_ones_by_quantiles():
    bins = QuantileBins.fit(np.repeat([1, 2, 1000], [30, 10, 60]), 2)
    low = bins.encode(np.array([1]))[0]
    np.testing.assert_array_equal(bins.values[low][:2], [1, 2])
    np.testing.assert_allclose(bins.cumulative[low][:2], [0.75, 1.0])
    spread = QuantileBins.fit(np.arange(0, 10**6, 7), 2)
    assert (np.diff(spread.values[0]) > 0).all()
    assert len(spread.values[0]) == MAX_SAMPLES
    assert spread.values[0][MAX_SAMPLES // 2] == pytest.approx(250_000, rel=0.05)


def waiting_times(generator, clock_ms=10):
    """Of a busy and a quiet instrument, by the steps of a clock, in ns: half of the quiet one's orders come at once."""
    busy = generator.exponential(0.15, 90_000)
    quiet = np.where(generator.random(10_000) < 0.5, 0, generator.lognormal(1, 1.2, 10_000))
    return (np.concatenate([busy, quiet]) * 1000 / clock_ms).astype(np.int64) * clock_ms * 10**6


def test_bins_of_few_distinct_values_keep_their_tails():
    values = waiting_times(np.random.default_rng(0), clock_ms=50)
    bins = QuantileBins.fit(values, 16)
    weights = np.diff(bins.cumulative, axis=1, prepend=0)
    mean = (weights * bins.values).sum(axis=1)[bins.encode(values)].mean()
    assert mean == pytest.approx(values.mean(), rel=0.03)


def test_bins_by_amount_cut_large_values_too():
    values = waiting_times(np.random.default_rng(1))
    for by_amount in (False, True):
        bins = QuantileBins.fit(values, 16, by_amount=by_amount)
        index = bins.encode(values)
        counts, amounts = np.bincount(index), np.bincount(index, values)
        share = (counts / counts.sum() + amounts / amounts.sum())[counts < len(values) / 16]
        assert (share.max() < 3 / 16) == by_amount
        assert (amounts.max() < amounts.sum() / 5) == by_amount


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50) | st.integers(0, 10**12), min_size=1, max_size=400), st.integers(2, 32))
def test_bins_by_amount_partition_and_represent_themselves(values, num_bins):
    bins = QuantileBins.fit(np.array(values), num_bins, by_amount=True)
    assert bins.num_bins == num_bins
    for index in np.unique(bins.encode(np.array(values))):
        assert (bins.encode(bins.values[index]) == index).all()


def test_negative_amounts_are_an_error():
    with pytest.raises(ValueError, match="by_amount: -7 is negative"):
        QuantileBins.fit(np.array([-5, 5, -7, 9]), 4, by_amount=True)


def test_no_values_is_an_error():
    with pytest.raises(ValueError, match="training split is empty"):
        QuantileBins.fit(np.array([], dtype=np.int64), 4)
