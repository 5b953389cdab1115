"""Facts as they are judged on one source: from replicates of curves to findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mars_lmm.evaluation.facts.bootstrap import Bootstrap, Estimate, interval, intervals
from mars_lmm.evaluation.facts.rules import PRESENT, Rule

Curves = dict[str, Tensor]  # replicates of each curve, float64[1 + B, L]


@dataclass(frozen=True)
class Fact(Rule):
    """A rule and how its headline number comes from the curves.

    Attributes:
        headline: From the replicates of all curves, those of the headline number, float64[1 + B].
        estimate: From these, number and interval.
    """

    headline: Callable[[Curves], Tensor] = field(kw_only=True)
    estimate: Callable[[Tensor, Bootstrap], Estimate] = field(default=interval, kw_only=True)


@dataclass(frozen=True)
class Judgement:
    """What was found for one source.

    Attributes:
        num_paths: Paths of the source.
        unit: What the bootstrap drew: `session` or `start`.
        num_units: Units of the symbol that has the fewest, or of all symbols where they are drawn across symbols.
        estimates: For each fact what `Rule.judge` gives.
        curves: For each curve `points`, and `value`, `low`, `high`: the mean over symbols and its pointwise band.
        details: What else is known, by symbol.
    """

    num_paths: int
    unit: str
    num_units: int
    estimates: list[dict]
    curves: dict[str, dict]
    details: dict = field(default_factory=dict)


def conclude(
    facts: Sequence[Fact], curves: Curves, points: dict[str, list], bootstrap: Bootstrap, details: dict | None = None
) -> Judgement:
    """Judge facts from the replicates of their curves.

    Args:
        facts: The facts; a premise stands before what rests on it.
        curves: Replicates of each curve, float64[1 + B, L].
        points: The points of each curve; 0, 1, ... for those that are not named.
        bootstrap: What drew the replicates.
        details: What to add.
    """
    verdicts: dict[int | str, str] = {}
    estimates = []
    for fact in facts:
        estimate = fact.estimate(fact.headline(curves), bootstrap)
        finding = fact.judge(estimate, bootstrap.num_units, verdicts.get(fact.premise, PRESENT))
        verdicts[fact.number] = finding["verdict"]
        estimates.append(finding)
    bands = {}
    for name, curve in curves.items():
        value, low, high, _ = (column.tolist() for column in intervals(curve, bootstrap))
        bands[name] = {"points": points.get(name, list(range(len(value)))), "value": value, "low": low, "high": high}
    return Judgement(len(bootstrap.index), bootstrap.unit, bootstrap.num_units, estimates, bands, details or {})
