"""The three conditional scores: one score, compared within groups of messages that are alike in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mars_lmm.evaluation.lob_bench.binning import DECILES, DISCRETE, decile_thresholds
from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.distances import Distances, Draws, compare
from mars_lmm.evaluation.lob_bench.scores import Sample
from mars_lmm.evaluation.sequences.sequences import ASK_SIZE

DAY_SECONDS = 86_400
_SPAN_NS = 10**8  # of volatility: 0.1 s


@dataclass(frozen=True)
class ConditionalScore:
    """A score given another.

    Attributes:
        values: The score, float64[N], NaN where a message has none.
        given: What it is conditioned on, float64[N].
        thresholds: The borders of groups, from the pooled conditions.
        bins: How the score is cut within a group.
    """

    values: Callable[[Columns], np.ndarray]
    given: Callable[[Columns], np.ndarray]
    thresholds: Callable[[np.ndarray], np.ndarray]
    bins: str

    def taken(self, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, conditions and sequences of the messages that have a value, each [K]."""
        values, given = self.values(columns), self.given(columns)
        known = np.isfinite(values) & np.isfinite(given)
        return values[known], given[known], columns.sequence[known]


def compare_within_groups(
    score: ConditionalScore, real: Columns, generated: Columns, draws: Draws
) -> tuple[Distances, dict[str, dict[str, int]]]:
    """Distances within groups, averaged by the groups' shares of all rows.

    A group with rows of one side alone counts as L1 = 1, and as 0 for Wasserstein.

    Returns:
        The distances, and each group's rows by side.
    """
    taken = [score.taken(real), score.taken(generated)]
    given = np.concatenate([given for _, given, _ in taken])
    if not len(given):
        nothing = np.full(len(draws.real), np.nan)
        return Distances(nothing, nothing, np.zeros(len(draws.real)), 0), {}
    thresholds = score.thresholds(given)
    sides = [_grouped(*side, thresholds) for side in taken]
    l1, wasserstein, rows, sizes = 0.0, 0.0, 0.0, {}
    for group in sorted(sides[0].keys() | sides[1].keys()):
        samples = [side.get(group, _EMPTY) for side in sides]
        found = compare(*samples, score.bins, draws)
        l1 = l1 + found.rows * np.nan_to_num(found.l1)
        wasserstein = wasserstein + found.rows * np.nan_to_num(found.wasserstein)
        rows = rows + found.rows
        sizes[str(group)] = {"real": len(samples[0].values), "generated": len(samples[1].values)}
    with np.errstate(invalid="ignore"):
        l1, wasserstein = l1 / rows, wasserstein / rows
    if not all(sides):  # a side without any value
        wasserstein = np.full_like(l1, np.nan)
    return Distances(l1, wasserstein, rows, len(thresholds)), sizes


_EMPTY = Sample(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))


def _grouped(values: np.ndarray, given: np.ndarray, sequence: np.ndarray, thresholds: np.ndarray) -> dict[int, Sample]:
    group = np.searchsorted(thresholds, given, side="right")
    order = np.lexsort((values, group))
    numbers, first = np.unique(group[order], return_index=True)
    parts = np.split(order, first)[1:]
    return {
        int(number): Sample(values[part], sequence[part], part) for number, part in zip(numbers, parts, strict=True)
    }


def _ask_volume(columns: Columns) -> np.ndarray:
    return np.where(columns.two_sided, columns.touch[ASK_SIZE], np.nan)


def _spread(columns: Columns) -> np.ndarray:
    return columns.spread


def _seconds(columns: Columns) -> np.ndarray:
    return columns.time / 1e9


def volatility(columns: Columns) -> np.ndarray:
    """Standard deviation of the log changes of the mid from one 0.1 s span to the next, of each message's sequence.

    A span's mid is its last, and both spans have to hold a message.

    Returns:
        float64[N]; 0 for sequences with fewer than two changes.
    """
    row = np.flatnonzero(columns.two_sided)
    span, sequence = columns.time[row] // _SPAN_NS, columns.sequence[row]
    ends = np.append((np.diff(span) != 0) | (np.diff(sequence) != 0), True) if len(row) else np.empty(0, bool)
    span, sequence, log_mid = span[ends], sequence[ends], np.log(columns.mid[row[ends]])
    neighbours = np.flatnonzero((np.diff(span) == 1) & (np.diff(sequence) == 0))
    change, sequence = log_mid[neighbours + 1] - log_mid[neighbours], sequence[neighbours]
    number = np.bincount(sequence, minlength=len(columns.sequences))
    mean = np.bincount(sequence, change, minlength=len(number)) / np.maximum(number, 1)
    squares = np.bincount(sequence, (change - mean[sequence]) ** 2, minlength=len(number))
    deviation = np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), 0.0)
    return deviation[columns.sequence]


CONDITIONAL_SCORES = {
    "ask_volume | spread": ConditionalScore(_ask_volume, _spread, np.unique, DECILES),
    # 24 thresholds make 23 spans of 3,757 seconds, not hours.
    "spread | time": ConditionalScore(_spread, _seconds, lambda _: np.linspace(0, DAY_SECONDS, 24), DECILES),
    "spread | volatility": ConditionalScore(_spread, volatility, decile_thresholds, DISCRETE),
}
