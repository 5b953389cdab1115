"""Who is compared: the sources of an evaluation, in one order and with one colour each on the whole page."""

from __future__ import annotations

from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import REPLAY_COLOUR, SIMULATION_COLOUR

OTHER_COLOURS = ("#c2570c", "#7d4fc9", "#1c8a63", "#b3366f", "#8a6d1d", "#1f7f95", "#5d6b7a")
"""Of the third source on; more of them begin anew."""


def find_sources(facts: dict | None, lob_bench: dict | None, table7: dict | None, likelihood: dict | None) -> list[str]:
    """All sources that any task knows: the replay, the run's model, and then the others as they come."""
    found = [REPLAY, SIMULATION]
    for task, key in ((lob_bench, "summary"), (facts, "sources"), (table7, "sources"), (likelihood, "calibration")):
        found += [source for source in (task or {}).get(key, {}) if source not in found]
    return found


def palette(sources: list[str]) -> dict[str, str]:
    """The colour of each source."""
    others = [source for source in sources if source not in (REPLAY, SIMULATION)]
    colours = {source: OTHER_COLOURS[number % len(OTHER_COLOURS)] for number, source in enumerate(others)}
    return {REPLAY: REPLAY_COLOUR, SIMULATION: SIMULATION_COLOUR} | colours
