"""How values are cut into bins before their shares are compared.

The group of a value is the number of thresholds that it has reached, so that a value at a threshold goes up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DISCRETE, FREEDMAN_DIACONIS, DECILES = "one bin per value", "Freedman-Diaconis", "deciles"


class Bins(NamedTuple):
    """Bins of N values.

    Attributes:
        group: The bin of each value, int64[N]; only bins that hold values matter.
        num_thresholds: How many thresholds were drawn.
    """

    group: np.ndarray
    num_thresholds: int


def cut(values: np.ndarray, bins: str) -> Bins:
    """Cut values, float64[N > 0] in ascending order, into bins made from themselves."""
    if bins == FREEDMAN_DIACONIS:
        return freedman_diaconis(values)
    thresholds = np.unique(values) if bins == DISCRETE else decile_thresholds(values)
    return Bins(np.searchsorted(thresholds, values, side="right"), len(thresholds))


def freedman_diaconis(values: np.ndarray) -> Bins:
    """Bins of width 2 IQR N^(-1/3) from the least to the greatest of ascending values, which has a bin of its own.

    As `numpy.histogram_bin_edges(values, "fd")` and `numpy.searchsorted`, bit for bit, but the edges are not laid out:
    outliers would make them more than memory holds. Only where a value is shared by so many that the IQR is 0, numpy
    has one bin for everything, in which all samples are alike: here that value has a bin of its own, and the others are
    cut by themselves.
    """
    first, last = values[0], values[-1]
    quarter, three_quarters = np.percentile(values, [25, 75])
    if quarter == three_quarters and first < last:
        others = values != quarter
        cut_others = freedman_diaconis(values[others])
        group = np.zeros(len(values), np.int64)
        group[others] = cut_others.group
        return Bins(group, cut_others.num_thresholds)
    width = 2.0 * (three_quarters - quarter) * len(values) ** (-1.0 / 3.0)
    if first == last:
        return Bins(np.ones(len(values), np.int64), 2)
    num_bins = int(np.ceil((last - first) / width))
    step = (last - first) / num_bins
    group = np.floor((values - first) / step).astype(np.int64) + 1
    # Rounding can put a value into the bin beside its own; edge k stands at first + k * step.
    group -= first + (group - 1) * step > values
    group += first + group * step <= values
    group = np.minimum(group, num_bins)
    group[values == last] = num_bins + 1
    return Bins(group, num_bins + 1)


def decile_thresholds(values: np.ndarray) -> np.ndarray:
    """The nine deciles; a value that several share gets a bin of its own, float64[at most 9]."""
    deciles = np.quantile(values, np.arange(0.1, 1.0, 0.1))
    thresholds, times = np.unique(deciles, return_counts=True)
    # The reference adds 0.01, which is right for prices and sizes, but more than all volatilities.
    return np.sort(np.concatenate([thresholds, np.nextafter(thresholds[times > 1], np.inf)]))
