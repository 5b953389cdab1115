"""What Shanghai level-2 files hold, whatever their layout: messages and snapshots as integer arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.market import types as t

# Message kinds.
ADD, DELETE, TRADE = range(3)

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

# The session's phases, nanoseconds since midnight.
OPENING_CALL, OPENING_AUCTION = 9 * HOUR + 15 * MINUTE, 9 * HOUR + 25 * MINUTE
MORNING, LUNCH = 9 * HOUR + 30 * MINUTE, 11 * HOUR + 30 * MINUTE
AFTERNOON, CLOSING_CALL, CLOSE = 13 * HOUR, 14 * HOUR + 57 * MINUTE, 15 * HOUR

# Columns of a snapshot's figures, those of the day so far.
NUM_TRADES, VOLUME, VALUE, OPEN, LAST, HIGH, LOW = range(7)
NUM_FIGURES = 7


class Messages(NamedTuple):
    """One stock's messages of one day in the exchange's order, each int64[M].

    The exchange publishes an order after it has matched it: an ADD tells what rests, not what was sent.

    Attributes:
        kind: ADD, DELETE or TRADE.
        sequence: The message's number in its channel, ascending.
        time: Nanoseconds since midnight.
        side: The order's side; of a trade the aggressor's, NO_SIDE in auctions.
        price: Ticks of 0.01.
        size: Shares; of a DELETE what was left.
        buy_id: The buy order; 0 in messages of a sell order.
        sell_id: The sell order; 0 in messages of a buy order.
    """

    kind: np.ndarray
    sequence: np.ndarray
    time: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    buy_id: np.ndarray
    sell_id: np.ndarray

    @property
    def order_id(self) -> np.ndarray:
        """int64[M]: the order of an ADD or DELETE, the aggressor of a TRADE; 0 in auctions."""
        return np.where(self.side == t.BUY, self.buy_id, np.where(self.side == t.SELL, self.sell_id, 0))


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


def no_snapshots() -> Snapshots:
    """The snapshots of a layout without any."""
    return Snapshots(
        np.empty(0, np.int64), np.empty((0, NUM_FIGURES), np.int64), np.empty((0, 2, t.DEPTH, 2), np.int64)
    )


def in_order(source: str, channels: np.ndarray, messages: Messages) -> Messages:
    """Put messages in the exchange's order, and check that they have one.

    Args:
        source: Where they came from.
        channels: [M], the channel of each.
        messages: The messages in any order.

    Raises:
        DataError: They are of several channels, or their sequence numbers or times contradict each other.
    """
    if len(channels) == 0:
        raise DataError(source, "holds no order and no trade")
    if (channels != channels[0]).any():
        reason = "one stock's messages have one channel a day; split the file by day"
        raise DataError(source, f"channels {np.unique(channels).tolist()}: {reason}")
    order = np.argsort(messages.sequence, kind="stable")
    messages = Messages(*(column[order] for column in messages))
    step, wait = np.diff(messages.sequence), np.diff(messages.time)
    if (step == 0).any():
        twice = messages.sequence[1:][step == 0][0]
        raise DataError(source, f"sequence number {twice} occurs twice; remove the repeated rows")
    if (wait < 0).any():
        early = messages.sequence[1:][wait < 0][0]
        raise DataError(source, f"the message with sequence number {early} is earlier than the one before it")
    return messages


def refuse(source: str, rows: np.ndarray, fault: np.ndarray, reason: str, values: np.ndarray) -> None:
    """Raise for the first value at fault.

    Args:
        source: The file.
        rows: [N], the values' rows in it, counted from 1.
        fault: bool[N].
        reason: What is wrong; shows the value at {}.
        values: [N].

    Raises:
        DataError: A value is at fault.
    """
    if fault.any():
        first = int(np.argmax(fault))
        raise DataError(source, reason.format(values[first]), int(rows[first]))
