"""Starts that share real messages: which are one unit of a test, and which are drawn together."""

from __future__ import annotations

import numpy as np


def overlapping(starts: list[dict]) -> np.ndarray:
    """Groups of starts of one symbol and date whose real continuations overlap in time, directly or through others.

    Args:
        starts: Of each start `symbol`, `date`, and `time_ns` and `end_ns`, between which its continuation lies, both in
            nanoseconds since midnight. One that begins when another ends shares nothing with it.

    Returns:
        The group of each start, from 0, int64[S].
    """
    group = np.zeros(len(starts), np.int64)
    begins = [(start["symbol"], start["date"], start["time_ns"]) for start in starts]
    session, until, number = None, 0, -1
    for at in sorted(range(len(starts)), key=begins.__getitem__):
        *own, begin = begins[at]
        if own != session or begin >= until:
            session, until, number = own, starts[at]["end_ns"], number + 1
        until = max(until, starts[at]["end_ns"])
        group[at] = number
    return group


def apart(starts: list[dict]) -> np.ndarray:
    """Starts that share no real message with one another: as many as there can be.

    Args:
        starts: As in `overlapping`.

    Returns:
        bool[S].
    """
    chosen = np.zeros(len(starts), bool)
    until = {}
    for at in sorted(range(len(starts)), key=lambda at: starts[at]["end_ns"]):
        start = starts[at]
        session = start["symbol"], start["date"]
        if start["time_ns"] >= until.get(session, start["time_ns"]):
            chosen[at], until[session] = True, start["end_ns"]
    return chosen


def blocks(starts: list[dict]) -> np.ndarray:
    """Starts that are drawn together for intervals: each with the one of `apart` that is nearest in its session.

    Blocks of a bootstrap may touch, unlike the units of a test: else starts that overlap in a chain would be one.

    Args:
        starts: As in `overlapping`.

    Returns:
        The block of each start, from 0, int64[S].
    """
    chosen = np.flatnonzero(apart(starts))
    place = np.array([start["time_ns"] for start in starts])
    session = np.unique([f"{start['date']} {start['symbol']}" for start in starts], return_inverse=True)[1]
    distance = np.abs(place[:, None] - place[chosen]).astype(np.float64)
    distance[session[:, None] != session[chosen]] = np.inf
    return distance.argmin(axis=1)


def groups_of(start: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """The groups of starts, numbered anew without gaps.

    Args:
        start: Numbers of starts, int64[N].
        group: The group of each start, int64[S], as `overlapping` gives it; None: each start is one of its own.

    Returns:
        int64[N], from 0.
    """
    return np.unique(start if group is None else group[start], return_inverse=True)[1]
