"""What all figures of a page share: a grid of axes, numbers from JSON, and SVG in the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mars_lmm.evaluation.report.sources import OTHER_COLOURS
from mars_lmm.evaluation.trajectories import SIMULATION
from mars_lmm.figure_style import GRID, INK, MUTED, REPLAY_COLOUR, SIMULATION_COLOUR, STYLE
from mars_lmm.simulation.output.fan import WIDTH

DASHED = (0, (4, 3))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    REPLAY_COLOUR: "--replay",
    SIMULATION_COLOUR: "--simulation",
} | {colour: f"--other-{number}" for number, colour in enumerate(OTHER_COLOURS, 1)}
_STYLE = STYLE | {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def to_svg(name: str, draw: Callable[..., Figure], *arguments) -> str:
    """Draw a figure as SVG to put inside a page: no prologue, no metadata, colours as style variables.

    Args:
        name: Unlike that of any other figure of the page; the names inside the drawing come from it.
        draw: Draws the figure.
        *arguments: Of `draw`.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = draw(*arguments)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg


def grid(rows: int, columns: int, height: float, width: float = WIDTH, **options) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches, and its axes row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def floats(values) -> np.ndarray:
    """Numbers of a JSON file, NaN for null."""
    return np.array(values, dtype=np.float64)


def nothing(axes: Axes, why: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def line_width(source: str) -> float:
    """The run's model stands out among the others."""
    return 1.8 if source == SIMULATION else 1.1


def entries(colours: dict[str, str]) -> list[tuple[str, float, float, str]]:
    """What a legend says of each source."""
    return [(colour, line_width(source) + 0.7, 1.0, source) for source, colour in colours.items()]


def percent(share: float) -> str:
    """For axes: whole percents."""
    return f"{100 * share:.0f} %"


def right_labels(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Labels beside the right edge at their values, moved apart where they would touch."""
    low, high = axes.get_ylim()
    room = (high - low) * 0.055
    previous = -np.inf
    for value, text, colour in sorted(labels):
        previous = max(value, previous + room)
        axes.annotate(
            text,
            (1, previous),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
