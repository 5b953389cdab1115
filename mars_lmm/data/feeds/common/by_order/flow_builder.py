"""From a feed's messages by order id to the columns of the order flow."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mars_lmm.data.feeds.common.by_order.messages import Messages
from mars_lmm.data.feeds.common.by_order.submitted import COUNTS, FLAGS, LAST, TIME, submitted_orders
from mars_lmm.data.flow import Columns, typed
from mars_lmm.market import types as t


class FlowBuilder:
    """Builds the order flow of a session part by part.

    Aggressors that the feed does not name get ids of their own, -1, -2, ...: beside other agents they may come to rest.

    Args:
        price_tick: The feed's price units per tick.

    Attributes:
        counts: Those of `submitted_orders`.
    """

    def __init__(self, price_tick: int):
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._price_tick = price_tick
        self._next_id = -1

    def build(self, messages: Messages) -> tuple[Columns, np.ndarray]:
        """Build the next part.

        Args:
            messages: N messages, complete; no run of executions is cut.

        Returns:
            M rows of the flow, and int64[M]: the last message (from 0) of each.
        """
        orders, counts = submitted_orders(messages, self._price_tick)
        self.counts.update(counts)
        nameless = np.flatnonzero(orders[:, t.ORDER_ID] == 0)
        orders[nameless, t.ORDER_ID] = self._next_id - np.arange(len(nameless))
        self._next_id -= len(nameless)
        last = np.ascontiguousarray(orders[:, LAST])
        columns = {
            "time": orders[:, TIME],
            "kind": orders[:, t.KIND],
            "side": orders[:, t.SIDE],
            "price": orders[:, t.PRICE],
            "size": orders[:, t.SIZE],
            "order_id": orders[:, t.ORDER_ID],
            "flags": orders[:, FLAGS],
            "source_row": messages.row[last],
        }
        return typed(columns), last
