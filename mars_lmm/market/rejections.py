"""Rejected orders as errors: where, why, and what to do about it."""

import numpy as np

from mars_lmm.market import types as t

ADVICE = {
    t.BAD_KIND: f"use one of {', '.join(t.KINDS)}; halt and resume are for books under rules",
    t.BAD_SIDE: "use SELL or BUY",
    t.BAD_SIZE: f"sizes are 1 to {t.MAX_SIZE}; a CANCEL may also say 0",
    t.BAD_PRICE: "allocate books whose ladder holds it (base_price, num_ticks), or let them grow",
    t.DUPLICATE_ID: "an id may be used again only when its order is gone",
    t.BOOK_FULL: "allocate books with more num_orders, or let them grow",
    t.UNKNOWN_ID: "the order was filled or cancelled before, or never rested",
    t.NOTHING_TO_CANCEL: "the owner has no order on that side",
    t.NO_LIQUIDITY: "nothing rests there to trade with, or to take the price from",
    t.UNFILLABLE: "the book holds less than its size within its price",
    t.WOULD_TRADE: "price it behind the other side's best",
    t.NOT_OWNER: "only the owner of an order may change it",
    t.CLOSED: "the session takes no orders at this time",
    t.HALTED: "trading is halted; wait for its end or a RESUME",
    t.NO_CANCEL: "this part of the auction takes no cancels",
    t.KIND_NOT_TAKEN: "the venue, or its session at this time, does not take this kind",
    t.OFF_TICK: "use multiples of the tick",
    t.TOO_LARGE: "split it: it is above the venue's largest order",
    t.BAD_LOT: "use multiples of the lot, no less than the smallest order",
    t.PRICE_LIMIT: "stay within the day's price limits",
    t.PRICE_CAGE: "stay nearer to the market",
    t.NO_ACCOUNT: "give the owner an account, or trade as the background, owner 0",
    t.NO_CASH: "the account's cash, less what its orders hold, does not cover it",
    t.NO_POSITION: "the account may not sell so much today",
}


class MarketError(ValueError):
    """An order was rejected. The book is as it was before the order.

    Attributes:
        book: the book's number.
        order: the order's number in the stream; in lockstep the same as `book`.
        outcome: why; an index into `OUTCOMES`.
    """

    def __init__(self, book: int, order: int, row: np.ndarray, outcome: int):
        names = ("kind", "side", "price", "size", "id", "owner")
        fields = ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True))
        super().__init__(
            f"book {book}, order {order} ({fields}): {t.OUTCOMES[outcome]}: {ADVICE[outcome]}, "
            'or count rejections with on_reject="count"'
        )
        self.book, self.order, self.outcome = book, order, outcome
