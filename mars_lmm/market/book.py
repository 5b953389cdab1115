"""The matching core: a limit order book as integer arrays, and the functions that trade on it.

The functions are plain scalar integer code over preallocated arrays. `make_matching` takes the compiler, so
one source serves the CPU (`numba.njit`), a GPU (`numba.cuda.jit(device=True)`) and plain Python
(`lambda f: f`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mars_lmm.market.bits import WORD_BITS, WORD_MASK, WORD_SHIFT, make_bits
from mars_lmm.market.ids import make_ids
from mars_lmm.market.types import (
    ACCEPTED,
    ACTED_PRICE,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BASE_PRICE,
    BEST_PRICE,
    BOOK_FULL,
    BUY,
    CANCEL,
    CANCEL_AT,
    CANCELLED,
    DEPTH,
    DUPLICATE_ID,
    FILL_VALUE,
    FILLED,
    FREE_SLOT,
    INCOMING_ID,
    INCOMING_OWNER,
    INCOMING_SIDE,
    IOC,
    LAST_PRICE,
    LIMIT,
    LIVE_ORDERS,
    MARKET,
    MAX_PRICE,
    MAX_SIZE,
    NO_LIQUIDITY,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    NUM_FILLS,
    NUM_HEADER_COLUMNS,
    NUM_LEVELS,
    NUM_REPORT_COLUMNS,
    NUM_TRADES,
    OLDEST_FIRST,
    OPEN_PRICE,
    ORDER_ID,
    OUTCOME,
    OUTCOME_COUNTS,
    OWNER,
    PRICE,
    RESTING,
    RESTING_ID,
    RESTING_OWNER,
    SELL,
    SIDE,
    SIZE,
    TRADE_PRICE,
    TRADE_SIZE,
    TRADES_DROPPED,
    UNKNOWN_ID,
    VOLUME,
)

# A slot holds an order row (columns KIND to OWNER) and its two neighbours in the queue: 64 bytes.
PREVIOUS, NEXT = 6, 7
NUM_SLOT_COLUMNS = 8

# Columns of a price level.
HEAD, TAIL, TOTAL = range(3)
NUM_LEVEL_COLUMNS = 3


class BookState(NamedTuple):
    """One book, or a batch of B books when every array has a leading book dimension. All arrays are int64.

    Attributes:
        header: [NUM_HEADER_COLUMNS]; the columns are in `mars_lmm.market.types`.
        orders: [S, 8]; a slot an order. NEXT also threads the list of free slots.
        levels: [2, P, 3]; first slot, last slot and total size at each price of the ladder, a side.
        occupied: [2, ceil(P / 32)]; the bitmap of prices that hold orders.
        index: [M, 2]; the hash table from order id to slot.
    """

    header: np.ndarray
    orders: np.ndarray
    levels: np.ndarray
    occupied: np.ndarray
    index: np.ndarray


def empty_books(num_books: int, num_orders: int, num_ticks: int, base_price: int) -> BookState:
    """Allocate a batch of empty books.

    Args:
        num_books: B, how many books.
        num_orders: S, how many orders a book can hold at once.
        num_ticks: P, how many prices the ladder has: `base_price` to `base_price + num_ticks - 1`.
        base_price: the ladder's lowest price in ticks.

    Raises:
        ValueError: a count is not positive, or the ladder leaves 0 to MAX_PRICE.
    """
    if min(num_books, num_orders, num_ticks) < 1:
        raise ValueError(
            f"num_books, num_orders and num_ticks must be positive, got {num_books}, {num_orders} and {num_ticks}"
        )
    if base_price < 0 or base_price + num_ticks - 1 > MAX_PRICE:
        raise ValueError(
            f"the ladder must lie in 0..{MAX_PRICE} ticks, got {base_price}..{base_price + num_ticks - 1}: "
            "choose another base_price or fewer num_ticks"
        )
    header = np.zeros((num_books, NUM_HEADER_COLUMNS), np.int64)
    header[:, BASE_PRICE] = base_price
    header[:, BEST_PRICE : BEST_PRICE + 2] = NO_PRICE
    orders = np.zeros((num_books, num_orders, NUM_SLOT_COLUMNS), np.int64)
    orders[:, :, NEXT] = np.arange(1, num_orders + 1)
    orders[:, -1, NEXT] = -1
    levels = np.zeros((num_books, 2, num_ticks, NUM_LEVEL_COLUMNS), np.int64)
    levels[..., [HEAD, TAIL]] = -1
    occupied = np.zeros((num_books, 2, -(-num_ticks // WORD_BITS)), np.int64)
    # At most half full, so that probes stay short.
    index = np.zeros((num_books, 1 << (2 * num_orders - 1).bit_length(), 2), np.int64)
    index[..., 1] = -1
    return BookState(header, orders, levels, occupied, index)


class Matching(NamedTuple):
    """The compiled functions of one book; see `docs/market.md` for what the orders mean."""

    execute: Callable
    """(book, kind, side, price, size, order_id, owner, queue_rule, report, trades): execute one order.

    Fills `report` int64[NUM_REPORT_COLUMNS] and the rows of `trades` int64[K, NUM_TRADE_COLUMNS] from 0.
    Trades beyond K rows happen and are counted in the header's TRADES_DROPPED. A rejected order changes its
    outcome's counter and nothing else.
    """
    snapshot: Callable
    """(book, out): the best DEPTH levels, out int64[2, DEPTH, 2] = [side][level][price, size]."""
    view: Callable
    """(books, b) -> BookState: book `b` of a batch, without a copy."""
    find: Callable
    """(book, order_id) -> the slot of a live order, or -1."""
    best: Callable
    """(book, side) -> the best price, or NO_PRICE."""
    level_size: Callable
    """(book, side, price) -> the total size resting at a price; 0 outside the ladder."""
    next_price: Callable
    """(book, side, price) -> the next occupied price strictly worse than `price`, or NO_PRICE."""


def make_matching(jit: Callable) -> Matching:
    """Compile the matching functions with `jit`."""
    lowest_from, highest_from = make_bits(jit)
    lookup, insert, erase = make_ids(jit)

    @jit
    def worse_from(occupied, side, tick):
        """The best occupied tick that is no better than `tick`, or -1."""
        if side == SELL:
            return lowest_from(occupied, side, tick)
        return highest_from(occupied, side, tick)

    @jit
    def better_from(occupied, side, tick):
        """The worst occupied tick that is no worse than `tick`, or -1."""
        if side == SELL:
            return highest_from(occupied, side, tick)
        return lowest_from(occupied, side, tick)

    @jit
    def add(book, side, price, size, order_id, owner):
        header, orders, levels = book.header, book.orders, book.levels
        slot = header[FREE_SLOT]
        header[FREE_SLOT] = orders[slot, NEXT]
        header[LIVE_ORDERS] += 1
        insert(book.index, order_id, slot)
        tick = price - header[BASE_PRICE]
        tail = levels[side, tick, TAIL]
        orders[slot, SIDE] = side
        orders[slot, PRICE] = price
        orders[slot, SIZE] = size
        orders[slot, ORDER_ID] = order_id
        orders[slot, OWNER] = owner
        orders[slot, PREVIOUS] = tail
        orders[slot, NEXT] = -1
        levels[side, tick, TAIL] = slot
        levels[side, tick, TOTAL] += size
        if tail >= 0:
            orders[tail, NEXT] = slot
            return
        # The price was empty.
        levels[side, tick, HEAD] = slot
        book.occupied[side, tick >> WORD_SHIFT] |= 1 << (tick & WORD_MASK)
        header[NUM_LEVELS + side] += 1
        best = header[BEST_PRICE + side]
        if best == NO_PRICE or (price < best if side == SELL else price > best):
            header[BEST_PRICE + side] = price

    @jit
    def remove(book, slot):
        header, orders, levels = book.header, book.orders, book.levels
        side = orders[slot, SIDE]
        tick = orders[slot, PRICE] - header[BASE_PRICE]
        previous = orders[slot, PREVIOUS]
        following = orders[slot, NEXT]
        if previous >= 0:
            orders[previous, NEXT] = following
        else:
            levels[side, tick, HEAD] = following
        if following >= 0:
            orders[following, PREVIOUS] = previous
        else:
            levels[side, tick, TAIL] = previous
        erase(book.index, orders[slot, ORDER_ID])
        orders[slot, NEXT] = header[FREE_SLOT]
        header[FREE_SLOT] = slot
        header[LIVE_ORDERS] -= 1
        if previous >= 0 or following >= 0:
            return
        # The price is empty now.
        book.occupied[side, tick >> WORD_SHIFT] ^= 1 << (tick & WORD_MASK)
        header[NUM_LEVELS + side] -= 1
        if header[NUM_LEVELS + side] == 0:
            header[BEST_PRICE + side] = NO_PRICE
        elif header[BEST_PRICE + side] == orders[slot, PRICE]:
            header[BEST_PRICE + side] = header[BASE_PRICE] + worse_from(book.occupied, side, tick)

    @jit
    def reduce(book, slot, amount):
        orders = book.orders
        book.levels[orders[slot, SIDE], orders[slot, PRICE] - book.header[BASE_PRICE], TOTAL] -= amount
        orders[slot, SIZE] -= amount
        if orders[slot, SIZE] == 0:
            remove(book, slot)

    @jit
    def match(book, side, price, size, order_id, owner, report, trades):
        """Trade with the other side while it is no worse than `price`; return what is left of `size`."""
        header, orders = book.header, book.orders
        resting_side = 1 - side
        fills = 0
        value = 0
        left = size
        while left > 0:
            best = header[BEST_PRICE + resting_side]
            if best == NO_PRICE or (best < price if side == SELL else best > price):
                break
            slot = book.levels[resting_side, best - header[BASE_PRICE], HEAD]
            traded = min(left, orders[slot, SIZE])
            if fills < trades.shape[0]:
                trades[fills, TRADE_PRICE] = best
                trades[fills, TRADE_SIZE] = traded
                trades[fills, RESTING_ID] = orders[slot, ORDER_ID]
                trades[fills, RESTING_OWNER] = orders[slot, OWNER]
                trades[fills, INCOMING_ID] = order_id
                trades[fills, INCOMING_OWNER] = owner
                trades[fills, INCOMING_SIDE] = side
            else:
                header[TRADES_DROPPED] += 1
            fills += 1
            value += best * traded
            left -= traded
            if header[NUM_TRADES] == 0:
                header[OPEN_PRICE] = best
            header[NUM_TRADES] += 1
            header[LAST_PRICE] = best
            report[ACTED_PRICE] = best
            reduce(book, slot, traded)
        header[VOLUME] += size - left
        report[FILLED] = size - left
        report[FILL_VALUE] = value
        report[NUM_FILLS] = fills
        return left

    @jit
    def enter(book, kind, side, price, size, order_id, owner, report, trades):
        """Execute a limit, market or IOC order."""
        header = book.header
        if side != SELL and side != BUY:
            return BAD_SIDE
        if size <= 0 or size > MAX_SIZE:
            return BAD_SIZE
        other_best = header[BEST_PRICE + 1 - side]
        crosses = other_best != NO_PRICE and (price <= other_best if side == SELL else price >= other_best)
        if kind != LIMIT:
            if other_best == NO_PRICE or (kind == IOC and not crosses):
                return NO_LIQUIDITY
            if kind == MARKET:
                price = 0 if side == SELL else MAX_PRICE
            report[CANCELLED] = match(book, side, price, size, order_id, owner, report, trades)
            return ACCEPTED
        if price < header[BASE_PRICE] or price >= header[BASE_PRICE] + book.levels.shape[1]:
            return BAD_PRICE
        if lookup(book.index, order_id) >= 0:
            return DUPLICATE_ID
        # An order that crosses always finds room: it is wholly filled, or it frees the slot of one it fills.
        if header[FREE_SLOT] < 0 and not crosses:
            return BOOK_FULL
        left = match(book, side, price, size, order_id, owner, report, trades)
        if left > 0:
            add(book, side, price, left, order_id, owner)
            report[RESTING] = left
            if left == size:
                report[ACTED_PRICE] = price
        return ACCEPTED

    @jit
    def cancel(book, size, order_id, report):
        if size < 0:
            return BAD_SIZE
        slot = lookup(book.index, order_id)
        if slot < 0:
            return UNKNOWN_ID
        resting = book.orders[slot, SIZE]
        amount = size if 0 < size < resting else resting
        report[CANCELLED] = amount
        report[ACTED_PRICE] = book.orders[slot, PRICE]
        reduce(book, slot, amount)
        return ACCEPTED

    @jit
    def owned_from(orders, slot, owner, link):
        """The first order of `owner` in a queue at or behind `slot`, following `link`; -1 if none."""
        while slot >= 0 and orders[slot, OWNER] != owner:
            slot = orders[slot, link]
        return slot

    @jit
    def nearest_owned(book, side, price, owner, end, link):
        """The slot where a cancel near `price` starts: the first of `owner` at the nearest price, or -1."""
        base = book.header[BASE_PRICE]
        touch = book.header[BEST_PRICE + side]
        if touch == NO_PRICE:
            return -1
        # Beyond the touch or the ladder's end, the order of distances does not change.
        if side == SELL:
            away = 1
            tick = min(max(price, touch), base + book.levels.shape[1] - 1) - base
        else:
            away = -1
            tick = max(min(price, touch), base) - base
        better = better_from(book.occupied, side, tick)
        worse = worse_from(book.occupied, side, tick + away)
        while better >= 0 or worse >= 0:
            if worse < 0 or (better >= 0 and abs(better - tick) <= abs(worse - tick)):
                nearest = better
                better = better_from(book.occupied, side, better - away)
            else:
                nearest = worse
                worse = worse_from(book.occupied, side, worse + away)
            slot = owned_from(book.orders, book.levels[side, nearest, end], owner, link)
            if slot >= 0:
                return slot
        return -1

    @jit
    def cancel_at(book, side, price, size, owner, queue_rule, report):
        if side != SELL and side != BUY:
            return BAD_SIDE
        if size <= 0:
            return BAD_SIZE
        end = HEAD if queue_rule == OLDEST_FIRST else TAIL
        link = NEXT if queue_rule == OLDEST_FIRST else PREVIOUS
        slot = nearest_owned(book, side, price, owner, end, link)
        if slot < 0:
            return NOTHING_TO_CANCEL
        report[ACTED_PRICE] = book.orders[slot, PRICE]
        left = size
        while slot >= 0 and left > 0:
            amount = min(left, book.orders[slot, SIZE])
            left -= amount
            following = owned_from(book.orders, book.orders[slot, link], owner, link) if left > 0 else -1
            reduce(book, slot, amount)
            slot = following
        report[CANCELLED] = size - left
        return ACCEPTED

    @jit
    def execute(book, kind, side, price, size, order_id, owner, queue_rule, report, trades):
        for column in range(NUM_REPORT_COLUMNS):
            report[column] = 0
        report[ACTED_PRICE] = NO_PRICE
        if kind == CANCEL:
            outcome = cancel(book, size, order_id, report)
        elif kind == CANCEL_AT:
            outcome = cancel_at(book, side, price, size, owner, queue_rule, report)
        elif kind != LIMIT and kind != MARKET and kind != IOC:
            outcome = BAD_KIND
        else:
            outcome = enter(book, kind, side, price, size, order_id, owner, report, trades)
        report[OUTCOME] = outcome
        book.header[OUTCOME_COUNTS + outcome] += 1

    @jit
    def snapshot(book, out):
        base = book.header[BASE_PRICE]
        for side in range(2):
            count = book.header[NUM_LEVELS + side]
            tick = book.header[BEST_PRICE + side] - base
            for level in range(DEPTH):
                if level < count:
                    if level > 0:
                        tick = worse_from(book.occupied, side, tick + 1 if side == SELL else tick - 1)
                    out[side, level, 0] = base + tick
                    out[side, level, 1] = book.levels[side, tick, TOTAL]
                else:
                    out[side, level, 0] = NO_PRICE
                    out[side, level, 1] = 0

    @jit
    def view(books, b):
        return BookState(books.header[b], books.orders[b], books.levels[b], books.occupied[b], books.index[b])

    @jit
    def find(book, order_id):
        return lookup(book.index, order_id)

    @jit
    def best(book, side):
        return book.header[BEST_PRICE + side]

    @jit
    def level_size(book, side, price):
        tick = price - book.header[BASE_PRICE]
        if tick < 0 or tick >= book.levels.shape[1]:
            return 0
        return book.levels[side, tick, TOTAL]

    @jit
    def next_price(book, side, price):
        base = book.header[BASE_PRICE]
        ticks = book.levels.shape[1]
        if side == SELL:
            tick = lowest_from(book.occupied, side, max(price + 1 - base, 0))
        else:
            tick = highest_from(book.occupied, side, min(price - 1 - base, ticks - 1))
        return NO_PRICE if tick < 0 else base + tick

    return Matching(execute, snapshot, view, find, best, level_size, next_price)
