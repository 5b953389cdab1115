"""The reference call auction: the one price at which a crossed book trades."""

from collections.abc import Sequence
from itertools import accumulate

from mars_lmm.market.types import AUCTION_AT_ORDERS, AUCTION_TIE, MIDDLE


def auction_price(
    rules: Sequence[int], prices: range, sold_at: Sequence[int], bought_at: Sequence[int], reference: int
) -> tuple[int, int]:
    """The price of an auction, and the volume that it trades.

    Args:
        rules: the day's rules by column of a rules row.
        prices: the ladder from the best sell to the best buy, in ticks.
        sold_at: the size for sale at each of the prices.
        bought_at: the size to buy at each of the prices.
        reference: the price that NEAREST looks to; 0 if there is none.
    """
    supply = list(accumulate(sold_at))  # sells at the price or below
    demand = list(accumulate(reversed(bought_at)))[::-1]  # buys at the price or above
    traded = [min(sells, buys) for sells, buys in zip(supply, demand, strict=True)]
    surplus = [abs(sells - buys) for sells, buys in zip(supply, demand, strict=True)]

    candidates = [i for i in range(len(prices)) if sold_at[i] or bought_at[i] or not rules[AUCTION_AT_ORDERS]]
    volume = max(traded[i] for i in candidates)
    candidates = [i for i in candidates if traded[i] == volume]
    # Every order with a better price fills whole.
    candidates = [i for i in candidates if demand[i] - bought_at[i] <= volume and supply[i] - sold_at[i] <= volume]
    least = min(surplus[i] for i in candidates)
    tied = [prices[i] for i in candidates if surplus[i] == least]

    if rules[AUCTION_TIE] == MIDDLE or reference == 0:
        tick = prices.step
        return (tied[0] + tied[-1] + tick) // (2 * tick) * tick, volume
    return min(tied, key=lambda price: (abs(price - reference), price)), volume
