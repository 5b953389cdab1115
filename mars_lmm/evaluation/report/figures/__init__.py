"""All figures of a report, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mars_lmm.evaluation.likelihood.figures import calibration_figure
from mars_lmm.evaluation.report.drawing import to_svg
from mars_lmm.evaluation.report.figures.activity import activity_figure, fan_figure
from mars_lmm.evaluation.report.figures.divergence import divergence_figure
from mars_lmm.evaluation.report.figures.facts import facts_figure
from mars_lmm.evaluation.report.figures.impact import macro_impact_figure, response_figure
from mars_lmm.evaluation.report.figures.learning import loss_figure
from mars_lmm.evaluation.report.figures.order_flow import order_flow_figure
from mars_lmm.evaluation.report.figures.scores import scores_figure, summary_figure
from mars_lmm.evaluation.report.sources import find_sources, palette
from mars_lmm.evaluation.table7.figures import table7_figure
from mars_lmm.evaluation.trajectories import SIMULATION


def draw(
    evaluation: dict, facts: dict | None, lob_bench: dict | None, table7: dict | None, likelihood: dict | None
) -> dict[str, str]:
    """Draw all figures that the tasks give.

    Args:
        evaluation: The content of `evaluation.json`.
        facts: The content of `facts.json`; None if the task was not run, as of the following.
        lob_bench: The content of `lob_bench.json`.
        table7: The content of `table7.json`.
        likelihood: The content of `likelihood.json`.

    Returns:
        SVG text by name, to be put inside a page.
    """
    colours = palette(find_sources(facts, lob_bench, table7, likelihood))
    return {
        name: to_svg(name, drawing, *arguments)
        for name, drawing, *arguments in _wanted(evaluation, facts, lob_bench, table7, likelihood, colours)
    }


def _wanted(evaluation, facts, lob_bench, table7, likelihood, colours) -> Iterator[tuple[str, Callable, *tuple]]:
    """Name, drawing function and arguments of each figure."""
    if lob_bench:
        yield "l1_mean", summary_figure, lob_bench, "mean", colours
        yield "l1_iqm", summary_figure, lob_bench, "iqm", colours
        yield "scores", scores_figure, lob_bench, colours
        yield "divergence", divergence_figure, lob_bench, colours
        yield "response", response_figure, lob_bench, colours
        yield "macro_impact", macro_impact_figure, lob_bench, colours
    if facts:
        yield "facts", facts_figure, facts
        yield "order_flow", order_flow_figure, facts["order_flow"], colours
    if table7:
        yield "table7", table7_figure, table7["sources"][SIMULATION]
    if likelihood:
        yield "calibration", calibration_figure, likelihood["calibration"][SIMULATION]
    yield "fan", fan_figure, evaluation["fan"]
    yield "activity", activity_figure, evaluation["activity"]
    if evaluation["training"]:
        yield "loss", loss_figure, evaluation["curves"], evaluation["training"]["baselines"]
