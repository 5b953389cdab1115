"""The Kullback-Leibler divergence of samples from distances to nearest neighbours.

With r_i the distance from point i of P (n points) to its nearest neighbour in P, and s_i that to its nearest neighbour
in Q (m points), in d dimensions,

    D(P || Q) = (d / n) sum_i ln(s_i / r_i) + ln(m / (n - 1))

(Wang, Kulkarni and Verdú, IEEE Transactions on Information Theory 55(5), 2009).

Points that coincide, as discrete data have them, would give ln 0. Here the distance is that to the nearest neighbour
*apart* from the point. If it is the k-th nearest in one sample and the l-th in the other, psi(l) - psi(k) is added (the
paper's estimator with varying k), so that the value converges for discrete laws too: to sum p ln(p / q). Without
coincidences it is the formula above. Noise would also part the points, but its size would enter the value wherever Q
lacks a point of P.

Windows of one sequence lie closer to each other than to windows of any other sequence, even of a perfect model. So
`sequence_divergence` looks for neighbours at other starts only, in both samples, and takes one rollout of each start at
a time, as there is one real sequence of each: like is compared with like, and a perfect model has 0 on average. Starts
whose continuations overlap in time share real messages, so they count as one there, a group (see `overlaps`). Real
sequences should share none: points that are there twice make the real sample look thinner than the other.
Equally many windows of each are taken: where points fill fewer than d dimensions, unequal samples have a divergence.
The interval comes from drawing whole groups with replacement, their neighbours held fixed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from mars_lmm.evaluation.lob_bench import windows
from mars_lmm.evaluation.lob_bench.overlaps import groups_of
from mars_lmm.evaluation.resampling import REPLICATES, bootstrap_weights, percentile_interval, tail_probability
from mars_lmm.evaluation.sequences.sequences import Sequences

WINDOW = 50  # messages
NUM_CONTROLS = 200
CHUNK = 1 << 22  # distances at a time


def nearest_neighbour_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """D(P || Q) in nats of independent points.

    Args:
        p: float64[n, d], n at least 2.
        q: float64[m, d], m at least 1.

    Returns:
        The divergence, which may fall below 0 by chance; NaN where all points of a sample coincide with a point of P.

    Raises:
        ValueError: Too few points, unequal dimensions, or values that are not finite.
    """
    if p.ndim != 2 or q.ndim != 2 or p.shape[1] != q.shape[1] or len(p) < 2 or len(q) < 1:
        raise ValueError(f"need p [n, d] with n > 1 and q [m, d] with m > 0, but their shapes are {p.shape}, {q.shape}")
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise ValueError("points must be finite; drop rows with NaN or infinity first")
    p, q = torch.from_numpy(p), torch.from_numpy(q)
    log_r, at_p = _nearest(p, p)
    log_s, at_q = _nearest(p, q)
    # A point coincides with itself in P, which makes its count the rank of the neighbour.
    terms = p.shape[1] * (log_s - log_r) + torch.digamma(at_p) - torch.digamma(at_q + 1)
    value = float(terms.mean()) + math.log(len(q) / (len(p) - 1))
    return value if math.isfinite(value) else math.nan


def sequence_divergence(real: Sequences, generated: Sequences, seed: int = 0, group: np.ndarray | None = None) -> dict:
    """D(real || generated) of summaries of windows of 50 messages, over the starts that both have.

    Summaries (`windows.features`) are in deviations of the real ones. The interval comes from drawing whole groups,
    each with its real and generated sequences. The controls are divergences between random halves of the real groups.

    Args:
        real: Sequences of the market, of starts that are `apart`.
        generated: Sequences of a model from the same starts; of each start as many rollouts count as all starts have.
        seed: Seed of the bootstrap and of the halves.
        group: The group of each start, int64[S], see `overlapping`; None: starts do not overlap.

    Returns:
        `divergence`, `low` and `high` (95 % interval), `control` (mean), `control_low` and `control_high` (95 % of the
        halves), `starts`, `groups`, `rollouts`, `windows` (real ones), `window_messages`, and `reason`: None, or why
        the numbers are NaN.
    """
    p, q, start = _draw(real, generated)
    unit = groups_of(start, group)
    num_starts, num_groups = len(np.unique(start)), len(np.unique(unit))
    result = {
        **dict.fromkeys(("divergence", "low", "high", "control", "control_low", "control_high"), math.nan),
        "starts": num_starts,
        "groups": num_groups,
        "rollouts": len(q),
        "windows": len(p),
        "window_messages": WINDOW,
        "reason": windows.too_few(num_starts, num_groups, WINDOW),
    }
    if result["reason"]:
        return result

    varies = (p != p[0]).any(axis=0) | (q != p[0]).any(axis=(0, 1))  # what is the same everywhere is no dimension
    p, q = p[:, varies], q[:, :, varies]
    deviation = p.std(axis=0)
    deviation[deviation == 0] = 1
    p, q = p / deviation, q / deviation
    among_real = _Neighbours.of_other_groups(p, p, unit)
    among_generated = [_Neighbours.of_other_groups(p, rollout, unit) for rollout in q]
    every = np.ones(num_groups)
    terms = np.mean([_terms(among_real, rollout, every, every) for rollout in among_generated], axis=0)
    weights = bootstrap_weights(np.arange(num_groups), np.zeros(num_groups), REPLICATES, seed)
    replicates = weights @ np.bincount(unit, terms) / (weights @ np.bincount(unit))
    divergence, low, high = map(float, percentile_interval(replicates, tail_probability(num_groups)))

    generator = np.random.default_rng(seed)
    half = np.arange(num_groups) < num_groups // 2
    halves = (generator.permutation(half).astype(float) for _ in range(NUM_CONTROLS))
    controls = [_terms(among_real, among_real, one, 1 - one)[one[unit] > 0].mean() for one in halves]
    control_low, control_high = np.quantile(controls, [0.025, 0.975]).tolist()
    return result | {
        "divergence": divergence,
        "low": low,
        "high": high,
        "control": float(np.mean(controls)),
        "control_low": control_low,
        "control_high": control_high,
    }


@dataclass(frozen=True)
class _Neighbours:
    """Neighbours of n points among the points of each of G groups, a point's own group left out.

    Attributes:
        dimensions: Of the points.
        log_distance: Log of the distance to the nearest one apart, [n, G]; infinite where there is none.
        coincident: How many lie on the point itself, [n, G].
        count: How many there are, [n, G].
    """

    dimensions: int
    log_distance: torch.Tensor
    coincident: torch.Tensor
    count: torch.Tensor

    @classmethod
    def of_other_groups(cls, p: np.ndarray, q: np.ndarray, group: np.ndarray) -> _Neighbours:
        """Neighbours of p [n, d] in q [n, d], both with the groups [n], 0 to G - 1."""
        counts = np.bincount(group)
        members = (torch.from_numpy(q[group == number]) for number in range(len(counts)))
        found = [_nearest(torch.from_numpy(p), member) for member in members]
        log_distance, coincident = (torch.stack(columns, dim=1) for columns in zip(*found, strict=True))
        own = torch.from_numpy(group[:, None] == np.arange(len(counts)))
        count = torch.from_numpy(counts).double().expand_as(coincident)
        return cls(p.shape[1], log_distance.masked_fill(own, math.inf), coincident * ~own, count * ~own)

    def among(self, weight: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log distance to the nearest one apart, its rank, and the number of points, of groups with weight 1 of [G]."""
        weight = torch.from_numpy(weight)
        log_distance = self.log_distance.masked_fill(weight == 0, math.inf).amin(dim=1)
        return log_distance, 1 + self.coincident @ weight, self.count @ weight


def _terms(real: _Neighbours, other: _Neighbours, in_p: np.ndarray, in_q: np.ndarray) -> np.ndarray:
    """What each point adds to D(groups `in_p` [G] || the other sample's groups `in_q` [G]): float64[n]."""
    log_r, rank_r, n = real.among(in_p)
    log_s, rank_s, m = other.among(in_q)
    terms = real.dimensions * (log_s - log_r) + torch.digamma(rank_r) - torch.digamma(rank_s) + torch.log(m / n)
    return terms.numpy()


def _nearest(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log distance from each point of x to the nearest of y apart from it, and how many of y coincide with it."""
    log_distance, coincident = [], []
    for part in x.split(max(CHUNK // max(len(y), 1), 1)):
        # Products of matrices would round small distances and make coincident points lie apart.
        distance = torch.cdist(part, y, compute_mode="donot_use_mm_for_euclid_dist")
        same = distance == 0
        coincident.append(same.sum(dim=1).double())
        log_distance.append(distance.masked_fill(same, math.inf).amin(dim=1).log())
    return torch.cat(log_distance), torch.cat(coincident)


def _draw(real: Sequences, generated: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Summaries of equally many windows of each rollout and of the real sequence of a start, evenly spaced.

    Returns:
        Real ones [n, d], generated ones [rollouts, n, d], and the starts [n] of both.
    """
    real_windows, generated_windows = _by_start(real), _by_start(generated)
    starts = sorted(real_windows.keys() & generated_windows.keys())
    rollouts = min((len(generated_windows[start]) for start in starts), default=0)
    p, q, numbers = [], [], []
    for start in starts:
        samples = [np.concatenate(real_windows[start]), *generated_windows[start][:rollouts]]
        count = min(map(len, samples))
        first, *rest = (sample[np.linspace(0, len(sample) - 1, count).round().astype(int)] for sample in samples)
        p.append(first)
        q.append(np.stack(rest))
        numbers.append(np.full(count, start))
    if not starts:
        return np.empty((0, 0)), np.empty((0, 0, 0)), np.empty(0, np.int64)
    return np.concatenate(p), np.concatenate(q, axis=1), np.concatenate(numbers)


def _by_start(sequences: Sequences) -> dict[int, list[np.ndarray]]:
    """Summaries [W, d] of the windows of each sequence that has any, by start."""
    rows, sequence = windows.cut(sequences, WINDOW)
    summaries = windows.features(sequences, rows)
    whole = np.isfinite(summaries).all(axis=1)
    found = defaultdict(list)
    for number in np.unique(sequence[whole]):
        found[int(sequences.start[number])].append(summaries[whole & (sequence == number)])
    return found
