"""How prices respond to what happens in the book, and to the imbalance of trades."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from mars_lmm.evaluation.report.drawing import entries, floats, grid, line_width
from mars_lmm.evaluation.report.scores import mean_over_symbols
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION
from mars_lmm.figure_style import MUTED
from mars_lmm.simulation.output.fan import legend

EVENTS = {
    "MO_0": "Trade, best prices stay",
    "MO_1": "Trade, best price changes",
    "LO_0": "New order, best prices stay",
    "LO_1": "New order, best price changes",
    "CA_0": "Cancel, best prices stay",
    "CA_1": "Cancel, best price changes",
}


def response_figure(lob_bench: dict, colours: dict[str, str]) -> Figure:
    """The mid's move after each kind of event, real and simulated, against the number of events since."""
    figure, panels = grid(2, 3, 5.2)
    symbols = list(lob_bench["symbols"].values())
    sources = [source for source in colours if source in lob_bench["summary"]]
    lags = floats(symbols[0]["models"][sources[0]]["impact"]["lags"])
    for axes, (event, title) in zip(panels, EVENTS.items(), strict=True):
        curves = {REPLAY: _responses(symbols, sources[0], event, "real")}
        curves |= {source: _responses(symbols, source, event, "generated") for source in sources}
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for source in sorted(curves, key=[*sources, SIMULATION, REPLAY].index):
            value, low, high = curves[source]
            bold = 2.0 if source == REPLAY else line_width(source)
            axes.plot(lags, value, color=colours[source], linewidth=bold)
            if source in (REPLAY, SIMULATION):
                axes.fill_between(lags, low, high, color=colours[source], alpha=0.16, linewidth=0)
        axes.set(xscale="log", xlim=(lags[0], lags[-1]))
        axes.set_title(title)
        axes.set_xticks((1, 10, 100))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    for axes in panels[3:]:
        axes.set_xlabel("events, the event itself counted")
    for axes in panels[::3]:
        axes.set_ylabel("move of the mid (ticks)")
    legend(figure, entries({source: colours[source] for source in (REPLAY, *sources)}))
    return figure


def _responses(symbols: list[dict], source: str, event: str, side: str) -> tuple[np.ndarray, ...]:
    """As `_means`, by lag."""
    found = [symbol["models"][source]["impact"] for symbol in symbols if source in symbol["models"]]
    return _means([{"value": one["response"][event][side], **one["response_band"][event][side]} for one in found])


def macro_impact_figure(lob_bench: dict, colours: dict[str, str]) -> Figure:
    """The mid's move in a window against the imbalance of its trades: on the left the run's model, then all."""
    figure, (mine, all_sources) = grid(1, 2, 3.3, sharey=True)
    symbols = list(lob_bench["symbols"].values())
    sources = [source for source in colours if source in lob_bench["summary"]]
    first = symbols[0]["models"][sources[0]]["macro_impact"]
    edges = floats(first["edges"])
    centre = (edges[1:] + edges[:-1]) / 2
    curves = {REPLAY: _macro(symbols, sources[0], "real")}
    curves |= {source: _macro(symbols, source, "generated") for source in sources}
    for source, (value, low, high) in curves.items():
        if source in (REPLAY, SIMULATION):
            mine.fill_between(centre, low, high, color=colours[source], alpha=0.16, linewidth=0)
            mine.plot(centre, value, color=colours[source], marker=".", markersize=5)
        all_sources.plot(centre, value, color=colours[source], marker=".", markersize=4, linewidth=line_width(source))
    for axes, title in ((mine, "Replay and simulation, 99 % bands"), (all_sources, "All sources")):
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_title(title)
        axes.set(xlim=(0, 1), xlabel="imbalance of the trades, |buys − sells| / all")
    mine.set_ylabel(f"move of the mid in {first['window_seconds']:g} s (ticks)")
    legend(figure, entries({source: colours[source] for source in curves}))
    return figure


def _macro(symbols: list[dict], source: str, side: str) -> tuple[np.ndarray, ...]:
    """As `_means`, by bin."""
    found = [symbol["models"][source]["macro_impact"][side] for symbol in symbols if source in symbol["models"]]
    return _means([{"value": one["mean"], "low": one["low"], "high": one["high"]} for one in found])


def _means(curves: list[dict[str, list]]) -> tuple[np.ndarray, ...]:
    """Mean over symbols of each point of `value`, and the ends of its interval; NaN where no symbol has it."""
    ends = ("value", "low", "high")
    means = [
        mean_over_symbols({end: curve[end][at] for end in ends} for curve in curves)
        for at in range(len(curves[0]["value"]))
    ]
    return tuple(floats([mean[end] for mean in means]) for end in ends)
