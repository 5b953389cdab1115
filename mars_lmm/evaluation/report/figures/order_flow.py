"""The facts of order flow: each one's headline number for every source, and the memory of trade signs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from mars_lmm.evaluation.report.drawing import DASHED, entries, floats, grid, line_width, nothing
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import MUTED
from mars_lmm.simulation.output.fan import legend

_COLUMNS = 4
_SIGNS = "sign_correlation"


def order_flow_figure(order_flow: dict, colours: dict[str, str]) -> Figure:
    """Numbers with their 95 % intervals; dashed is the border of the fact, on the shaded side it is present."""
    facts = order_flow["comparison"]["facts"]
    rows = -(-(len(facts) + 1) // _COLUMNS)
    figure, panels = grid(rows, _COLUMNS, 0.5 + 2.2 * rows)
    for axes, fact in zip(panels, facts, strict=False):
        axes.set_title(f"{fact['number']}  {fact['name']}", fontsize=8.5)
        _numbers(axes, fact, colours)
    curves = {source: found["curves"][_SIGNS] for source, found in order_flow["sources"].items()}
    _signs(panels[len(facts)], curves, colours)
    for axes in panels[len(facts) + 1 :]:
        axes.set_axis_off()
    legend(figure, entries({source: colours[source] for source in order_flow["sources"]}))
    return figure


def _numbers(axes: Axes, fact: dict, colours: dict[str, str]) -> None:
    """One number with its interval for each source, the replay on top."""
    if all(found["value"] is None for found in fact["sources"].values()):
        nothing(axes, "not measured")
        return
    places = range(len(fact["sources"]))[::-1]
    for y, (source, found) in zip(places, fact["sources"].items(), strict=True):
        value, low, high = floats([found[end] for end in ("value", "low", "high")])
        axes.plot([low, high], [y, y], color=colours[source], linewidth=4, alpha=0.35)
        axes.plot([value], [y], "o", color=colours[source], markersize=5)
    axes.margins(x=0.12)
    left, right = axes.get_xlim()
    borders = floats(fact["region"])
    for border in borders[np.isfinite(borders)]:
        left, right = min(left, border - 0.04 * (right - left)), max(right, border + 0.04 * (right - left))
        axes.axvline(border, color=MUTED, linewidth=0.9, linestyle=DASHED)
    low, high = np.where(np.isfinite(borders), borders, (left, right))
    axes.axvspan(low, high, color=MUTED, alpha=0.1, linewidth=0)
    axes.set(xlim=(left, right), ylim=(-0.6, len(places) - 0.4), yticks=[])
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))


def _signs(axes: Axes, curves: dict[str, dict], colours: dict[str, str]) -> None:
    """The autocorrelation of trade signs."""
    axes.set_title("f, g  Correlation of trade signs", fontsize=8.5)
    if all(value is None for curve in curves.values() for value in curve["value"]):
        nothing(axes, "too few trades")
        return
    axes.axhline(0, color=MUTED, linewidth=0.8)
    for source, curve in curves.items():
        points, value, low, high = (floats(curve[name]) for name in ("points", "value", "low", "high"))
        if source in (REPLAY, SIMULATION):
            axes.fill_between(points, low, high, color=colours[source], alpha=0.16, linewidth=0)
        axes.plot(points, value, color=colours[source], linewidth=line_width(source))
    axes.set(xscale="log", xlim=(1, points[-1]), xlabel="trades apart")
    axes.set_xticks((1, 10, 100))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
