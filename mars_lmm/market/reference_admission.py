"""The reference admission: what the day's rules have against an order, whatever the book holds."""

from collections.abc import Sequence

from mars_lmm.market.reference_accounts import MILLION
from mars_lmm.market.types import (
    ACCEPTED,
    BAD_LOT,
    BEST_FIVE,
    BEST_FIVE_LIMIT,
    BUY,
    CAGE_RATE,
    CAGE_TICKS,
    FOK,
    IOC,
    LIMIT,
    LIMIT_DOWN,
    LIMIT_UP,
    LOT,
    MARKET,
    MARKET_FOK,
    MAX_LIMIT_ORDER,
    MAX_MARKET_ORDER,
    MIN_ORDER,
    ODD_LOT_SELLS,
    OFF_TICK,
    OPPOSITE_BEST,
    OWN_BEST,
    POST_ONLY,
    PRICE_LIMIT,
    REPLACE,
    SELL,
    TICK,
    TOO_LARGE,
)

MARKET_KINDS = (MARKET, MARKET_FOK, BEST_FIVE, BEST_FIVE_LIMIT, OPPOSITE_BEST, OWN_BEST)
PRICED_KINDS = (LIMIT, IOC, FOK, POST_ONLY, REPLACE)


def inadmissible(rules: Sequence[int], kind: int, side: int, price: int, size: int, available: int | None) -> int:
    """Whether tick, size, lot and the day's price limits allow an order: an outcome, ACCEPTED if they do.

    Args:
        rules: the day's rules by column of a rules row.
        kind: the order's kind, not a cancel.
        side: its side.
        price: its price in ticks.
        size: its size in units.
        available: for a sell, the size that its owner's account may sell; None without an account.
    """
    priced = kind in PRICED_KINDS
    if priced and price % rules[TICK]:
        return OFF_TICK
    largest = rules[MAX_LIMIT_ORDER] if priced else rules[MAX_MARKET_ORDER]
    if largest and size > largest:
        return TOO_LARGE
    in_lots = size >= rules[MIN_ORDER] and size % rules[LOT] == 0
    if not in_lots and not _sells_odd_lot(rules, side, size, available):
        return BAD_LOT
    if priced and not rules[LIMIT_DOWN] <= price <= rules[LIMIT_UP]:
        return PRICE_LIMIT
    return ACCEPTED


def _sells_odd_lot(rules, side, size, available):
    """Whether an order sells what its owner holds beyond whole lots."""
    if side != SELL or not rules[ODD_LOT_SELLS]:
        return False
    if available is None:
        return True
    lot = rules[LOT]
    leaves_whole_lots = size <= available and size % lot == available % lot
    return size == available or (leaves_whole_lots and (size >= rules[MIN_ORDER] or lot > 1))


def inside_cage(rules: Sequence[int], side: int, price: int, base: int) -> bool:
    """Whether the price cage lets a price into continuous trading.

    Args:
        rules: the day's rules by column of a rules row, with a cage.
        side: the order's side.
        price: its price in ticks.
        base: the price that the market stands at for its side; 0 if none is known.
    """
    rate, ticks = rules[CAGE_RATE], rules[CAGE_TICKS]
    if base == 0:
        return True
    if side == BUY:
        return price <= max(_rounded(base * (MILLION + rate)), base + ticks)
    return price >= min(_rounded(base * (MILLION - rate)), base - ticks)


def _rounded(millionths):
    """A number of millionths as the nearest integer, halves up."""
    return (millionths + MILLION // 2) // MILLION
