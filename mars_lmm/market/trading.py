"""Continuous trading: an incoming order meets the resting ones in price-time order."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.accounts import Accounts
from mars_lmm.market.book import NEXT, NO_SLOT, Queues
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.types import (
    ALLOW,
    BACKGROUND,
    BEST_PRICE,
    BUY,
    CANCEL_INCOMING,
    CANCEL_RESTING,
    DECREMENT,
    INCOMING_ID,
    INCOMING_OWNER,
    INCOMING_SIDE,
    LAST_PRICE,
    MAX_PRICE,
    NO_PRICE,
    NUM_ACCOUNTS,
    NUM_TRADES,
    OPEN_PRICE,
    ORDER_ID,
    OWNER,
    RESTING_ID,
    RESTING_OWNER,
    RULES,
    SELF_TRADE,
    SELL,
    SIZE,
    TRADE_PRICE,
    TRADE_ROWS,
    TRADE_SIZE,
    TRADES_DROPPED,
    VOLUME,
)

# Prices at which an order trades with everything.
ANY_SELL_PRICE, ANY_BUY_PRICE = 0, MAX_PRICE


class Trading(NamedTuple):
    """The compiled functions of continuous trading."""

    record: Callable
    """(book, trades, price, size, resting_id, resting_owner, incoming_id, incoming_owner, incoming_side): one trade.

    It takes the next row of `trades` and changes the day's figures and the owners' accounts.
    """
    match: Callable
    """(book, side, price, size, order_id, owner, trades) -> (filled, value, fills, last_price, cancelled, prevented).

    Trade with the other side while it is no worse than `price`. What is left may rest: size - filled - cancelled.
    """
    crosses: Callable  # (book, side, price) -> whether an order would meet the other side's best price
    fillable: Callable  # (book, side, price, size, owner) -> how much of `size` would fill
    nth_price: Callable  # (book, side, n) -> the n-th best occupied price, the worst if there are fewer, or NO_PRICE
    walk: Callable
    """(book, side, price, size, owner) -> (units, value, worst price): what an order up to `price` would meet.

    The owner's own orders do not count where they would give way.
    """


def make_trading(jit: Callable, accounts: Accounts, queues: Queues) -> Trading:
    """Compile the functions of continuous trading with `jit`."""
    lesser = make_extrema(jit).lesser
    settle, reduce, first = accounts.settle, queues.reduce, queues.first
    next_price = queues.next_price

    @jit
    def crosses(book, side, price):
        touch = book[BEST_PRICE + 1 - side]
        return touch != NO_PRICE and (price <= touch if side == SELL else price >= touch)

    @jit
    def record(book, trades, price, size, resting_id, resting_owner, incoming_id, incoming_owner, incoming_side):
        row = book[TRADE_ROWS]
        if row < trades.shape[0]:
            trades[row, TRADE_PRICE] = price
            trades[row, TRADE_SIZE] = size
            trades[row, RESTING_ID] = resting_id
            trades[row, RESTING_OWNER] = resting_owner
            trades[row, INCOMING_ID] = incoming_id
            trades[row, INCOMING_OWNER] = incoming_owner
            trades[row, INCOMING_SIDE] = incoming_side
            book[TRADE_ROWS] = row + 1
        else:
            book[TRADES_DROPPED] += 1
        if book[NUM_TRADES] == 0:
            book[OPEN_PRICE] = price
        book[NUM_TRADES] += 1
        book[LAST_PRICE] = price
        book[VOLUME] += size
        if book[NUM_ACCOUNTS] > 0:
            # Without a side it is an auction's trade, whose incoming order is the buyer's.
            if incoming_side == SELL:
                settle(book, price, size, incoming_owner, resting_owner, incoming_side)
            else:
                settle(book, price, size, resting_owner, incoming_owner, incoming_side)

    @jit
    def match(book, side, price, size, order_id, owner, trades):
        resting_side = 1 - side
        self_trade = ALLOW if owner == BACKGROUND else book[RULES + SELF_TRADE]
        filled, value, fills, last_price, cancelled, prevented = 0, 0, 0, NO_PRICE, 0, 0
        left = size
        while left > 0:
            best = book[BEST_PRICE + resting_side]
            if best == NO_PRICE or (best < price if side == SELL else best > price):
                break
            slot = first(book, resting_side, best)
            resting = book[slot + SIZE]
            if self_trade != ALLOW and book[slot + OWNER] == owner:
                shared = lesser(left, resting)
                yields = shared if self_trade == DECREMENT else 0 if self_trade == CANCEL_INCOMING else resting
                drops = shared if self_trade == DECREMENT else 0 if self_trade == CANCEL_RESTING else left
                prevented += yields
                cancelled += drops
                left -= drops
                if yields > 0:
                    reduce(book, slot, yields)
                continue
            traded = lesser(left, resting)
            resting_id, resting_owner = book[slot + ORDER_ID], book[slot + OWNER]
            reduce(book, slot, traded)
            record(book, trades, best, traded, resting_id, resting_owner, order_id, owner, side)
            fills += 1
            value += best * traded
            filled += traded
            last_price = best
            left -= traded
        return filled, value, fills, last_price, cancelled, prevented

    @jit
    def fillable(book, side, price, size, owner):
        resting_side = 1 - side
        self_trade = ALLOW if owner == BACKGROUND else book[RULES + SELF_TRADE]
        found = 0
        best = book[BEST_PRICE + resting_side]
        while best != NO_PRICE and found < size and (best <= price if side == BUY else best >= price):
            slot = first(book, resting_side, best)
            while slot != NO_SLOT and found < size:
                if self_trade == ALLOW or book[slot + OWNER] != owner:
                    found += book[slot + SIZE]
                elif self_trade != CANCEL_RESTING:
                    return found
                slot = book[slot + NEXT]
            best = next_price(book, resting_side, best)
        return found

    @jit
    def nth_price(book, side, n):
        price = book[BEST_PRICE + side]
        for _ in range(1, n):
            following = NO_PRICE if price == NO_PRICE else next_price(book, side, price)
            if following == NO_PRICE:
                break
            price = following
        return price

    @jit
    def walk(book, side, price, size, owner):
        own_counts = book[RULES + SELF_TRADE] == ALLOW
        units, value, worst = 0, 0, NO_PRICE
        best = book[BEST_PRICE + 1 - side]
        while best != NO_PRICE and units < size and (best <= price if side == BUY else best >= price):
            slot = first(book, 1 - side, best)
            while slot != NO_SLOT and units < size:
                if own_counts or book[slot + OWNER] != owner:
                    met = lesser(size - units, book[slot + SIZE])
                    units += met
                    value += met * best
                    worst = best
                slot = book[slot + NEXT]
            best = next_price(book, 1 - side, best)
        return units, value, worst

    return Trading(record, match, crosses, fillable, nth_price, walk)
