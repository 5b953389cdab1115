"""The matching core: what each kind of order does to a book."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.accounts import make_accounts
from mars_lmm.market.book import NEXT, NO_SLOT, PREVIOUS, RESTS, Queues, make_queues
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.snapshots import make_snapshots
from mars_lmm.market.trading import ANY_BUY_PRICE, ANY_SELL_PRICE, Trading, make_trading
from mars_lmm.market.types import (
    ACCEPTED,
    ACTED_PRICE,
    BAD_KIND,
    BAD_PRICE,
    BAD_SIDE,
    BAD_SIZE,
    BASE_PRICE,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BEST_PRICE,
    BOOK_FULL,
    BUY,
    CANCEL,
    CANCEL_AT,
    CANCELLED,
    CLOSEST_SIZE,
    DUPLICATE_ID,
    FILL_VALUE,
    FILLED,
    FOK,
    FREE_SLOT,
    KIND,
    KIND_NOT_TAKEN,
    LIMIT,
    MARKET,
    MARKET_FOK,
    MAX_SIZE,
    NO_LIQUIDITY,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    NUM_FILLS,
    NUM_REPORT_COLUMNS,
    NUM_TICKS,
    OLDEST_FIRST,
    OPPOSITE_BEST,
    OUTCOME,
    OUTCOME_COUNTS,
    OWN_BEST,
    OWNER,
    POST_ONLY,
    PREVENTED,
    PRICE,
    REPLACE,
    RESTING,
    SELL,
    SIDE,
    SIZE,
    TRADE_ROWS,
    UNFILLABLE,
    WOULD_TRADE,
)


class Matching(NamedTuple):
    """The compiled functions of one book; see `docs/market.md` for what the orders mean."""

    execute: Callable
    """(book, kind, side, price, size, order_id, owner, queue_rule, report, trades): execute one order.

    Fills `report` int64[NUM_REPORT_COLUMNS] and the rows of `trades` int64[K, NUM_TRADE_COLUMNS] from 0.
    Trades beyond K rows happen and are counted in the header's TRADES_DROPPED. A rejected order changes its
    outcome's counter and nothing else.
    """
    carry_out: Callable
    """`execute` -> outcome, for a report that is clear and counters that somebody else keeps."""
    collect: Callable
    """(book, kind, side, price, size, order_id, owner, report, trades) -> outcome: LIMIT or REPLACE without trading."""
    clear: Callable  # (book, report): as before an order
    close: Callable  # (book, outcome, report): count the outcome and report it
    snapshot: Callable
    """(book, out): the best DEPTH levels, out int64[2, DEPTH, 2] = [side][level][price, size]."""
    refresh: Callable
    """(book, out): the same, where `out` already holds the book as of the last `refresh`."""
    find: Callable
    """(book, order_id) -> the slot of a live order, or NO_SLOT."""
    best: Callable
    """(book, side) -> the best price, or NO_PRICE."""
    first: Callable
    """(book, side, price) -> the slot of the oldest order at a price of the ladder, or NO_SLOT."""
    level_size: Callable
    """(book, side, price) -> the total size resting at a price; 0 outside the ladder."""
    next_price: Callable
    """(book, side, price) -> the next occupied price strictly worse than `price`, or NO_PRICE."""
    first_cancelled: Callable
    """(book, side, price, size, owner, queue_rule) -> the slot of the order that CANCEL_AT takes first, or NO_SLOT."""


def make_matching(jit: Callable) -> Matching:
    """Compile the matching core, and what it stands on, with `jit`."""
    accounts = make_accounts(jit)
    queues = make_queues(jit, accounts)
    return compose_matching(jit, queues, make_trading(jit, accounts, queues))


def compose_matching(jit: Callable, queues: Queues, trading: Trading) -> Matching:
    """Compile the matching core with `jit` over compiled queues and continuous trading."""
    lesser, greater = make_extrema(jit)
    add, reduce, in_ladder = queues.add, queues.reduce, queues.in_ladder
    find, find_owned = queues.find, queues.find_owned
    first, last, level_size = queues.first, queues.last, queues.level_size
    next_price, previous_price = queues.next_price, queues.previous_price
    match, crosses, fillable, nth_price = trading.match, trading.crosses, trading.fillable, trading.nth_price
    snapshot, refresh = make_snapshots(jit, queues)

    @jit
    def clear(book, report):
        book[TRADE_ROWS] = 0
        for column in range(NUM_REPORT_COLUMNS):
            report[column] = 0
        report[ACTED_PRICE] = NO_PRICE

    @jit
    def close(book, outcome, report):
        report[OUTCOME] = outcome
        book[OUTCOME_COUNTS + outcome] += 1

    @jit
    def trade(book, side, price, size, order_id, owner, report, trades):
        """Trade up to `price` and report it; return what may rest."""
        filled, value, fills, last_price, cancelled, prevented = match(book, side, price, size, order_id, owner, trades)
        report[FILLED] = filled
        report[FILL_VALUE] = value
        report[NUM_FILLS] = fills
        report[CANCELLED] += cancelled
        report[PREVENTED] = prevented
        report[ACTED_PRICE] = last_price
        return size - filled - cancelled

    @jit
    def rest(book, side, price, size, order_id, owner, report):
        add(book, side, price, size, order_id, owner)
        report[RESTING] = size
        if report[NUM_FILLS] == 0:
            report[ACTED_PRICE] = price

    @jit
    def trade_and_rest(book, side, price, size, order_id, owner, report, trades):
        left = trade(book, side, price, size, order_id, owner, report, trades)
        if left > 0:
            rest(book, side, price, left, order_id, owner, report)

    @jit
    def may_rest(book, price, order_id):
        if not in_ladder(book, price):
            return BAD_PRICE
        if find(book, order_id) != NO_SLOT:
            return DUPLICATE_ID
        return ACCEPTED

    @jit
    def enter(book, side, price, size, order_id, owner, report, trades):
        """A limit order."""
        outcome = may_rest(book, price, order_id)
        if outcome != ACCEPTED:
            return outcome
        # An order that crosses always finds room: it goes whole, or it frees the slot of one that it meets.
        if book[FREE_SLOT] == NO_SLOT and not crosses(book, side, price):
            return BOOK_FULL
        trade_and_rest(book, side, price, size, order_id, owner, report, trades)
        return ACCEPTED

    @jit
    def post(book, side, price, size, order_id, owner, report):
        """A limit order that does not trade, in a book that may be crossed."""
        outcome = may_rest(book, price, order_id)
        if outcome != ACCEPTED:
            return outcome
        if book[FREE_SLOT] == NO_SLOT:
            return BOOK_FULL
        rest(book, side, price, size, order_id, owner, report)
        return ACCEPTED

    @jit
    def post_only(book, side, price, size, order_id, owner, report):
        outcome = may_rest(book, price, order_id)
        if outcome == ACCEPTED and crosses(book, side, price):
            return WOULD_TRADE
        return post(book, side, price, size, order_id, owner, report)

    @jit
    def take(book, side, price, size, order_id, owner, whole, report, trades):
        """An order that does not rest: trade up to `price`, `whole` or not at all."""
        if not crosses(book, side, price):
            return NO_LIQUIDITY
        if whole and fillable(book, side, price, size, owner) < size:
            return UNFILLABLE
        left = trade(book, side, price, size, order_id, owner, report, trades)
        report[CANCELLED] += left
        return ACCEPTED

    @jit
    def best_five(book, side, protection, size, order_id, owner, rests, report, trades):
        if rests and find(book, order_id) != NO_SLOT:
            return DUPLICATE_ID
        price = nth_price(book, 1 - side, 5)
        if protection > 0:
            price = lesser(price, protection) if side == BUY else greater(price, protection)
        if not crosses(book, side, price):
            return NO_LIQUIDITY
        left = trade(book, side, price, size, order_id, owner, report, trades)
        if left > 0 and rests and report[NUM_FILLS] > 0:
            rest(book, side, report[ACTED_PRICE], left, order_id, owner, report)
        else:
            report[CANCELLED] += left
        return ACCEPTED

    @jit
    def enter_at(book, price, side, size, order_id, owner, report, trades):
        """A limit order at a price that the book names, if it does."""
        if find(book, order_id) != NO_SLOT:
            return DUPLICATE_ID
        if price == NO_PRICE:
            return NO_LIQUIDITY
        return enter(book, side, price, size, order_id, owner, report, trades)

    @jit
    def cancel(book, size, order_id, owner, report):
        if size < 0:
            return BAD_SIZE
        outcome, slot = find_owned(book, order_id, owner)
        if outcome != ACCEPTED:
            return outcome
        live = book[slot + SIZE]
        amount = size if 0 < size < live else live
        report[CANCELLED] = amount
        report[ACTED_PRICE] = book[slot + PRICE]
        reduce(book, slot, amount)
        return ACCEPTED

    @jit
    def replace(book, price, size, order_id, owner, trades_now, report, trades):
        if size <= 0 or size > MAX_SIZE:
            return BAD_SIZE
        outcome, slot = find_owned(book, order_id, owner)
        if outcome != ACCEPTED:
            return outcome
        if book[slot + KIND] != RESTS:
            return KIND_NOT_TAKEN
        if not in_ladder(book, price):
            return BAD_PRICE
        side, live = book[slot + SIDE], book[slot + SIZE]
        if price == book[slot + PRICE] and size <= live:
            report[CANCELLED] = live - size
            report[RESTING] = size
            report[ACTED_PRICE] = price
            if size < live:
                reduce(book, slot, live - size)
            return ACCEPTED
        reduce(book, slot, live)
        report[CANCELLED] = live
        if trades_now:
            trade_and_rest(book, side, price, size, order_id, owner, report, trades)
        else:
            rest(book, side, price, size, order_id, owner, report)
        return ACCEPTED

    @jit
    def owned_from(book, slot, owner, link):
        """The first order of `owner` in a queue at or behind `slot`, following `link`, or NO_SLOT."""
        while slot != NO_SLOT and book[slot + OWNER] != owner:
            slot = book[slot + link]
        return slot

    @jit
    def nearest_owned(book, side, price, owner, queue_rule, link):
        """The slot where a cancel near `price` starts: the first of `owner` at the nearest price, or NO_SLOT."""
        touch = book[BEST_PRICE + side]
        if touch == NO_PRICE:
            return NO_SLOT
        # Beyond the touch or the ladder's end, the order of distances does not change.
        base = book[BASE_PRICE]
        price = (
            lesser(greater(price, touch), base + book[NUM_TICKS] - 1)
            if side == SELL
            else greater(lesser(price, touch), base)
        )
        better = price if level_size(book, side, price) > 0 else previous_price(book, side, price)
        worse = next_price(book, side, price)
        while better != NO_PRICE or worse != NO_PRICE:
            if worse == NO_PRICE or (better != NO_PRICE and abs(better - price) <= abs(worse - price)):
                nearest = better
                better = previous_price(book, side, better)
            else:
                nearest = worse
                worse = next_price(book, side, worse)
            oldest = queue_rule == OLDEST_FIRST
            slot = first(book, side, nearest) if oldest else last(book, side, nearest)
            slot = owned_from(book, slot, owner, link)
            if slot != NO_SLOT:
                return slot
        return NO_SLOT

    @jit
    def first_cancelled(book, side, price, size, owner, queue_rule):
        link = NEXT if queue_rule == OLDEST_FIRST else PREVIOUS
        slot = nearest_owned(book, side, price, owner, queue_rule, link)
        if queue_rule != CLOSEST_SIZE:
            return slot
        closest = slot
        while slot != NO_SLOT:
            if abs(book[slot + SIZE] - size) < abs(book[closest + SIZE] - size):
                closest = slot
            slot = owned_from(book, book[slot + link], owner, link)
        return closest

    @jit
    def cancel_at(book, side, price, size, owner, queue_rule, report):
        if side != SELL and side != BUY:
            return BAD_SIDE
        if size <= 0:
            return BAD_SIZE
        slot = first_cancelled(book, side, price, size, owner, queue_rule)
        if slot == NO_SLOT:
            return NOTHING_TO_CANCEL
        report[ACTED_PRICE] = book[slot + PRICE]
        if queue_rule == CLOSEST_SIZE:
            report[CANCELLED] = book[slot + SIZE]
            reduce(book, slot, book[slot + SIZE])
            return ACCEPTED
        link = NEXT if queue_rule == OLDEST_FIRST else PREVIOUS
        left = size
        while slot != NO_SLOT and left > 0:
            amount = lesser(left, book[slot + SIZE])
            left -= amount
            following = owned_from(book, book[slot + link], owner, link) if left > 0 else -1
            reduce(book, slot, amount)
            slot = following
        report[CANCELLED] = size - left
        return ACCEPTED

    @jit
    def place(book, kind, side, price, size, order_id, owner, report, trades):
        """An order that is neither cancel nor replace."""
        if side != SELL and side != BUY:
            return BAD_SIDE
        if size <= 0 or size > MAX_SIZE:
            return BAD_SIZE
        if kind == LIMIT:
            return enter(book, side, price, size, order_id, owner, report, trades)
        if kind == POST_ONLY:
            return post_only(book, side, price, size, order_id, owner, report)
        if kind in (OPPOSITE_BEST, OWN_BEST):
            named = book[BEST_PRICE + (side if kind == OWN_BEST else 1 - side)]
            return enter_at(book, named, side, size, order_id, owner, report, trades)
        if kind in (BEST_FIVE, BEST_FIVE_LIMIT):
            rests = kind == BEST_FIVE_LIMIT
            return best_five(book, side, price, size, order_id, owner, rests, report, trades)
        if kind in (MARKET, MARKET_FOK):
            price = ANY_BUY_PRICE if side == BUY else ANY_SELL_PRICE
        whole = kind in (FOK, MARKET_FOK)
        return take(book, side, price, size, order_id, owner, whole, report, trades)

    @jit
    def carry_out(book, kind, side, price, size, order_id, owner, queue_rule, report, trades):
        if kind == CANCEL:
            return cancel(book, size, order_id, owner, report)
        if kind == CANCEL_AT:
            return cancel_at(book, side, price, size, owner, queue_rule, report)
        if kind == REPLACE:
            return replace(book, price, size, order_id, owner, True, report, trades)
        if kind < LIMIT or kind > OWN_BEST:
            return BAD_KIND
        return place(book, kind, side, price, size, order_id, owner, report, trades)

    @jit
    def collect(book, kind, side, price, size, order_id, owner, report, trades):
        if kind == REPLACE:
            return replace(book, price, size, order_id, owner, False, report, trades)
        return post(book, side, price, size, order_id, owner, report)

    @jit
    def execute(book, kind, side, price, size, order_id, owner, queue_rule, report, trades):
        clear(book, report)
        outcome = carry_out(book, kind, side, price, size, order_id, owner, queue_rule, report, trades)
        close(book, outcome, report)

    @jit
    def best(book, side):
        return book[BEST_PRICE + side]

    return Matching(
        execute,
        carry_out,
        collect,
        clear,
        close,
        snapshot,
        refresh,
        find,
        best,
        first,
        level_size,
        next_price,
        first_cancelled,
    )
