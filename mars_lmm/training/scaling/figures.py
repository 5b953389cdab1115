"""A ladder's figures, drawn from its table and its fit alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mars_lmm.figure_style import MUTED, STYLE
from mars_lmm.training.scaling.fit import columns
from mars_lmm.training.scaling.law import Law
from mars_lmm.training.scaling.plan import short

LAW = "#c2410c"
_STYLE = STYLE | {"font.size": 9.5, "axes.titlesize": 10, "lines.linewidth": 1.5, "savefig.dpi": 160}
_DASHED = (0, (4, 3))
_SIZE = (7.6, 4.4)  # inches

Row = dict[str, Any]


def draw_figures(rows: list[Row], fit: dict[str, Any], count: str, folder: Path) -> list[Path]:
    """Draw all figures as PNG files.

    Args:
        rows: The table of runs.
        fit: Of this count, as `fit_rows` returns it.
        count: What counts as N.
        folder: Where to.
    """
    drawn = {
        "loss_by_orders": loss_by_orders,
        "loss_by_compute": loss_by_compute,
        "residuals": residuals,
        "held_out": held_out,
    }
    paths = []
    for name, draw in drawn.items():
        with matplotlib.rc_context(_STYLE):
            figure = draw(rows, fit, count)
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1], metadata={"Software": None})
    return paths


def loss_by_orders(rows: list[Row], fit: dict[str, Any], count: str) -> Figure:
    """Loss against orders, size by size, with the fitted law."""
    figure, (axes,) = _figure(1)
    _curves(axes, rows, Law(**fit["law"]), count, np.zeros(len(rows), dtype=bool))
    axes.set_title("Loss by orders trained on; lines: the fitted law")
    axes.set_ylabel("validation, nats per order")
    return figure


def loss_by_compute(rows: list[Row], fit: dict[str, Any], count: str) -> Figure:
    """Loss against compute, with the law's frontier: the best size for each amount."""
    figure, (axes,) = _figure(1)
    law = Law(**fit["law"])
    N, D, nats = columns(rows, count)
    compute = 6 * N * D
    for (_, label, colour), at in _by_size(rows, count):
        order = np.argsort(compute[at])
        axes.plot(compute[at][order], nats[at][order], "o-", color=colour, markersize=5, linewidth=0.8, label=label)
    reach = np.geomspace(compute.min(), compute.max() * 10, 100)
    best_N, best_D = law.optimum(reach)
    frontier = law(best_N, best_D)
    if np.isfinite(frontier).all():
        within = reach <= compute.max()
        axes.plot(reach[within], frontier[within], color=LAW, label="best size, by the law")
        axes.plot(reach[~within], frontier[~within], color=LAW, linestyle=_DASHED, label="extrapolated")
        low, high = fit["size_exponent"]["interval"]
        axes.set_title(f"Loss by compute; best size ~ C^{law.size_exponent:.2f}  (95 %: {low:.2f} to {high:.2f})")
    axes.set(xscale="log", xlabel="compute, 6 N D operations", ylabel="validation, nats per order")
    axes.legend(frameon=False, labelcolor=MUTED, fontsize=8)
    return figure


def residuals(rows: list[Row], fit: dict[str, Any], count: str) -> Figure:
    """How far each run lies from the law, by size and by orders."""
    figure, panels = _figure(2)
    law = Law(**fit["law"])
    N, D, nats = columns(rows, count)
    error = 100 * np.log(nats / law(N, D))
    for axes, along, across, label in (
        (panels[0], N, D, f"N, parameters ({count})"),
        (panels[1], D, N, "D, orders"),
    ):
        shade = (np.log(across) - np.log(across.min())) / max(np.ptp(np.log(across)), 1e-9)
        axes.axhline(0, color=MUTED, linewidth=0.9)
        axes.scatter(along, error, c=_shades(shade), s=30, zorder=3)
        axes.set(xscale="log", xlabel=label)
        _log_axis(axes)
    panels[0].set(ylabel="measured above the law, %")
    panels[0].set_title("Residuals (darker: fewer orders)")
    panels[1].set_title("Residuals (darker: smaller)")
    return figure


def held_out(rows: list[Row], fit: dict[str, Any], count: str) -> Figure:
    """Laws fitted without the largest size or budget, and what they say of it."""
    figure, panels = _figure(2)
    for axes, test in zip(panels, fit["held_out"], strict=True):
        if "skipped" in test:
            axes.set_axis_off()
            axes.text(0.5, 0.5, test["skipped"], ha="center", va="center", color=MUTED, wrap=True)
            continue
        names = {run["cell"] for run in test["runs"]}
        _curves(axes, rows, Law(**test["law"]), count, np.array([row["cell"] in names for row in rows]), legend=False)
        axes.set_title(f"Without the {test['what']}: off by {test['error']:.2%}")
    panels[0].set_ylabel("validation, nats per order")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=MUTED, label="fitted"),
        Line2D([], [], marker="o", linestyle="", color=MUTED, markerfacecolor="none", label="held out"),
        Line2D([], [], color=MUTED, label="the law, fitted without them"),
    ]
    panels[1].legend(handles=handles, frameon=False, labelcolor=MUTED, fontsize=8)
    return figure


def _curves(axes: Axes, rows: list[Row], law: Law, count: str, held: np.ndarray, legend: bool = True) -> None:
    """Runs as marks and the law as lines, size by size; held-out runs are hollow."""
    _, D, nats = columns(rows, count)
    reach = np.geomspace(D.min() / 1.15, D.max() * 1.15, 100)
    for (parameters, label, colour), at in _by_size(rows, count):
        axes.plot(reach, law(parameters, reach), color=colour, alpha=0.75)
        for which, fill in ((at & ~held, colour), (at & held, "white")):
            axes.plot(D[which], nats[which], "o", color=colour, markerfacecolor=fill, markersize=5.5)
        axes.plot([], [], "o-", color=colour, label=label)
    axes.set(xscale="log", xlabel="D, orders trained on")
    _log_axis(axes, np.unique([row["budget"] for row in rows]))
    if legend:
        axes.legend(frameon=False, labelcolor=MUTED, fontsize=8, title=f"N ({count})", title_fontsize=8)


def _by_size(rows: list[Row], count: str) -> list[tuple[tuple[float, str, Any], np.ndarray]]:
    """N, label and colour of each size from the smallest on, and which runs are of it."""
    N = {row["size"]: row[count] for row in sorted(rows, key=lambda row: row[count])}
    colours = _shades(np.linspace(0, 1, len(N)))
    sizes = np.array([row["size"] for row in rows])
    return [
        ((parameters, f"{size}: {short(float(f'{parameters:.3g}'))}", colour), sizes == size)
        for (size, parameters), colour in zip(N.items(), colours, strict=True)
    ]


def _shades(share: np.ndarray) -> np.ndarray:
    """Colours from dark to light, none too light to see."""
    return matplotlib.colormaps["viridis"](0.85 * share)


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    width, height = _SIZE
    figure = Figure(figsize=(width * (1.35 if panels > 1 else 1), height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False, sharey=panels > 1).flat)


def _log_axis(axes: Axes, ticks: np.ndarray | None = None) -> None:
    """Ticks of a logarithmic axis in few letters."""
    if ticks is None:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    else:
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(float(f"{value:.3g}"))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
