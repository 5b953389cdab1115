"""A limit order book in one row of memory: its sections, and the queues of orders at its prices.

The functions are plain scalar integer code over one preallocated array. `make_queues` takes the compiler, so
one source serves the CPU (`numba.njit`), a GPU (`numba.cuda.jit(device=True)`) and plain Python
(`lambda f: f`). Whatever a function needs travels in one array: calls stay cheap, and to copy, send or save
a book is to copy, send or save its row.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.accounts import Accounts
from mars_lmm.market.bits import WORD_BITS, make_bits
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.ids import make_ids
from mars_lmm.market.types import (
    BASE_PRICE,
    BEST_PRICE,
    BUY,
    CHANGED,
    FIRST_PARKED,
    FREE_SLOT,
    KIND,
    LAST_PARKED,
    LEVELS_AT,
    LIVE_ORDERS,
    NO_PRICE,
    NUM_ACCOUNTS,
    NUM_LEVELS,
    NUM_PARKED,
    NUM_TICKS,
    ORDER_ID,
    OWNER,
    PRICE,
    SELL,
    SIDE,
    SIZE,
)

# A slot holds an order row (columns KIND to OWNER) and its two neighbours in the queue: 64 bytes. It is known by
# its place in the book's row.
PREVIOUS, NEXT = 6, 7
NUM_SLOT_COLUMNS = 8
NO_SLOT = -1

# What a slot's KIND says: whether the order rests at its price, or is held aside.
RESTS, WAITS = 0, 1

# Columns of a price level.
HEAD, TAIL, TOTAL = range(3)
NUM_LEVEL_COLUMNS = 3

# CHANGED of a side that did not change: worse than every price.
UNCHANGED_SELL, UNCHANGED_BUY = t.MAX_PRICE + 1, NO_PRICE

CACHE_LINE = 8  # int64s

# Where the order slots begin: after the header and the rules, on a whole cache line.
ORDERS = -(-(t.RULES + t.NUM_RULE_COLUMNS) // CACHE_LINE) * CACHE_LINE


class Sections(NamedTuple):
    """The parts of a batch of B books, as views of its memory: int64[B, ...].

    Attributes:
        header: [B, NUM_HEADER_COLUMNS]; the columns are in `mars_lmm.market.types`.
        rules: [B, NUM_RULE_COLUMNS]; the venue's rules on this day.
        orders: [B, S, 8]; a slot an order. NEXT also threads the list of free slots.
        phases: [B, K, NUM_PHASE_COLUMNS]; the session's schedule.
        accounts: [B, A, NUM_ACCOUNT_COLUMNS]; row o is the account of owner o. Row 0 is not used.
        levels: [B, 2, P, 3]; first slot, last slot and total size at each price of the ladder, a side.
        occupied: [B, 2, ceil(P / 32)]; the bitmap of prices that hold orders.
        index: [B, M, 2]; the hash table from order id to slot.
    """

    header: np.ndarray
    rules: np.ndarray
    orders: np.ndarray
    phases: np.ndarray
    accounts: np.ndarray
    levels: np.ndarray
    occupied: np.ndarray
    index: np.ndarray


def sections(books: np.ndarray) -> Sections:
    """The parts of a batch of books int64[B, N], without a copy. A single book int64[N] is a batch of one."""
    books = books.reshape(-1, books.shape[-1])
    num_slots, num_ticks, num_rows, num_phases, num_accounts = (
        int(books[0, column]) for column in (t.NUM_SLOTS, t.NUM_TICKS, t.NUM_ROWS, t.NUM_PHASES, t.NUM_ACCOUNTS)
    )
    shapes = _shapes(num_slots, num_ticks, num_rows, num_phases, num_accounts)
    starts = _starts(shapes)
    parts = (
        books[:, start : start + int(np.prod(shape))].reshape(len(books), *shape)
        for start, shape in zip(starts, shapes, strict=False)
    )
    return Sections(*parts)


def empty_books(
    num_books: int, num_orders: int, num_ticks: int, base_price: int, num_phases: int = 1, num_accounts: int = 0
) -> np.ndarray:
    """Allocate a batch of empty books without rules: one phase of continuous trading, which takes cancels.

    Args:
        num_books: B, how many books.
        num_orders: S, how many orders a book can hold at once.
        num_ticks: P, how many prices the ladder has: `base_price` to `base_price + num_ticks - 1`.
        base_price: the ladder's lowest price in ticks.
        num_phases: K, room for the rows of the session's schedule.
        num_accounts: A, room for accounts; owners 1 to A - 1 have one.

    Returns:
        int64[B, N]; `sections` tells its parts.

    Raises:
        ValueError: a count is not positive, or the ladder leaves 0 to MAX_PRICE.
    """
    if min(num_books, num_orders, num_ticks, num_phases) < 1:
        raise ValueError(
            "num_books, num_orders, num_ticks and num_phases must be positive, "
            f"got {num_books}, {num_orders}, {num_ticks} and {num_phases}"
        )
    if base_price < 0 or base_price + num_ticks - 1 > t.MAX_PRICE:
        raise ValueError(
            f"the ladder must lie in 0..{t.MAX_PRICE} ticks, got {base_price}..{base_price + num_ticks - 1}: "
            "choose another base_price or fewer num_ticks"
        )
    # At most half full, so that probes stay short.
    num_rows = 1 << (2 * num_orders - 1).bit_length()
    shapes = _shapes(num_orders, num_ticks, num_rows, num_phases, num_accounts)
    *starts, end = _starts(shapes)
    books = _allocate(num_books, end)
    _, _, _, phases_at, accounts_at, levels_at, occupied_at, index_at = starts
    num_words = shapes[6][1]
    books[:, [t.NUM_SLOTS, t.NUM_TICKS, t.NUM_ROWS]] = num_orders, num_ticks, num_rows
    books[:, [t.NUM_PHASES, t.NUM_ACCOUNTS]] = num_phases, num_accounts
    books[:, BASE_PRICE] = base_price
    first_level = levels_at - base_price * NUM_LEVEL_COLUMNS
    books[:, [LEVELS_AT + SELL, LEVELS_AT + BUY]] = first_level, first_level + num_ticks * NUM_LEVEL_COLUMNS
    books[:, [t.OCCUPIED_AT + SELL, t.OCCUPIED_AT + BUY]] = occupied_at, occupied_at + num_words
    books[:, [t.INDEX_AT, t.PHASES_AT, t.ACCOUNTS_AT]] = index_at, phases_at, accounts_at
    books[:, BEST_PRICE : BEST_PRICE + 2] = NO_PRICE
    books[:, [CHANGED + SELL, CHANGED + BUY]] = UNCHANGED_SELL, UNCHANGED_BUY
    books[:, [FIRST_PARKED, LAST_PARKED]] = NO_SLOT
    books[:, FREE_SLOT] = ORDERS
    parts = sections(books)
    parts.orders[:, :-1, NEXT] = ORDERS + NUM_SLOT_COLUMNS * np.arange(1, num_orders)
    parts.orders[:, -1, NEXT] = NO_SLOT
    parts.levels[..., [HEAD, TAIL]] = NO_SLOT
    parts.index[..., 1] = NO_SLOT
    parts.rules[:, [t.KINDS_TAKEN, t.TICK, t.LOT, t.LIMIT_UP]] = (1 << t.NUM_KINDS) - 1, 1, 1, t.MAX_PRICE
    parts.phases[:, 0, [t.PHASE_MODE, t.PHASE_CANCELS]] = t.CONTINUOUS, 1
    parts.phases[:, 1:, t.PHASE_START] = t.FOREVER
    return books


def aligned(books: np.ndarray, copies: int = 1) -> np.ndarray:
    """Copies of books int64[B, N], `copies` of each, that begin on a cache line, so that no slot lies across two."""
    placed = _allocate(copies * len(books), books.shape[1])
    placed.reshape(len(books), copies, -1)[:] = books[:, None]
    return placed


def _allocate(num_books: int, num_columns: int) -> np.ndarray:
    memory = np.zeros(num_books * num_columns + CACHE_LINE, np.int64)
    start = -memory.ctypes.data // memory.itemsize % CACHE_LINE
    return memory[start : start + num_books * num_columns].reshape(num_books, num_columns)


def _shapes(num_slots, num_ticks, num_rows, num_phases, num_accounts) -> list[tuple[int, ...]]:
    return [
        (t.NUM_HEADER_COLUMNS,),
        (t.NUM_RULE_COLUMNS,),
        (num_slots, NUM_SLOT_COLUMNS),
        (num_phases, t.NUM_PHASE_COLUMNS),
        (num_accounts, t.NUM_ACCOUNT_COLUMNS),
        (2, num_ticks, NUM_LEVEL_COLUMNS),
        (2, -(-num_ticks // WORD_BITS)),
        (num_rows, 2),
    ]


def _starts(shapes: list[tuple[int, ...]]) -> list[int]:
    """Where each section begins, and where the last one ends (on a whole cache line)."""
    sizes = [int(np.prod(shape)) for shape in shapes[2:]]
    starts = [0, t.RULES, *(ORDERS + sum(sizes[:n]) for n in range(len(sizes) + 1))]
    starts[-1] = -(-starts[-1] // CACHE_LINE) * CACHE_LINE
    return starts


class Queues(NamedTuple):
    """The compiled functions that change and read one book, order by order."""

    add: Callable  # (book, side, price, size, order_id, owner): join the queue of a price of the ladder
    park: Callable  # (book, side, price, size, order_id, owner): join the orders held aside
    reduce: Callable  # (book, slot, amount): take some of an order; it leaves when nothing is left
    home: Callable  # (book, order_id) -> where in the book the search for an id begins
    find: Callable  # (book, order_id) -> the slot of a live order, or NO_SLOT
    find_owned: Callable  # (book, order_id, owner) -> (outcome, slot): ACCEPTED, UNKNOWN_ID or NOT_OWNER
    level_at: Callable  # (book, side, price) -> where in the book the level of a price of the ladder is
    in_ladder: Callable  # (book, price) -> whether the ladder holds the price
    first: Callable  # (book, side, price) -> the oldest order at a price of the ladder, or NO_SLOT
    last: Callable  # (book, side, price) -> the newest
    level_size: Callable  # (book, side, price) -> the size resting at a price; 0 outside the ladder
    next_price: Callable  # (book, side, price) -> the best occupied price strictly worse, or NO_PRICE
    previous_price: Callable  # (book, side, price) -> the worst occupied price strictly better, or NO_PRICE


def make_queues(jit: Callable, accounts: Accounts) -> Queues:
    """Compile the functions of one book with `jit`; `accounts` are told what orders hold."""
    lesser, greater = make_extrema(jit)
    lowest_from, highest_from, flip = make_bits(jit)
    home, find, insert, erase = make_ids(jit)
    hold, release = accounts.hold, accounts.release

    @jit
    def find_owned(book, order_id, owner):
        slot = find(book, order_id)
        if slot == NO_SLOT:
            return t.UNKNOWN_ID, slot
        return t.ACCEPTED if book[slot + OWNER] == owner else t.NOT_OWNER, slot

    @jit
    def level_at(book, side, price):
        return book[LEVELS_AT + side] + price * NUM_LEVEL_COLUMNS

    @jit
    def in_ladder(book, price):
        return 0 <= price - book[BASE_PRICE] < book[NUM_TICKS]

    @jit
    def first(book, side, price):
        return book[level_at(book, side, price) + HEAD]

    @jit
    def last(book, side, price):
        return book[level_at(book, side, price) + TAIL]

    @jit
    def level_size(book, side, price):
        if not in_ladder(book, price):
            return 0
        return book[level_at(book, side, price) + TOTAL]

    @jit
    def occupied_above(book, side, price):
        """The lowest occupied price above `price`, or NO_PRICE."""
        base = book[BASE_PRICE]
        tick = lowest_from(book, side, greater(price + 1 - base, 0))
        return NO_PRICE if tick < 0 else base + tick

    @jit
    def occupied_below(book, side, price):
        """The highest occupied price below `price`, or NO_PRICE."""
        base = book[BASE_PRICE]
        tick = highest_from(book, side, lesser(price - 1 - base, book[NUM_TICKS] - 1))
        return NO_PRICE if tick < 0 else base + tick

    @jit
    def next_price(book, side, price):
        return occupied_above(book, side, price) if side == SELL else occupied_below(book, side, price)

    @jit
    def previous_price(book, side, price):
        return occupied_below(book, side, price) if side == SELL else occupied_above(book, side, price)

    @jit
    def note_change(book, side, price):
        if side == SELL:
            book[CHANGED + SELL] = lesser(book[CHANGED + SELL], price)
        else:
            book[CHANGED + BUY] = greater(book[CHANGED + BUY], price)

    @jit
    def take_slot(book, side, price, size, order_id, owner):
        slot = book[FREE_SLOT]
        book[FREE_SLOT] = book[slot + NEXT]
        book[LIVE_ORDERS] += 1
        insert(book, order_id, slot)
        book[slot + SIDE] = side
        book[slot + PRICE] = price
        book[slot + SIZE] = size
        book[slot + ORDER_ID] = order_id
        book[slot + OWNER] = owner
        book[slot + NEXT] = NO_SLOT
        if book[NUM_ACCOUNTS] > 0:
            hold(book, side, price, size, owner)
        return slot

    @jit
    def add(book, side, price, size, order_id, owner):
        slot = take_slot(book, side, price, size, order_id, owner)
        level = level_at(book, side, price)
        tail = book[level + TAIL]
        book[slot + KIND] = RESTS
        book[slot + PREVIOUS] = tail
        book[level + TAIL] = slot
        book[level + TOTAL] += size
        note_change(book, side, price)
        if tail != NO_SLOT:
            book[tail + NEXT] = slot
            return
        # The price was empty.
        book[level + HEAD] = slot
        flip(book, side, price - book[BASE_PRICE])
        book[NUM_LEVELS + side] += 1
        best = book[BEST_PRICE + side]
        if best == NO_PRICE or (price < best if side == SELL else price > best):
            book[BEST_PRICE + side] = price

    @jit
    def park(book, side, price, size, order_id, owner):
        slot = take_slot(book, side, price, size, order_id, owner)
        tail = book[LAST_PARKED]
        book[slot + KIND] = WAITS
        book[slot + PREVIOUS] = tail
        book[LAST_PARKED] = slot
        book[NUM_PARKED] += 1
        if tail != NO_SLOT:
            book[tail + NEXT] = slot
        else:
            book[FIRST_PARKED] = slot

    @jit
    def bypass(book, slot, head, tail):
        """Link the neighbours of a slot with each other; `head` and `tail` are where its queue's ends are kept."""
        previous = book[slot + PREVIOUS]
        following = book[slot + NEXT]
        book[head if previous == NO_SLOT else previous + NEXT] = following
        book[tail if following == NO_SLOT else following + PREVIOUS] = previous

    @jit
    def leave_level(book, slot, side, price):
        level = level_at(book, side, price)
        bypass(book, slot, level + HEAD, level + TAIL)
        if book[level + HEAD] != NO_SLOT:
            return
        # The price is empty now.
        flip(book, side, price - book[BASE_PRICE])
        book[NUM_LEVELS + side] -= 1
        if book[BEST_PRICE + side] == price:
            book[BEST_PRICE + side] = NO_PRICE if book[NUM_LEVELS + side] == 0 else next_price(book, side, price)

    @jit
    def reduce(book, slot, amount):
        side = book[slot + SIDE]
        price = book[slot + PRICE]
        size = book[slot + SIZE]
        if book[NUM_ACCOUNTS] > 0:
            release(book, side, price, size, amount, book[slot + OWNER])
        book[slot + SIZE] = size - amount
        rests = book[slot + KIND] == RESTS
        if rests:
            book[level_at(book, side, price) + TOTAL] -= amount
            note_change(book, side, price)
        if amount < size:
            return
        if rests:
            leave_level(book, slot, side, price)
        else:
            bypass(book, slot, FIRST_PARKED, LAST_PARKED)
            book[NUM_PARKED] -= 1
        erase(book, book[slot + ORDER_ID])
        book[slot + NEXT] = book[FREE_SLOT]
        book[FREE_SLOT] = slot
        book[LIVE_ORDERS] -= 1

    places = (first, last, level_size, next_price, previous_price)
    return Queues(add, park, reduce, home, find, find_owned, level_at, in_ladder, *places)
