"""What LOB-Bench answers: against baselines, against half of one of them, and against a classifier."""

from __future__ import annotations

from mars_lmm.evaluation.config import BASELINES
from mars_lmm.evaluation.facts.bootstrap import FEWEST_UNITS
from mars_lmm.evaluation.report.filters import count, number, with_span
from mars_lmm.evaluation.report.scores import estimate
from mars_lmm.evaluation.report.verdict import NO, UNSURE, YES, Verdict, listed
from mars_lmm.evaluation.trajectories import SIMULATION

TO_HALVE = BASELINES["cst"]
"""Half of this model's distance is what is asked of a trained model."""
_KEYS = ("mean", "iqm")


def against_baselines(lob_bench: dict, baselines: list[str]) -> Verdict:
    """Whether both summaries are below every baseline's, and the intervals apart."""
    summary = lob_bench["summary"]
    behind, unclear = [], []
    for name in baselines:
        pairs = [(estimate(summary[SIMULATION]["l1"], key), estimate(summary[name]["l1"], key)) for key in _KEYS]
        if not all(mine["value"] < other["value"] for mine, other in pairs):
            behind.append(name)
        elif not all(mine["high"] is not None and mine["high"] < (other["low"] or 0) for mine, other in pairs):
            unclear.append(name)
    best = min(baselines, key=lambda name: summary[name]["l1"]["mean"])
    text = f"L1 {_both(summary[SIMULATION])}; the closest baseline, {best}, {_both(summary[best])}"
    if lob_bench.get("floor"):
        text += f"; the floor, replay against replay, {_both(lob_bench['floor'])}"
    rests = [of_symbol["models"][SIMULATION] for of_symbol in lob_bench["symbols"].values()]
    text += f". 99 % intervals over {sum(report['starts'] for report in rests)} starts"
    text += f" with {count(sum(report['sequences'] for report in rests))} rollouts."
    few = _few_starts(lob_bench)
    if behind:
        answer, text = NO, f"Not closer than {listed(behind)}. {text}"
    elif few or unclear:
        answer = UNSURE
        text = few or f"Closer than all, but intervals overlap with {listed(unclear)}. {text}"
        text = f"{text} L1 {_both(summary[SIMULATION])}." if few else text
    else:
        answer = YES
    name = f"all {len(baselines)} baselines" if len(baselines) > 1 else baselines[0]
    return Verdict(f"Is it closer to the market than {name}, by LOB-Bench?", answer, text, "lob-bench")


def halves(lob_bench: dict) -> Verdict:
    """Whether the model is at most half as far as `TO_HALVE`, by both summaries."""
    question = f"Is it at most half as far from the market as {TO_HALVE}?"
    mine, other = (lob_bench["summary"][name]["l1"] for name in (SIMULATION, TO_HALVE))
    ratios = lob_bench["verdict"]["ratios"][TO_HALVE]
    ends = {
        key: (mine[f"{key}_low"] / other[f"{key}_high"], mine[f"{key}_high"] / other[f"{key}_low"])
        for key in _KEYS
        if None not in (mine[f"{key}_low"], mine[f"{key}_high"], other[f"{key}_high"]) and other[f"{key}_low"]
    }
    text = "Its L1 is " + ", ".join(
        f"{number(ratio)} times that model's by the {'mean' if key == 'mean' else 'IQM'}"
        + (f" ({number(ends[key][0])} to {number(ends[key][1])} at the intervals' ends)" if key in ends else "")
        for key, ratio in ratios.items()
    )
    text += "."
    few = _few_starts(lob_bench)
    answer = UNSURE if few else YES if lob_bench["verdict"]["halves"] else NO
    return Verdict(question, answer, f"{text} {few}".strip(), "lob-bench")


def told_apart(found: dict) -> Verdict:
    """Whether the discriminator does better than between real and real."""
    question = "Does it pass for real with a trained classifier?"
    if found["reason"]:
        return Verdict(question, UNSURE, f"Not tested: {found['reason']}.", "discriminator")
    auc = with_span({"value": found["auc"], "low": found["low"], "high": found["high"]})
    control = with_span({"value": found["control_auc"], "low": found["control_low"], "high": found["control_high"]})
    answer = NO if found["low"] > found["control_high"] else YES if found["low"] <= 0.5 else UNSURE
    text = (
        f"The classifier ranks a generated window above a real one with probability (AUC) {auc}; between two halves of "
        f"the real starts with {control}; 0.5 is a coin. {count(found['windows'])} windows of "
        f"{found['window_messages']} messages each, {found['starts']} starts, 95 % intervals."
    )
    return Verdict(question, answer, text, "discriminator")


def _both(summary: dict) -> str:
    mean, iqm = (with_span(estimate(summary["l1"], key)) for key in _KEYS)
    return f"mean {mean}, IQM {iqm}"


def _few_starts(lob_bench: dict) -> str:
    """Why intervals are worth nothing, if so."""
    fewest = min(of_symbol["models"][SIMULATION]["starts"] for of_symbol in lob_bench["symbols"].values())
    return (
        f"{count(fewest)} starts are too few: intervals draw whole starts, and {FEWEST_UNITS} are the least."
        if fewest < FEWEST_UNITS
        else ""
    )
