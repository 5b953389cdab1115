"""From Shenzhen's messages to what participants sent: they are published as they were sent."""

from __future__ import annotations

import numpy as np

from mars_lmm.data.feeds.common.level2.messages import Sent
from mars_lmm.data.feeds.szse.book import NOTHING, Rebuilt
from mars_lmm.market import types as t


def sent_orders(rebuilt: Rebuilt) -> Sent:
    """What participants sent.

    Args:
        rebuilt: The session's messages, and what each did in the book.

    Returns:
        The orders and cancels that did something; `last` counts all messages. Orders that name no price have 0.
    """
    own = np.flatnonzero(rebuilt.fits & (rebuilt.kind != NOTHING))
    messages, kind = rebuilt.messages, rebuilt.kind[own]
    orders = np.zeros((len(own), t.NUM_ORDER_COLUMNS), np.int64)
    orders[:, t.KIND] = kind
    orders[:, t.SIDE] = messages.side[own]
    orders[:, t.PRICE] = np.where((kind == t.LIMIT) | (kind == t.CANCEL), messages.price[own], 0)
    orders[:, t.SIZE] = messages.size[own]
    orders[:, t.ORDER_ID] = messages.order_id[own]
    orders[:, t.OWNER] = t.BACKGROUND
    return Sent(orders, messages.time[own], rebuilt.last[own], rebuilt.counts)
