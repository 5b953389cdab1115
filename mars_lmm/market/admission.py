"""Admission: what a venue checks before an order reaches the book."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market import types as t
from mars_lmm.market.accounts import MILLION, Accounts
from mars_lmm.market.book import NO_SLOT, RESTS, Queues
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.trading import ANY_BUY_PRICE, ANY_SELL_PRICE, Trading
from mars_lmm.market.types import BEST_PRICE, BUY, NO_PRICE, RULES, SELL


class Admission(NamedTuple):
    """The compiled checks."""

    check_form: Callable  # (kind, side, size) -> outcome: what is wrong with an order whatever the venue
    check_rules: Callable
    """(book, kind, side, price, size, order_id, owner, mode) -> outcome: the venue's rules, in the mode in force."""
    check_account: Callable
    """(book, kind, side, price, size, order_id, owner) -> outcome: can the owner's account bear it."""
    in_cage: Callable  # (book, side, price) -> whether the price cage lets the price in


def make_admission(jit: Callable, accounts: Accounts, queues: Queues, trading: Trading) -> Admission:
    """Compile the checks with `jit`."""
    lesser, greater = make_extrema(jit)
    account_at, has_account, cost_of = accounts.account_at, accounts.has_account, accounts.cost_of
    find, find_owned = queues.find, queues.find_owned
    nth_price, walk = trading.nth_price, trading.walk

    @jit
    def takes_price(kind):
        """Whether the order names its own price."""
        return kind in (t.LIMIT, t.IOC, t.FOK, t.POST_ONLY, t.REPLACE)

    @jit
    def check_form(kind, side, size):
        if kind < t.LIMIT or kind > t.OWN_BEST:
            return t.BAD_KIND
        if kind == t.CANCEL:
            return t.BAD_SIZE if size < 0 else t.ACCEPTED
        if kind != t.REPLACE and side != SELL and side != BUY:
            return t.BAD_SIDE
        if size <= 0 or (size > t.MAX_SIZE and kind != t.CANCEL_AT):
            return t.BAD_SIZE
        return t.ACCEPTED

    @jit
    def in_cage(book, side, price):
        rate, ticks = book[RULES + t.CAGE_RATE], book[RULES + t.CAGE_TICKS]
        base = book[BEST_PRICE + 1 - side]
        if base == NO_PRICE:
            base = book[BEST_PRICE + side]
        if base == NO_PRICE:
            base = book[t.LAST_PRICE] if book[t.NUM_TRADES] > 0 else book[RULES + t.PREVIOUS_CLOSE]
        if rate == 0 or base == 0:
            return True
        if side == BUY:
            return price <= greater((base * (MILLION + rate) + MILLION // 2) // MILLION, base + ticks)
        return price >= lesser((base * (MILLION - rate) + MILLION // 2) // MILLION, base - ticks)

    @jit
    def check_replaced(book, order_id, owner, mode):
        outcome, slot = find_owned(book, order_id, owner)
        if outcome == t.ACCEPTED and (book[slot + t.KIND] != RESTS or mode == t.QUEUE):
            return t.KIND_NOT_TAKEN
        return outcome

    @jit
    def check_kind(book, kind, mode):
        if book[RULES + t.KINDS_TAKEN] >> kind & 1 == 0:
            return t.KIND_NOT_TAKEN
        if kind != t.LIMIT and kind != t.REPLACE and mode != t.CONTINUOUS:
            return t.KIND_NOT_TAKEN
        unlimited = book[RULES + t.LIMIT_UP] == t.MAX_PRICE
        if not takes_price(kind) and unlimited and book[RULES + t.MARKET_NEEDS_LIMITS] != 0:
            return t.KIND_NOT_TAKEN
        return t.ACCEPTED

    @jit
    def sellable(book, owner, order_id, replaces):
        """What the owner may still sell; what an order to be replaced offers counts."""
        account = account_at(book, owner)
        size = book[account + t.SELLABLE] - book[account + t.RESERVED_SIZE]
        slot = find(book, order_id) if replaces else NO_SLOT
        return size if slot == NO_SLOT else size + book[slot + t.SIZE]

    @jit
    def fits_lot(book, side, size, order_id, owner, replaces):
        lot, smallest = book[RULES + t.LOT], book[RULES + t.MIN_ORDER]
        if size >= smallest and size % lot == 0:
            return True
        if side == BUY or book[RULES + t.ODD_LOT_SELLS] == 0:
            return False
        if not has_account(book, owner):
            return True
        # What is held beyond whole lots is sold in one go.
        rest = sellable(book, owner, order_id, replaces)
        if size == rest:
            return True
        return size <= rest and size % lot == rest % lot and (size >= smallest or lot > 1)

    @jit
    def check_rules(book, kind, side, price, size, order_id, owner, mode):
        outcome = check_kind(book, kind, mode)
        if outcome == t.ACCEPTED and kind == t.REPLACE:
            outcome = check_replaced(book, order_id, owner, mode)
        if outcome != t.ACCEPTED:
            return outcome
        if kind == t.REPLACE:
            side = book[find(book, order_id) + t.SIDE]
        priced = takes_price(kind)
        if priced and price % book[RULES + t.TICK] != 0:
            return t.OFF_TICK
        largest = book[RULES + (t.MAX_LIMIT_ORDER if priced else t.MAX_MARKET_ORDER)]
        if largest > 0 and size > largest:
            return t.TOO_LARGE
        if not fits_lot(book, side, size, order_id, owner, kind == t.REPLACE):
            return t.BAD_LOT
        if not priced:
            return t.ACCEPTED
        if price < book[RULES + t.LIMIT_DOWN] or price > book[RULES + t.LIMIT_UP]:
            return t.PRICE_LIMIT
        parks = kind == t.LIMIT and book[RULES + t.CAGE_PARKS] != 0
        if mode == t.CONTINUOUS and not parks and not in_cage(book, side, price):
            return t.PRICE_CAGE
        return t.ACCEPTED

    @jit
    def cost_bound(book, kind, side, price, size, owner):
        """The most that a buy order may cost."""
        if takes_price(kind):
            price = lesser(greater(price, 0), t.MAX_PRICE)
            return cost_of(book, price * size, size)
        if kind in (t.OPPOSITE_BEST, t.OWN_BEST):
            named = book[BEST_PRICE + (side if kind == t.OWN_BEST else 1 - side)]
            return 0 if named == NO_PRICE else cost_of(book, named * size, size)
        bound = ANY_BUY_PRICE if side == BUY else ANY_SELL_PRICE
        if kind in (t.BEST_FIVE, t.BEST_FIVE_LIMIT):
            bound = nth_price(book, 1 - side, 5)
            bound = lesser(bound, price) if price > 0 else bound
        units, value, worst = walk(book, side, bound, size, owner)
        if kind == t.BEST_FIVE_LIMIT and units > 0:
            value += (size - units) * worst
            units = size
        return cost_of(book, value, units)

    @jit
    def check_account(book, kind, side, price, size, order_id, owner):
        if owner == t.BACKGROUND or book[t.NUM_ACCOUNTS] == 0:
            return t.ACCEPTED
        if not has_account(book, owner):
            return t.NO_ACCOUNT
        account = account_at(book, owner)
        slot = find(book, order_id) if kind == t.REPLACE else NO_SLOT
        if slot != NO_SLOT:
            side = book[slot + t.SIDE]
        if side == SELL:
            if book[RULES + t.SHORT_SALES] == 0 and size > sellable(book, owner, order_id, kind == t.REPLACE):
                return t.NO_POSITION
            return t.ACCEPTED
        if book[RULES + t.CREDIT] != 0:
            return t.ACCEPTED
        cash = book[account + t.CASH] - book[account + t.RESERVED_CASH]
        if slot != NO_SLOT:
            cash += cost_of(book, book[slot + t.PRICE] * book[slot + t.SIZE], book[slot + t.SIZE])
        return t.NO_CASH if cost_bound(book, kind, side, price, size, owner) > cash else t.ACCEPTED

    return Admission(check_form, check_rules, check_account, in_cage)
