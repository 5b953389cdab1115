"""What the market's tests share: reading a book's arrays, and comparing it with the reference."""

import numpy as np

from mars_lmm.market.book import (
    HEAD,
    NEXT,
    NUM_SLOT_COLUMNS,
    ORDERS,
    PREVIOUS,
    RESTS,
    TAIL,
    TOTAL,
    WAITS,
    empty_books,
    sections,
)
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import (
    BASE_PRICE,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BEST_PRICE,
    BUY,
    CANCEL,
    CANCEL_AT,
    CASH,
    CHANGED,
    FIRST_PARKED,
    FOK,
    IOC,
    KIND,
    LAST_PARKED,
    LAST_PRICE,
    LIMIT,
    LIVE_ORDERS,
    MARKET,
    MARKET_FOK,
    NO_PRICE,
    NUM_LEVELS,
    NUM_PARKED,
    NUM_TRADES,
    OLDEST_FIRST,
    OPEN_PRICE,
    OPPOSITE_BEST,
    ORDER_ID,
    OUTCOME_COUNTS,
    OUTCOMES,
    OWN_BEST,
    OWNER,
    POSITION,
    POST_ONLY,
    PRICE,
    REPLACE,
    SELL,
    SELLABLE,
    SIDE,
    SIZE,
    TRADE_ROWS,
    TRADES_DROPPED,
    VOLUME,
)


def pair(num_orders, num_ticks, base_price, queue_rule=OLDEST_FIRST):
    """An exchange of one book that counts rejections, and a reference book of the same size."""
    state = empty_books(1, num_orders, num_ticks, base_price)
    exchange = Exchange(state, queue_rule, on_reject="count")
    return exchange, ReferenceBook(num_orders, num_ticks, base_price, queue_rule)


def exchange_for(day):
    """An exchange of one book under the rules of a random day, as `ReferenceVenue(*day)` is."""
    schedule = np.array(day.schedule, np.int64)
    num_accounts = len(day.accounts or ())
    books = empty_books(1, day.num_orders, day.num_ticks, day.base_price, len(schedule), num_accounts)
    parts = sections(books)
    parts.rules[:] = day.rules
    parts.phases[:] = schedule
    if num_accounts:
        parts.accounts[:, :, [CASH, POSITION, SELLABLE]] = day.accounts
    return Exchange(books, day.queue_rule, on_reject="count")


def at(parts, slot):
    """The row of an order slot."""
    return parts.orders[0, (slot - ORDERS) // NUM_SLOT_COLUMNS]


def queues(book: np.ndarray) -> dict:
    """{(side, price): [(order id, size, owner), ...]} of every price that holds orders."""
    found, parts = {}, sections(book)
    for side, tick in zip(*np.nonzero(parts.levels[0, ..., HEAD] >= 0), strict=True):
        slot, queue = parts.levels[0, side, tick, HEAD], []
        while slot >= 0:
            queue.append(tuple(at(parts, slot)[[ORDER_ID, SIZE, OWNER]].tolist()))
            slot = at(parts, slot)[NEXT]
        found[int(side), int(book[BASE_PRICE] + tick)] = queue
    return found


def reference_queues(reference: ReferenceBook) -> dict:
    return {(side, price): reference.queue(side, price) for side in (SELL, BUY) for price in reference.levels[side]}


def check_header(header: np.ndarray, reference: ReferenceBook):
    assert header[BEST_PRICE + SELL] == reference.best(SELL)
    assert header[BEST_PRICE + BUY] == reference.best(BUY)
    assert header[LIVE_ORDERS] == len(reference.live)
    assert header[OPEN_PRICE] == reference.open_price
    assert header[LAST_PRICE] == reference.last_price
    assert header[VOLUME] == reference.volume
    assert header[NUM_TRADES] == reference.num_trades
    assert header[TRADES_DROPPED] == 0
    assert header[OUTCOME_COUNTS : OUTCOME_COUNTS + len(OUTCOMES)].tolist() == reference.outcome_counts


def check_invariants(book: np.ndarray, may_cross: bool = False):
    """What holds in any book: uncrossed, links and totals right, bitmap and id table in accord."""
    header, parts = book, sections(book)
    levels, occupied = parts.levels[0], parts.occupied[0]
    best_sell, best_buy = header[BEST_PRICE + SELL], header[BEST_PRICE + BUY]
    assert may_cross or NO_PRICE in (best_sell, best_buy) or best_buy < best_sell
    live = {}
    for side in (SELL, BUY):
        for tick in range(levels.shape[1]):
            slot, before, total = levels[side, tick, HEAD], -1, 0
            assert (occupied[side, tick >> 5] >> (tick & 31)) & 1 == (slot >= 0)
            while slot >= 0:
                row = at(parts, slot)
                assert (row[SIDE], row[PRICE] - header[BASE_PRICE], row[PREVIOUS]) == (side, tick, before)
                assert row[KIND] == RESTS
                assert row[SIZE] > 0
                live[int(row[ORDER_ID])] = int(slot)
                total += row[SIZE]
                before, slot = slot, row[NEXT]
            assert levels[side, tick, TAIL] == before
            assert levels[side, tick, TOTAL] == total
        assert header[NUM_LEVELS + side] == (levels[side, :, HEAD] >= 0).sum()
    slot, before, parked = header[FIRST_PARKED], -1, 0
    while slot >= 0:
        row = at(parts, slot)
        assert (row[KIND], row[PREVIOUS]) == (WAITS, before)
        live[int(row[ORDER_ID])] = int(slot)
        parked += 1
        before, slot = slot, row[NEXT]
    assert (header[LAST_PARKED], header[NUM_PARKED]) == (before, parked)
    assert header[LIVE_ORDERS] == len(live)
    assert {int(order_id): int(slot) for order_id, slot in parts.index[0] if slot >= 0} == live


def random_stream(seed, num, num_ticks, base_price, num_ids=200, owners=2):
    """A stream int64[num, 6] that keeps a small book busy: about half of it limits, many ids already used."""
    rng = np.random.default_rng(seed)
    # Limits and cancels mostly, some of every other kind, and now and then none that there is.
    kinds = [LIMIT, CANCEL, CANCEL_AT, MARKET, IOC, FOK, POST_ONLY, REPLACE, MARKET_FOK]
    kinds += [BEST_FIVE, BEST_FIVE_LIMIT, OPPOSITE_BEST, OWN_BEST, 99]
    kind = rng.choice(kinds, num, p=[0.5, 0.15, 0.1, 0.03, 0.03, 0.02, 0.02, 0.08, 0.01, 0.01, 0.02, 0.01, 0.01, 0.01])
    side = rng.integers(0, 2, num)
    price = base_price + rng.normal(num_ticks / 2, num_ticks / 6, num).astype(np.int64)
    size = rng.integers(0, 12, num)
    return np.stack([kind, side, price, size, rng.integers(0, num_ids, num), rng.integers(0, owners, num)], 1)


def without_notes(books: np.ndarray) -> np.ndarray:
    """The books but for what tells of the last call and the last snapshot, not of the market."""
    books = books.copy()
    books[:, [TRADE_ROWS, CHANGED + SELL, CHANGED + BUY]] = 0
    return books
