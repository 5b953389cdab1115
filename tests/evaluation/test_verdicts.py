"""Verdicts on processes whose facts are known."""

from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest
from paths import bars, garch_returns, gaussian, panel

from mars_lmm.evaluation import verdicts as v


def verdicts(table, seed=0):
    judgement = v.judge(panel(table), seed)
    return {f.number: e["verdict"] for f, e in zip(v.FACTS, judgement.estimates, strict=True)}


def test_garch_has_its_facts():
    found = verdicts(bars(garch_returns(300, 25, seed=2)))
    assert {number for number, verdict in found.items() if verdict == v.PRESENT} >= {1, 2, 5, 6, 7, 8}
    assert found[9] == found[10] == found[3] == v.CANNOT_TELL


def test_sums_of_heavy_tailed_returns_become_gaussian():
    returns = 1e-3 * np.random.default_rng(0).standard_t(4, (200, 25))
    assert verdicts(bars(returns))[4] == v.PRESENT


def test_planted_leverage_volume_and_autocorrelation():
    generator = np.random.default_rng(1)
    noise = 1e-3 * generator.standard_normal((300, 25))
    returns = noise.copy()
    returns[:, 1:] *= np.exp(-400 * noise[:, :-1])
    returns[:, 2:] += 0.5 * returns[:, :-2]
    volume = np.concatenate([np.abs(returns[:, 1:]), np.ones((300, 2))], axis=1)  # knows the next return
    found = verdicts(bars(returns, volume))
    assert found[1] == v.ABSENT
    assert found[9] == found[10] == v.PRESENT


def test_anti_clustering_is_absent_clustering():
    quiet_and_loud = np.tile([1e-4, 1e-3], 13)[:25]
    returns = np.random.default_rng(2).standard_normal((200, 25)) * quiet_and_loud
    judgement = v.judge(panel(bars(returns)))
    assert judgement.curves["clustering"]["value"][0] < -0.3
    assert judgement.estimates[5]["verdict"] == v.ABSENT  # lags 1, 3, 5 outweigh 2 and 4


@pytest.mark.parametrize(("starts", "rollouts"), [(6, 4), (20, 1)])
def test_chance_rarely_makes_a_fact(starts, rollouts):
    """Independent Gaussian returns: few of 20 draws may show a fact that is not there."""
    found = Counter()
    for seed in range(20):
        returns = 1e-3 * np.random.default_rng(seed).standard_normal((starts * rollouts, 25))
        volume = np.random.default_rng(seed).poisson(50, (starts * rollouts, 26))
        for number, verdict in verdicts(bars(returns, volume, rollouts_per_start=rollouts), seed).items():
            found[number, verdict] += 1
    for number in (2, 3, 4, 6, 8, 9, 10, 11):
        assert found[number, v.PRESENT] <= 2, number
    assert found[1, v.ABSENT] <= 2


def test_too_few_starts_cannot_tell():
    assert set(verdicts(bars(garch_returns(160, 25), rollouts_per_start=32)).values()) == {v.CANNOT_TELL}


@pytest.mark.parametrize("minutes", [1, 2, 4, 7])
def test_short_paths_cannot_tell_but_do_not_fail(minutes):
    found = verdicts(gaussian(8, minutes))
    assert found[5] == found[7] == found[8] == v.CANNOT_TELL


def test_constant_prices_cannot_tell():
    assert set(verdicts(bars(np.zeros((8, 20)))).values()) == {v.CANNOT_TELL}


def test_rollouts_of_one_start_do_not_count_as_independent():
    returns = garch_returns(30, 25)
    alone = v.judge(panel(bars(returns))).estimates[5]
    copied = v.judge(panel(bars(np.repeat(returns, 10, axis=0), rollouts_per_start=10))).estimates[5]
    assert copied["high"] - copied["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.1)


def test_student_t_series_in_the_tail_probability():
    """Tail of the normal at sqrt(n / (n - 1)) * t, with t from tables."""
    for n, t in ((6, 2.5706), (30, 2.0452)):
        assert v.tail_probability(n) == pytest.approx(NormalDist().cdf(-t * np.sqrt(n / (n - 1))), rel=0.02)


def test_region_decides():
    fact = v.FACTS[0]  # no autocorrelation: between -0.1 and 0.1
    for (low, high), verdict in {
        (-0.05, 0.05): v.PRESENT,
        (0.11, 0.2): v.ABSENT,
        (0.05, 0.2): v.CANNOT_TELL,
        (-0.3, 0.3): v.CANNOT_TELL,
        (np.nan, np.nan): v.CANNOT_TELL,
    }.items():
        assert fact.verdict((0, low, high), num_starts=20) == verdict


def test_a_fact_counts_only_where_the_replay_shows_it():
    sources = {
        "Replay": v.judge(panel(bars(garch_returns(200, 25)))),
        "Simulation": v.judge(panel(gaussian(200, 25))),
    }
    compared = v.compare(sources)
    agrees = {fact["number"]: fact["agrees"] for fact in compared["facts"]}
    assert agrees[6] is False
    assert agrees[2] is False
    assert agrees[9] is None
    assert compared["shown_by_replay"] == sum(value is not None for value in agrees.values())
    assert compared["agreed"] == sum(value is True for value in agrees.values())
