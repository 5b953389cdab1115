"""The continuous ranked probability score of an ensemble."""

from __future__ import annotations

import numpy as np


def fair_crps(members: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """E|X - y| - E|X - X'| / 2, without bias: pairs of one member with itself do not count.

    Its mean is that of an endless ensemble of the same kind, so that ensembles of different sizes compare (Ferro,
    Quarterly Journal of the Royal Meteorological Society 140, 2014).

    Args:
        members: float64[R, ...].
        observed: float64[...].

    Returns:
        float64[...]; NaN with fewer than two members.
    """
    count = len(members)
    if count < 2:
        return np.full(observed.shape, np.nan)
    signs = 2 * np.arange(count) - count + 1
    pairs = np.tensordot(signs, np.sort(members, axis=0), axes=1)
    return np.abs(members - observed).mean(axis=0) - pairs / (count * (count - 1))


def climatology_crps(observed: np.ndarray) -> np.ndarray:
    """The fair score of each start's observation by those of all other starts.

    Args:
        observed: float64[S, M], NaN where there is none.

    Returns:
        float64[S, M]; NaN where there is no observation, or fewer than two others.
    """
    scores = np.full(observed.shape, np.nan)
    for minute, column in enumerate(observed.T):
        known = np.flatnonzero(np.isfinite(column))
        others = len(known) - 1
        if others < 2:
            continue
        distance = np.abs(column[known, None] - column[known]).sum(axis=1)
        pairs = distance.sum() / 2 - distance  # between the others
        scores[known, minute] = distance / others - pairs / (others * (others - 1))
    return scores
