"""Quantile bins over integers: fitted on data, right-closed, sampled from inside when decoding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

MAX_FIT_VALUES = 250_000
MAX_SAMPLES = 100
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class QuantileBins:
    """`num_bins` intervals that partition the integers.

    Bin i holds the values in (edges[i-1], edges[i]]; the first and the last bin are open to the outside, so
    outliers fall into them. A bin that the fit had no use for has the largest integer as its edge and is never
    encoded to.

    The rule follows the released MarS converters: a value that alone holds more than 1/num_bins of what is cut
    gets a bin of its own, the rest is cut into bins of equal frequency, and decoding draws from the values seen
    in a bin. Three things are ours: `cuts` keep values of different meaning apart; a bin of many values is
    represented by its quantiles instead of its most common members, which leave the tails out; and `by_amount`
    cuts large values as finely as common ones, where sums matter: most of the day passes in its few longest
    intervals.

    Attributes:
        edges: int64[num_bins - 1], non-decreasing.
        values: int64[num_bins, MAX_SAMPLES], representatives of each bin.
        cumulative: float64[num_bins, MAX_SAMPLES], their cumulative weights; 1 from the last one on.
    """

    edges: np.ndarray
    values: np.ndarray
    cumulative: np.ndarray

    @property
    def num_bins(self) -> int:
        """How many bins there are, the unused ones included."""
        return len(self.edges) + 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The bin of each value, int64 of the same shape."""
        return np.searchsorted(self.edges, values, side="left")

    @classmethod
    def fit(
        cls, values: np.ndarray, num_bins: int, cuts: tuple[int, ...] = (), by_amount: bool = False, seed: int = 0
    ) -> QuantileBins:
        """Fit bins to data.

        Args:
            values: Integers of any shape; of more than MAX_FIT_VALUES, that many are drawn with `seed`.
            num_bins: How many bins to make.
            cuts: No bin holds values from both sides of a cut, that is <= cut and > cut; fewer than num_bins.
            by_amount: Cut by the mean of two shares: of how often values come, and of the sum of all that they make
                up. Values must not be negative then.
            seed: Seed of the draw.

        Raises:
            ValueError: There are no values, or negative ones to be cut by amount.
        """
        values = np.asarray(values, dtype=np.int64).ravel()
        if len(values) == 0:
            raise ValueError("no values to fit bins to: the training split is empty; widen it")
        if len(values) > MAX_FIT_VALUES:
            values = values[np.random.default_rng(seed).integers(0, len(values), MAX_FIT_VALUES)]
        distinct, counts = np.unique(values, return_counts=True)
        below = np.searchsorted(distinct, np.asarray(cuts, dtype=np.int64), side="right")
        if by_amount and distinct[0] < 0:
            raise ValueError(f"by_amount: {distinct[0]} is negative; cut such values by how often they come")
        mass = counts
        if by_amount and distinct[-1] > 0:
            amount = distinct.astype(np.float64) * counts
            mass = counts / counts.sum() + amount / amount.sum()
        ends = _bin_ends(distinct, mass, num_bins, below)
        edges = np.full(num_bins - 1, _NEVER, dtype=np.int64)
        edges[: len(ends) - 1] = distinct[ends[:-1] - 1]
        for cut, end in zip(cuts, below, strict=True):
            # The bin below a cut reaches up to it, so that unseen values next to it fall on their side.
            edges[: len(ends) - 1][ends[:-1] == end] = cut
        tables = [_represent(distinct[a:b], counts[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        tables += [tables[-1]] * (num_bins - len(tables))
        return cls(edges, np.stack([v for v, _ in tables]), np.stack([c for _, c in tables]))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        bins = []
        for values, cumulative in zip(self.values, self.cumulative, strict=True):
            count = int(np.searchsorted(cumulative, 1.0)) + 1
            bins.append({"values": values[:count].tolist(), "cumulative": cumulative[:count].tolist()})
        return {"edges": self.edges.tolist(), "bins": bins}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> QuantileBins:
        """The bins that `to_dict` described."""
        padded = [_pad(np.asarray(b["values"]), np.asarray(b["cumulative"])) for b in data["bins"]]
        values, cumulative = zip(*padded, strict=True)
        return cls(np.asarray(data["edges"], dtype=np.int64), np.stack(values), np.stack(cumulative))


def _bin_ends(distinct: np.ndarray, mass: np.ndarray, num_bins: int, below_cuts: np.ndarray) -> np.ndarray:
    """Exclusive ends of the bins as indices into `distinct`, `below_cuts` among them; at most `num_bins`."""
    own = mass > mass.sum() / num_bins
    while True:
        segments = _segments(own, below_cuts)
        spare = num_bins - int(own.sum())
        if len(segments) <= spare:
            break
        # Too many pieces between the frequent values: the least frequent of them goes without its own bin.
        own[np.flatnonzero(own)[np.argmin(mass[own])]] = False
    ends = set((np.flatnonzero(own) + 1).tolist())
    shares = _share_out(np.array([mass[a:b].sum() for a, b in segments]), np.array([b - a for a, b in segments]), spare)
    for (a, b), share in zip(segments, shares, strict=True):
        up_to = np.cumsum(mass[a:b])
        targets = up_to[-1] * np.arange(1, share) / share
        ends.update((a + 1 + np.searchsorted(up_to, targets)).tolist())
        ends.add(b)
    return np.array(sorted(ends))


def _segments(own: np.ndarray, below_cuts: np.ndarray) -> list[tuple[int, int]]:
    """Runs of distinct values without a bin of their own, split at the cuts."""
    alone = np.flatnonzero(own)
    stops = np.unique(np.concatenate([alone, alone + 1, below_cuts, [0, len(own)]]))
    return [(a, b) for a, b in pairwise(stops.tolist()) if not own[a]]


def _share_out(masses: np.ndarray, limits: np.ndarray, total: int) -> np.ndarray:
    """Bins for each segment: one each, the rest one by one to where a bin holds most; none beyond `limits`."""
    shares = np.ones(len(masses), dtype=np.int64)
    for _ in range(min(total, int(limits.sum())) - len(masses)):
        load = np.where(shares < limits, masses / shares, -1.0)
        shares[np.argmax(load)] += 1
    return shares


def _represent(distinct: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MAX_SAMPLES values of a bin and their cumulative weights, padded."""
    if len(distinct) <= MAX_SAMPLES:
        values, weights = distinct, counts
    else:
        middles = (np.arange(MAX_SAMPLES) + 0.5) / MAX_SAMPLES * counts.sum()
        values = distinct[np.searchsorted(np.cumsum(counts), middles)]
        weights = np.ones(MAX_SAMPLES, dtype=np.int64)
    return _pad(values, np.cumsum(weights) / weights.sum())


def _pad(values: np.ndarray, cumulative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padded, weights = np.full(MAX_SAMPLES, values[-1], dtype=np.int64), np.ones(MAX_SAMPLES)
    padded[: len(values)] = values
    weights[: len(values)] = cumulative
    return padded, weights
