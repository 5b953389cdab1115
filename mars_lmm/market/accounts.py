"""Accounts: what agents own, what their orders in the book may still cost, what they traded and what that costs.

Cash counts ticks times units, so that trading is exact. An owner has an account if the book has a row for it;
the background order flow, owner 0, has none.
"""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.types import (
    ACCOUNTS_AT,
    BACKGROUND,
    BOUGHT,
    BOUGHT_VALUE,
    BUY,
    CASH,
    FEES_PAID,
    MAKER_FEE,
    MAKER_FEE_PER_UNIT,
    NUM_ACCOUNT_COLUMNS,
    NUM_ACCOUNTS,
    POSITION,
    RESERVED_CASH,
    RESERVED_SIZE,
    RULES,
    SELL,
    SELL_DUTY,
    SELLABLE,
    SETTLEMENT_DAYS,
    SOLD,
    SOLD_VALUE,
    TAKER_FEE,
    TAKER_FEE_PER_UNIT,
)

MILLION = 1_000_000


class Accounts(NamedTuple):
    """The compiled functions of the accounts."""

    account_at: Callable  # (book, owner) -> where the owner's account is
    has_account: Callable  # (book, owner) -> whether the owner has one
    cost_of: Callable  # (book, value, size) -> the most that buying `size` units for `value` may cost, with fees
    hold: Callable  # (book, side, price, size, owner): set aside what a live order may take
    release: Callable  # (book, side, price, size, amount, owner): an order of `size` shrinks by `amount`
    settle: Callable  # (book, price, size, seller, buyer, taker): one trade; taker is a side, or NO_SIDE for both


def make_accounts(jit: Callable) -> Accounts:
    """Compile the functions of the accounts with `jit`."""
    greater = make_extrema(jit).greater

    @jit
    def share(value, rate):
        """floor(value * rate / 1e6), for products that do not fit 64 bits."""
        return value // MILLION * rate + value % MILLION * rate // MILLION

    @jit
    def has_account(book, owner):
        return 0 < owner < book[NUM_ACCOUNTS]

    @jit
    def account_at(book, owner):
        return book[ACCOUNTS_AT] + owner * NUM_ACCOUNT_COLUMNS

    @jit
    def cost_of(book, value, size):
        # Rounded down, fees of the parts never add up to more than the fee of the whole.
        by_value = share(value, greater(book[RULES + MAKER_FEE], book[RULES + TAKER_FEE]))
        by_size = share(size, greater(book[RULES + MAKER_FEE_PER_UNIT], book[RULES + TAKER_FEE_PER_UNIT]))
        return value + greater(by_value, 0) + greater(by_size, 0)

    @jit
    def hold(book, side, price, size, owner):
        if owner == BACKGROUND or not has_account(book, owner):
            return
        if side == BUY:
            book[account_at(book, owner) + RESERVED_CASH] += cost_of(book, price * size, size)
        else:
            book[account_at(book, owner) + RESERVED_SIZE] += size

    @jit
    def release(book, side, price, size, amount, owner):
        if owner == BACKGROUND or not has_account(book, owner):
            return
        if side == BUY:
            left = size - amount
            held = cost_of(book, price * size, size) - cost_of(book, price * left, left)
            book[account_at(book, owner) + RESERVED_CASH] -= held
        else:
            book[account_at(book, owner) + RESERVED_SIZE] -= amount

    @jit
    def fee(book, value, size, takes):
        if takes:
            return share(value, book[RULES + TAKER_FEE]) + share(size, book[RULES + TAKER_FEE_PER_UNIT])
        return share(value, book[RULES + MAKER_FEE]) + share(size, book[RULES + MAKER_FEE_PER_UNIT])

    @jit
    def settle(book, price, size, seller, buyer, taker):
        value = price * size
        if has_account(book, buyer):
            account = account_at(book, buyer)
            charge = fee(book, value, size, taker != SELL)
            book[account + CASH] -= value + charge
            book[account + FEES_PAID] += charge
            book[account + POSITION] += size
            book[account + BOUGHT] += size
            book[account + BOUGHT_VALUE] += value
            if book[RULES + SETTLEMENT_DAYS] == 0:
                book[account + SELLABLE] += size
        if has_account(book, seller):
            account = account_at(book, seller)
            charge = fee(book, value, size, taker != BUY) + share(value, book[RULES + SELL_DUTY])
            book[account + CASH] += value - charge
            book[account + FEES_PAID] += charge
            book[account + POSITION] -= size
            book[account + SELLABLE] -= size
            book[account + SOLD] += size
            book[account + SOLD_VALUE] += value

    return Accounts(account_at, has_account, cost_of, hold, release, settle)
