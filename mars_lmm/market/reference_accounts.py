"""The reference accounts: what agents own, what their orders reserve of it, and what trading costs them."""

from collections.abc import Iterable, Sequence

from mars_lmm.market.reference import LiveOrder, Trade
from mars_lmm.market.types import (
    BACKGROUND,
    BOUGHT,
    BOUGHT_VALUE,
    BUY,
    CASH,
    FEES_PAID,
    MAKER_FEE,
    MAKER_FEE_PER_UNIT,
    NO_SIDE,
    NUM_ACCOUNT_COLUMNS,
    POSITION,
    RESERVED_CASH,
    RESERVED_SIZE,
    SELL_DUTY,
    SELLABLE,
    SETTLEMENT_DAYS,
    SOLD,
    SOLD_VALUE,
    TAKER_FEE,
    TAKER_FEE_PER_UNIT,
)

MILLION = 10**6  # rates are in millionths


class ReferenceLedger(list[list[int]]):
    """The accounts by owner, each by column of an account row; cash is in ticks times units.

    Args:
        rules: the day's rules by column of a rules row.
        accounts: [cash, position, sellable] by owner, the row of BACKGROUND unused; None if nobody has one.
    """

    def __init__(self, rules: Sequence[int], accounts: Sequence[Sequence[int]] | None):
        # The reserved columns are running sums that `reserve` keeps.
        super().__init__([*row, *[0] * (NUM_ACCOUNT_COLUMNS - len(row))] for row in accounts or [])
        self.rules = rules

    def has_account(self, owner: int) -> bool:
        """Whether the owner has an account, which its orders are checked against and its trades change."""
        return BACKGROUND < owner < len(self)

    def recounted(self, orders: Iterable[LiveOrder]) -> list[list[int]]:
        """A copy of the accounts in which what these live orders reserve is counted afresh."""
        rows = [list(row) for row in self]
        for row in rows:
            row[RESERVED_CASH] = row[RESERVED_SIZE] = 0
        for order in orders:
            if self.has_account(order.owner):
                column, amount = self._reservation(order.side, order.price, order.size)
                rows[order.owner][column] += amount
        return rows

    def available(self, side: int, owner: int, replaced: LiveOrder | None = None) -> int | None:
        """What an order may use: cash for a buy, size for a sell; None if the owner has no account.

        What an order to replace, of the same side, has reserved is available to the new one.
        """
        if not self.has_account(owner):
            return None
        owned, reserved = (CASH, RESERVED_CASH) if side == BUY else (SELLABLE, RESERVED_SIZE)
        available = self[owner][owned] - self[owner][reserved]
        if replaced:
            available += self._reservation(side, replaced.price, replaced.size)[1]
        return available

    def with_fees(self, value: int, size: int) -> int:
        """The value of `size` units traded, and the highest fees on it."""
        rules = self.rules
        on_value = value * max(rules[MAKER_FEE], rules[TAKER_FEE]) // MILLION
        on_size = size * max(rules[MAKER_FEE_PER_UNIT], rules[TAKER_FEE_PER_UNIT]) // MILLION
        return value + max(0, on_value) + max(0, on_size)

    def cost(self, size: int, offers: Iterable[LiveOrder], rests: bool) -> int:
        """What a buy that takes what it meets may cost at most, fees included.

        Args:
            size: its size in units.
            offers: the resting sells that it may trade with, best first.
            rests: whether its remainder rests, at the worst price met.
        """
        value, left, worst = 0, size, 0
        for offer in offers:
            worst = offer.price
            met = min(left, offer.size)
            value += met * worst
            left -= met
            if not left:
                break
        if rests and left < size:
            value += left * worst
            left = 0
        return self.with_fees(value, size - left)

    def reserve(self, order: LiveOrder, size_before: int, size_after: int) -> None:
        """Keep the running sums of what is reserved when a live order's size changes."""
        if self.has_account(order.owner):
            column, before = self._reservation(order.side, order.price, size_before)
            _, after = self._reservation(order.side, order.price, size_after)
            self[order.owner][column] += after - before

    def settle(self, trades: Iterable[Trade]) -> None:
        """Move cash and positions between the accounts of new trades."""
        for trade in trades:
            # In an auction the buyer is called incoming, but neither came first: both pay as takers.
            in_auction = trade.incoming_side == NO_SIDE
            side = BUY if in_auction else trade.incoming_side
            self._settle_side(trade, side, trade.incoming_owner, takes=True)
            self._settle_side(trade, 1 - side, trade.resting_owner, takes=in_auction)

    def _settle_side(self, trade, side, owner, takes):
        if not self.has_account(owner):
            return
        rules, account = self.rules, self[owner]
        value = trade.price * trade.size
        rate, per_unit = (TAKER_FEE, TAKER_FEE_PER_UNIT) if takes else (MAKER_FEE, MAKER_FEE_PER_UNIT)
        fee = value * rules[rate] // MILLION + trade.size * rules[per_unit] // MILLION
        if side == BUY:
            account[CASH] -= value + fee
            account[POSITION] += trade.size
            account[SELLABLE] += 0 if rules[SETTLEMENT_DAYS] else trade.size
            account[BOUGHT] += trade.size
            account[BOUGHT_VALUE] += value
        else:
            fee += value * rules[SELL_DUTY] // MILLION
            account[CASH] += value - fee
            account[POSITION] -= trade.size
            account[SELLABLE] -= trade.size
            account[SOLD] += trade.size
            account[SOLD_VALUE] += value
        account[FEES_PAID] += fee

    def _reservation(self, side, price, size):
        """What a live order takes from its owner's account meanwhile: (column, amount)."""
        if side == BUY:
            return RESERVED_CASH, self.with_fees(price * size, size)
        return RESERVED_SIZE, size
