"""Chinese level 2: what the tick-by-tick messages of Shanghai and Shenzhen have in common.

A stock's messages of a day have one channel and ascending sequence numbers, over orders and trades together; that is
the exchange's order, whatever file they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mars_lmm.data.flow import AUCTION, Columns, typed
from mars_lmm.market import types as t

# Message kinds.
ADD = 0  # an order with its limit: of Shanghai what rests of it, of Shenzhen all of it
DELETE = 1  # an order leaves with what is left of it
TRADE = 2
MARKET_ORDER = 3  # Shenzhen: an order without a price
OWN_BEST_ORDER = 4  # Shenzhen: an order at its own side's best price
SUSPENSION = 5  # Shanghai: trading stops; about no order, so it lies among the records and is no message
NAMES = ("new order", "delete", "trade", "market order", "own-best order")

UNTOLD = -1  # a price or size that the message does not tell

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
OPENING_CALL, CLOSE = 9 * HOUR + 15 * MINUTE, 15 * HOUR  # a session's first and last moment
PER_YUAN = 100  # ticks
MAX_TICKS = 2_000_000  # 20,000 yuan; no share has cost a fifth of it
MAX_ID = 10**18
PART = 1 << 18  # orders of a flow that are handed on at once

# A message as it lies in a spool; see `Messages`.
RECORD = np.dtype(
    [
        ("kind", "i1"),
        ("side", "i1"),
        ("channel", "<i4"),
        ("price", "<i4"),
        ("size", "<i4"),
        ("sequence", "<i8"),
        ("time", "<i8"),
        ("buy_id", "<i8"),
        ("sell_id", "<i8"),
        ("executed", "<i8"),
        ("row", "<i8"),
    ]
)


class Messages(NamedTuple):
    """One stock's messages of one day in the exchange's order, each int64[M].

    Attributes:
        kind: ADD, DELETE, TRADE, MARKET_ORDER or OWN_BEST_ORDER.
        sequence: The message's number in its channel, ascending.
        time: Nanoseconds since midnight.
        side: The order's side; of a trade the aggressor's, NO_SIDE in auctions.
        price: Ticks of 0.01, or UNTOLD.
        size: Shares.
        buy_id: The buy order; 0 in messages of a sell order.
        sell_id: The sell order; 0 in messages of a buy order.
        executed: Of an ADD of Shanghai, what the order traded before it rested; UNTOLD where the file does not say.
        row: The message's row in its file, counted from 1.
        source: Which of the session's sources has it.
    """

    kind: np.ndarray
    sequence: np.ndarray
    time: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    buy_id: np.ndarray
    sell_id: np.ndarray
    executed: np.ndarray
    row: np.ndarray
    source: np.ndarray

    @property
    def order_id(self) -> np.ndarray:
        """int64[M]: the order that a message is about, the aggressor of a TRADE; 0 in auctions."""
        return np.where(self.side == t.BUY, self.buy_id, np.where(self.side == t.SELL, self.sell_id, 0))

    def keep(self, kept: np.ndarray) -> Messages:
        """Those messages for which `kept`, bool[M], is true."""
        return Messages(*(column[kept] for column in self))

    def describe(self, i: int) -> str:
        """A message in words."""
        return (
            f"sequence number {self.sequence[i]}: the {NAMES[self.kind[i]]} of {self.size[i]} at {self.price[i]} "
            f"ticks (buyer {self.buy_id[i]}, seller {self.sell_id[i]}) does not fit the book"
        )


class Sent(NamedTuple):
    """What participants sent, in the exchange's order.

    Attributes:
        orders: int64[N, NUM_ORDER_COLUMNS], owned by the background.
        times: int64[N], nanoseconds since midnight.
        last: int64[N], the message that completed each order.
        counts: What was found on the way.
    """

    orders: np.ndarray
    times: np.ndarray
    last: np.ndarray
    counts: dict[str, int]

    def parts(self, schedule: np.ndarray) -> Iterator[Columns]:
        """The order flow, part by part.

        Args:
            schedule: int64[K, NUM_PHASE_COLUMNS], the session's phases; orders sent in its calls are flagged.
        """
        called = schedule[phases(self.times, schedule), t.PHASE_MODE] == t.CALL
        columns = {
            "time": self.times,
            "kind": self.orders[:, t.KIND],
            "side": self.orders[:, t.SIDE],
            "price": self.orders[:, t.PRICE],
            "size": self.orders[:, t.SIZE],
            "order_id": self.orders[:, t.ORDER_ID],
            "flags": np.where(called, AUCTION, 0),
            "source_row": self.last + 1,
        }
        for first in range(0, len(self.times), PART):
            yield typed({name: column[first : first + PART] for name, column in columns.items()})


def phases(times: np.ndarray, schedule: np.ndarray) -> np.ndarray:
    """The row of a session's schedule at each time, int64[N]."""
    return np.searchsorted(schedule[:, t.PHASE_START], times, side="right") - 1
