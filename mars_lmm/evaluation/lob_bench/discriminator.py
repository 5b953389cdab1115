"""A classifier two-sample test: can a small network tell generated windows of messages from real ones?

The network sees what 64 successive messages changed in the book, as LOB-Bench's discriminator does. Waiting times are
left out: other scores judge them, and a wrong pace alone would hide whether the order flow is right.

Groups of starts are the units: rollouts of one start share its state with each other and with the replay, and starts
whose continuations overlap in time share real messages (see `overlaps`). A start that overlaps none is a group itself.

- Folds are made of whole groups. Every window is scored once, by a network that saw no window of its group, real or
  generated. A network that remembers starts gains nothing.
- Each start gives as many real windows as generated ones, so neither class nor start can be guessed from a count.
- The area under the ROC curve (AUC) is the share of pairs (real, generated) that the scores order rightly. Only pairs
  within a fold count: scores of two networks are not on one scale, and pairs across folds push the AUC below 0.5, since
  each of the two windows helped to train the network that scores the other.
- The interval comes from drawing whole groups with replacement, the networks held fixed, and is widened by sqrt(2): two
  groups of different folds that lean the same way by chance each train the network that scores the other. With no real
  difference the AUC is a sum of such products over ordered pairs of groups. Each product counts twice, so the variance
  is twice what fixed networks show. With a clear difference the widening is more than is needed.

The control does the same between real and real: half of the real groups, drawn at random, pose as generated. This is
repeated, and its range is where one further draw falls with 95 % probability. It uses half as many groups in each class
and does not compare a group with itself, so it is wider than the range of a generator without fault.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mars_lmm.evaluation.lob_bench import windows
from mars_lmm.evaluation.lob_bench.overlaps import groups_of
from mars_lmm.evaluation.resampling import REPLICATES, bootstrap_weights, percentile_interval, tail_probability
from mars_lmm.evaluation.sequences.sequences import Sequences

WINDOW = 64  # messages
WINDOWS_PER_START = 40  # at most, of each class
NUM_FOLDS = 4
NUM_CONTROLS = 5
STUDENT_T = 2.7764  # 97.5 % quantile with NUM_CONTROLS - 1 degrees of freedom
TRAINING = math.sqrt(2)  # widens the interval for what chance in the training windows adds

_CONTROL = ("control_auc", "control_low", "control_high")

NUM_EPOCHS = 8
BATCH = 64
LEARNING_RATE = 5e-3  # at its peak


class WindowClassifier(nn.Module):
    """Convolutions over a window of messages, then attention that sums the window up in one logit.

    Windows differ mostly in averages, such as that of the size of a change. So pools take means, magnitudes are given
    beside the signed values, and batch norm lets the small differences through.
    """

    def __init__(self, channels: int = 3, width: int = 64, heads: int = 8) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(2 * channels, width // 2, kernel_size=3, padding=1),
            nn.BatchNorm1d(width // 2),
            nn.ReLU(),
            nn.AvgPool1d(2),
            nn.Conv1d(width // 2, width, kernel_size=3, padding=1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.AvgPool1d(2),
        )
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.logit = nn.Linear(width, 1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits [W] that windows [W, channels, messages] are generated."""
        tokens = self.convolutions(torch.cat([windows, windows.abs()], dim=1)).transpose(1, 2)
        query = self.query.expand(len(tokens), 1, -1)
        summary, _ = self.attention(query, tokens, tokens, need_weights=False)
        return self.logit(summary).flatten()


def two_sample_test(
    real: Sequences,
    generated: Sequences,
    seed: int = 0,
    control: dict | None = None,
    group: np.ndarray | None = None,
) -> dict:
    """Tell generated windows from real ones, over the starts that both have.

    Args:
        real: Sequences of the market.
        generated: Sequences of a model from the same starts.
        seed: Seed of the draws of windows and folds, and of the networks.
        control: What `real_control` gives for the real ones; None: it is made. Several models can share it.
        group: The group of each start, int64[S], see `overlapping`; None: starts do not overlap.

    Returns:
        `auc` (0.5: cannot be told apart), `low` and `high` (95 % interval), `gap` = |auc - 0.5|, the control's numbers,
        `windows` (of each class), `window_messages`, `starts`, `groups`, and `reason`: None, or why the numbers are
        NaN.
    """
    generator = np.random.default_rng(seed)
    inputs, start, is_generated = _draw(real, generated, generator)
    unit = groups_of(start, group)
    num_starts, num_groups = len(np.unique(start)), len(np.unique(unit))
    result = {
        **dict.fromkeys(("auc", "low", "high", "gap", *_CONTROL), math.nan),
        "windows": len(start) // 2,
        "window_messages": WINDOW,
        "starts": num_starts,
        "groups": num_groups,
        "reason": windows.too_few(num_starts, num_groups, WINDOW),
    }
    if result["reason"]:
        return result

    fold = generator.permutation(num_groups) % NUM_FOLDS
    scores = held_out_scores(inputs, is_generated, fold[unit], seed)
    weights = bootstrap_weights(np.arange(num_groups), np.zeros(num_groups), REPLICATES, seed)
    areas = auc(scores, is_generated, unit, fold, weights)
    areas = (areas[0] + TRAINING * (areas - areas[0])).clip(0, 1)
    value, low, high = map(float, percentile_interval(areas, tail_probability(num_groups)))
    control = real_control(real, seed, group) if control is None else control
    return result | {"auc": value, "low": low, "high": high, "gap": abs(value - 0.5)} | control


def real_control(real: Sequences, seed: int = 0, group: np.ndarray | None = None) -> dict:
    """Tell real windows from real ones.

    Args:
        real: Sequences of the market.
        seed: Seed of the draws of windows and halves, and of the networks.
        group: The group of each start, int64[S], see `overlapping`; None: starts do not overlap.

    Returns:
        `control_auc` (mean over the controls), `control_low` and `control_high` (where one further control falls); NaN
        of too few groups.
    """
    generator = np.random.default_rng(seed)
    inputs, start, is_generated = _draw(real, real, generator)
    inputs, start = inputs[~is_generated], start[~is_generated]
    unit = groups_of(start, group)
    num_groups = len(np.unique(unit))
    if windows.too_few(len(np.unique(start)), num_groups, WINDOW):
        return dict.fromkeys(_CONTROL, math.nan)
    controls = np.array([_control(inputs, unit, num_groups, generator, seed) for _ in range(NUM_CONTROLS)])
    centre, reach = controls.mean(), STUDENT_T * controls.std(ddof=1) * math.sqrt(1 + 1 / NUM_CONTROLS)
    ends = max(centre - reach, 0), min(centre + reach, 1)
    return dict(zip(_CONTROL, map(float, (centre, *ends)), strict=True))


def _draw(real: Sequences, generated: Sequences, generator: np.random.Generator):
    """As many real as generated windows of each start: inputs [W, 3, WINDOW], starts [W], classes [W]."""
    samples = []
    for sequences in (real, generated):
        rows, sequence = windows.cut(sequences, WINDOW)
        samples.append((sequences, rows, sequences.start[sequence]))
    inputs = [np.empty((0, WINDOW, 3), np.float32)]
    starts, counts = np.intersect1d(samples[0][2], samples[1][2]), []
    for start in starts:
        candidates = [np.flatnonzero(start_of_window == start) for _, _, start_of_window in samples]
        counts.append(min(WINDOWS_PER_START, *map(len, candidates)))
        for (sequences, rows, _), candidate in zip(samples, candidates, strict=True):
            chosen = generator.choice(candidate, counts[-1], replace=False)
            inputs.append(windows.changes(sequences, rows[chosen]))
    start = np.repeat(starts, 2 * np.array(counts, int))
    is_generated = np.repeat(np.tile([False, True], len(counts)), np.repeat(np.array(counts, int), 2))
    return np.concatenate(inputs).transpose(0, 2, 1), start, is_generated


def _control(
    inputs: np.ndarray, group: np.ndarray, num_groups: int, generator: np.random.Generator, seed: int
) -> float:
    """AUC between two random halves of the real groups; an odd one is left out."""
    half = num_groups // 2
    halves = generator.permutation(num_groups)[: 2 * half].reshape(2, half)
    fold = np.full(num_groups, -1)
    fold[halves] = np.arange(half) % NUM_FOLDS  # every fold gets groups of both halves
    used = fold[group] >= 0
    inputs, group = inputs[used], group[used]
    poses = np.isin(group, halves[1])
    scores = held_out_scores(inputs, poses, fold[group], seed)
    return float(auc(scores, poses, group, fold, np.ones((1, num_groups)))[0])


def auc(
    scores: np.ndarray, is_generated: np.ndarray, group: np.ndarray, fold: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Share of pairs (real window, generated window) of one fold in which the generated one scores higher.

    Args:
        scores: float32[W]; equal scores count half.
        is_generated: bool[W].
        group: int64[W], 0 to G - 1.
        fold: int64[G], the fold of each group.
        weights: float64[R, G], how often each group counts.

    Returns:
        float64[R].
    """
    of_group = np.eye(len(fold))[group]
    difference = scores[is_generated][None, :] - scores[~is_generated][:, None]
    wins = of_group[~is_generated].T @ ((np.sign(difference) + 1) / 2) @ of_group[is_generated]
    pairs = np.outer(of_group[~is_generated].sum(axis=0), of_group[is_generated].sum(axis=0))
    together = fold[:, None] == fold[None, :]
    right, all_pairs = (
        np.einsum("rs,st,rt->r", weights, together * matrix, weights, optimize=True) for matrix in (wins, pairs)
    )
    return right / all_pairs


def held_out_scores(inputs: np.ndarray, is_generated: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Logit of each window from a network fitted to the windows of all other folds.

    Args:
        inputs: float32[W, channels, K].
        is_generated: bool[W].
        fold: int64[W].
        seed: Seed of the networks.

    Returns:
        float32[W].
    """
    inputs, label = torch.from_numpy(inputs), torch.from_numpy(is_generated).float()
    scores = np.empty(len(fold), np.float32)
    for held_out in np.unique(fold):
        seen, unseen = torch.from_numpy(fold != held_out), torch.from_numpy(fold == held_out)
        deviation, mean = torch.std_mean(inputs[seen], dim=(0, 2), keepdim=True)
        standard = (inputs - mean) / deviation.clamp_min(1e-6)
        network = _fit(standard[seen], label[seen], seed)
        with torch.inference_mode():
            scores[unseen.numpy()] = network(standard[unseen]).numpy()
    return scores


def _fit(inputs: torch.Tensor, label: torch.Tensor, seed: int) -> WindowClassifier:
    """A network fitted by cross-entropy, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WindowClassifier(inputs.shape[1])
        optimizer = torch.optim.AdamW(network.parameters())
        steps = NUM_EPOCHS * math.ceil(len(inputs) / BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in range(NUM_EPOCHS):
            for batch in torch.randperm(len(inputs)).split(BATCH):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(network(inputs[batch]), label[batch]).backward()
                optimizer.step()
                schedule.step()
    return network.eval()
