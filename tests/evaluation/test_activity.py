"""Distributions and fans against plain counting."""

import numpy as np
import pytest
from fabricate import write_simulation
from paths import gaussian

from mars_lmm.evaluation.activity import TYPES, _wait, activity, fan, tails
from mars_lmm.evaluation.bars import minute_bars
from mars_lmm.evaluation.facts.panel import panels
from mars_lmm.evaluation.trajectories import SimulationRun
from mars_lmm.market.types import BUY, CANCEL_AT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation")
    write_simulation(folder, starts=4, rollouts=3, minutes=6)
    return SimulationRun.read(folder)


def test_shares_are_distributions(run):
    found = activity(run)
    for name in ("spread", "size", "wait", "type"):
        for shares in found[name]["shares"].values():
            assert shares.sum() == pytest.approx(1)
        assert 0 <= found[name]["overlap"] <= 1


def test_a_market_overlaps_itself(run):
    twin = SimulationRun(
        run.manifest | {"rollouts": 1}, {"Replay": run.orders["Replay"], "Simulation": run.orders["Replay"]}
    )
    found = activity(twin)
    assert all(found[name]["overlap"] == pytest.approx(1) for name in ("spread", "size", "wait", "type"))
    assert found["rates"]["Replay"] == found["rates"]["Simulation"]


def test_counts_of_types_and_rates(run):
    found, orders = activity(run), run.orders["Simulation"]
    cancel_buy = ((orders["kind"] == CANCEL_AT) & (orders["side"] == BUY)).mean()
    assert found["type"]["shares"]["Simulation"][TYPES.index("cancel buy")] == pytest.approx(cancel_buy)
    rates = found["rates"]["Simulation"]
    assert rates["orders_per_minute"] == pytest.approx(len(orders["time"]) / (4 * 3 * 6))
    assert rates["mean_spread"] == pytest.approx((orders["ask"] - orders["bid"]).mean() * 0.01)


def test_waiting_times_do_not_span_paths(run):
    for source in ("Replay", "Simulation"):
        wait, orders = _wait(run, source), run.orders[source]
        assert wait.min() >= 0
        first = np.flatnonzero(np.diff(run.path(source), prepend=-1))
        begin = [run.manifest["starts"][s]["time_ns"] for s in orders["start"][first]]
        assert wait[first] == pytest.approx((orders["time"][first] - begin) / 1e9)
        assert wait.sum() <= 6 * 60 * len(first)


def test_fan_quantiles(run):
    bars = minute_bars(run)
    found = fan(run, bars, most_starts=3)
    assert len(found["starts"]) == 3
    table = bars.to_pydict()
    mids = [
        m
        for m, source, start, minute in zip(
            table["price_mid_last"], table["source"], table["start"], table["minute_index"], strict=True
        )
        if source == "Simulation" and start == 3 and minute == 4
    ]
    last = found["starts"][-1]
    assert len(mids) == 3
    assert last["quantiles"][:, 4] == pytest.approx(np.quantile(mids, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert last["label"] == "AAPL  2012-06-21  10:33:00"


def test_tails_of_a_gaussian():
    found = tails(panels(gaussian(2000, 25)))
    np.testing.assert_allclose(found["shares"]["Replay"][:12], found["gaussian"][:12], atol=0.01)
