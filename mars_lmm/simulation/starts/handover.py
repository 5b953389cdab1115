"""A book that agents have left: what they had in it belongs to the background order flow."""

from __future__ import annotations

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, sections
from mars_lmm.market.repack import repack
from mars_lmm.simulation.engine.columns import FIRST_AGENT_ID

_NO_ACCOUNTS = np.zeros((0, 3), dtype=np.int64)


def without_agents(book: np.ndarray, next_id: int) -> tuple[np.ndarray, int]:
    """Copy a book; orders of agents keep their places in its queues, and get the background's owner and ids.

    So agents of a later rollout, who count their orders and themselves from the beginning, meet nobody of their name.

    Args:
        book: int64[N].
        next_id: The first id that is free for them.

    Returns:
        int64[N], without accounts, and the first id that is free now.
    """
    copy = book.copy()
    index = sections(copy).index[0]
    live = index[index[:, 1] != NO_SLOT, 1]
    slots = live[copy[live + t.ORDER_ID] >= FIRST_AGENT_ID]
    slots = slots[np.argsort(copy[slots + t.ORDER_ID])]
    copy[slots + t.OWNER] = t.BACKGROUND
    copy[slots + t.ORDER_ID] = next_id + np.arange(len(slots))
    # The copy of the copy finds its orders by their new ids.
    num_slots, num_ticks = int(copy[t.NUM_SLOTS]), int(copy[t.NUM_TICKS])
    left = repack(copy, 1, num_slots, num_ticks, accounts=_NO_ACCOUNTS, num_accounts=0)[0]
    return left, next_id + len(slots)
