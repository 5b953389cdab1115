"""A picture of mid-prices since a start, for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mars_lmm.figure_style import REPLAY_COLOUR, SIMULATION_COLOUR, STYLE
from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers.observation import TAPE_COLUMNS

_TIME, _BID, _ASK = (TAPE_COLUMNS.index(name) for name in ("time", "bid", "ask"))


def draw_paths(start: Start, rows: Sequence[np.ndarray], time: int) -> Figure:
    """Draw the mid-price of every rollout up to a moment, and the real continuation where there is one.

    Args:
        start: What the rollouts began with.
        rows: Of each, int64[N, NUM_ROW], its executed orders; agents' are marked.
        time: Nanoseconds since midnight.
    """
    tick = start.session.tick_size
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
        for number, tape in enumerate(rows):
            seconds, mid = _mid(tape, start.time)
            axes.step(
                seconds,
                mid * tick,
                where="post",
                color=SIMULATION_COLOUR,
                linewidth=1,
                alpha=0.7,
                label=_once("simulated", number),
            )
            own = tape[tape[:, c.ROW_SOURCE] > 0]
            if len(own):
                place = (own[:, _TIME] - start.time) / 1e9, own[:, TAPE_COLUMNS.index("price")] * tick
                axes.plot(*place, ".", color="#b4490f", markersize=4, label=_once("agents' orders", number))
        if start.continuation is not None:
            real = start.continuation[start.continuation[:, _TIME] <= time]
            seconds, mid = _mid(real, start.time)
            axes.step(
                seconds, mid * tick, where="post", color=REPLAY_COLOUR, linewidth=1.4, label="what really happened"
            )
        axes.set(
            xlabel="seconds since the start", ylabel="mid-price", title=f"{start.session.symbol} {start.session.date}"
        )
        axes.legend(loc="best", frameon=False)
    plt.close(figure)  # a notebook shows what a cell returns; twice is too often
    return figure


def _mid(tape: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since the start, and the mid in ticks, where both sides had orders."""
    both = tape[(tape[:, _BID] != t.NO_PRICE) & (tape[:, _ASK] != t.NO_PRICE)]
    return (both[:, _TIME] - begin) / 1e9, (both[:, _BID] + both[:, _ASK]) / 2


def _once(label: str, number: int) -> str | None:
    return label if number == 0 else None
