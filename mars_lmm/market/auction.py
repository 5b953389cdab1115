"""Call auctions: one price at which the most is traded, and the trades at it.

While a call collects orders the book may be crossed; the auction uncrosses it.
"""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.book import Queues
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.trading import Trading
from mars_lmm.market.types import (
    AUCTION_AT_ORDERS,
    AUCTION_TIE,
    BEST_PRICE,
    BUY,
    LAST_PRICE,
    NEAREST,
    NO_PRICE,
    NO_SIDE,
    NUM_TRADES,
    ORDER_ID,
    OWNER,
    PREVIOUS_CLOSE,
    RULES,
    SELL,
    SIZE,
    TICK,
)


class Auction(NamedTuple):
    """The compiled functions of the call auction."""

    equilibrium: Callable  # (book) -> (price, volume) of an auction held now; NO_PRICE and 0 if nothing crosses
    uncross: Callable  # (book, trades): hold the auction


def make_auction(jit: Callable, queues: Queues, trading: Trading) -> Auction:
    """Compile the call auction with `jit`."""
    lesser = make_extrema(jit).lesser
    reduce, first, level_size, next_price = queues.reduce, queues.first, queues.level_size, queues.next_price
    record = trading.record

    @jit
    def equilibrium(book):
        lowest, highest = book[BEST_PRICE + SELL], book[BEST_PRICE + BUY]
        if lowest == NO_PRICE or highest < lowest:
            return NO_PRICE, 0
        buys = 0  # at the price and above
        price = highest
        while price >= lowest:
            buys += level_size(book, BUY, price)
            price = next_price(book, BUY, price)
        sells = 0  # at the price and below
        reference = book[LAST_PRICE] if book[NUM_TRADES] > 0 else book[RULES + PREVIOUS_CLOSE]
        tick = book[RULES + TICK]
        halfway = book[RULES + AUCTION_TIE] != NEAREST or reference == 0
        at_orders = book[RULES + AUCTION_AT_ORDERS] != 0
        volume, surplus, low, high, near = 0, 0, NO_PRICE, NO_PRICE, NO_PRICE
        for price in range(lowest, highest + 1, tick):
            bid, offered = level_size(book, BUY, price), level_size(book, SELL, price)
            sells += offered
            traded = lesser(buys, sells)
            over = abs(buys - sells)
            # Whoever named a better price than the auction's must be served whole.
            serves = buys - bid <= traded and sells - offered <= traded
            if serves and (bid + offered > 0 or not at_orders):
                if traded > volume or (traded == volume and over < surplus):
                    volume, surplus, low, high, near = traded, over, price, price, price
                elif traded == volume and over == surplus:
                    high = price
                    if abs(price - reference) < abs(near - reference):
                        near = price
            buys -= bid
        return (low + high + tick) // (2 * tick) * tick if halfway else near, volume

    @jit
    def uncross(book, trades):
        price, left = equilibrium(book)
        while left > 0:
            bid = first(book, BUY, book[BEST_PRICE + BUY])
            offer = first(book, SELL, book[BEST_PRICE + SELL])
            traded = lesser(left, lesser(book[bid + SIZE], book[offer + SIZE]))
            buyer, buyer_id = book[bid + OWNER], book[bid + ORDER_ID]
            seller, seller_id = book[offer + OWNER], book[offer + ORDER_ID]
            reduce(book, bid, traded)
            reduce(book, offer, traded)
            record(book, trades, price, traded, seller_id, seller, buyer_id, buyer, NO_SIDE)
            left -= traded

    return Auction(equilibrium, uncross)
