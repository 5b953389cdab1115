"""A fan chart: where rollouts' mid-prices go, as bands of quantiles, against the replay's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mars_lmm.figure_style import MUTED, REPLAY_COLOUR, SIMULATION_COLOUR

WIDTH = 10.5  # inches
BAND_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FAN_ENTRIES = (
    (REPLAY_COLOUR, 1.8, 1.0, "replay"),
    (SIMULATION_COLOUR, 1.8, 1.0, "median of rollouts"),
    (SIMULATION_COLOUR, 7.0, 0.36, "25-75 %"),
    (SIMULATION_COLOUR, 7.0, 0.14, "5-95 %"),
    (SIMULATION_COLOUR, 0.8, 0.6, "some rollouts"),
)
"""The legend's entries."""


@dataclass
class Panel:
    """One start's rollouts.

    Attributes:
        label: What is written above.
        minutes: float[M], from the start on.
        quantiles: float[5, M], of the rollouts' mid-prices, by `BAND_QUANTILES`.
        paths: Some rollouts, each float[M].
        replay: float[M]; None where nobody knows what really happened.
    """

    label: str
    minutes: np.ndarray
    quantiles: np.ndarray
    paths: Sequence[np.ndarray]
    replay: np.ndarray | None


def fan_chart(panels: Sequence[Panel]) -> Figure:
    """A fan for each start, under one legend."""
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.6 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, (axes, panel) in enumerate(zip(all_axes, panels, strict=False)):
        _draw_fan(axes, panel)
        axes.set_title(panel.label, fontweight="normal", color=MUTED)
        axes.set(xlim=(0, panel.minutes[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        if index % columns == 0:
            axes.set_ylabel("mid-price (currency)")
        if index + columns >= len(panels):
            axes.set_xlabel("minutes from the start")
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    recorded = any(panel.replay is not None for panel in panels)
    legend(figure, FAN_ENTRIES if recorded else FAN_ENTRIES[1:])
    return figure


def _draw_fan(axes: Axes, panel: Panel) -> None:
    minutes, quantiles = panel.minutes, panel.quantiles
    for low, high, alpha in ((0, 4, 0.14), (1, 3, 0.22)):
        axes.fill_between(minutes, quantiles[low], quantiles[high], color=SIMULATION_COLOUR, alpha=alpha, linewidth=0)
    for path in panel.paths:
        axes.plot(minutes, path, color=SIMULATION_COLOUR, linewidth=0.6, alpha=0.55)
    axes.plot(minutes, quantiles[2], color=SIMULATION_COLOUR, linewidth=1.8)
    if panel.replay is not None:
        axes.plot(minutes, panel.replay, color=REPLAY_COLOUR, linewidth=1.8)


def legend(figure: Figure, entries: Sequence[tuple[str, float, float, str]]) -> None:
    """A legend above the panels, in one line if it fits: colour, line width, opacity and label of each entry."""
    handles = [
        Line2D([], [], color=colour, linewidth=width, alpha=alpha, solid_capstyle="butt")
        for colour, width, alpha, _ in entries
    ]
    labels = [entry[3] for entry in entries]
    inches = [0.5 + 0.07 * len(label) for label in labels]
    room = figure.get_figwidth()
    columns = len(labels) if sum(inches) <= room else max(int(room / max(inches)), 1)
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, borderpad=0)


def start_label(start: Mapping[str, Any]) -> str:
    """What a panel is of: the `symbol`, `date` and `time_ns` of a start."""
    time = str(np.datetime64(start["time_ns"], "ns"))[11:19]
    return f"{start['symbol']}  {start['date']}  {time}"
