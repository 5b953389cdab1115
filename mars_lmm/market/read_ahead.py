"""What an order will touch in its book, fetched from memory while the books before it are at work.

In lockstep over many books, nothing of a book is in the CPU's caches when its turn comes, and each place tells where
the next one is: the id's row its slot, the slot its neighbours. So an order is followed in stages, some books apart.
"""

from mars_lmm.market.book import NEXT, NO_SLOT, PREVIOUS
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.market.prefetch import prefetch
from mars_lmm.market.types import BUY, CANCEL, FREE_SLOT, KIND, ORDER_ID, PRICE, SELL, SIDE

# How many books ahead each stage is: fewer, and the memory comes too late; more, and it is pushed out before its use.
FIRST, SECOND, THIRD = 6, 3, 1

_find, _home, _first, _last = VENUE.queues.find, VENUE.queues.home, VENUE.queues.first, VENUE.queues.last
_in_ladder, _level_at = VENUE.queues.in_ladder, VENUE.queues.level_at
_best, _crosses = VENUE.matching.best, VENUE.trading.crosses


@scalar_njit
def read_ahead(high, books, b, orders, times, queue_rule, reports, snapshots, trades, num_trades):
    """Fetch for books behind `b` and before `high`; the arguments behind `high` are those of `Kernels.step`."""
    if b + FIRST < high:
        prefetch(books[b + FIRST], _home(books[b + FIRST], orders[b + FIRST, ORDER_ID]))
    if b + SECOND < high:
        _fetch_places(books[b + SECOND], orders[b + SECOND])
    if b + THIRD < high:
        _fetch_neighbours(books[b + THIRD], orders[b + THIRD])


@scalar_njit
def _fetch_places(book, order):
    """The slot of an order to cancel, or the slot and the level of a new one."""
    side = order[SIDE]
    if order[KIND] == CANCEL:
        prefetch(book, _find(book, order[ORDER_ID]))
    elif side in (SELL, BUY):
        prefetch(book, book[FREE_SLOT])
        prefetch(book, _level_at(book, side, order[PRICE]))


@scalar_njit
def _fetch_neighbours(book, order):
    """What stands beside the order in its queue, or what it will trade with."""
    side, price = order[SIDE], order[PRICE]
    if order[KIND] == CANCEL:
        slot = _find(book, order[ORDER_ID])
        if slot != NO_SLOT:
            prefetch(book, book[slot + PREVIOUS] + NEXT)
            prefetch(book, book[slot + NEXT] + PREVIOUS)
            prefetch(book, _level_at(book, book[slot + SIDE], book[slot + PRICE]))
    elif side in (SELL, BUY):
        if _crosses(book, side, price):
            prefetch(book, _first(book, 1 - side, _best(book, 1 - side)))
        elif _in_ladder(book, price):
            prefetch(book, _last(book, side, price) + NEXT)
