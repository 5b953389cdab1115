"""A fan chart: where rollouts' mid-prices go, as bands of quantiles, against the replay's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mars_lmm.figure_style import REPLAY_COLOUR, SIMULATION_COLOUR

BAND_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FAN_ENTRIES = (
    (REPLAY_COLOUR, 1.8, 1.0, "replay"),
    (SIMULATION_COLOUR, 1.8, 1.0, "median of rollouts"),
    (SIMULATION_COLOUR, 7.0, 0.36, "25-75 %"),
    (SIMULATION_COLOUR, 7.0, 0.14, "5-95 %"),
    (SIMULATION_COLOUR, 0.8, 0.6, "some rollouts"),
)
"""The legend's entries."""


def draw_fan(
    axes: Axes,
    minutes: np.ndarray,
    quantiles: np.ndarray,
    paths: Sequence[np.ndarray],
    replay: np.ndarray | None,
) -> None:
    """Draw one start's rollouts.

    Args:
        axes: Where.
        minutes: float[M], from the start on.
        quantiles: float[5, M], of the rollouts' mid-prices, by `BAND_QUANTILES`.
        paths: Some rollouts, each float[M].
        replay: float[M]; None where nobody knows what really happened.
    """
    for low, high, alpha in ((0, 4, 0.14), (1, 3, 0.22)):
        axes.fill_between(minutes, quantiles[low], quantiles[high], color=SIMULATION_COLOUR, alpha=alpha, linewidth=0)
    for path in paths:
        axes.plot(minutes, path, color=SIMULATION_COLOUR, linewidth=0.6, alpha=0.55)
    axes.plot(minutes, quantiles[2], color=SIMULATION_COLOUR, linewidth=1.8)
    if replay is not None:
        axes.plot(minutes, replay, color=REPLAY_COLOUR, linewidth=1.8)


def legend(figure: Figure, entries: Sequence[tuple[str, float, float, str]]) -> None:
    """A legend in one line above the panels: colour, line width, opacity and label of each entry."""
    handles = [
        Line2D([], [], color=colour, linewidth=width, alpha=alpha, solid_capstyle="butt")
        for colour, width, alpha, _ in entries
    ]
    labels = [entry[3] for entry in entries]
    figure.legend(handles, labels, loc="outside upper left", ncols=len(entries), frameon=False, borderpad=0)


def start_label(start: Mapping[str, Any]) -> str:
    """What a panel is of: the `symbol`, `date` and `time_ns` of a start."""
    time = str(np.datetime64(start["time_ns"], "ns"))[11:19]
    return f"{start['symbol']}  {start['date']}  {time}"
