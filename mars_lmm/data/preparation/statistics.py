"""What a data card tells of a session's order flow: counts by kind, and histograms of prices, intervals and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, Columns
from mars_lmm.market import types as t
from mars_lmm.tokenizers import observation as o

# Edges of the histograms; a bin holds values from its edge up to the next one, the last has no end.
INTERVAL_EDGES = [0, 1, *(10**n for n in range(2, 12))]  # nanoseconds since the order before
SIZE_EDGES = [0, *(2**n for n in range(1, 21))]
PLACE_EDGES = [
    -(2**31),
    -100,
    -50,
    -20,
    -10,
    -5,
    -2,
    -1,
    0,
    1,
    2,
    5,
    10,
    o.CROSSING,
]  # ticks; see `observation.place_of`


class FlowStatistics:
    """Adds up a session part by part."""

    def __init__(self):
        self._kinds = np.zeros(t.NUM_KINDS, np.int64)
        self._flagged = {name: np.zeros(2, np.int64) for name in ("anonymous", "hidden", "auction")}
        self._intervals = np.zeros(len(INTERVAL_EDGES), np.int64)
        self._sizes = np.zeros(len(SIZE_EDGES), np.int64)
        self._places = np.zeros(len(PLACE_EDGES), np.int64)
        self._filled = 0

    def add(self, columns: Columns, observed: np.ndarray, tape: np.ndarray) -> None:
        """Take in a part.

        Args:
            columns: Rows of the flow.
            observed: int64[N, NUM_OBSERVED], those of them that are learned.
            tape: int64[N, NUM_TAPE].
        """
        for name, flag in (("anonymous", ANONYMOUS), ("hidden", HIDDEN), ("auction", AUCTION)):
            flagged = columns["flags"] & flag != 0
            self._flagged[name] += np.count_nonzero(flagged), columns["size"][flagged].sum()
        nobodys = columns["flags"] & (ANONYMOUS | HIDDEN) != 0
        self._kinds += np.bincount(columns["kind"][~nobodys], minlength=t.NUM_KINDS)
        placed = observed[:, o.TYPE] != o.CANCEL_TYPE
        self._intervals += _histogram(observed[:, o.INTERVAL], INTERVAL_EDGES)
        self._sizes += _histogram(observed[:, o.SIZE], SIZE_EDGES)
        self._places += _histogram(observed[placed, o.PLACE], PLACE_EDGES)
        self._filled += int(tape[:, o.TAPE_COLUMNS.index("filled")].sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "kinds": {name: int(count) for name, count in zip(t.KINDS, self._kinds, strict=True) if count},
            **{f"{name}_rows": int(flagged[0]) for name, flagged in self._flagged.items()},
            **{f"{name}_volume": int(flagged[1]) for name, flagged in self._flagged.items()},
            "volume": self._filled,
            "intervals": self._intervals.tolist(),
            "sizes": self._sizes.tolist(),
            "places": self._places.tolist(),
        }


def _histogram(values: np.ndarray, edges: list[int]) -> np.ndarray:
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, None)
    return np.bincount(places, minlength=len(edges))
