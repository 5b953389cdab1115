"""What the tests of the reference venue share: small venues, and what they make of orders."""

from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.types import (
    CONTINUOUS,
    ENFORCED,
    KINDS_TAKEN,
    LIMIT_UP,
    LOT,
    MAX_PRICE,
    MIN_ORDER,
    NUM_KINDS,
    NUM_RULE_COLUMNS,
    TICK,
)

OPEN = [(0, CONTINUOUS, 1)]
FREE_DAY = {ENFORCED: 1, KINDS_TAKEN: (1 << NUM_KINDS) - 1, TICK: 1, LOT: 1, MIN_ORDER: 1, LIMIT_UP: MAX_PRICE}


def play(book, *orders):
    """The last order's (report, trades)."""
    return [book.execute(*order) for order in orders][-1]


def venue(rules=None, schedule=OPEN, accounts=None, num_orders=20):
    """A venue of prices 50..149 under the free day's rules and these."""
    row = [0] * NUM_RULE_COLUMNS
    for column, value in (FREE_DAY | (rules or {})).items():
        row[column] = value
    return ReferenceVenue(num_orders, 100, 50, row, schedule, accounts)


def outcomes(book, *orders):
    """The outcomes of orders without a time."""
    return [book.submit(*order, 0)[0].outcome for order in orders]
