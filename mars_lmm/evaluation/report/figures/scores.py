"""How far each source is from the market: in one number, and score by score."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mars_lmm.evaluation.config import TO_HALVE
from mars_lmm.evaluation.report.drawing import DASHED, floats, grid
from mars_lmm.evaluation.report.scores import FLOOR, estimate, score_rows
from mars_lmm.evaluation.trajectories import SIMULATION
from mars_lmm.figure_style import INK, MUTED
from mars_lmm.simulation.output.fan import legend

NAMES = {"mean": "Mean of the 24 L1 distances", "iqm": "IQM of the 24 L1 distances"}
_NARROW = 4.7  # inches: readable on a phone


def summary_figure(lob_bench: dict, key: str, colours: dict[str, str]) -> Figure:
    """One summary of all scores for each source, the closest first, with the floor as a band.

    Args:
        lob_bench: The content of `lob_bench.json`.
        key: mean or iqm.
        colours: Of the sources.
    """
    found = {source: estimate(summary["l1"], key) for source, summary in lob_bench["summary"].items()}
    found = {source: number for source, number in found.items() if number["value"] is not None}
    ordered = sorted(found, key=lambda source: found[source]["value"])
    figure, (axes,) = grid(1, 1, 0.95 + 0.36 * len(ordered), _NARROW)
    for y, source in enumerate(reversed(ordered)):
        value, low, high = floats([found[source][end] for end in ("value", "low", "high")])
        thick = source == SIMULATION
        axes.plot([low, high], [y, y], color=colours[source], linewidth=5 if thick else 3.5, alpha=0.35)
        axes.plot([value], [y], "o", color=colours[source], markersize=8 if thick else 6)
        axes.annotate(
            f"{value:.3f}",
            (np.nanmax([value, high]), y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=colours[source],
            fontweight="bold" if thick else "normal",
        )
    axes.set_yticks(range(len(ordered)), reversed(ordered))
    for label, source in zip(axes.get_yticklabels(), reversed(ordered), strict=True):
        label.set(color=INK, fontweight="bold" if source == SIMULATION else "normal")
    right = np.nanmax([floats([number["value"], number["high"]]) for number in found.values()], initial=0.1)
    axes.set(xlim=(0, 1.14 * right), ylim=(-1.1, len(ordered)))
    axes.grid(axis="y", visible=False)
    _floor(axes, estimate(lob_bench["floor"]["l1"], key) if lob_bench.get("floor") else None)
    if TO_HALVE in found:
        _mark(axes, found[TO_HALVE]["value"] / 2, f"half of {TO_HALVE}", at=0)
    axes.set_title(NAMES[key])
    axes.set_xlabel("L1 from the market (lower is closer)")
    return figure


def _floor(axes: Axes, floor: dict | None) -> None:
    if floor is None or floor["value"] is None:
        return
    value, low, high = floats([floor[end] for end in ("value", "low", "high")])
    axes.axvspan(low, high, color=MUTED, alpha=0.2, linewidth=0)
    _mark(axes, value, "replay against replay", at=1)


def _mark(axes: Axes, x: float, text: str, at: int) -> None:
    """A dashed line with its name at the bottom (0) or the top (1), clear of the other end."""
    axes.axvline(x, 0 if at == 0 else 0.1, 1 if at else 0.9, color=MUTED, linewidth=0.9, linestyle=DASHED)
    axes.annotate(
        text,
        (x, at),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4 if at else 4),
        textcoords="offset points",
        va="top" if at else "bottom",
        fontsize=8,
        color=MUTED,
    )


def scores_figure(lob_bench: dict, colours: dict[str, str]) -> Figure:
    """The 24 scores as rows of dots, one dot a source, the worst of the run's model on top."""
    rows = score_rows(lob_bench)
    rows.sort(key=lambda row: row["sources"].get(SIMULATION, {}).get("value") or 0)
    figure, (axes,) = grid(1, 1, 0.9 + 0.27 * len(rows))
    for y, row in enumerate(rows):
        if row[FLOOR]:
            low, high = floats([row[FLOOR]["low"], row[FLOOR]["high"]])
            axes.plot([low, high], [y, y], color=MUTED, linewidth=9, alpha=0.25, solid_capstyle="butt")
        for source, found in row["sources"].items():
            value, low, high = floats([found[end] for end in ("value", "low", "high")])
            mine = source == SIMULATION
            if mine:
                axes.plot([low, high], [y, y], color=colours[source], linewidth=3, alpha=0.35, zorder=3)
            axes.plot([value], [y], "o", color=colours[source], markersize=7 if mine else 4.5, zorder=4 if mine else 2)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    for label in axes.get_yticklabels():
        label.set_color(INK)
    axes.set(xlim=(0, 1.01), ylim=(-0.7, len(rows) - 0.3), xlabel="L1 distance from the real market")
    marks = [(colours[source], 5.0, 1.0, source) for source in lob_bench["summary"]]
    if any(row[FLOOR] for row in rows):
        marks.append((MUTED, 9.0, 0.25, "replay against replay"))
    legend(figure, marks)
    return figure
