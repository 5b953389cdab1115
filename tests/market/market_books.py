"""What the market's tests share: reading a book's arrays, and comparing it with the reference."""

import numpy as np

from mars_lmm.market.book import HEAD, NEXT, PREVIOUS, TAIL, TOTAL, BookState, empty_books
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import (
    BASE_PRICE,
    BEST_PRICE,
    BUY,
    LAST_PRICE,
    LIVE_ORDERS,
    NO_PRICE,
    NUM_LEVELS,
    NUM_TRADES,
    OLDEST_FIRST,
    OPEN_PRICE,
    ORDER_ID,
    OUTCOME_COUNTS,
    OUTCOMES,
    OWNER,
    PRICE,
    SELL,
    SIDE,
    SIZE,
    TRADES_DROPPED,
    VOLUME,
)


def pair(num_orders, num_ticks, base_price, queue_rule=OLDEST_FIRST):
    """An exchange of one book that counts rejections, and a reference book of the same size."""
    state = empty_books(1, num_orders, num_ticks, base_price)
    exchange = Exchange(state, queue_rule, on_reject="count")
    return exchange, ReferenceBook(num_orders, num_ticks, base_price, queue_rule)


def one(books: BookState, b: int = 0) -> BookState:
    return BookState(*(array[b] for array in books))


def queues(book: BookState) -> dict:
    """{(side, price): [(order id, size, owner), ...]} of every price that holds orders."""
    found = {}
    for side, tick in zip(*np.nonzero(book.levels[..., HEAD] >= 0), strict=True):
        slot, queue = book.levels[side, tick, HEAD], []
        while slot >= 0:
            queue.append(tuple(int(book.orders[slot, column]) for column in (ORDER_ID, SIZE, OWNER)))
            slot = book.orders[slot, NEXT]
        found[int(side), int(book.header[BASE_PRICE] + tick)] = queue
    return found


def reference_queues(reference: ReferenceBook) -> dict:
    return {(side, price): reference.queue(side, price) for side in (SELL, BUY) for price in reference.levels[side]}


def check_header(book: BookState, reference: ReferenceBook):
    header = book.header
    assert header[BEST_PRICE + SELL] == reference.best(SELL)
    assert header[BEST_PRICE + BUY] == reference.best(BUY)
    assert header[LIVE_ORDERS] == len(reference.live)
    assert header[OPEN_PRICE] == reference.open_price
    assert header[LAST_PRICE] == reference.last_price
    assert header[VOLUME] == reference.volume
    assert header[NUM_TRADES] == reference.num_trades
    assert header[TRADES_DROPPED] == 0
    assert header[OUTCOME_COUNTS : OUTCOME_COUNTS + len(OUTCOMES)].tolist() == reference.outcome_counts


def check_invariants(book: BookState):
    """What holds in any book: uncrossed, links and totals right, bitmap and id table in accord."""
    header = book.header
    best_sell, best_buy = header[BEST_PRICE + SELL], header[BEST_PRICE + BUY]
    assert NO_PRICE in (best_sell, best_buy) or best_buy < best_sell
    live = {}
    for side in (SELL, BUY):
        for tick in range(book.levels.shape[1]):
            slot, before, total = book.levels[side, tick, HEAD], -1, 0
            occupied = (book.occupied[side, tick >> 5] >> (tick & 31)) & 1
            assert occupied == (slot >= 0)
            while slot >= 0:
                row = book.orders[slot]
                assert (row[SIDE], row[PRICE] - header[BASE_PRICE], row[PREVIOUS]) == (side, tick, before)
                assert row[SIZE] > 0
                live[int(row[ORDER_ID])] = int(slot)
                total += row[SIZE]
                before, slot = slot, row[NEXT]
            assert book.levels[side, tick, TAIL] == before
            assert book.levels[side, tick, TOTAL] == total
        assert header[NUM_LEVELS + side] == (book.levels[side, :, HEAD] >= 0).sum()
    assert header[LIVE_ORDERS] == len(live)
    assert {int(order_id): int(slot) for order_id, slot in book.index if slot >= 0} == live


def random_stream(seed, num, num_ticks, base_price, num_ids=200, owners=2):
    """A stream int64[num, 6] that keeps a small book busy: about half of it limits, many ids already used."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([0, 1, 2, 3, 4, 7], num, p=[0.58, 0.05, 0.2, 0.12, 0.04, 0.01])
    side = rng.integers(0, 2, num)
    price = base_price + rng.normal(num_ticks / 2, num_ticks / 6, num).astype(np.int64)
    size = rng.integers(0, 12, num)
    return np.stack([kind, side, price, size, rng.integers(0, num_ids, num), rng.integers(0, owners, num)], 1)
