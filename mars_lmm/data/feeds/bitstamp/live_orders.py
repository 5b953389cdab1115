"""What is left of each live order, for feeds that tell what is left and not what was taken."""

from __future__ import annotations

import numpy as np

from mars_lmm.data.feeds.common.by_order.messages import UNTOLD

ORDER = np.dtype(
    [
        ("order_id", "<i8"),
        ("side", "<i8"),
        ("price", "<i8"),
        ("left", "<i8"),
        ("row", "<i8"),  # that announced it
        ("shown", "?"),  # whether it is part of the book
    ]
)


class LiveOrders:
    """Orders by id, updated by many messages at once.

    Attributes:
        orders: ORDER[K], the live orders by id.
    """

    def __init__(self):
        self.orders = np.empty(0, ORDER)

    def update(self, orders: np.ndarray, created: np.ndarray, deleted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply messages.

        Args:
            orders: ORDER[N], what each says of its order.
            created: bool[N], which announce it; only these tell side, price, row, and whether it is shown.
            deleted: bool[N], which are its last.

        Returns:
            int64[N], what was left of each order before its message, UNTOLD where it was not announced; and bool[N],
            whether the order is shown.
        """
        known = len(self.orders)
        every = np.concatenate([self.orders, orders])
        by_id = np.argsort(every["order_id"], kind="stable")
        every = every[by_id]
        announces = np.append(np.ones(known, bool), created)[by_id]
        gone = np.append(np.zeros(known, bool), deleted)[by_id]
        place = np.arange(len(every))
        starts = np.append(True, every["order_id"][1:] != every["order_id"][:-1])[: len(every)]
        # What announced a message's order: itself, or the last before it that began or ended an order of the same id.
        marks = np.maximum.accumulate(np.where(announces | gone, place, -1))
        source = np.where(announces, place, np.append(-1, marks[:-1])[: len(every)])
        announced = (source >= np.maximum.accumulate(np.where(starts, place, 0))) & (announces | ~gone[source])
        before = np.where(announced & ~announces, np.append(UNTOLD, every["left"])[place], UNTOLD)
        facts = every[source]
        facts["left"] = every["left"]

        ends = np.append(starts[1:], True)[: len(every)]
        self.orders = facts[ends & announced & ~gone]
        left_before, shown = np.empty(len(every), np.int64), np.empty(len(every), bool)
        left_before[by_id], shown[by_id] = before, facts["shown"] | ~announced
        return left_before[known:], shown[known:]
