"""Trajectories and real continuations as sequences of messages, by executing their orders once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, OrderFlow
from mars_lmm.evaluation.sequences.sequences import Sequences
from mars_lmm.evaluation.sequences.telling import (
    DIRECTION,
    ORDER_ID,
    PRICE,
    SIZE,
    TIME,
    TYPE,
    Orders,
    Told,
    tell,
)
from mars_lmm.market import types as t
from mars_lmm.market.repack import with_room
from mars_lmm.simulation.starts.start import Start

ORDER_COLUMNS = ("kind", "side", "price", "size", "order_id", "source")
TOUCH_COLUMNS = ("bid", "ask", "bid_size", "ask_size")


def real_sequences(starts: Sequence[Start], ends: Sequence[int], levels: int = t.DEPTH) -> Sequences:
    """What really came after each start, one sequence a start.

    Args:
        starts: Starts of recorded sessions.
        ends: The last moment of each, nanoseconds since midnight.
        levels: How many levels of the book to tell.

    Raises:
        DataError: The exchange rejects a recorded order.
    """
    told = []
    for start, end in zip(starts, ends, strict=True):
        orders = _recorded_orders(start.flow, start.time, end)
        told.append(_told(start, True, orders, t.OLDEST_FIRST, f"the real continuation of {start.session.name}"))
    return _joined(told, np.arange(len(starts)), levels)


def simulated_sequences(
    starts: Sequence[Start],
    orders: dict[str, np.ndarray],
    rollouts: int,
    queue_rule: int,
    background: Iterable[int],
    name: str,
    levels: int = t.DEPTH,
) -> Sequences:
    """Rollouts, S * R sequences, those of a start together.

    Args:
        starts: Where they begin.
        orders: Columns of the rollouts' orders [N], by start, rollout and time: `start`, `rollout`, `time`,
            ORDER_COLUMNS and TOUCH_COLUMNS.
        rollouts: R, rollouts from each start.
        queue_rule: What cancels without an id take of a queue.
        background: Numbers of the sources whose orders are the background's own.
        name: Of the simulation, for messages.
        levels: How many levels of the book to tell.

    Raises:
        DataError: The orders do not lead to the book that the simulation recorded, so that the starts are others.
    """
    path = orders["start"].astype(np.int64) * rollouts + orders["rollout"]
    bounds = np.searchsorted(path, np.arange(len(starts) * rollouts + 1))
    owner = np.where(np.isin(orders["source"], [0, *background]), t.BACKGROUND, orders["source"])
    rows = np.empty((len(path), t.NUM_ORDER_COLUMNS), dtype=np.int64)
    for column, values in zip(
        (t.KIND, t.SIDE, t.PRICE, t.SIZE, t.ORDER_ID, t.OWNER),
        (*(orders[key] for key in ORDER_COLUMNS[:-1]), owner),
        strict=True,
    ):
        rows[:, column] = values
    touch = np.stack([orders[key] for key in TOUCH_COLUMNS], axis=1).astype(np.int64)

    def each() -> Iterator[Told]:
        for number in range(len(starts) * rollouts):
            part = slice(bounds[number], bounds[number + 1])
            nothing = np.zeros(part.stop - part.start, dtype=bool)
            one = Orders(rows[part], orders["time"][part], nothing, nothing)
            label = f"{name}, start {number // rollouts}, rollout {number % rollouts}"
            told = _told(starts[number // rollouts], False, one, queue_rule, label)
            different = (told.touch != touch[part]).any(axis=1)
            if different.any():
                raise DataError(
                    label,
                    "the orders lead to another book than the simulation recorded: it was made from another prepared "
                    "set, or under rules=... of its own, which is not supported here; simulate again",
                    row=int(different.argmax()),
                )
            yield told

    return _joined(list(each()), np.repeat(np.arange(len(starts)), rollouts), levels)


def _recorded_orders(flow: OrderFlow, begin: int, end: int) -> Orders:
    """The visible rows of a session in (begin, end]."""
    first, last = np.searchsorted(flow.time, [begin, end], side="right")
    rows = first + np.flatnonzero(flow.flags[first:last] & HIDDEN == 0)
    orders = flow.orders()[rows]
    orders[:, t.OWNER] = t.BACKGROUND
    collected = (flow.flags[rows] & AUCTION != 0) & (not flow.session.rules)
    return Orders(orders, flow.time[rows], flow.flags[rows] & ANONYMOUS != 0, collected)


def _told(start: Start, as_seen: bool, orders: Orders, queue_rule: int, label: str) -> Told:
    told = tell(_with_room(start.book(as_seen), orders), start.state.clock, orders, queue_rule)
    if told.rejected >= 0:
        raise DataError(
            label,
            f"the exchange rejects the order {orders.rows[told.rejected].tolist()}: the simulation and the prepared "
            "set do not belong together; simulate again",
            row=told.rejected,
        )
    return told


def _with_room(book: np.ndarray, orders: Orders) -> np.ndarray:
    """The book with room for the orders."""
    price = orders.rows[:, t.PRICE]
    rests = (orders.rows[:, t.KIND] != t.CANCEL) & (orders.rows[:, t.KIND] != t.CANCEL_AT)
    priced = price[rests & (price > 0)]
    if not len(priced):
        return book
    return with_room(book, int(rests.sum()), int(priced.min()), int(priced.max()))


def _joined(parts: Sequence[Told], start: np.ndarray, levels: int) -> Sequences:
    messages = np.concatenate([part.messages for part in parts])
    offsets = np.concatenate([[0], np.cumsum([len(part.messages) for part in parts])])
    return Sequences(
        offsets=offsets.astype(np.int64),
        start=start,
        time=messages[:, TIME],
        type=messages[:, TYPE].astype(np.int8),
        order_id=messages[:, ORDER_ID],
        size=messages[:, SIZE],
        price=messages[:, PRICE],
        direction=messages[:, DIRECTION].astype(np.int8),
        book=np.concatenate([part.levels[:, :levels] for part in parts]),
        tick=1,
    )
