"""The facts against an outside program, brute force, and processes whose facts are known."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from paths import bars, garch_returns, gaussian
from shared_data import SHARED

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.facts.panel import panels, read_bars
from mars_lmm.evaluation.facts.tables import stylized_facts

FACTS = SHARED / "data" / "facts"


def printed_facts(path):
    command = [sys.executable, "-m", "mars_lmm.evaluation.facts", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])["facts"]


def leaves(value, path=()):
    """Every number (or missing number) of nested dicts with the keys that lead to it."""
    if isinstance(value, dict):
        for key, member in value.items():
            if not key.startswith("note"):
                yield from leaves(member, (*path, key))
    elif not isinstance(value, str):
        yield path, value


@pytest.mark.skipif(not FACTS.exists(), reason="needs the shared data")
def test_parity_with_the_outside_program():
    found = printed_facts(FACTS / "minute_bars.parquet")
    expected = json.loads((FACTS / "expected.json").read_text())["facts"]
    assert set(found) == set(expected)
    found, expected = dict(leaves(found)), dict(leaves(expected))
    assert set(found) == set(expected)
    numbers = [path for path, value in expected.items() if value is not None]
    assert len(numbers) > 1900
    np.testing.assert_allclose(
        [found[path] for path in numbers], [expected[path] for path in numbers], rtol=1e-8, atol=1e-10
    )


def facts_of(table):
    return stylized_facts(panels(table))


def curve(facts, key, source="Replay", symbol="A"):
    return {int(point): row[symbol] for point, row in facts[key]["values"][source].items()}


def test_brute_force_on_a_small_example():
    """Correlations of fact 10 and 11 pair by pair, in the words of the definition."""
    generator = np.random.default_rng(5)
    returns, volume = 1e-3 * generator.standard_normal((3, 11)), generator.poisson(50, (3, 12))
    facts = facts_of(bars(returns, volume))
    n = 12
    for lag in (1, 4):
        pairs = [(volume[p, i], abs(returns[p, i + lag])) for p in range(3) for i in range(1, n - 1 - lag)]
        expected = np.corrcoef(np.array(pairs).T)[0, 1]
        assert curve(facts, "10_volume_volatility")[lag] == pytest.approx(expected, rel=1e-9)
    for lag in (-3, 0, 2):
        pairs = [
            (abs(returns[p, i + lag : i + lag + 5].sum()), abs(returns[p, i : i + 5]).sum())
            for p in range(3)
            for i in range(1, n)
            if i + 5 <= n - 1 and i + lag >= 0 and i + lag + 5 <= n - 1
        ]
        expected = np.corrcoef(np.array(pairs).T)[0, 1]
        assert curve(facts, "11_timescale_asymmetry")[lag] == pytest.approx(expected, rel=1e-9)
    coarse_fine = curve(facts, "11_timescale_asymmetry")
    difference = curve(facts, "11_timescale_asymmetry_difference")
    assert difference[2] == pytest.approx(coarse_fine[2] - coarse_fine[-2])


def test_gaussian_returns_show_nothing():
    facts = facts_of(gaussian(4000, 25))
    for key in ("1_return_autocorrelation_price_last", "6_8_volatility_clustering", "9_leverage"):
        assert max(abs(v) for lag, v in curve(facts, key).items() if lag <= 10) < 0.02
    assert abs(curve(facts, "2_4_return_kurtosis_price_last")[1]) < 0.06
    assert abs(curve(facts, "3_return_skewness")[1]) < 0.03
    # Coarse and fine volatility of one window do correlate, but alike in both directions of time.
    assert max(abs(v) for v in curve(facts, "11_timescale_asymmetry_difference").values()) < 0.03


def test_garch_returns_cluster_and_have_heavy_tails():
    facts = facts_of(bars(garch_returns(4000, 25)))
    clustering = curve(facts, "6_8_volatility_clustering")
    assert clustering[1] > clustering[5] > clustering[15] > 0.02
    assert curve(facts, "2_4_return_kurtosis_price_last")[1] > 1
    assert abs(curve(facts, "1_return_autocorrelation_price_last")[2]) < 0.03


def test_bounce_between_bid_and_ask_gives_minus_one_half():
    """log p = constant + independent noise: successive differences correlate by -1/2, others by 0."""
    noise = 1e-3 * np.random.default_rng(2).standard_normal((3000, 26))
    facts = facts_of(bars(np.diff(noise, axis=1)))
    autocorrelation = curve(facts, "1_return_autocorrelation_price_last")
    assert autocorrelation[1] == pytest.approx(-0.5, abs=0.01)
    assert autocorrelation[2] == pytest.approx(0, abs=0.02)


def test_leverage_is_found_where_it_is_planted():
    generator = np.random.default_rng(4)
    returns = 1e-3 * generator.standard_normal((3000, 25))
    returns[:, 1:] *= np.exp(-300 * returns[:, :-1])  # volatility rises after a loss
    facts = facts_of(bars(returns))
    assert curve(facts, "9_leverage")[1] < -0.1
    assert abs(curve(facts, "9_leverage")[3]) < 0.05


@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 8])
def test_short_paths_give_nulls(tmp_path, minutes):
    path = tmp_path / "bars.parquet"
    pq.write_table(gaussian(2, minutes), path)
    facts = printed_facts(path) if minutes == 3 else facts_of(read_bars(path))
    lags = curve(facts, "6_8_volatility_clustering")
    assert set(lags) == set(range(1, 21))
    assert lags[20] is None or np.isnan(lags[20])


def test_paths_of_unequal_length_pool_what_they_have():
    whole = gaussian(40, 20)
    short = whole.filter(
        [p >= 20 or m <= 10 for p, m in zip(*(whole[c].to_pylist() for c in ("rollout", "minute_index")), strict=True)]
    )
    facts = facts_of(short)
    first, second = (np.log(whole["price_last"].to_numpy().reshape(40, 21)[:, k:]) for k in (1, 0))
    r = first - second[:, :-1]
    pairs = [(r[p, i], r[p, i + 2]) for p in range(40) for i in range(1, (20 if p >= 20 else 10) - 2)]
    expected = np.corrcoef(np.array(pairs).T)[0, 1]
    assert curve(facts, "1_return_autocorrelation_price_last")[2] == pytest.approx(expected, rel=1e-8)


def test_missing_column_is_named(tmp_path):
    path = tmp_path / "bars.parquet"
    pq.write_table(gaussian(2, 5).drop_columns(["volume"]), path)
    with pytest.raises(DataError, match=r"bars\.parquet: lacks the columns volume"):
        read_bars(path)
