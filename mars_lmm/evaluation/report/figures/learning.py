"""How the model learned."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from mars_lmm.evaluation.report.drawing import DASHED, grid, right_labels
from mars_lmm.figure_style import MUTED, SIMULATION_COLOUR


def loss_figure(curves: dict, baselines: dict) -> Figure:
    """Nats per order against the step, with what simple counting reaches."""
    figure, (axes,) = grid(1, 1, 3.9)
    train, validation = (np.array(curves[name], dtype=float).reshape(-1, 2) for name in ("train", "validation"))
    axes.plot(*train.T, color=SIMULATION_COLOUR, alpha=0.35, linewidth=1)
    axes.plot(*validation.T, color=SIMULATION_COLOUR, marker="o", markersize=3.5)
    labels = [(value, f"{name}  {value:.2f}", MUTED) for name, value in baselines.items()]
    for value in baselines.values():
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=DASHED)
    labels.append((validation[-1, 1], f"validation  {validation[-1, 1]:.2f}", SIMULATION_COLOUR))
    if len(train):
        axes.annotate(
            "train",
            train[len(train) // 8],
            xytext=(6, 6),
            textcoords="offset points",
            color=SIMULATION_COLOUR,
            alpha=0.8,
        )
    axes.set(xlim=(0, max(train[-1:, 0].max(initial=1), validation[-1, 0])), xlabel="step", ylabel="nats per order")
    axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))
    right_labels(axes, labels)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure
