"""Cutting: which orders make up a row.

A row holds T + 1 orders. Long sessions are cut into overlapping rows; sessions too short for one are packed, several
into a row. Every order of a split is scored once, except that a session's first has no past and is never scored.
"""

from __future__ import annotations

import numpy as np

PIECE = np.dtype([("session", "<i4"), ("start", "<i8"), ("length", "<i4"), ("first_target", "<i4")])
"""Consecutive orders of one session in a row.

`session` counts the sessions of the set, `start` the orders of the session; `first_target` is the place within the
piece, at least 1, of the first order that is scored. All that follow it in the piece are scored too.
"""

MAX_PIECES = 255  # of a row, so that its segments fit 8 bits beside the padding


def cut(session: int, first: int, end: int, row_length: int, context: int) -> np.ndarray:
    """Cut a part of a session into rows.

    Args:
        session: The session's number.
        first: First order to score.
        end: The order to stop before. Orders before `first` may be read, none from `end` on.
        row_length: T.
        context: Orders that a row reads before its first scored one, fewer than T.

    Returns:
        PIECE[R]: R pieces of T + 1 orders, a row each; or one piece of fewer, to be packed; or none, if there is
        nothing to score.
    """
    following = max(first, 1)
    if following >= end:
        return np.empty(0, PIECE)
    start = max(following - 1 - context, 0)
    last = end - 1 - row_length
    if last < 0:
        return np.array([(session, start, end - start, following - start)], PIECE)
    start = min(start, last)
    step = row_length - context
    starts = np.minimum(start + step * np.arange(1 - (start - last) // step), last)
    pieces = np.empty(len(starts), PIECE)
    pieces["session"] = session
    pieces["start"] = starts
    pieces["length"] = row_length + 1
    pieces["first_target"] = np.append(following, starts[:-1] + row_length + 1) - starts
    return pieces


def pack(pieces: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pack short pieces into rows: each goes, in turn, into the first row that has room for it.

    Args:
        pieces: PIECE[P], none longer than T + 1.
        row_length: T.

    Returns:
        PIECE[P], sorted by row; and int64[R], how many of them make up each row.
    """
    row = np.empty(len(pieces), dtype=np.int64)
    room = np.full(len(pieces), row_length + 1)
    count = np.zeros(len(pieces), dtype=np.int64)
    opened = full = 0  # rows before `full` take nothing more
    for number, length in enumerate(pieces["length"].tolist()):
        fits = (room[full : opened + 1] >= length) & (count[full : opened + 1] < MAX_PIECES)
        row[number] = place = full + int(fits.argmax())
        room[place] -= length
        count[place] += 1
        opened = max(opened, place + 1)
        while full < opened and (room[full] < 2 or count[full] == MAX_PIECES):  # a piece has at least two orders
            full += 1
    return pieces[np.argsort(row, kind="stable")], count[:opened]
