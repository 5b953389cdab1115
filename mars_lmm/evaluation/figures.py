"""Figures of an evaluation, drawn from its JSON alone.

Each function returns a matplotlib figure; `to_svg` makes it text for a page. There colours are the page's style
variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, StrMethodFormatter

from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import GRID, INK, MUTED, REPLAY_COLOUR, SIMULATION_COLOUR, STYLE
from mars_lmm.simulation.output.fan import WIDTH, Panel, fan_chart, legend

COLOUR = {REPLAY: REPLAY_COLOUR, SIMULATION: SIMULATION_COLOUR}
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    COLOUR[REPLAY]: "--replay",
    COLOUR[SIMULATION]: "--simulation",
}
_STYLE = STYLE | {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def to_svg(draw: Callable[..., Figure], *arguments) -> str:
    """Draw a figure as SVG to put inside a page: no prologue, no metadata, colours as style variables."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": draw.__name__}):
        figure = draw(*arguments)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg


def loss_figure(curves: dict, baselines: dict) -> Figure:
    """Nats per order against the step, with what simple counting reaches."""
    figure, (axes,) = _grid(1, 1, 3.9)
    train, validation = (np.array(curves[name], dtype=float).reshape(-1, 2) for name in ("train", "validation"))
    axes.plot(*train.T, color=COLOUR[SIMULATION], alpha=0.35, linewidth=1)
    axes.plot(*validation.T, color=COLOUR[SIMULATION], marker="o", markersize=3.5)
    labels = [(value, f"{name}  {value:.2f}", MUTED) for name, value in baselines.items()]
    for value in baselines.values():
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    labels.append((validation[-1, 1], f"validation  {validation[-1, 1]:.2f}", COLOUR[SIMULATION]))
    if len(train):
        axes.annotate(
            "train",
            train[len(train) // 8],
            xytext=(6, 6),
            textcoords="offset points",
            color=COLOUR[SIMULATION],
            alpha=0.8,
        )
    axes.set(xlim=(0, max(train[-1:, 0].max(initial=1), validation[-1, 0])), xlabel="step", ylabel="nats per order")
    axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))
    _right_labels(axes, labels)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def fan_figure(fan: dict) -> Figure:
    """Rollouts' mid-prices from some starts as bands, against the replay."""
    panels = []
    for start in fan["starts"]:
        quantiles, replay = _floats(start["quantiles"]), _floats(start["replay"])
        paths = [_floats(path) for path in start["paths"]]
        panels.append(Panel(start["label"], np.arange(len(replay)), quantiles, paths, replay))
    return fan_chart(panels)


def facts_figure(facts: dict) -> Figure:
    """The eleven facts as curves of replay and simulation, with 95 % bands."""
    figure, all_axes = _grid(4, 3, 11.2)
    curves = {source: found["curves"] for source, found in facts["sources"].items()}
    found = {fact["number"]: fact["sources"] for fact in facts["comparison"]["facts"]}
    lag, length = "minutes apart", "length of return (minutes)"
    drawn = (
        ("autocorrelation", lag, "correlation"),
        (None, "standard deviations", "share of returns beyond"),
        ("skewness", length, "skewness"),
        ("kurtosis", length, "excess kurtosis"),
        (None, "Fano factor", ""),
        ("clustering", lag, "correlation of sizes"),
        ("conditional_kurtosis", length, "excess kurtosis"),
        (None, lag, "correlation of sizes"),
        ("leverage", "minutes later", "correlation with size"),
        ("volume", "minutes later", "correlation with size"),
        ("asymmetry", "lag (minutes)", "difference"),
    )
    for fact, axes, (name, x_label, y_label) in zip(facts["comparison"]["facts"], all_axes, drawn, strict=False):
        axes.set_title(f"{fact['number']}  {fact['name']}", pad=18)
        _verdicts(axes, fact["sources"])
        axes.set(xlabel=x_label, ylabel=y_label)
        if name:
            _curve(axes, curves, name)
    _tails(all_axes[1], facts["tails"])
    _intervals(all_axes[4], found[5], reference=1)
    _decays(all_axes[7], curves, found[8])
    all_axes[11].set_axis_off()
    _key(all_axes[11])
    return figure


def activity_figure(activity: dict) -> Figure:
    """Distributions of spread, order size, waiting time and order type."""
    figure, (spread, size, wait, kind) = _grid(2, 2, 6.2)
    panels = (
        (spread, "spread", "Spread", "currency, after each order"),
        (size, "size", "Order size", "units (log scale)"),
        (wait, "wait", "Time between orders", "time (log scale)"),
    )
    for axes, name, title, label in panels:
        edges = _floats(activity[name]["edges"])
        for source, colour in COLOUR.items():
            axes.stairs(_floats(activity[name]["shares"][source]), edges, color=colour, linewidth=1.6)
        axes.stairs(
            _floats(activity[name]["shares"][SIMULATION]),
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
        shares = _floats(activity["type"]["shares"][source])
        kind.barh(place + offset, shares, height=0.34, color=colour)
        for y, share in zip(place + offset, shares, strict=True):
            kind.annotate(
                _percent(share),
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
        getattr(axes, f"{along}axis").set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    legend(figure, [(COLOUR[source], 2.5, 1, source.lower()) for source in COLOUR])
    return figure


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _duration(seconds: float) -> str:
    unit, size = next(
        (unit, size) for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)) if seconds >= 0.999 * size
    )
    return f"{seconds / size:.0f} {unit}"


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _floats(values) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _curve(axes: Axes, curves: dict, name: str) -> None:
    drawn = {
        source: [_floats(curves[source][name][column]) for column in ("points", "value", "low", "high")]
        for source in COLOUR
    }
    if max(np.isfinite(value).sum() for _, value, _, _ in drawn.values()) < 2:
        _nothing(axes)
        return
    for source, (points, value, low, high) in drawn.items():
        axes.fill_between(points, low, high, color=COLOUR[source], alpha=0.16, linewidth=0)
        axes.plot(points, value, color=COLOUR[source], marker=".", markersize=4, linewidth=1.4)
    known = np.concatenate([part for _, value, low, high in drawn.values() for part in (value[:5], low, high)])
    known = known[np.isfinite(known)]
    axes.axhline(0, color=MUTED, linewidth=0.8)
    # The longest lags have few pairs and bands that would flatten all others.
    low, high = np.quantile(known, [0.05, 0.95])
    margin = 0.15 * (high - low)
    axes.set_ylim(min(low - margin, 0), max(high + margin, 0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _nothing(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.text(0.5, 0.5, "too few returns", transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _tails(axes: Axes, tails: dict) -> None:
    multiples = _floats(tails["multiples"])
    axes.plot(multiples, _floats(tails["gaussian"]), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    smallest = 1e-2
    for source, colour in COLOUR.items():
        shares = _floats(tails["shares"][source])
        shares = np.where(shares > 0, shares, np.nan)
        axes.plot(multiples, shares, color=colour, linewidth=1.6)
        smallest = min(smallest, np.nanmin(shares)) if np.isfinite(shares).any() else smallest
    axes.set_yscale("log")
    axes.set(xlim=(0, multiples[-1]), ylim=(smallest / 2, 1.2))
    at = np.searchsorted(-_floats(tails["gaussian"]), -smallest)
    axes.annotate(
        "Gaussian",
        (multiples[at], smallest),
        xytext=(5, 3),
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
    )


def _intervals(axes: Axes, sources: dict, reference: float) -> None:
    """One number with its interval for each source."""
    if all(found["value"] is None for found in sources.values()):
        _nothing(axes)
        return
    axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for y, (source, colour) in zip((1, 0), COLOUR.items(), strict=True):
        value, low, high = _floats([sources[source][name] for name in ("value", "low", "high")])
        axes.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.25)
        axes.plot([value], [y], "o", color=colour, markersize=6)
        if np.isnan(value):
            axes.text(0.5, y, "too few extremes", transform=axes.get_yaxis_transform(), va="center", color=MUTED)
    axes.set(ylim=(-0.7, 1.7))
    axes.set_yticks((1, 0), [source.lower() for source in COLOUR])
    axes.margins(x=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.grid(axis="y", visible=False)


def _decays(axes: Axes, curves: dict, sources: dict) -> None:
    """Volatility clustering against the lag on logarithmic axes, with the fitted decay."""
    values = np.concatenate([_floats(curves[source]["clustering"]["value"]) for source in COLOUR])
    positive = values[values > 0]
    if len(positive) < 3:
        _nothing(axes)
        return
    for source, colour in COLOUR.items():
        curve = curves[source]["clustering"]
        points, value, exponent = _floats(curve["points"]), _floats(curve["value"]), sources[source]["value"]
        axes.plot(points, np.where(value > 0, value, np.nan), color=colour, marker=".", markersize=4, linewidth=1.4)
        if exponent is not None:
            shape = points**-exponent
            valid = np.isfinite(value)
            fitted = shape * (value[valid] @ shape[valid]) / (shape[valid] @ shape[valid])
            axes.plot(points, fitted, color=colour, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xscale="log", yscale="log", ylim=(max(positive.min() / 1.5, 5e-3), min(positive.max() * 2, 1.2)))
    axes.set_xticks((1, 2, 5, 10, 20))
    axes.set_xlim(0.9, 22)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()


def _verdicts(axes: Axes, sources: dict) -> None:
    for source, x in ((REPLAY, 0.0), (SIMULATION, 0.46)):
        axes.annotate(
            f"{source.lower()}: {sources[source]['verdict']}",
            (x, 1),
            xycoords="axes fraction",
            xytext=(0, 6),
            textcoords="offset points",
            color=COLOUR[source],
            fontsize=8,
        )


def _key(axes: Axes) -> None:
    """How to read the facts figure, in its last panel."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for y, (source, colour) in zip((0.9, 0.72), COLOUR.items(), strict=True):
        axes.fill_between([0, 0.16], y - 0.05, y + 0.05, color=colour, alpha=0.16, linewidth=0)
        axes.plot([0, 0.16], [y, y], color=colour, marker=".", markersize=4, linewidth=1.4)
        axes.text(0.22, y, f"{source.lower()}, with its 95 % band", va="center")
    axes.plot([0, 0.16], [0.54, 0.54], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(0.22, 0.54, "Gaussian (2), Poisson (5), fit (8)", va="center")
    axes.text(
        0,
        0.4,
        "Curves are means over symbols of statistics\nof one-minute bars. Bands come from drawing\n"
        "whole starts with replacement.",
        va="top",
        color=MUTED,
    )


def _overlap(axes: Axes, compared: dict) -> None:
    axes.set_title(f"overlap {_percent(compared['overlap'])}", loc="right", fontweight="normal", color=MUTED)


def _right_labels(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
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
