"""Pictures of a calibration, drawn from its JSON alone."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mars_lmm.evaluation.likelihood.calibration import BANDS, LABELS
from mars_lmm.figure_style import MUTED, REPLAY_COLOUR, SIMULATION_COLOUR
from mars_lmm.simulation.output.fan import WIDTH, legend

_LINES = dict(zip(BANDS, (SIMULATION_COLOUR, REPLAY_COLOUR), strict=True))


def calibration_figure(calibration: dict) -> Figure:
    """Above, where the replay falls among the rollouts; below, how often it lies inside their central bands."""
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    upper, lower = figure.subplots(2, len(LABELS))
    for name, above, below in zip(LABELS, upper, lower, strict=True):
        above.set_title(calibration[name]["label"])
        _draw_transforms(above, calibration[name]["pit"])
        _draw_coverage(below, calibration[name]["coverage"])
    upper[0].set_ylabel("share of minutes")
    lower[0].set_ylabel("inside the band")
    entries = [
        (SIMULATION_COLOUR, 7.0, 0.5, "replay among the rollouts"),
        (MUTED, 7.0, 0.25, "where 95 % of calibrated models lie"),
    ]
    entries += [(colour, 1.6, 1.0, f"in the central {band} %") for band, colour in _LINES.items()]
    legend(figure, entries)
    return figure


def _draw_transforms(axes: Axes, pit: dict) -> None:
    shares, low, high = (np.array(pit[name], dtype=np.float64) for name in ("shares", "low", "high"))
    edges = np.linspace(0, 1, len(shares) + 1)
    axes.bar(edges[:-1], shares, width=1 / len(shares), align="edge", color=SIMULATION_COLOUR, alpha=0.5, linewidth=0)
    axes.fill_between(
        edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=MUTED, alpha=0.25, linewidth=0
    )
    axes.axhline(1 / len(shares), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    if pit["p_value"] is not None:
        axes.set_title(f"p = {pit['p_value']:.2g}", loc="right", fontweight="normal", color=MUTED)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="rank of the replay among the rollouts")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _draw_coverage(axes: Axes, coverage: dict) -> None:
    for band, colour in _LINES.items():
        inside = np.array(coverage[band]["by_minute"], dtype=np.float64)
        axes.plot(np.arange(1, len(inside) + 1), inside, color=colour, marker=".", markersize=4, linewidth=1.4)
        axes.axhline(1 - 2 * BANDS[band], color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(ylim=(0, 1.03), xlabel="minutes from the start")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
