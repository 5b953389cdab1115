"""A picture of the table, drawn from its JSON alone."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mars_lmm.figure_style import MUTED, REPLAY_COLOUR, SIMULATION_COLOUR
from mars_lmm.simulation.output.fan import WIDTH, legend


def table7_figure(table: dict) -> Figure:
    """Overlaps and accuracies with their intervals, beside what to expect and what MarS reports."""
    rows = table["rows"]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(rows)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    overlap, accuracy = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(rows))[::-1]
    for y, row in zip(place, rows, strict=True):
        low, high = _floats([row["ceiling"]["low"], row["ceiling"]["high"]])
        overlap.plot([low, high], [y, y], color=MUTED, linewidth=9, alpha=0.25, solid_capstyle="butt")
        _tick(overlap, row["floor"], y)
        _tick(accuracy, row["majority"], y)
        for axes, name in ((overlap, "overlap"), (accuracy, "accuracy")):
            value, low, high = _floats([row[name][end] for end in ("value", "low", "high")])
            axes.plot([low, high], [y, y], color=SIMULATION_COLOUR, linewidth=3, alpha=0.4)
            axes.plot([value], [y], "o", color=SIMULATION_COLOUR, markersize=5)
            axes.plot([row["published"][name]], [y], "D", color=REPLAY_COLOUR, markersize=4)
    overlap.set_yticks(place, [row["label"] for row in rows])
    overlap.set_title("Overlap with the replay")
    accuracy.set_title("Accuracy of three classes")
    for axes in (overlap, accuracy):
        axes.set_xlim(0, 1.02)
        axes.grid(axis="y", visible=False)
    legend(
        figure,
        (
            (SIMULATION_COLOUR, 3.0, 1.0, "simulation"),
            (REPLAY_COLOUR, 4.0, 1.0, "MarS reports"),
            (MUTED, 9.0, 0.25, "were the model the truth"),
            (MUTED, 1.6, 1.0, "halves of the replay; most frequent class"),
        ),
    )
    return figure


def _floats(values) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _tick(axes: Axes, value: float | None, y: int) -> None:
    if value is not None:
        axes.plot([value, value], [y - 0.3, y + 0.3], color=MUTED, linewidth=1.6)
