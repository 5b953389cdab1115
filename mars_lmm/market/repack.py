"""Copy a book into one of another capacity, every queue in order."""

import numba
import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.book import HEAD, NEXT, BookState, empty_books
from mars_lmm.market.cpu import MATCHING

_execute = MATCHING.execute
_next_price = MATCHING.next_price
_CARRIED = (t.OPEN_PRICE, t.LAST_PRICE, t.VOLUME, t.NUM_TRADES)


def repack(book: BookState, num_books: int, num_orders: int, num_ticks: int) -> BookState:
    """Make copies of a book, with the same queues and another capacity.

    Args:
        book: One book (no leading dimension).
        num_books: B, how many copies.
        num_orders: Room of each copy, no less than the orders that rest.
        num_ticks: Length of its price ladder, no less than now; it grows upwards.

    Returns:
        A batch of B books; the count of outcomes starts anew.
    """
    copies = empty_books(num_books, num_orders, num_ticks, int(book.header[t.BASE_PRICE]))
    first = BookState(*(array[0] for array in copies))
    _move_orders(book, first)
    first.header[t.OUTCOME_COUNTS :] = 0
    for column in _CARRIED:
        first.header[column] = book.header[column]
    for array in copies:
        array[1:] = array[0]
    return copies


@numba.njit(nogil=True)
def _move_orders(source, target):
    report = np.empty(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    for side in range(2):
        price = source.header[t.BEST_PRICE + side]
        while price != t.NO_PRICE:
            slot = source.levels[side, price - source.header[t.BASE_PRICE], HEAD]
            while slot >= 0:
                order = source.orders[slot]
                _execute(
                    target,
                    t.LIMIT,
                    side,
                    price,
                    order[t.SIZE],
                    order[t.ORDER_ID],
                    order[t.OWNER],
                    0,
                    report,
                    trades,
                )
                slot = order[NEXT]
            price = _next_price(source, side, price)
