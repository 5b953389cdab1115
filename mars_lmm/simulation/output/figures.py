"""Figures at the end of a simulation: the fan of its mid-prices, and the depth of a book along a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from mars_lmm.figure_style import INK, MUTED, STYLE
from mars_lmm.market import types as t
from mars_lmm.simulation.output.fan import BAND_QUANTILES, Panel, fan_chart, start_label
from mars_lmm.simulation.output.paths import mid_paths

FAN, DEPTH_PICTURE = "fan.png", "depth.png"
NANOS_PER_MINUTE = 60 * 10**9
_STEPS = 120
_PATHS = 5
_ROWS = 160  # of the depth picture, at most
_SHADES = {t.BUY: ("#d7ecef", "#0b6e7f"), t.SELL: ("#fbe3d3", "#b4490f")}
_NAMES = {t.BUY: "bids", t.SELL: "asks"}
_STYLE = STYLE | {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.formatter.useoffset": False,
    "figure.dpi": 144,
}


def draw_figures(manifest: Mapping[str, Any], folder: Path) -> None:
    """Draw what a simulation's files hold into `fan.png` and `depth.png` beside them.

    Args:
        manifest: `simulation.json`.
        folder: With `rollouts.parquet`, `replay.parquet` and `depth.parquet`.
    """
    with matplotlib.rc_context(_STYLE):
        _fan(manifest, folder).savefig(folder / FAN)
        _depth(manifest, folder).savefig(folder / DEPTH_PICTURE)


def _fan(manifest: Mapping[str, Any], folder: Path) -> Figure:
    starts = manifest["starts"]
    begin, end = (np.array([start[key] for start in starts]) for key in ("time_ns", "end_ns"))
    rollouts = mid_paths(folder / "rollouts.parquet", manifest["rollouts"], begin, end, _STEPS)
    replay = mid_paths(folder / "replay.parquet", 1, begin, end, _STEPS)[:, 0]
    panels = []
    for number in manifest["drawn"]:
        start = starts[number]
        minutes = np.linspace(0, (end[number] - begin[number]) / NANOS_PER_MINUTE, _STEPS + 1)
        paths, real = (_with_first(mids, start) * start["tick_size"] for mids in (rollouts[number], replay[number]))
        quantiles = np.quantile(paths, BAND_QUANTILES, axis=0)
        shown = real if start["recorded"] else None
        panels.append(Panel(start_label(start), minutes, quantiles, paths[:_PATHS], shown))
    return fan_chart(panels)


def _with_first(mids: np.ndarray, start: Mapping[str, Any]) -> np.ndarray:
    """Paths float64[..., M]; until they have a mid-price of their own, the start's, or its last price."""
    both = t.NO_PRICE not in (start["bid"], start["ask"])
    first = (start["bid"] + start["ask"]) / 2 if both else start["last_price"]
    return np.where(np.isfinite(mids), mids, first)


def _depth(manifest: Mapping[str, Any], folder: Path) -> Figure:
    """What rests in the book of one rollout, by time and price, with its touch."""
    number = manifest["drawn"][0]
    start = manifest["starts"][number]
    table = pq.read_table(folder / "depth.parquet", filters=[("start", "=", number)])
    time, side, level, price, size = (table[name].to_numpy() for name in ("time", "side", "level", "price", "size"))
    moments, column = np.unique(time, return_inverse=True)
    # The first moment is the start's, whatever time the last order before it had.
    edges = np.append(np.maximum(moments, start["time_ns"]), max(start["end_ns"], moments[-1]))
    minutes = (edges - start["time_ns"]) / NANOS_PER_MINUTE
    lowest, highest = _window(price, level)
    ticks = -(-(highest - lowest + 1) // _ROWS)
    rows = (highest - lowest) // ticks + 1
    bounds = (lowest + np.arange(rows + 1) * ticks - 0.5) * start["tick_size"]
    inside = (price >= lowest) & (price <= highest)

    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    axes = figure.subplots()
    norm = LogNorm(max(np.quantile(size, 0.02), 1), max(np.quantile(size, 0.995), 2))
    for of_side, shades in _SHADES.items():
        kept = inside & (side == of_side)
        volume = np.zeros((rows, len(moments)))
        np.add.at(volume, ((price[kept] - lowest) // ticks, column[kept]), size[kept])
        colours = LinearSegmentedColormap.from_list(_NAMES[of_side], shades)
        mesh = axes.pcolormesh(
            minutes, bounds, np.ma.masked_equal(volume, 0), cmap=colours, norm=norm, rasterized=True, linewidth=0
        )
        bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=40, shrink=0.9)
        bar.set_label(f"{_NAMES[of_side]} (units)", color=MUTED)
        bar.outline.set_visible(False)
        best = kept & (level == 0)
        axes.step(minutes[column[best]], price[best] * start["tick_size"], where="post", color=INK, linewidth=0.8)
    axes.grid(visible=False)
    axes.set(xlim=(0, minutes[-1]), ylim=(bounds[0], bounds[-1]))
    axes.set(xlabel="minutes from the start", ylabel="price (currency)")
    axes.set_title(f"Resting volume of the best {t.DEPTH} levels, and the touch", pad=18)
    _subtitle(axes, f"{start_label(start)}, rollout 0")
    return figure


def _window(price: np.ndarray, level: np.ndarray) -> tuple[int, int]:
    """Prices to show: the touch at all times, and of the levels behind it all but stray ones."""
    touch = price[level == 0]
    low, high = np.quantile(price, [0.005, 0.995])
    return int(min(low, touch.min())), int(max(high, touch.max()))


def _subtitle(axes: Axes, text: str) -> None:
    axes.annotate(
        text, (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points", color=MUTED, fontsize=9
    )
