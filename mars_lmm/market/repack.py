"""Copy a book into one of another capacity, every queue in order; the copy may be under other rules and accounts."""

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT, aligned, empty_books, sections
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.opening import account_rows
from mars_lmm.market.rules import DayRules

_add, _park, _first, _next_price = VENUE.queues.add, VENUE.queues.park, VENUE.queues.first, VENUE.queues.next_price

# What a copy finds for itself, as its orders enter.
_OWN = (
    *(t.BASE_PRICE, t.BEST_PRICE, t.BEST_PRICE + 1, t.NUM_LEVELS, t.NUM_LEVELS + 1, t.LIVE_ORDERS, t.FREE_SLOT),
    *(t.CHANGED, t.CHANGED + 1, t.NUM_PARKED, t.FIRST_PARKED, t.LAST_PARKED),
    *(t.NUM_SLOTS, t.NUM_TICKS, t.NUM_ROWS, t.NUM_PHASES, t.NUM_ACCOUNTS),
    *(t.LEVELS_AT, t.LEVELS_AT + 1, t.OCCUPIED_AT, t.OCCUPIED_AT + 1, t.INDEX_AT, t.PHASES_AT, t.ACCOUNTS_AT),
)
_CARRIED = [column for column in range(t.NUM_HEADER_COLUMNS) if column not in _OWN]
# The orders count afresh what they reserve, by the rules of the copy.
_KEPT = [column for column in range(t.NUM_ACCOUNT_COLUMNS) if column not in (t.RESERVED_CASH, t.RESERVED_SIZE)]

# A ladder of more prices does not grow: a price so far away is a mistake.
MAX_GROWN_TICKS = 1 << 22


def repack(
    book: np.ndarray,
    num_books: int,
    num_orders: int,
    num_ticks: int,
    base_price: int | None = None,
    num_phases: int | None = None,
    accounts: np.ndarray | None = None,
    day: DayRules | None = None,
    num_accounts: int | None = None,
) -> np.ndarray:
    """Make copies of a book, with the same queues and another capacity; on request with other accounts and rules.

    Books of one capacity can be concatenated into one batch, whatever their rules and accounts.

    Args:
        book: int64[N], one book.
        num_books: B, how many copies.
        num_orders: room of each copy, no less than its live orders.
        num_ticks: length of its price ladder, which must hold every resting order's price.
        base_price: the ladder's lowest price; None: as in `book`.
        num_phases: room for the session's schedule, no less than it has phases; None: as much as `book` has or `day`
            takes.
        accounts: int[A, 3] as in `open_books`, in place of the book's own, whose owners may have no live orders; nor
            may the new ones. None: the book's own.
        day: rules in place of the book's, from its clock on; resting orders and a halt stay as they are. Its schedule
            is the book's, unless the book is under no rules. None: the book's own.
        num_accounts: room for accounts, no less than there are; further owners have an account with nothing in it.
            None: as much as needed.

    Returns:
        int64[B, N], a batch of B books.

    Raises:
        ValueError: there is too little room; an owner with live orders would lose or change its account, or get its
            first; or the rules do not go with the book's session.
    """
    source = sections(book)
    phases = _schedule(source.phases[0], book, day)
    money = source.accounts[0] if accounts is None else account_rows(accounts)
    base_price = int(book[t.BASE_PRICE]) if base_price is None else base_price
    num_phases = max(len(phases), len(source.phases[0])) if num_phases is None else num_phases
    num_accounts = len(money) if num_accounts is None else num_accounts
    _check_room("num_orders", num_orders, int(book[t.LIVE_ORDERS]))
    _check_room("num_phases", num_phases, len(phases))
    _check_room("num_accounts", num_accounts, len(money))
    live = source.index[0, source.index[0, :, 1] >= 0, 1]
    prices, owners = book[live + t.PRICE], book[live + t.OWNER]
    if (prices < base_price).any() or (prices >= base_price + num_ticks).any():
        raise ValueError(
            f"the ladder {base_price}..{base_price + num_ticks - 1} must hold the book's orders, "
            f"which lie at {prices.min()}..{prices.max()}"
        )
    _check_owners(owners, len(source.accounts[0]), num_accounts, accounts is not None)
    copy = empty_books(1, num_orders, num_ticks, base_price, num_phases, num_accounts)
    target = sections(copy)
    target.rules[:] = source.rules if day is None else day.row
    target.phases[0, : len(phases)] = phases
    _move_orders(book, copy[0])
    columns = _KEPT if accounts is None else [t.CASH, t.POSITION, t.SELLABLE]
    target.accounts[0, : len(money), columns] = money[:, columns if accounts is None else slice(None)].T
    copy[:, _CARRIED] = book[_CARRIED]
    if day is not None and not book[t.RULES + t.ENFORCED]:
        copy[:, t.PHASE] = np.searchsorted(phases[:, t.PHASE_START], book[t.CLOCK], side="right") - 1
    return aligned(copy, num_books)


def _schedule(phases: np.ndarray, book: np.ndarray, day: DayRules | None) -> np.ndarray:
    """The schedule that the copies have, int64[K, NUM_PHASE_COLUMNS]."""
    own = phases[phases[:, t.PHASE_START] < t.FOREVER]
    if day is None:
        return own
    if book[t.RULES + t.ENFORCED]:
        if not day.row[t.ENFORCED]:
            raise ValueError("the book is under rules, which can be changed but not lifted: give a day of a venue")
        if not np.array_equal(own, day.schedule):
            raise ValueError("the session goes on by the book's own schedule: give a day whose schedule is the same")
    return day.schedule


def _check_room(name: str, room: int, needed: int) -> None:
    if room < needed:
        raise ValueError(f"{name}={room}: the copies need room for {needed}")


def _check_owners(owners: np.ndarray, accounts_before: int, accounts_after: int, replaced: bool) -> None:
    """Live orders reserve what their owners' accounts hold, so those must stay."""
    first = t.BACKGROUND + 1 if replaced else max(accounts_before, t.BACKGROUND + 1)
    affected = owners[(owners >= first) & (owners < max(accounts_before, accounts_after))]
    if len(affected):
        raise ValueError(
            f"owner {affected.min()} has live orders and would get another account: cancel them first, or give agents "
            "other owner numbers"
        )


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
