"""From a headline number and its interval to a verdict, and what the sample could have told.

A fact is a region of its headline number. The 95 % interval decides: inside the region the fact is present. It is
absent where the interval lies outside, or short of the smallest effect that counts: then the sample was large enough
to show such an effect, and did not. Any other interval cannot tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from mars_lmm.evaluation.facts.bootstrap import FEWEST_UNITS, Estimate

PRESENT, ABSENT, CANNOT_TELL = "present", "absent", "cannot tell"
POWER = 0.8
# Few units bias kurtosis and correlations towards 0, so that they seem to exclude effects that are there.
FEWEST_UNITS_TO_EXCLUDE = 20


@dataclass(frozen=True)
class Rule:
    """What a fact is and when it holds.

    Attributes:
        number: Its number in its list.
        name: What it says.
        measure: The headline number in words.
        region: The open interval of headline numbers in which the fact is present.
        reference: A headline number inside the region. Power is given for it; where the region has one border, it is
            also the smallest effect that counts, one that the absence of the fact has to exclude.
        premise: The number of the fact that has to be present for this one to mean anything.
    """

    number: int | str
    name: str
    measure: str
    region: tuple[float, float]
    reference: float
    premise: int | str | None = None

    @property
    def words(self) -> str:
        """The rule in a sentence."""
        low, high = self.region
        if math.isfinite(low) and math.isfinite(high):
            text = f"present if the interval lies in ({low:g}, {high:g}), absent if it lies outside"
        else:
            inside, outside, border = ("above", "below", low) if math.isfinite(low) else ("below", "above", high)
            text = (
                f"present if the interval lies {inside} {border:g}, absent if it lies {outside} {self.reference:g} "
                f"(with fewer than {FEWEST_UNITS_TO_EXCLUDE} units, {outside} {border:g})"
            )
        return text if self.premise is None else f"{text}; judged where fact {self.premise} is present"

    def verdict(self, estimate: Estimate, num_units: int, premise: str = PRESENT) -> str:
        """Present, absent or cannot tell.

        Args:
            estimate: Headline number and interval.
            num_units: Units that the interval rests on.
            premise: The verdict on the premise.
        """
        if premise != PRESENT:
            return premise
        low, high = estimate.low, estimate.high
        if num_units < FEWEST_UNITS or not (math.isfinite(low) and math.isfinite(high)):
            return CANNOT_TELL
        if self.region[0] < low and high < self.region[1]:
            return PRESENT
        outside = high <= self.region[0] or low >= self.region[1]
        excluded = num_units >= FEWEST_UNITS_TO_EXCLUDE and self._too_small(low, high)
        return ABSENT if outside or excluded else CANNOT_TELL

    def _too_small(self, low: float, high: float) -> bool:
        """Whether the interval excludes the smallest effect that counts; regions with two borders name none."""
        if math.isinf(self.region[1]):
            return high < self.reference
        return math.isinf(self.region[0]) and low > self.reference

    def judge(self, estimate: Estimate, num_units: int, premise: str = PRESENT) -> dict:
        """The finding as it stands in tables: number, interval, verdict and power.

        Returns:
            `value`, `low`, `high`, `error`, `verdict`; `detectable`, how far inside the region a true value has to lie
            for the interval to clear the border with 80 % probability; `power`, the probability that a market whose
            true value is the reference is found to have the fact. Both take the estimate as normal, with the
            standard error and the width of interval of this sample, and numbers judged at once as independent.
        """
        finding = {name: getattr(estimate, name) for name in ("value", "low", "high", "error")}
        finding |= {"verdict": self.verdict(estimate, num_units, premise)}
        half = (estimate.high - estimate.low) / 2
        if num_units < FEWEST_UNITS or not (math.isfinite(half) and estimate.error > 0):
            return finding | {"detectable": math.nan, "power": math.nan}
        normal = NormalDist(self.reference, estimate.error)
        low, high = self.region[0] + half, self.region[1] - half
        power = max(_cdf(normal, high) - _cdf(normal, low), 0.0) ** estimate.at_once
        return finding | {"detectable": half + NormalDist().inv_cdf(POWER) * estimate.error, "power": power}


def _cdf(normal: NormalDist, x: float) -> float:
    """Distribution function, at infinity too."""
    return normal.cdf(x) if math.isfinite(x) else float(x > 0)
