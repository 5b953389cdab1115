"""The feed view: what a feed that names each order says of the book, whatever its format.

Kinds, and what they do to the book, follow LOBSTER's; other feeds are translated into them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Message kinds.
NEW = 1  # a visible order; what rests of it
REDUCE = 2  # a cancel of part of an order, which keeps its place
DELETE = 3  # a cancel of all that is left of an order
EXECUTE = 4  # an execution of a visible order
EXECUTE_HIDDEN = 5  # an execution of a hidden order; no effect on the visible book
CROSS = 6  # an auction's trade as a whole; no effect on the visible book
HALT = 7  # trading stops, or goes on; no effect on the visible book
CLEAR = 8  # all orders leave the book
UNCROSS = 9  # an execution of a visible order in an auction, or at another price than its own
COLLECT = 10  # a visible order that rests though it crosses: an auction collects orders
NAMES = (
    "new",
    "reductions",
    "deletions",
    "executions",
    "hidden_executions",
    "crosses",
    "halts",
    "clears",
    "uncrosses",
    "collected",
)

# A message as it lies in a spool. Where a feed does not repeat the side, price or size of the order that a message
# names, the field is UNTOLD, and the book fills it in.
UNTOLD = -1
RECORD = np.dtype(
    [
        ("time", "<i8"),  # nanoseconds since midnight, exchange local
        ("order_id", "<i8"),  # the order that the message is about; 0 for hidden executions, crosses, halts, clears
        ("price", "<i8"),  # in the feed's price units; hidden executions may lie between ticks
        ("size", "<i8"),
        ("row", "<i8"),  # of the source, counted from 1
        ("kind", "<i8"),
        ("side", "<i8"),  # SELL or BUY, that of the order that the message is about; NO_SIDE if it has none
    ]
)


class Messages(NamedTuple):
    """N messages, each column int64[N]; see `RECORD`."""

    time: np.ndarray
    order_id: np.ndarray
    price: np.ndarray
    size: np.ndarray
    row: np.ndarray
    kind: np.ndarray
    side: np.ndarray

    @classmethod
    def of(cls, records: np.ndarray) -> Messages:
        """The columns of records[N]."""
        return cls(*(np.ascontiguousarray(records[name]) for name in cls._fields))

    def part(self, first: int, last: int | None = None) -> Messages:
        """Messages [first, last)."""
        return Messages(*(column[first:last] for column in self))

    def then(self, other: Messages) -> Messages:
        """These messages and those that follow them."""
        return Messages(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))
