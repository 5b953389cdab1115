"""The reference volatility interruptions: which trades halt a venue, and until when."""

from collections.abc import Sequence

from mars_lmm.market.reference_accounts import MILLION
from mars_lmm.market.types import HALT_DURATION, HALT_LATEST, HALT_RATE_1, HALT_RATE_2, HALT_WINDOW


class ReferenceVolatility:
    """Watches how far trades are from a reference price: the day's first, or the mean of the last whole window.

    Args:
        rules: the day's rules by column of a rules row.
    """

    def __init__(self, rules: Sequence[int]):
        self.rules = rules
        self.num_halts = 0
        self.reference_price = 0
        self.window_start = self.window_sum = self.window_count = 0

    def halt_end(self, clock: int, price: int, open_price: int) -> int:
        """When the halt ends that a trade sets off, in ns since midnight; 0 if it sets off none.

        Args:
            clock: the trade's time in ns since midnight.
            price: its price in ticks.
            open_price: the price of the day's first trade in ticks.
        """
        rules = self.rules
        if rules[HALT_RATE_1] == 0:
            return 0
        if rules[HALT_WINDOW]:
            if clock >= self.window_start + rules[HALT_WINDOW]:
                if self.window_count:
                    self.reference_price = self.window_sum // self.window_count
                self.window_start, self.window_sum, self.window_count = clock, 0, 0
            reference, rate = self.reference_price, rules[HALT_RATE_1]
        else:
            reference = open_price
            rate = rules[(HALT_RATE_1, HALT_RATE_2)[self.num_halts]] if self.num_halts < 2 else 0

        end = clock + rules[HALT_DURATION]
        if rules[HALT_LATEST]:
            end = min(end, rules[HALT_LATEST])
        far = abs(price - reference) * MILLION >= reference * rate
        trips = rate > 0 and reference > 0 and far and end > clock
        if trips:
            self.num_halts += 1
        if rules[HALT_WINDOW]:
            if trips:
                self.reference_price = self.window_sum = self.window_count = 0
            else:
                self.window_sum += price
                self.window_count += 1
        return end if trips else 0
