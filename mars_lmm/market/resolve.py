"""How a recorded order is executed when the feed did not show where every order came from."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.book import NEXT, NO_SLOT
from mars_lmm.market.types import (
    ACCEPTED,
    CANCEL,
    CANCEL_AT,
    CANCELLED,
    OLDEST_FIRST,
    OUTCOME_COUNTS,
    OWNER,
)
from mars_lmm.market.venue import Venue


class Resolving(NamedTuple):
    """Compiled functions of `make_resolving`."""

    apply: Callable
    """(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades): as `Venue.submit`."""


def make_resolving(jit: Callable, venue: Venue) -> Resolving:
    """Compile `apply`: `Venue.submit`, but for cancels of orders that the book does not fully know.

    A feed that shows a window of the book leaves the opening orders, and those that enter the window from
    outside, without ids; and where volume shrank unseen, which order gave way is a guess. So a cancel takes
    what its id still has, and the rest from its owner's other volume at exactly its price, oldest first. It
    is rejected as UNKNOWN_ID when its id is not live and its owner has nothing at the price.

    Args:
        jit: The compiler, as for the matching core.
        venue: The compiled venue.
    """
    matching, submit = venue.matching, venue.submit
    execute, find, first, level_size = matching.execute, matching.find, matching.first, matching.level_size

    @jit
    def rests_at(book, side, price, owner):
        """Whether `owner` has volume at exactly this price."""
        if level_size(book, side, price) == 0:
            return False
        slot = first(book, side, price)
        while slot != NO_SLOT and book[slot + OWNER] != owner:
            slot = book[slot + NEXT]
        return slot != NO_SLOT

    @jit
    def apply(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades):
        known = kind != CANCEL or find(book, order_id) != NO_SLOT
        if not known and size > 0 and rests_at(book, side, price, owner):
            kind, queue_rule = CANCEL_AT, OLDEST_FIRST
        submit(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades)
        given = report[CANCELLED]
        if kind == CANCEL and known and given < size and rests_at(book, side, price, owner):
            left = size - given
            execute(book, CANCEL_AT, side, price, left, order_id, owner, OLDEST_FIRST, report, trades)
            report[CANCELLED] += given
            book[OUTCOME_COUNTS + ACCEPTED] -= 1  # one order, not two

    return Resolving(apply)
