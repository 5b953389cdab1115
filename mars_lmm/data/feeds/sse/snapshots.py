"""Which snapshot shows which book.

A snapshot tells its time in whole seconds, and nothing of its place among the messages. It matches a message if,
after that message,

* the day's number of trades, their volume and value, and the first, last, highest and lowest price are those that
  the snapshot shows: together they leave the few messages between two trades;
* both sides' ten best levels are the snapshot's, price and size;
* the book stood so at some moment of the snapshot's second, or up to `LATE` before it: in the first busy minute
  some snapshots are as old;
* no earlier snapshot shows a later book.

Only snapshots of continuous trading are compared: in calls the exchange shows the auction's price as of now.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.level2.messages import HOUR, MINUTE, SECOND, TRADE, Messages
from mars_lmm.market import types as t

MORNING, LUNCH = 9 * HOUR + 30 * MINUTE, 11 * HOUR + 30 * MINUTE
AFTERNOON, CLOSING_CALL = 13 * HOUR, 14 * HOUR + 57 * MINUTE

# Columns of a snapshot's figures, those of the day so far.
NUM_TRADES, VOLUME, VALUE, OPEN, LAST, HIGH, LOW = range(7)
NUM_FIGURES = 7

# A snapshot as it lies in a spool; see `Snapshots`.
SNAPSHOT = np.dtype([("time", "<i8"), ("figures", "<i8", NUM_FIGURES), ("levels", "<i8", (2, t.DEPTH, 2))])

LATE = SECOND // 10
NO_MATCH = -1


class Snapshots(NamedTuple):
    """The exchange's snapshots.

    Attributes:
        time: int64[N], nanoseconds since midnight, in whole seconds.
        figures: int64[N, NUM_FIGURES]: the number of trades, and their volume in shares, value in ticks times
            shares, first, last, highest and lowest price in ticks.
        levels: int64[N, 2, DEPTH, 2], [side][level][price in ticks, size]; (NO_PRICE, 0) for a missing level.
    """

    time: np.ndarray
    figures: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, records: np.ndarray) -> Snapshots:
        """The columns of records[N]."""
        return cls(*(np.ascontiguousarray(records[name]) for name in cls._fields))


def match_snapshots(messages: Messages, books: np.ndarray, snapshots: Snapshots) -> tuple[np.ndarray, np.ndarray]:
    """Find the message that each snapshot of continuous trading shows the book after.

    Args:
        messages: M messages.
        books: int64[M, 2, DEPTH, 2], the book after each.
        snapshots: N snapshots.

    Returns:
        int64[C], the snapshots compared; and int64[C], the first message that matches, or NO_MATCH.
    """
    time = snapshots.time
    compared = np.flatnonzero(((time >= MORNING) & (time <= LUNCH)) | ((time >= AFTERNOON) & (time < CLOSING_CALL)))
    time = time[compared]
    figures = _figures(messages)
    # The book after message i stood from messages.time[i] until messages.time[i + 1].
    first = np.maximum(np.searchsorted(messages.time, time - LATE) - 1, 0)
    end = np.searchsorted(messages.time, time + SECOND)
    matches = _match(books, figures, first, end, snapshots.levels[compared], snapshots.figures[compared])
    return compared, matches


def _figures(messages: Messages) -> np.ndarray:
    """int64[M, NUM_FIGURES], the day's figures after each message; 0 before the first trade."""
    traded = messages.kind == TRADE
    price, size = messages.price[traded], messages.size[traded]
    after = np.zeros((len(price) + 1, NUM_FIGURES), np.int64)  # a row a trade
    after[1:, NUM_TRADES] = np.arange(1, len(price) + 1)
    after[1:, VOLUME] = np.cumsum(size)
    after[1:, VALUE] = np.cumsum(price * size)
    after[1:, OPEN] = price[:1]
    after[1:, LAST] = price
    after[1:, HIGH] = np.maximum.accumulate(price)
    after[1:, LOW] = np.minimum.accumulate(price)
    return after[np.cumsum(traded)]


@kept_njit("market", "tokenizers", "data")
def _match(books, figures, first, end, levels, shown_figures):
    matches = np.full(len(levels), NO_MATCH, np.int64)
    reached = 0
    for i in range(len(levels)):
        for row in range(max(first[i], reached), end[i]):
            if (figures[row] == shown_figures[i]).all() and (books[row] == levels[i]).all():
                matches[i] = reached = row
                break
    return matches
