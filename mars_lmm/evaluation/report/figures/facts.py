"""The eleven facts as curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from mars_lmm.evaluation.report.drawing import DASHED, floats, grid, nothing
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import MUTED, REPLAY_COLOUR, SIMULATION_COLOUR

COLOUR = {REPLAY: REPLAY_COLOUR, SIMULATION: SIMULATION_COLOUR}


def facts_figure(facts: dict) -> Figure:
    """The eleven facts as curves of replay and simulation, with 95 % bands."""
    figure, all_axes = grid(4, 3, 11.2)
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
    _legend(all_axes[11])
    return figure


def _curve(axes: Axes, curves: dict, name: str) -> None:
    drawn = {
        source: [floats(curves[source][name][column]) for column in ("points", "value", "low", "high")]
        for source in COLOUR
    }
    if max(np.isfinite(value).sum() for _, value, _, _ in drawn.values()) < 2:
        nothing(axes, "too few returns")
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


def _tails(axes: Axes, tails: dict) -> None:
    multiples = floats(tails["multiples"])
    axes.plot(multiples, floats(tails["gaussian"]), color=MUTED, linewidth=1, linestyle=DASHED)
    smallest = 1e-2
    for source, colour in COLOUR.items():
        shares = floats(tails["shares"][source])
        shares = np.where(shares > 0, shares, np.nan)
        axes.plot(multiples, shares, color=colour, linewidth=1.6)
        smallest = min(smallest, np.nanmin(shares)) if np.isfinite(shares).any() else smallest
    axes.set_yscale("log")
    axes.set(xlim=(0, multiples[-1]), ylim=(smallest / 2, 1.2))
    at = np.searchsorted(-floats(tails["gaussian"]), -smallest)
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
    if all(sources[source]["value"] is None for source in COLOUR):
        nothing(axes, "too few returns")
        return
    axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=DASHED)
    for y, (source, colour) in zip((1, 0), COLOUR.items(), strict=True):
        value, low, high = floats([sources[source][name] for name in ("value", "low", "high")])
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
    values = np.concatenate([floats(curves[source]["clustering"]["value"]) for source in COLOUR])
    positive = values[values > 0]
    if len(positive) < 3:
        nothing(axes, "too few returns")
        return
    for source, colour in COLOUR.items():
        curve = curves[source]["clustering"]
        points, value, exponent = floats(curve["points"]), floats(curve["value"]), sources[source]["value"]
        axes.plot(points, np.where(value > 0, value, np.nan), color=colour, marker=".", markersize=4, linewidth=1.4)
        if exponent is not None:
            shape = points**-exponent
            valid = np.isfinite(value)
            fitted = shape * (value[valid] @ shape[valid]) / (shape[valid] @ shape[valid])
            axes.plot(points, fitted, color=colour, linewidth=1, linestyle=DASHED)
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


def _legend(axes: Axes) -> None:
    """How to read the facts figure, in its last panel."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for y, (source, colour) in zip((0.9, 0.72), COLOUR.items(), strict=True):
        axes.fill_between([0, 0.16], y - 0.05, y + 0.05, color=colour, alpha=0.16, linewidth=0)
        axes.plot([0, 0.16], [y, y], color=colour, marker=".", markersize=4, linewidth=1.4)
        axes.text(0.22, y, f"{source.lower()}, with its 95 % band", va="center")
    axes.plot([0, 0.16], [0.54, 0.54], color=MUTED, linewidth=1, linestyle=DASHED)
    axes.text(0.22, 0.54, "Gaussian (2), Poisson (5), fit (8)", va="center")
    axes.text(
        0,
        0.4,
        "Curves are means over symbols of statistics\nof one-minute bars. Bands come from drawing\n"
        "whole sessions or starts with replacement.",
        va="top",
        color=MUTED,
    )
