"""Rows of many instruments and days, by session."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def by_session(symbols: np.ndarray, days: np.ndarray, records: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Split records by session.

    Args:
        symbols: int64[N], a number for each instrument.
        days: int64[N], a number for each day.
        records: [N].

    Yields:
        An instrument's number, a day's, and the session's records in their order.
    """
    order = np.lexsort((days, symbols))
    symbols, days, records = symbols[order], days[order], records[order]
    changes = (symbols[1:] != symbols[:-1]) | (days[1:] != days[:-1])
    starts = np.flatnonzero(np.append(np.ones(min(len(order), 1), bool), changes))
    for first, end in zip(starts, np.append(starts, len(order))[1:], strict=True):
        yield int(symbols[first]), int(days[first]), records[first:end]
