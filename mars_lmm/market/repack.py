"""Copy a book into one of another capacity, every queue in order."""

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT, aligned, empty_books, sections
from mars_lmm.market.cpu import VENUE

_add, _park, _first, _next_price = VENUE.queues.add, VENUE.queues.park, VENUE.queues.first, VENUE.queues.next_price

# What a copy finds for itself, as its orders enter.
_OWN = (
    *(t.BASE_PRICE, t.BEST_PRICE, t.BEST_PRICE + 1, t.NUM_LEVELS, t.NUM_LEVELS + 1, t.LIVE_ORDERS, t.FREE_SLOT),
    *(t.CHANGED, t.CHANGED + 1, t.NUM_PARKED, t.FIRST_PARKED, t.LAST_PARKED),
    *(t.NUM_SLOTS, t.NUM_TICKS, t.NUM_ROWS, t.NUM_PHASES, t.NUM_ACCOUNTS),
    *(t.LEVELS_AT, t.LEVELS_AT + 1, t.OCCUPIED_AT, t.OCCUPIED_AT + 1, t.INDEX_AT, t.PHASES_AT, t.ACCOUNTS_AT),
)
_CARRIED = [column for column in range(t.NUM_HEADER_COLUMNS) if column not in _OWN]

# A ladder of more prices does not grow: a price so far away is a mistake.
MAX_GROWN_TICKS = 1 << 22


def repack(
    book: np.ndarray,
    num_books: int,
    num_orders: int,
    num_ticks: int,
    base_price: int | None = None,
    num_phases: int | None = None,
) -> np.ndarray:
    """Make copies of a book, with the same queues and another capacity.

    Args:
        book: int64[N], one book.
        num_books: B, how many copies.
        num_orders: room of each copy, no less than its live orders.
        num_ticks: length of its price ladder, which must hold every resting order's price.
        base_price: the ladder's lowest price; None: as in `book`.
        num_phases: room for the session's schedule, no less than `book` has; None: as much.

    Returns:
        int64[B, N], a batch of B books.
    """
    base_price = int(book[t.BASE_PRICE]) if base_price is None else base_price
    num_phases = int(book[t.NUM_PHASES]) if num_phases is None else num_phases
    copy = empty_books(1, num_orders, num_ticks, base_price, num_phases, int(book[t.NUM_ACCOUNTS]))
    source, target = sections(book), sections(copy)
    target.rules[:] = source.rules
    target.phases[:, : source.phases.shape[1]] = source.phases
    _move_orders(book, copy[0])
    # After the orders, which reserved cash and positions once more.
    target.accounts[:] = source.accounts
    copy[:, _CARRIED] = book[_CARRIED]
    return aligned(copy, num_books)


def enlarge(books: np.ndarray, b: int, price: int) -> np.ndarray:
    """The books with more room: for orders if book `b` is full, else for prices up to `price` and beyond.

    Raises:
        ValueError: the ladder would have more than MAX_GROWN_TICKS prices.
    """
    num_orders, num_ticks, base = (int(books[b, column]) for column in (t.NUM_SLOTS, t.NUM_TICKS, t.BASE_PRICE))
    if books[b, t.FREE_SLOT] == NO_SLOT:
        num_orders *= 2
    else:
        # The price lies in the middle of what is added, so that its neighbours find room too.
        lowest, highest = min(base, 2 * price - base), max(base + num_ticks - 1, 2 * price - base - num_ticks + 1)
        base, highest = max(lowest, 0), min(highest, t.MAX_PRICE)
        num_ticks = highest - base + 1
        if num_ticks > MAX_GROWN_TICKS:
            raise ValueError(f"a ladder does not grow to {num_ticks} prices: price {price} is too far from the book")
    return aligned(np.concatenate([repack(book, 1, num_orders, num_ticks, base) for book in books]))


def with_room(book: np.ndarray, num_orders: int, low: int, high: int) -> np.ndarray:
    """A book with room for more orders and for a range of prices; the same one if it has that already.

    Args:
        book: int64[N].
        num_orders: how many orders may come to rest in it.
        low: the lowest of their prices.
        high: the highest of their prices.

    Raises:
        ValueError: the ladder would have more than MAX_GROWN_TICKS prices.
    """
    slots, ticks, base, live = (int(book[column]) for column in (t.NUM_SLOTS, t.NUM_TICKS, t.BASE_PRICE, t.LIVE_ORDERS))
    fits = base <= low and high < base + ticks
    if fits and slots - live >= num_orders:
        return book
    if not fits:
        first, last = min(low, base), max(high, base + ticks - 1)
        if last - first >= MAX_GROWN_TICKS:
            raise ValueError(
                f"a ladder does not grow to {last - first + 1} prices: {low} or {high} is too far from the book"
            )
        # Some room on either side, so that the next prices find theirs.
        margin = min((last - first) // 4 + 64, (MAX_GROWN_TICKS - 1 - (last - first)) // 2)
        base, last = max(first - margin, 0), min(last + margin, t.MAX_PRICE)
        ticks = last - base + 1
    return repack(book, 1, max(slots, 2 * (live + num_orders)), ticks, base)[0]


@kept_njit("market")
def _move_orders(source, target):
    for side in range(2):
        price = source[t.BEST_PRICE + side]
        while price != t.NO_PRICE:
            slot = _first(source, side, price)
            while slot != NO_SLOT:
                _add(target, side, price, source[slot + t.SIZE], source[slot + t.ORDER_ID], source[slot + t.OWNER])
                slot = source[slot + NEXT]
            price = _next_price(source, side, price)
    slot = source[t.FIRST_PARKED]
    while slot != NO_SLOT:
        side, price, size = source[slot + t.SIDE], source[slot + t.PRICE], source[slot + t.SIZE]
        _park(target, side, price, size, source[slot + t.ORDER_ID], source[slot + t.OWNER])
        slot = source[slot + NEXT]
