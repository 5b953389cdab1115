"""Fakes are caught: Gaussian returns, shuffled returns, and what a copy of the real market passes."""

import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
import torch
from paths import MINUTE, bars, panel
from shared_data import SHARED

from mars_lmm.evaluation.facts.comparison import compare
from mars_lmm.evaluation.facts.eleven import FACTS, judge
from mars_lmm.evaluation.facts.panel import Panel, panels, read_bars
from mars_lmm.evaluation.facts.rules import ABSENT, PRESENT

MINUTES = 26  # minutes of a path


def market(sessions=40, paths=6, minutes=60):
    """Returns with a slowly moving volatility, fat-tailed shocks and rare jumps; volume follows the volatility."""
    generator = np.random.default_rng(8)
    count = sessions * paths
    volatility = np.empty((count, minutes))
    volatility[:, 0] = generator.standard_normal(count)
    for minute in range(1, minutes):
        volatility[:, minute] = 0.97 * volatility[:, minute - 1] + 0.243 * generator.standard_normal(count)
    shocks = generator.standard_t(6, (count, minutes))
    jumps = (generator.random((count, minutes)) < 1e-3) * 8 * generator.standard_normal((count, minutes))
    volume = generator.poisson(50 * np.exp(np.pad(volatility, ((0, 0), (0, 1)), mode="edge") / 2))
    return panel(bars(5e-4 * np.exp(0.7 * volatility) * (shocks + jumps), volume, rollouts_per_start=paths))


def recorded():
    """The made-up bars of the reference, their real side."""
    return panels(read_bars(SHARED / "data" / "facts" / "minute_bars.parquet"))["Replay"]


def real():
    """One day of three stocks: trade prices and volumes of 15 stretches of 26 minutes each, as LOBSTER has them."""
    tables = []
    for symbol, level in (("AAPL", 1), ("AMZN", 5), ("GOOG", 10)):
        with zipfile.ZipFile(
            SHARED / "data" / "lobster" / f"LOBSTER_SampleFile_{symbol}_2012-06-21_{level}.zip"
        ) as zipped:
            name = next(name for name in zipped.namelist() if "message" in name)
            messages = csv.read_csv(zipped.open(name), csv.ReadOptions(autogenerate_column_names=True))
        time, kind, size, price = (messages[f"f{column}"].to_numpy() for column in (0, 1, 3, 4))
        trades = np.isin(kind, (4, 5))
        minute, price, size = ((time[trades] - 34_200) // 60).astype(int), price[trades], size[trades]
        last = price[np.searchsorted(minute, np.arange(390), side="right") - 1]
        volume = np.bincount(minute, size, 390)
        returns = np.diff(np.log(last.reshape(15, MINUTES)), axis=1)
        tables.append(bars(returns, volume.reshape(15, MINUTES), symbol=symbol))
    source = panel(pa.concat_tables(tables))
    begin = 570 + MINUTES * (source.start % 15)  # minutes since midnight, of one day
    return replace(source, time=(begin[:, None] + torch.arange(MINUTES)) * MINUTE)


def with_returns(source: Panel, change) -> Panel:
    """The same paths with other one-minute returns, from those of each symbol."""
    returns = torch.diff(source.price_last.log(), dim=1)
    for number in range(len(source.symbols)):
        rows = source.symbol == number
        returns[rows] = torch.from_numpy(change(returns[rows].numpy()))
    price = 100 * torch.cat([torch.zeros_like(returns[:, :1]), returns.cumsum(dim=1)], dim=1).exp()
    return Panel(source.symbols, source.symbol, source.start, source.time, price, price, source.volume)


def gaussian(source):
    generator = np.random.default_rng(1)
    return with_returns(source, lambda returns: returns.std() * generator.standard_normal(returns.shape))


def shuffled(source):
    generator = np.random.default_rng(2)
    return with_returns(source, lambda returns: generator.permutation(returns.ravel()).reshape(returns.shape))


def verdicts(source):
    return {fact.number: found["verdict"] for fact, found in zip(FACTS, judge(source).estimates, strict=True)}


@pytest.fixture(scope="module")
def sources():
    source = market()
    copy = with_returns(source, lambda returns: returns)
    return {"Replay": source, "Copy": copy, "Gaussian": gaussian(source), "Shuffled": shuffled(source)}


@pytest.fixture(scope="module")
def found(sources):
    return {name: verdicts(source) for name, source in sources.items()}


def test_the_market_has_the_facts_that_the_fakes_lack(found):
    assert {number for number, verdict in found["Replay"].items() if verdict == PRESENT} >= {1, 2, 5, 6, 7, 8, 10}


def test_gaussian_returns_are_found_out(found):
    assert {found["Gaussian"][number] for number in (2, 4, 5, 6, 7, 8, 10)} == {ABSENT}
    assert found["Gaussian"][1] == PRESENT


def test_shuffled_returns_are_found_out(found):
    assert {found["Shuffled"][number] for number in (6, 8, 10)} == {ABSENT}
    assert found["Shuffled"][5] != PRESENT
    assert found["Shuffled"][2] == PRESENT  # the same returns


def test_a_copy_passes_all_that_the_market_passes(sources, found):
    assert found["Copy"] == found["Replay"]
    compared = compare({name: judge(source) for name, source in sources.items()})
    assert compared["agreed"]["Copy"] == compared["shown_by_replay"] > compared["agreed"]["Shuffled"]
    assert compared["agreed"]["Shuffled"] > compared["agreed"]["Gaussian"]


def test_a_volatility_that_nobody_planted_is_not_found(sources):
    """Other shuffles and other draws: chance makes facts 6 and 2 less often than once in twenty."""
    made = sum(verdicts(with_returns(sources["Replay"], shuffle))[6] == PRESENT for shuffle in shuffles(20))
    assert made <= 2


def shuffles(count):
    for seed in range(count):
        generator = np.random.default_rng(seed + 100)
        yield lambda returns, generator=generator: generator.permutation(returns.ravel()).reshape(returns.shape)


@pytest.mark.parametrize("source", [recorded, real])
def test_fakes_of_recorded_bars(source):
    if not SHARED.exists():
        pytest.skip("needs the shared data")
    source = source()
    shown = {number for number, verdict in verdicts(source).items() if verdict == PRESENT}
    assert shown >= {2, 6}
    assert {verdicts(gaussian(source))[number] for number in (2, 5, 6)}.isdisjoint({PRESENT})
    assert {verdicts(shuffled(source))[number] for number in (6, 8)}.isdisjoint({PRESENT})
    copy = with_returns(source, lambda returns: returns)
    assert {number for number, verdict in verdicts(copy).items() if verdict == PRESENT} == shown
