"""What LOB-Bench answers: against baselines, against half of one of them, and against a classifier."""

from __future__ import annotations

import math

from mars_lmm.evaluation.config import TO_HALVE
from mars_lmm.evaluation.facts.bootstrap import FEWEST_UNITS
from mars_lmm.evaluation.report.filters import count, with_span
from mars_lmm.evaluation.report.scores import Estimate, estimate
from mars_lmm.evaluation.report.verdict import NO, UNSURE, YES, Verdict, listed
from mars_lmm.evaluation.trajectories import SIMULATION

_KEYS = {"mean": "mean", "iqm": "IQM"}
LARGEST_AUC = 0.6
"""The most that the classifier's interval may reach for "yes": a wide interval around a coin's 0.5 is no proof."""


def against_baselines(lob_bench: dict, baselines: list[str]) -> Verdict:
    """Whether the intervals of the ratios to every baseline, by both summaries, lie below 1."""
    summary = lob_bench["summary"]
    ratios = {name: _ratios(lob_bench, name) for name in baselines}
    behind = [name for name, found in ratios.items() if any((ratio["low"] or 0) > 1 for ratio in found.values())]
    unclear = [name for name, found in ratios.items() if not all(_end(ratio) < 1 for ratio in found.values())]
    best = min(baselines, key=lambda name: summary[name]["l1"]["mean"])
    text = f"L1 {_both(summary[SIMULATION])}; the closest baseline, {best}, {_both(summary[best])}; "
    text += f"the ratio by the {_by_summary(ratios[best])}"
    if lob_bench.get("floor"):
        text += f"; the floor, replay against replay, {_both(lob_bench['floor'])}"
    rests = [of_symbol["models"][SIMULATION] for of_symbol in lob_bench["symbols"].values()]
    text += f". 99 % intervals over {sum(report['starts'] for report in rests)} starts apart in time"
    text += f" with {count(sum(report['sequences'] for report in rests))} rollouts."
    few = _few_starts(lob_bench)
    if few:
        answer, text = UNSURE, f"{few} L1 {_both(summary[SIMULATION])}."
    elif behind:
        answer, text = NO, f"Farther than {listed(behind)}. {text}"
    elif unclear:
        answer, text = UNSURE, f"The ratio to {listed(unclear)} may be 1. {text}"
    else:
        answer = YES
    name = f"all {len(baselines)} baselines" if len(baselines) > 1 else baselines[0]
    return Verdict(f"Is it closer to the market than {name}, by LOB-Bench?", answer, text, "lob-bench")


def halves(lob_bench: dict) -> Verdict:
    """Whether the intervals of the ratios to `TO_HALVE`, by both summaries, end at a half or below."""
    ratios = _ratios(lob_bench, TO_HALVE)
    few = _few_starts(lob_bench)
    if few:
        answer = UNSURE
    elif any((ratio["low"] or 0) > 0.5 for ratio in ratios.values()):
        answer = NO
    else:
        answer = YES if all(_end(ratio) <= 0.5 for ratio in ratios.values()) else UNSURE
    text = f"Its L1 over that model's is, by the {_by_summary(ratios)}; 99 % intervals."
    question = f"Is it at most half as far from the market as {TO_HALVE}?"
    return Verdict(question, answer, f"{text} {few}".strip(), "lob-bench")


def told_apart(found: dict) -> Verdict:
    """Whether the discriminator does no better than a coin; a failure to tell counts only where it is a narrow one."""
    question = "Does it pass for real with a trained classifier?"
    if found["reason"]:
        return Verdict(question, UNSURE, f"Not tested: {found['reason']}.", "discriminator")
    auc = with_span({"value": found["auc"], "low": found["low"], "high": found["high"]})
    control = with_span({"value": found["control_auc"], "low": found["control_low"], "high": found["control_high"]})
    low, high = found["low"], found["high"]
    answer = NO if low > 0.5 else YES if 0.5 <= high <= LARGEST_AUC else UNSURE
    text = (
        f"The classifier ranks a generated window above a real one with probability (AUC) {auc}; between two halves of "
        f"the real starts with {control}; 0.5 is a coin. {count(found['windows'])} windows of "
        f"{found['window_messages']} messages each, {found['starts']} starts, 95 % intervals."
    )
    if answer == UNSURE:
        text += f" “Yes” takes an interval that holds 0.5 and ends at {LARGEST_AUC} or below."
    return Verdict(question, answer, text, "discriminator")


def _ratios(lob_bench: dict, name: str) -> dict[str, Estimate]:
    """The model's L1 over a baseline's, by summary; without ends where the result is too old to have them."""
    found = lob_bench["verdict"]
    ends = found.get("ratio_intervals", {}).get(name, {})
    nothing = {"low": None, "high": None}
    return {key: {"value": found["ratios"][name][key]} | ends.get(key, nothing) for key in _KEYS}


def _end(found: Estimate) -> float:
    """The upper end of an interval; infinite where there is none."""
    return math.inf if found["high"] is None else found["high"]


def _by_summary(ratios: dict[str, Estimate]) -> str:
    return ", ".join(f"{label} {with_span(ratios[key])}" for key, label in _KEYS.items())


def _both(summary: dict) -> str:
    mean, iqm = (with_span(estimate(summary["l1"], key)) for key in _KEYS)
    return f"mean {mean}, IQM {iqm}"


def _few_starts(lob_bench: dict) -> str:
    """Why intervals are worth nothing, if so."""
    fewest = min(of_symbol["models"][SIMULATION]["starts"] for of_symbol in lob_bench["symbols"].values())
    return (
        f"{count(fewest)} starts apart in time are too few: intervals draw them, and {FEWEST_UNITS} are the least."
        if fewest < FEWEST_UNITS
        else ""
    )
