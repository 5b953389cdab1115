"""The whole benchmark: every score of every model, with intervals."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.conditional import CONDITIONAL_SCORES, compare_within_groups
from mars_lmm.evaluation.lob_bench.distances import Distances, Draws, compare, draw, estimate
from mars_lmm.evaluation.lob_bench.divergence import HORIZON, Blocks, divergence, reference
from mars_lmm.evaluation.lob_bench.impact import impact, response_sums
from mars_lmm.evaluation.lob_bench.macro_impact import macro_impact, window_sums
from mars_lmm.evaluation.lob_bench.scores import SCORES, Sample
from mars_lmm.evaluation.lob_bench.summary import l1_replicates, summaries
from mars_lmm.evaluation.sequences.sequences import Sequences

MOST_LEVELS = 10


def benchmark(real: Sequences, generated: dict[str, Sequences], seed: int = 0, replicates: int = 100) -> dict:
    """Score models against one set of real sequences.

    Args:
        real: The real sequences.
        generated: The sequences of each model, all its rollouts, by its name.
        seed: Of the bootstrap. A model's numbers depend on other models only if their books have fewer levels.
        replicates: Of the bootstrap, which draws starts with all their sequences.

    Returns:
        `models`: by name `unconditional`, `conditional`, `summary`, `impact`, `macro_impact` and `divergence`, where
        `X_low` and `X_high` are the ends of the 99 % interval of `X`, NaN where the real or the generated messages come
        from a single start; `l1_replicates`, see there; `levels`: how many of the books count, those that all have, ten
        at most; `replicates`, `seed`. A model without a single message has L1 = 1 and no interval.

    Raises:
        ValueError: There is nothing to compare or to draw, or the ticks differ.
    """
    _check(real, generated, replicates)
    levels = min(MOST_LEVELS, *(sequences.book.shape[1] for sequences in (real, *generated.values())))
    # Models with as many starts are drawn alike, so that their replicates can be compared.
    real_seed, generated_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    ground = _Ground(Columns(real, levels), draw(real, replicates, real_seed))
    models = {
        name: ground.report(Columns(sequences, levels), draw(sequences, replicates, generated_seed))
        for name, sequences in generated.items()
    }
    return {"models": models, "levels": levels, "replicates": replicates, "seed": seed}


def _check(real: Sequences, generated: dict[str, Sequences], replicates: int) -> None:
    if not generated:
        raise ValueError("no model to score; give the generated sequences of one at least")
    if replicates < 1:
        raise ValueError(f"replicates={replicates}: must be 1 or more, since intervals come from them")
    if not len(real.time):
        raise ValueError("the real set holds no messages; give sequences that have some")
    for name, sequences in generated.items():
        if not len(sequences):
            raise ValueError(f"{name} holds no messages and no sequences; give one of each rollout, empty or not")
        if sequences.tick != real.tick:
            raise ValueError(f"{name} has the tick {sequences.tick}, the real set {real.tick}; bring both to one unit")


class _Ground:
    """The real side of all comparisons, taken once."""

    def __init__(self, columns: Columns, weights: np.ndarray):
        self._columns, self._weights = columns, weights
        self._samples = {name: score.sample(columns) for name, score in SCORES.items()}
        blocks = Blocks(columns)
        bands = {name: reference(name, sample, blocks, weights) for name, sample in self._samples.items()}
        self._band = {end: {name: band[end] for name, band in bands.items()} for end in ("low", "high")}
        self._responses, self._windows = response_sums(columns), window_sums(columns)

    def report(self, columns: Columns, weights: np.ndarray) -> dict:
        """All scores of a model."""
        draws = Draws.of_both(self._weights, weights)
        found, unconditional, conditional = {}, {}, {}
        for name, score in SCORES.items():
            real, generated = self._samples[name], score.sample(columns)
            found[name] = compare(real, generated, score.bins, draws)
            notes = _counts(real, generated) | {"n_thresholds": found[name].num_thresholds}
            unconditional[name] = _estimates(found[name]) | {"note_counts": notes, "note_binning": score.bins}
        for name, score in CONDITIONAL_SCORES.items():
            found[name], sizes = compare_within_groups(score, self._columns, columns, draws)
            conditional[name] = _estimates(found[name]) | {"note_group_sizes": sizes}
        return {
            "sequences": len(columns.sequences),
            "starts": len(np.unique(columns.sequences.start)),
            "messages": len(columns),
            "unconditional": unconditional,
            "conditional": conditional,
            "summary": summaries({"unconditional": unconditional, "conditional": conditional}, found),
            "l1_replicates": l1_replicates(found),
            "impact": impact(self._responses, response_sums(columns), draws),
            "macro_impact": macro_impact(self._windows, window_sums(columns), draws),
            "divergence": self._divergence(Blocks(columns), draws),
        }

    def _divergence(self, blocks: Blocks, draws: Draws) -> dict:
        curves = {name: divergence(name, real, blocks, draws) for name, real in self._samples.items()}
        ends = {"l1": "l1", "l1_low": "low", "l1_high": "high"}
        return {
            "horizon": HORIZON,
            "sequences": blocks.sequences.tolist(),
            **{key: {name: curve[end] for name, curve in curves.items()} for key, end in ends.items()},
            "reference": self._band,
        }


def _counts(real: Sample, generated: Sample) -> dict:
    counts = {}
    for side, sample in (("real", real), ("generated", generated)):
        counts[f"n_{side}"] = len(sample.values)
        counts[f"mean_{side}"] = float(sample.values.mean()) if len(sample.values) else np.nan
    return counts


def _estimates(found: Distances) -> dict[str, float]:
    return estimate("l1", found.l1) | estimate("wasserstein", found.wasserstein)
