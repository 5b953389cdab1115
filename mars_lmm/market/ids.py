"""Which slot holds an order id: an open-addressing hash table.

The table is int64[M, 2], rows of (order id, slot), M a power of two; slot -1 marks a free row. It probes
linearly. A removal shifts the rows behind it back: there are no tombstones, and a long session does not slow
down.
"""

from collections.abc import Callable
from typing import NamedTuple

# 2**31 divided by the golden ratio: multiplying by it spreads consecutive ids evenly. Ids are folded to 31
# bits first, so the product stays below 2**62 and overflows nowhere.
GOLDEN = 1327217885
LOW_31_BITS = 2**31 - 1


class Ids(NamedTuple):
    """The compiled functions of the id table."""

    lookup: Callable  # (index, order_id) -> slot, or -1
    insert: Callable  # (index, order_id, slot); the id must not be there
    erase: Callable  # (index, order_id); the id must be there


def make_ids(jit: Callable) -> Ids:
    """Compile the id table's functions with `jit`."""

    @jit
    def home(order_id, mask):
        return ((((order_id ^ (order_id >> 31)) & LOW_31_BITS) * GOLDEN) >> 15) & mask

    @jit
    def lookup(index, order_id):
        mask = index.shape[0] - 1
        row = home(order_id, mask)
        while index[row, 1] >= 0 and index[row, 0] != order_id:
            row = (row + 1) & mask
        return index[row, 1]

    @jit
    def insert(index, order_id, slot):
        mask = index.shape[0] - 1
        row = home(order_id, mask)
        while index[row, 1] >= 0:
            row = (row + 1) & mask
        index[row, 0] = order_id
        index[row, 1] = slot

    @jit
    def erase(index, order_id):
        mask = index.shape[0] - 1
        hole = home(order_id, mask)
        while index[hole, 0] != order_id or index[hole, 1] < 0:
            hole = (hole + 1) & mask
        row = (hole + 1) & mask
        while index[row, 1] >= 0:
            # A row may move back into the hole unless that would put it ahead of its home.
            if ((row - home(index[row, 0], mask)) & mask) >= ((row - hole) & mask):
                index[hole, 0] = index[row, 0]
                index[hole, 1] = index[row, 1]
                hole = row
            row = (row + 1) & mask
        index[hole, 1] = -1

    return Ids(lookup, insert, erase)
