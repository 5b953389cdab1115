"""How rollouts drift away from the market while they go on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mars_lmm.evaluation.report.drawing import entries, floats, grid, line_width
from mars_lmm.evaluation.report.scores import LABELS
from mars_lmm.evaluation.trajectories import SIMULATION
from mars_lmm.figure_style import MUTED
from mars_lmm.simulation.output.fan import legend

_COLUMNS = 4


def divergence_figure(lob_bench: dict, colours: dict[str, str]) -> Figure:
    """L1 of each block of messages against all real ones: first the mean of the scores, then each score."""
    reports = {
        source: [of_symbol["models"][source]["divergence"] for of_symbol in lob_bench["symbols"].values()]
        for source in lob_bench["summary"]
    }
    first = next(iter(reports.values()))
    names = list(first[0]["l1"])
    horizon = first[0]["horizon"]
    rows = -(-(len(names) + 1) // _COLUMNS)
    figure, panels = grid(rows, _COLUMNS, 0.6 + 1.75 * rows, sharey=True)
    for axes, name in zip(panels, [None, *names], strict=False):
        chosen = names if name is None else [name]
        band = [_curve([report["reference"][end] for report in first], chosen) for end in ("low", "high")]
        x = horizon * (np.arange(len(band[0])) + 1)
        axes.fill_between(x, *band, color=MUTED, alpha=0.25, linewidth=0)
        axes.set_title(LABELS.get(name, name) if name else "Mean of the scores", fontsize=8.5)
        if name:
            axes.title.set_fontweight("normal")
        for source in sorted(reports, key=SIMULATION.__eq__):  # the run's model above the others
            _line(axes, reports[source], chosen, horizon, colours[source], source)
        axes.set(ylim=(0, 1), xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    for axes in panels[len(names) + 1 :]:
        axes.set_axis_off()
    for axes in panels[len(names) + 1 - _COLUMNS : len(names) + 1]:
        axes.set_xlabel("messages since the start")
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel("L1")
    shown = {source: colour for source, colour in colours.items() if source in reports}
    legend(figure, [*entries(shown), (MUTED, 7.0, 0.25, "were the model the market (99 %)")])
    return figure


def _line(axes: Axes, reports: list[dict], chosen: list[str], horizon: int, colour: str, source: str) -> None:
    value = _curve([report["l1"] for report in reports], chosen)
    x = horizon * (np.arange(len(value)) + 1)
    if source == SIMULATION and len(chosen) == 1:
        ends = [_curve([report[end] for report in reports], chosen) for end in ("l1_low", "l1_high")]
        axes.fill_between(x, *ends, color=colour, alpha=0.16, linewidth=0)
    axes.plot(x, value, color=colour, linewidth=line_width(source))


def _curve(by_symbol: list[dict[str, list]], chosen: list[str]) -> np.ndarray:
    """Mean over symbols and scores [blocks], up to the last block that all symbols have.

    A block has no mean where one of the scores is not there yet; scores that are nowhere do not count.
    """
    blocks = min(len(curves[name]) for curves in by_symbol for name in chosen)
    found = np.stack([floats([curves[name][:blocks] for name in chosen]) for curves in by_symbol])
    found = found.reshape(len(by_symbol) * len(chosen), blocks)
    known = found[np.isfinite(found).any(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(blocks, np.nan)
