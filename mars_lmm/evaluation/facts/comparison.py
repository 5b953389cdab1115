"""Sources side by side."""

from __future__ import annotations

from collections.abc import Sequence

from mars_lmm.evaluation.facts.eleven import FACTS
from mars_lmm.evaluation.facts.rules import PRESENT, Rule
from mars_lmm.evaluation.facts.verdicts import Judgement
from mars_lmm.evaluation.trajectories import REPLAY


def compare(judgements: dict[str, Judgement], facts: Sequence[Rule] = FACTS) -> dict:
    """The facts of the real market and of everything that imitates it, side by side.

    Args:
        judgements: What was found for each source, by its name; that of `REPLAY` decides what counts.
        facts: The facts that were judged.

    Returns:
        `facts`: for each fact its number, name, measure, region, reference, `rule` in words, `sources` with what was
        found for each, and `agrees` with whether each other source has it too (None where the real market does not
        show it). `shown_by_replay`: facts that the replay shows. `agreed`: how many of them each other source
        has.
    """
    others = [source for source in judgements if source != REPLAY]
    rows = []
    for index, fact in enumerate(facts):
        sources = {source: judgement.estimates[index] for source, judgement in judgements.items()}
        shown = sources[REPLAY]["verdict"] == PRESENT
        rows.append(
            {
                "number": fact.number,
                "name": fact.name,
                "measure": fact.measure,
                "region": fact.region,
                "reference": fact.reference,
                "rule": fact.words,
                "sources": sources,
                "agrees": {source: sources[source]["verdict"] == PRESENT if shown else None for source in others},
            }
        )
    return {
        "facts": rows,
        "shown_by_replay": sum(row["sources"][REPLAY]["verdict"] == PRESENT for row in rows),
        "agreed": {source: sum(row["agrees"][source] is True for row in rows) for source in others},
    }
