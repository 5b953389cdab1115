"""Verdicts on processes whose facts are known."""

from collections import Counter

import numpy as np
import pytest
from paths import bars, garch_returns, gaussian, panel

from mars_lmm.evaluation.facts import eleven
from mars_lmm.evaluation.facts.comparison import compare
from mars_lmm.evaluation.facts.rules import ABSENT, CANNOT_TELL, PRESENT


def verdicts(table, seed=0):
    judgement = eleven.judge(panel(table), seed)
    return {f.number: e["verdict"] for f, e in zip(eleven.FACTS, judgement.estimates, strict=True)}


def test_garch_has_its_facts():
    found = verdicts(bars(garch_returns(300, 25, seed=2)))
    assert {number for number, verdict in found.items() if verdict == PRESENT} >= {1, 2, 5, 6, 7, 8}
    assert found[10] == CANNOT_TELL  # its volume is constant
    assert not {found[3], found[9], found[11]} & {PRESENT}


def test_sums_of_heavy_tailed_returns_become_gaussian():
    returns = 1e-3 * np.random.default_rng(0).standard_t(4, (200, 25))
    assert verdicts(bars(returns))[4] == PRESENT


def test_planted_leverage_volume_and_autocorrelation():
    generator = np.random.default_rng(1)
    noise = 1e-3 * generator.standard_normal((300, 25))
    returns = noise.copy()
    returns[:, 1:] *= np.exp(-400 * noise[:, :-1])
    returns[:, 2:] += 0.5 * returns[:, :-2]
    volume = np.concatenate([np.abs(returns[:, 1:]), np.ones((300, 2))], axis=1)  # knows the next return
    found = verdicts(bars(returns, volume))
    assert found[1] == ABSENT
    assert found[9] == found[10] == PRESENT


def test_anti_clustering_is_absent_clustering():
    quiet_and_loud = np.tile([1e-4, 1e-3], 13)[:25]
    returns = np.random.default_rng(2).standard_normal((200, 25)) * quiet_and_loud
    judgement = eleven.judge(panel(bars(returns)))
    assert judgement.curves["clustering"]["value"][0] < -0.3
    assert judgement.estimates[5]["verdict"] == ABSENT  # lags 1, 3, 5 outweigh 2 and 4


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
        assert found[number, PRESENT] <= 2, number
    assert found[1, ABSENT] <= 2


def test_too_few_starts_cannot_tell():
    assert set(verdicts(bars(garch_returns(160, 25), rollouts_per_start=32)).values()) == {CANNOT_TELL}


@pytest.mark.parametrize("minutes", [1, 2, 4, 7])
def test_short_paths_cannot_tell_but_do_not_fail(minutes):
    found = verdicts(gaussian(8, minutes))
    assert found[5] == found[7] == found[8] == CANNOT_TELL


def test_constant_prices_cannot_tell():
    assert set(verdicts(bars(np.zeros((8, 20)))).values()) == {CANNOT_TELL}


def test_rollouts_of_one_start_do_not_count_as_independent():
    returns = garch_returns(30, 25)
    alone = eleven.judge(panel(bars(returns))).estimates[5]
    copied = eleven.judge(panel(bars(np.repeat(returns, 10, axis=0), rollouts_per_start=10))).estimates[5]
    assert copied["high"] - copied["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.1)


def test_a_fact_counts_only_where_the_replay_shows_it():
    sources = {
        "Replay": eleven.judge(panel(bars(garch_returns(200, 25)))),
        "Simulation": eleven.judge(panel(gaussian(200, 25))),
        "Bootstrap": eleven.judge(panel(bars(garch_returns(200, 25)))),
    }
    compared = compare(sources)
    agrees = {fact["number"]: fact["agrees"] for fact in compared["facts"]}
    assert agrees[6] == agrees[2] == {"Simulation": False, "Bootstrap": True}
    assert agrees[9] == {"Simulation": None, "Bootstrap": None}
    shown = [fact for fact in compared["facts"] if fact["sources"]["Replay"]["verdict"] == PRESENT]
    assert compared["shown_by_replay"] == len(shown) == compared["agreed"]["Bootstrap"]
    assert compared["agreed"]["Simulation"] == sum(fact["agrees"]["Simulation"] for fact in shown) < len(shown)
    assert all(fact["rule"].startswith("present if the interval lies") for fact in compared["facts"])
