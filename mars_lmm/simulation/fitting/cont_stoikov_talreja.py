"""The model of Cont, Stoikov and Talreja (Operations Research 58, 2010), fitted to recorded orders.

All orders have one size, the unit. They arrive as independent Poisson processes, the same for both sides:

- limit orders at a distance of i ticks from the other side's best price, at the rate lambda(i);
- market orders, at the rate mu;
- cancels of each unit that rests i ticks from the other side's best price, at the rate theta(i).

The rates are the paper's estimates over the time T: lambda(i) = N_limit(i) / T, mu = N_market / T * S_market / S_limit
and theta(i) = N_cancel(i) / (T Q(i)) * S_cancel / S_limit, where N counts orders and S is their mean size, and Q(i) is
the time average of the units that rest at i; the unit is S_limit, in whole lots. Counts of both sides are taken
together and halved.

The paper knows lambda and theta at five distances and goes on with a power law. A stock with a spread of many ticks is
not like that: its lambda has a hump at the spread's width. So the rates here are measured at all distances: tick by
tick up to 20, then in bands that grow by a fifth, within which all ticks are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.simulation.fitting.orders import CANCEL, LIMIT, TAKE, SessionOrders

NEAR, GROWTH, FARTHEST = 20, 1.2, 100_000


def band_edges() -> np.ndarray:
    """The lowest distance of each band, int64[N], and the first one beyond the last, in ticks."""
    edges = list(range(1, NEAR + 1))
    while edges[-1] < FARTHEST:
        edges.append(int(np.ceil(edges[-1] * GROWTH)))
    return np.array(edges)


def fit_cst(parts: Sequence[SessionOrders]) -> dict[str, Any]:
    """Fit the model.

    Args:
        parts: Training orders of one instrument.

    Returns:
        `unit`, the size of all orders; `edges` [N + 1], where bands of distances begin, in ticks; `limit` [N], orders
        per second and side in each band; `market`, orders per second and side; `cancel` [N], cancels per second of
        each unit that rests in the band.

    Raises:
        ValueError: There are no limit orders, no market orders or no cancels.
    """
    edges = band_edges()
    counts, sizes, seconds = np.zeros((3, len(edges) - 1)), np.zeros(3), 0.0
    exposed = np.zeros(len(edges) - 1)  # units times seconds
    for part in parts:
        seconds += part.seconds
        for action in (LIMIT, TAKE, CANCEL):
            chosen = part.action == action
            away = np.maximum(part.away[chosen], 1)
            counts[action] += _in_bands(edges, away, np.ones(len(away)))
            sizes[action] += part.size[chosen].sum()
        weight = part.level_size * (part.wait / 1e9)[:, None, None]
        there = part.level_away > 0
        exposed += _in_bands(edges, part.level_away[there], weight[there])
    number = counts.sum(axis=1)
    if not number.all() or not seconds:
        raise ValueError("the training part lacks limit orders, market orders or cancels: there is nothing to fit")
    mean = sizes / number
    lot = int(
        np.gcd.reduce(np.concatenate([part.size[(part.action == LIMIT) & (part.side == t.BUY)] for part in parts]))
    )
    unit = max(round(mean[LIMIT] / max(lot, 1)), 1) * max(lot, 1)
    return {
        "unit": unit,
        "edges": edges.tolist(),
        "limit": (counts[LIMIT] * mean[LIMIT] / unit / seconds / 2).tolist(),
        "market": number[TAKE] * mean[TAKE] / unit / seconds / 2,
        "cancel": np.divide(
            counts[CANCEL] * mean[CANCEL], exposed, out=np.zeros(len(exposed)), where=exposed > 0
        ).tolist(),
    }


def _in_bands(edges: np.ndarray, away: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weights' sum in each band; what lies beyond the last counts there."""
    band = np.minimum(np.searchsorted(edges, away, side="right") - 1, len(edges) - 2)
    return np.bincount(band, weight, minlength=len(edges) - 1)
