"""Sequences of messages and the book after each, in the terms of LOBSTER's files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Types of messages.
NEW, PARTIAL_CANCEL, DELETE, EXECUTION, HIDDEN_EXECUTION, HALT = 1, 2, 3, 4, 5, 7
BUY, SELL = 1, -1  # directions: of an execution, that of the order that rested

# Columns of a level in a row of the book.
ASK_PRICE, ASK_SIZE, BID_PRICE, BID_SIZE = range(4)
NUM_LEVEL_COLUMNS = 4


@dataclass(frozen=True)
class Sequences:
    """S sequences of messages, one after the other, N messages in all.

    Attributes:
        offsets: int64[S + 1]; sequence s holds the rows offsets[s] to offsets[s + 1].
        start: int64[S], the start that each sequence continues, or the block of starts that are drawn together.
            Sequences of one are not independent.
        time: int64[N], nanoseconds since midnight.
        type: int8[N], NEW to HALT.
        order_id: int64[N], unique within a sequence and its past.
        size: int64[N].
        price: int64[N], in price units.
        direction: int8[N], BUY or SELL.
        book: int64[N, L, 4], the best L levels after the message: ask price, ask size, bid price, bid size. A level
            that is not there has size 0; its price means nothing.
        tick: Price units per tick.
    """

    offsets: np.ndarray
    start: np.ndarray
    time: np.ndarray
    type: np.ndarray
    order_id: np.ndarray
    size: np.ndarray
    price: np.ndarray
    direction: np.ndarray
    book: np.ndarray
    tick: int

    def __len__(self) -> int:
        return len(self.start)

    @property
    def sequence(self) -> np.ndarray:
        """The sequence of each message, int64[N]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def select(self, chosen: np.ndarray) -> Sequences:
        """Some of the sequences, in the order given; int64[K], or bool[S]."""
        chosen = np.arange(len(self))[chosen]
        lengths = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        columns = {name: getattr(self, name)[rows] for name in _MESSAGE_COLUMNS}
        return Sequences(offsets, self.start[chosen], **columns, tick=self.tick)


_MESSAGE_COLUMNS = ("time", "type", "order_id", "size", "price", "direction", "book")
