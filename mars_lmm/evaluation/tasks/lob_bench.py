"""LOB-Bench for every simulated source, symbol by symbol, and the verdict on the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from mars_lmm.evaluation.config import BASELINES, TO_HALVE, EvaluateConfig
from mars_lmm.evaluation.lob_bench.benchmark import benchmark
from mars_lmm.evaluation.lob_bench.discriminator import real_control, two_sample_test
from mars_lmm.evaluation.lob_bench.nearest_neighbours import sequence_divergence
from mars_lmm.evaluation.lob_bench.overlaps import apart, blocks, overlapping
from mars_lmm.evaluation.lob_bench.ratios import ratio_interval
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.sequences.sequences import Sequences
from mars_lmm.evaluation.trajectories import SIMULATION

DISTANCES, NUMBERS = ("l1", "wasserstein"), ("mean", "median", "iqm")
ALL_SCORES = "all_24"
_JUDGED = ("mean", "iqm")


def run(material: Material) -> dict:
    """Score all sources.

    Returns:
        - `symbols`: of each its `models`, what `benchmark` gives by source, how many `levels` of the book count, and
          the `floor`, replay against replay (see `_floor`). A symbol without a real message is left out.
        - `summary`: by source and distance the mean, median and IQM of all 24 scores, averaged over symbols.
        - `floor`: the same of the floor; None where no symbol has two starts apart.
        - `tests`: by source the `discriminator` and the `neighbours`, over the starts of all symbols.
        - `verdict`: see `verdict`.
        - `notes`: who sent no message where, and what that means for the numbers.
        - `replicates`, `seed`.

    Raises:
        ValueError: No symbol has a real message.
    """
    config, starts = material.config, material.run.manifest["starts"]
    drawn_as, away = blocks(starts), apart(starts)
    real = {symbol: _of(material, material.real, symbol, drawn_as) for symbol in material.members}
    notes = [
        f"{symbol} is left out of LOB-Bench: no real message follows its starts."
        for symbol, sequences in real.items()
        if not len(sequences.time)
    ]
    if not away.all():
        notes.append(
            f"The minutes of some of the {len(starts)} starts overlap: LOB-Bench's intervals draw {away.sum()} blocks "
            "of them, and the floor knows one start of each. Fewer starts, or fewer minutes, say as much."
        )
    real = {symbol: sequences for symbol, sequences in real.items() if len(sequences.time)}
    if not real:
        raise ValueError("no start has a real message after it to compare with; simulate other starts, or more minutes")
    symbols = {
        symbol: {
            "models": {},
            "levels": material.levels[symbol],
            "floor": _floor(_of(material, material.real.select(away[material.real.start]), symbol, drawn_as), config),
        }
        for symbol in real
    }
    fewest = min(material.levels.values())
    market = _cut(material.real, fewest)
    groups, market_apart = overlapping(starts), market.select(away)
    control = real_control(market, config.seed, groups)
    tests, replicates = {}, {}
    for source in tqdm(material.run.simulated, desc="lob_bench", unit="source", leave=False):
        sequences = material.sequences(source)
        for symbol, entry in symbols.items():
            rollouts = _of(material, sequences, symbol, drawn_as)
            if not len(rollouts.time):
                notes.append(f"{source} sends no message from the starts of {symbol}: its L1 there is 1.")
            entry["models"] |= benchmark(real[symbol], {source: rollouts}, config.seed, config.replicates)["models"]
        replicates[source] = [entry["models"][source].pop("l1_replicates") for entry in symbols.values()]
        imitation = _cut(sequences, fewest)
        tests[source] = {
            "discriminator": two_sample_test(market, imitation, config.seed, control, groups),
            "neighbours": sequence_divergence(market_apart, imitation, config.seed, groups),
        }
    summary = {
        source: over_symbols([entry["models"][source]["summary"][ALL_SCORES] for entry in symbols.values()])
        for source in material.run.simulated
    }
    floors = [entry["floor"]["summary"][ALL_SCORES] for entry in symbols.values() if entry["floor"]]
    return {
        "symbols": symbols,
        "summary": summary,
        "floor": over_symbols(floors) if floors else None,
        "tests": tests,
        "verdict": verdict(summary, replicates),
        "notes": notes,
        "replicates": config.replicates,
        "seed": config.seed,
    }


def verdict(summary: dict[str, dict], replicates: dict[str, list[dict[str, np.ndarray]]]) -> dict:
    """Whether the model is nearer to the real market than every baseline.

    Args:
        summary: By source, as `run` gives it.
        replicates: By source, of each symbol what `l1_replicates` gives.

    Returns:
        `ratios`: by baseline, the model's mean and IQM of L1 over the baseline's. `ratio_intervals`: of each the `low`
        and `high` end of the 99 % interval, NaN where there is none. And of the ratios themselves, whatever their
        intervals: `beats_all`, whether all are below 1; `halves`, whether both of the Cont-Stoikov-Talreja model are at
        most a half. None where there is no such baseline.
    """
    baselines = [name for name in BASELINES.values() if name in summary]
    ratios = {
        name: {number: summary[SIMULATION]["l1"][number] / summary[name]["l1"][number] for number in _JUDGED}
        for name in baselines
    }
    return {
        "ratios": ratios,
        "ratio_intervals": {
            name: {number: _interval(replicates[SIMULATION], replicates[name], number) for number in _JUDGED}
            for name in baselines
        },
        "beats_all": all(ratio < 1 for row in ratios.values() for ratio in row.values()) if ratios else None,
        "halves": all(ratio <= 0.5 for ratio in ratios[TO_HALVE].values()) if TO_HALVE in ratios else None,
    }


def _interval(mine: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]], number: str) -> dict[str, float]:
    """The ends of the ratio of one number."""
    ends = ratio_interval(*([of_symbol[number] for of_symbol in side] for side in (mine, other)))
    return dict(zip(("low", "high"), ends, strict=True))


def over_symbols(summaries: list[dict]) -> dict:
    """Means of summaries over symbols.

    Symbols are drawn apart, so the distances of the ends of their intervals add up as standard errors do (Zou and
    Donner, Statistics in Medicine 27, 2008).

    Args:
        summaries: Of each symbol, by distance: `X`, `X_low` and `X_high` for X in `NUMBERS`. Ends that one symbol
            lacks, being NaN, the mean lacks too.
    """
    result = {}
    for distance in DISTANCES:
        found = result[distance] = {}
        for number in NUMBERS:
            value, low, high = (
                np.array([summary[distance][f"{number}{end}"] for summary in summaries])
                for end in ("", "_low", "_high")
            )
            mean = value.mean()
            found[number] = mean
            found[f"{number}_low"] = mean - np.linalg.norm(value - low) / len(value)
            found[f"{number}_high"] = mean + np.linalg.norm(high - value) / len(value)
    return result


def _floor(real: Sequences, config: EvaluateConfig) -> dict | None:
    """Replay against replay: every other start against the rest, and the other way round.

    Args:
        real: Of starts that share no message.
        config: Seed and replicates of the bootstrap.

    Returns:
        The scores and the summary, the means of both ways, and of the ends of their intervals; None of a single start.
    """
    halves = [real.select(np.arange(len(real)) % 2 == parity) for parity in (0, 1)]
    if not all(len(half.time) for half in halves):
        return None
    settings = config.seed, config.replicates
    one, other = (benchmark(a, {"": b}, *settings)["models"][""] for a, b in (halves, halves[::-1]))
    return {part: _mean(one[part], other[part]) for part in ("unconditional", "conditional", "summary")}


def _mean(one: dict | float, other: dict | float) -> dict | float:
    """Mean of two reports, number by number; what is no distance is left out."""
    if not isinstance(one, dict):
        return (one + other) / 2
    return {key: _mean(one[key], other[key]) for key in one if not key.startswith("note_")}


def _of(material: Material, sequences: Sequences, symbol: str, drawn_as: np.ndarray) -> Sequences:
    """The sequences of a symbol, with the levels of the book that count, and blocks in place of starts."""
    chosen = np.isin(sequences.start, material.members[symbol])
    found = _cut(sequences if chosen.all() else sequences.select(chosen), material.levels[symbol])
    return replace(found, start=drawn_as[found.start])


def _cut(sequences: Sequences, levels: int) -> Sequences:
    return replace(sequences, book=sequences.book[:, :levels])
