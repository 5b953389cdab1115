"""From Shanghai's messages to what participants sent.

In continuous trading an aggressor's trades stand together, and what is left of it follows at once as an ADD: with
them it is one order. Its size is the sum; its price is that of the ADD, or else of its last and worst fill, for
the limit of an order that filled whole is not published, nor what a market order dropped. Orders of the calls are
published as they were sent, and the auctions' trades follow from them.
"""

from __future__ import annotations

import numpy as np

from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE, Messages, Sent
from mars_lmm.market import types as t


def submitted_orders(messages: Messages) -> Sent:
    """What participants sent.

    Args:
        messages: The session's messages.

    Returns:
        The orders, and counts: `aggressors`, `merged_runs` (aggressors with several trades), `remainders` (that then
        rested).
    """
    sent = np.flatnonzero((messages.kind != TRADE) | (messages.side != t.NO_SIDE))
    kind, side, price, size, time = (
        getattr(messages, name)[sent] for name in ("kind", "side", "price", "size", "time")
    )
    order_id = messages.order_id[sent]

    # A message goes on with the order of a trade before it that had the same aggressor, unless it deletes it.
    traded = kind == TRADE
    goes_on = np.zeros(len(sent), bool)
    goes_on[1:] = traded[:-1] & (kind[1:] != DELETE)
    for column in (side, order_id, time):
        goes_on[1:] &= column[1:] == column[:-1]
    first = np.flatnonzero(~goes_on)
    last = np.append(first[1:], len(sent))[: len(first)] - 1

    orders = np.zeros((len(first), t.NUM_ORDER_COLUMNS), np.int64)
    orders[:, t.KIND] = np.where(kind[last] == DELETE, t.CANCEL, t.LIMIT)
    orders[:, t.SIDE] = side[last]
    orders[:, t.PRICE] = price[last]
    orders[:, t.SIZE] = np.add.reduceat(size, first) if len(first) else 0
    orders[:, t.ORDER_ID] = order_id[last]
    orders[:, t.OWNER] = t.BACKGROUND

    aggressor = traded[first]
    rests = aggressor & (kind[last] == ADD)
    counts = {
        "aggressors": int(np.count_nonzero(aggressor)),
        "merged_runs": int(np.count_nonzero(aggressor & (last - first - rests > 0))),
        "remainders": int(np.count_nonzero(rests)),
    }
    return Sent(orders, time[first], sent[last], counts)
