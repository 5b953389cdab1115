"""From intervals to verdicts and power."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from mars_lmm.evaluation.facts.bootstrap import Estimate
from mars_lmm.evaluation.facts.rules import ABSENT, CANNOT_TELL, PRESENT, Rule

BETWEEN = Rule(1, "between", "x", (-0.1, 0.1), 0.0)
ABOVE = Rule(2, "above", "x", (0, math.inf), 1.0)
BELOW = Rule(3, "below", "x", (-math.inf, 0), -0.2, premise=2)


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (BETWEEN, -0.05, 0.05, PRESENT),
        (BETWEEN, 0.11, 0.2, ABSENT),
        (BETWEEN, 0.05, 0.2, CANNOT_TELL),
        (BETWEEN, -0.3, 0.3, CANNOT_TELL),
        (BETWEEN, math.nan, math.nan, CANNOT_TELL),
        (ABOVE, 0.1, 0.3, PRESENT),  # small, but there
        (ABOVE, -3, -1, ABSENT),
        (ABOVE, -0.1, 0.9, ABSENT),  # no effect that counts
        (ABOVE, -0.1, 1.1, CANNOT_TELL),
        (BELOW, -0.5, -0.01, PRESENT),
        (BELOW, -0.1, 0.4, ABSENT),
        (BELOW, -0.3, 0.4, CANNOT_TELL),
    ],
)
def test_the_interval_decides(rule, low, high, verdict):
    assert rule.verdict(Estimate(0, low, high), num_units=20) == verdict
    assert rule.verdict(Estimate(0, low, high), num_units=5) == CANNOT_TELL


def test_few_units_exclude_no_effect():
    assert [ABOVE.verdict(Estimate(0, -0.1, 0.9), units) for units in (19, 20)] == [CANNOT_TELL, ABSENT]
    assert ABOVE.verdict(Estimate(0, -3, -1), 6) == ABSENT


def test_a_fact_without_its_premise():
    present = Estimate(-0.3, -0.5, -0.1)
    assert [BELOW.verdict(present, 20, premise) for premise in (PRESENT, ABSENT, CANNOT_TELL)] == [
        PRESENT,
        ABSENT,
        CANNOT_TELL,
    ]


def test_words_say_what_is_done():
    assert ABOVE.words == (
        "present if the interval lies above 0, absent if it lies below 1 (with fewer than 20 units, below 0)"
    )
    assert BELOW.words.endswith(
        "absent if it lies above -0.2 (with fewer than 20 units, above 0); judged where fact 2 is present"
    )
    assert BETWEEN.words == "present if the interval lies in (-0.1, 0.1), absent if it lies outside"


def test_power_is_that_of_a_normal_estimate():
    """Draw estimates around a true value and judge each: as often present as said."""
    error, half = 0.3, NormalDist().inv_cdf(0.975) * 0.3
    generator = np.random.default_rng(0)
    found = ABOVE.judge(Estimate(5, 5 - half, 5 + half, error), num_units=1000)
    for truth, power in ((ABOVE.reference, found["power"]), (found["detectable"], 0.8)):
        drawn = truth + error * generator.standard_normal(20_000)
        present = [ABOVE.verdict(Estimate(x, x - half, x + half), 1000) == PRESENT for x in drawn]
        assert np.mean(present) == pytest.approx(power, abs=0.01)


def test_power_between_two_borders():
    half = 0.04
    one = BETWEEN.judge(Estimate(0, -half, half, 0.02), num_units=1000)["power"]
    nine = BETWEEN.judge(Estimate(0, -half, half, 0.02, at_once=9), num_units=1000)["power"]
    assert one == pytest.approx(2 * NormalDist().cdf(0.06 / 0.02) - 1)
    assert nine == pytest.approx(one**9)
    assert BETWEEN.judge(Estimate(0, -0.2, 0.2, 0.1), num_units=1000)["power"] == 0


def test_no_interval_no_power():
    found = ABOVE.judge(Estimate(1.0), num_units=20)
    assert found["verdict"] == CANNOT_TELL
    assert math.isnan(found["detectable"])
    assert math.isnan(found["power"])
