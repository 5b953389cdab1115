"""What orders look like, and where prices go."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mars_lmm.evaluation.report.drawing import floats, grid, percent
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import MUTED, REPLAY_COLOUR, SIMULATION_COLOUR
from mars_lmm.simulation.output.fan import Panel, fan_chart, legend

COLOUR = {REPLAY: REPLAY_COLOUR, SIMULATION: SIMULATION_COLOUR}


def fan_figure(fan: dict) -> Figure:
    """Rollouts' mid-prices from some starts as bands, against the replay."""
    panels = []
    for start in fan["starts"]:
        quantiles, replay = floats(start["quantiles"]), floats(start["replay"])
        paths = [floats(path) for path in start["paths"]]
        panels.append(Panel(start["label"], np.arange(len(replay)), quantiles, paths, replay))
    return fan_chart(panels)


def activity_figure(activity: dict) -> Figure:
    """Distributions of spread, order size, waiting time and order type."""
    figure, (spread, size, wait, kind) = grid(2, 2, 6.2)
    panels = (
        (spread, "spread", "Spread", "currency, after each order"),
        (size, "size", "Order size", "units (log scale)"),
        (wait, "wait", "Time between orders", "time (log scale)"),
    )
    for axes, name, title, label in panels:
        edges = floats(activity[name]["edges"])
        for source, colour in COLOUR.items():
            axes.stairs(floats(activity[name]["shares"][source]), edges, color=colour, linewidth=1.6)
        axes.stairs(
            floats(activity[name]["shares"][SIMULATION]),
            edges,
            fill=True,
            color=COLOUR[SIMULATION],
            alpha=0.12,
            linewidth=0,
        )
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None), xlabel=label, ylabel="share of orders")
        axes.set_title(title)
        _overlap(axes, activity[name])
    size.set_xscale("log")
    size.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    wait.set_xscale("log")
    wait.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))

    labels = activity["type"]["labels"]
    place = np.arange(len(labels))[::-1]
    for offset, (source, colour) in zip((0.19, -0.19), COLOUR.items(), strict=True):
        shares = floats(activity["type"]["shares"][source])
        kind.barh(place + offset, shares, height=0.34, color=colour)
        for y, share in zip(place + offset, shares, strict=True):
            kind.annotate(
                percent(share),
                (share, y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=MUTED,
            )
    kind.set_yticks(place, labels)
    kind.set(xlabel="share of orders")
    kind.margins(x=0.1)
    kind.grid(axis="y", visible=False)
    kind.set_title("Type of order")
    _overlap(kind, activity["type"])
    for axes, along in ((spread, "y"), (size, "y"), (wait, "y"), (kind, "x")):
        getattr(axes, f"{along}axis").set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    legend(figure, [(COLOUR[source], 2.5, 1, source.lower()) for source in COLOUR])
    return figure


def _duration(seconds: float) -> str:
    unit, size = next(
        (unit, size) for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)) if seconds >= 0.999 * size
    )
    return f"{seconds / size:.0f} {unit}"


def _overlap(axes: Axes, compared: dict) -> None:
    axes.set_title(f"overlap {percent(compared['overlap'])}", loc="right", fontweight="normal", color=MUTED)
