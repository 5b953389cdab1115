"""Three-class forecasts: low, middle or high, against what really happened."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.grid import ratio
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.resampling import mean_over_symbols

NUM_CLASSES = 3
_MISSING = -1


def accuracies(replay: np.ndarray, simulation: np.ndarray, starts: Bootstrap, windows: slice = slice(None)) -> dict:
    """How often the rollouts of a start tell the class of its replay.

    The borders are the terciles of each symbol's replay over all starts and windows. There are two forecasts: the
    class of the mean over the rollouts, as in MarS; and the class of most rollouts. The mean varies less than any
    path, so that it falls into the middle class too often; where classes tie, the vote earns its share. A window
    counts where the replay and at least one rollout have a value. Numbers are means over symbols.

    Args:
        replay: float64[S, 1, W].
        simulation: float64[S, R, W].
        starts: Draws the S starts.
        windows: Those that the headline numbers count.

    Returns:
        `accuracy` of the mean's class, `accuracy_vote` of the vote's: value, low, high. `majority`: the share of the
        replay's most frequent class, which a constant forecast of each symbol reaches. `by_window`: the accuracy of
        the mean's class in each window [W].
    """
    truth, mean, votes = _classified(replay, simulation, starts)
    known = (truth != _MISSING) & (votes.sum(axis=-1) > 0)
    right = known & (truth == mean)
    in_truth = np.take_along_axis(votes, np.maximum(truth, 0)[..., None], axis=-1)[..., 0]
    most = votes.max(axis=-1)
    vote = np.where(known & (in_truth == most), 1 / (votes == most[..., None]).sum(axis=-1), 0)
    counted = known[:, windows].sum(axis=1)
    in_class = np.stack([(known & (truth == number))[:, windows].sum(axis=1) for number in range(NUM_CLASSES)], axis=1)
    of_symbol = np.stack([in_class[member].sum(axis=0) for member in starts.members])
    return {
        "accuracy": starts.percentile(starts.ratio(right[:, windows].sum(axis=1), counted)),
        "accuracy_vote": starts.percentile(starts.ratio(vote[:, windows].sum(axis=1), counted)),
        "majority": mean_over_symbols(ratio(of_symbol.max(axis=1), of_symbol.sum(axis=1))),
        "by_window": starts.ratio(right, known)[0],
    }


def terciles(values: np.ndarray) -> np.ndarray:
    """The two borders [2] that cut the values into thirds, missing ones aside; NaN of none."""
    known = values[np.isfinite(values)]
    return np.quantile(known, [1 / 3, 2 / 3]) if len(known) else np.full(2, np.nan)


def classify(values: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """0 up to the lower border, 1 up to the upper, 2 above it; -1 of what is missing."""
    return np.where(np.isfinite(values), np.searchsorted(borders, values), _MISSING)


def _classified(
    replay: np.ndarray, simulation: np.ndarray, starts: Bootstrap
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes of the replay and of the mean of the rollouts, int64[S, W]; rollouts in each class, int64[S, W, 3]."""
    num_starts, _, num_windows = replay.shape
    truth, mean = np.empty((2, num_starts, num_windows), dtype=np.int64)
    votes = np.empty((num_starts, num_windows, NUM_CLASSES), dtype=np.int64)
    for member in starts.members:
        borders = terciles(replay[member])
        of_rollouts = classify(simulation[member], borders)
        truth[member] = classify(replay[member, 0], borders)
        known = np.isfinite(simulation[member])
        total = np.where(known, simulation[member], 0).sum(axis=1)
        mean[member] = classify(ratio(total, known.sum(axis=1)), borders)
        votes[member] = np.stack([(of_rollouts == number).sum(axis=1) for number in range(NUM_CLASSES)], axis=-1)
    return truth, mean, votes
