"""The empirical bootstrap: the training orders themselves, to be drawn with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mars_lmm.simulation.fitting.orders import SessionOrders, evenly

COLUMNS = ("action", "side", "away", "size", "wait")
MOST_ORDERS = 100_000


def fit_bootstrap(parts: Sequence[SessionOrders]) -> dict[str, Any]:
    """Collect the orders.

    Args:
        parts: Training orders of one instrument.

    Returns:
        `takers_rest`; and of each order `action`, `side`, `away`, `size` and `wait` in nanoseconds, as `SessionOrders`
        has them. Of more than 100,000 orders so many, evenly spread.
    """
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    rows = evenly(np.arange(len(columns["action"])), MOST_ORDERS)
    return {"takers_rest": parts[0].takers_rest} | {name: column[rows].tolist() for name, column in columns.items()}
