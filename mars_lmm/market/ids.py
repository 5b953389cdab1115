"""Which slot holds an order id: an open-addressing hash table.

The table is a section of the book, M rows of (order id, slot), M a power of two; slot -1 marks a free row. It
probes linearly. A removal shifts the rows behind it back: there are no tombstones, and a long session does not slow
down.
"""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.types import INDEX_AT, NUM_ROWS

# 2**31 divided by the golden ratio: multiplying by it spreads consecutive ids evenly. Ids are folded to 31
# bits first, so the product stays below 2**62 and overflows nowhere.
GOLDEN = 1327217885
LOW_31_BITS = 2**31 - 1


class Ids(NamedTuple):
    """The compiled functions of the id table."""

    home: Callable  # (book, order_id) -> where in the book the search for an id begins
    find: Callable  # (book, order_id) -> slot, or -1
    insert: Callable  # (book, order_id, slot); the id must not be there
    erase: Callable  # (book, order_id); the id must be there


def make_ids(jit: Callable) -> Ids:
    """Compile the id table's functions with `jit`."""

    @jit
    def home_row(order_id, mask):
        return ((((order_id ^ (order_id >> 31)) & LOW_31_BITS) * GOLDEN) >> 15) & mask

    @jit
    def home(book, order_id):
        return book[INDEX_AT] + 2 * home_row(order_id, book[NUM_ROWS] - 1)

    @jit
    def find(book, order_id):
        table, mask = book[INDEX_AT], book[NUM_ROWS] - 1
        row = home_row(order_id, mask)
        while book[table + 2 * row + 1] >= 0 and book[table + 2 * row] != order_id:
            row = (row + 1) & mask
        return book[table + 2 * row + 1]

    @jit
    def insert(book, order_id, slot):
        table, mask = book[INDEX_AT], book[NUM_ROWS] - 1
        row = home_row(order_id, mask)
        while book[table + 2 * row + 1] >= 0:
            row = (row + 1) & mask
        book[table + 2 * row] = order_id
        book[table + 2 * row + 1] = slot

    @jit
    def erase(book, order_id):
        table, mask = book[INDEX_AT], book[NUM_ROWS] - 1
        hole = home_row(order_id, mask)
        while book[table + 2 * hole] != order_id or book[table + 2 * hole + 1] < 0:
            hole = (hole + 1) & mask
        row = (hole + 1) & mask
        while book[table + 2 * row + 1] >= 0:
            # A row may move back into the hole unless that would put it ahead of its home.
            if ((row - home_row(book[table + 2 * row], mask)) & mask) >= ((row - hole) & mask):
                book[table + 2 * hole] = book[table + 2 * row]
                book[table + 2 * hole + 1] = book[table + 2 * row + 1]
                hole = row
            row = (row + 1) & mask
        book[table + 2 * hole + 1] = -1

    return Ids(home, find, insert, erase)
