"""MarS's table 7 against plain counting, copies of the replay, and laws that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fabricate import MINUTE, write_simulation

from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.report.drawing import to_svg
from mars_lmm.evaluation.table7.classes import accuracies, classify, terciles
from mars_lmm.evaluation.table7.figures import table7_figure
from mars_lmm.evaluation.table7.overlap import num_bins, overlaps
from mars_lmm.evaluation.table7.published import PUBLISHED
from mars_lmm.evaluation.table7.quantities import RETURNS, quantities
from mars_lmm.evaluation.table7.table import table7
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation")
    write_simulation(folder, starts=6, rollouts=4, minutes=7)
    return SimulationRun.read(folder)


def copies(run, number):
    """A simulation each of whose rollouts is the replay."""
    replay = run.orders[REPLAY]
    orders = {name: np.tile(column, number) for name, column in replay.items()}
    orders["rollout"] = np.repeat(np.arange(number), len(replay["start"]))
    order = np.lexsort((orders["rollout"], orders["start"]))
    orders = {name: column[order] for name, column in orders.items()}
    return SimulationRun(run.manifest | {"rollouts": number}, {REPLAY: replay, SIMULATION: orders})


@pytest.mark.parametrize(("source", "rollout"), [(REPLAY, 0), (SIMULATION, 2)])
def test_quantities_against_counting(run, source, rollout):
    found, orders = quantities(run, source), run.orders[source]
    start, minute = 3, 4
    begin = run.manifest["starts"][start]["time_ns"]
    path = (orders["start"] == start) & (orders["rollout"] == rollout)
    within = path & (orders["time"] > begin + minute * MINUTE) & (orders["time"] <= begin + (minute + 1) * MINUTE)
    submitted = within & ~np.isin(orders["kind"], (CANCEL, CANCEL_AT))

    def mid_at(time):
        last = np.flatnonzero(path & (orders["time"] <= time))[-1]
        return (orders["bid"][last] + orders["ask"][last]) / 2

    mids = [mid_at(begin + minute * MINUTE + second * 10**9) for second in range(61)]
    cell = (start, rollout, minute)
    assert found["spread"][cell] == pytest.approx((orders["ask"] - orders["bid"])[within].mean())
    assert found["order_volume"][cell] == pytest.approx(orders["size"][submitted].mean())
    assert found["aggressive_ratio"][cell] == pytest.approx((orders["filled"][submitted] > 0).mean())
    assert found["buy_ratio"][cell] == pytest.approx((orders["side"][submitted] == BUY).mean())
    assert found["volatility"][cell] == pytest.approx(1e4 * np.diff(np.log(mids)).std())
    assert found["return_1"][cell] == pytest.approx(1e4 * np.log(mids[-1] / mids[0]))
    assert found["return_3"][start, rollout, 2] == pytest.approx(found["return_1"][start, rollout, 2:5].sum())
    assert [found[name].shape[-1] for name in RETURNS] == [7, 6, 5, 4, 3]


def test_minutes_without_orders(run):
    orders = run.orders[REPLAY]
    begin = np.array([start["time_ns"] for start in run.manifest["starts"]])[orders["start"]]
    minute = (orders["time"] - begin - 1) // MINUTE
    kept = (minute != 0) & ~((orders["start"] == 1) & (minute == 3))
    quiet = replace(run, orders=run.orders | {REPLAY: {name: column[kept] for name, column in orders.items()}})
    found, before = quantities(quiet, REPLAY), quantities(run, REPLAY)
    for name in ("order_volume", "aggressive_ratio", "buy_ratio"):
        assert np.isnan(found[name][:, 0, 0]).all()
        assert np.isnan(found[name][1, 0, 3])
        assert found[name][2, 0, 3] == before[name][2, 0, 3]
    assert (found["volatility"][:, 0, 0] == 0).all()
    assert (found["return_1"][:, 0, 0] == 0).all()
    assert (found["spread"][:, 0, 0] == 3).all()  # as the starts have it
    last = np.flatnonzero(kept & (orders["start"] == 1) & (minute == 2))[-1]
    assert found["spread"][1, 0, 3] == (orders["ask"] - orders["bid"])[last]
    row = table7(quiet)["rows"][3]
    assert np.isfinite([row["overlap"]["value"], row["accuracy"]["value"]]).all()
    assert np.isnan(row["by_window"][0])


def test_a_copy_of_the_replay_is_perfect(run):
    for number in (1, 3):
        for row in table7(copies(run, number))["rows"]:
            assert row["overlap"] == pytest.approx({"value": 1, "low": 1, "high": 1})
            assert row["accuracy"] == row["accuracy_vote"] == pytest.approx({"value": 1, "low": 1, "high": 1})
            assert row["means"][REPLAY] == pytest.approx(row["means"][SIMULATION])


def test_the_table(run):
    found = table7(run)
    assert [row["name"] for row in found["rows"]] == list(PUBLISHED)
    assert (found["starts"], found["symbols"], found["rollouts"], found["minutes"]) == (6, 1, 4, 7)
    for row in found["rows"]:
        assert 0 < row["floor"] < 1
        assert row["ceiling"]["low"] <= row["ceiling"]["value"] <= row["ceiling"]["high"]
        assert 1 / 3 <= row["majority"] <= 1
    assert found["rows"][1]["published"] == {"overlap": 0.970, "accuracy": 0.729}
    assert json.loads(dumps(table7(run))) == json.loads(dumps(found))
    assert to_svg("table7", table7_figure, json.loads(dumps(found))).startswith("<svg")


def test_short_horizons(run):
    two = replace(run, manifest=run.manifest | {"horizon_ns": 2 * MINUTE})
    assert [row["name"] for row in table7(two)["rows"]] == list(PUBLISHED)[:7]
    with pytest.raises(ValueError, match="shorter than a minute"):
        table7(replace(run, manifest=run.manifest | {"horizon_ns": MINUTE // 2}))


def test_terciles():
    borders = terciles(np.array([6.0, 1, 5, np.nan, 2, 4, 3]))
    assert borders == pytest.approx([8 / 3, 13 / 3])
    assert classify(np.array([1.0, 2, 3, 4, 5, 6, np.nan]), borders).tolist() == [0, 0, 1, 1, 2, 2, -1]
    # A border belongs to the class below, so that many equal values stay together.
    assert classify(np.array([-1.0, 0, 1]), terciles(np.array([-1.0, 0, 0, 0, 0, 1]))).tolist() == [0, 0, 2]


def test_terciles_are_each_symbols_own():
    replay = np.array([1.0, 2, 3, 10, 20, 30])[:, None, None]
    found = accuracies(replay, replay, Bootstrap([*"AAABBB"]))
    assert found["majority"] == pytest.approx(1 / 3)
    constant = np.array([2.0] * 3 + [30] * 3)[:, None, None]
    assert accuracies(replay, constant, Bootstrap([*"AAABBB"]))["accuracy"]["value"] == pytest.approx(1 / 3)


def test_the_mean_and_the_vote():
    replay = np.array([1.0, 2, 3])[:, None, None]
    # Two of three rollouts say low, their mean says high; then a tie of two classes, one of them right.
    simulation = np.array([[1, 1, 90], [2, np.nan, 3], [3, 3, 3]])[..., None]
    found = accuracies(replay, simulation, Bootstrap([*"AAA"]))
    assert found["accuracy"]["value"] == pytest.approx(1 / 3)  # means: high, high (2.5 > 7 / 3), high
    assert found["accuracy_vote"]["value"] == pytest.approx((1 + 0.5 + 1) / 3)


def test_windows_choose_the_headline():
    replay = np.random.default_rng(0).standard_normal((9, 1, 4))
    simulation = np.repeat(replay, 3, axis=1)
    simulation[..., 1:] = 0
    found = accuracies(replay, simulation, Bootstrap(["A"] * 9), slice(1))
    assert found["accuracy"]["value"] == found["by_window"][0] == 1
    assert found["by_window"][1:].max() < 1


def test_chance_is_what_ignorance_reaches():
    generator = np.random.default_rng(1)
    replay, simulation = generator.standard_normal((300, 1, 10)), generator.standard_normal((300, 1, 10))
    found = accuracies(replay, simulation, Bootstrap(["A"] * 300))
    for name in ("accuracy", "accuracy_vote"):
        assert found[name]["value"] == pytest.approx(1 / 3, abs=0.03)
        assert found[name]["low"] < 1 / 3 < found[name]["high"]


def test_overlap_of_shifted_gaussians():
    """Of N(0, 1) and N(1, 1): twice the Gaussian's tail beyond 1/2, 0.6171."""
    generator = np.random.default_rng(2)
    replay, simulation = generator.standard_normal((200, 1, 50)), 1 + generator.standard_normal((200, 3, 50))
    found = overlaps(replay, simulation, Bootstrap(["A"] * 200))["overlap"]
    assert found["value"] == pytest.approx(0.6171, abs=0.015)
    assert found["low"] < 0.6171 < found["high"] + 0.005


def test_the_interval_makes_up_for_the_noise_that_drawing_adds():
    generator = np.random.default_rng(6)
    found = [overlaps(*_one_law(generator), Bootstrap(["A"] * 12))["overlap"] for _ in range(10)]
    value, low, high = (np.mean([one[name] for one in found]) for name in ("value", "low", "high"))
    assert value - low < high - value
    assert 0.95 < high <= 1


def test_the_ceiling_is_what_a_perfect_model_reaches():
    generator = np.random.default_rng(3)
    found = [overlaps(*_one_law(generator), Bootstrap(["A"] * 12)) for _ in range(40)]
    reached = np.mean([one["overlap"]["value"] for one in found])
    assert np.mean([one["ceiling"]["value"] for one in found]) == pytest.approx(reached, abs=0.02)
    inside = [one["ceiling"]["low"] <= one["overlap"]["value"] <= one["ceiling"]["high"] for one in found]
    assert np.mean(inside) >= 0.8
    assert np.mean([one["floor"] for one in found]) < reached


def _one_law(generator):
    paths = generator.standard_normal((12, 65, 10)).cumsum(axis=2)
    return paths[:, :1], paths[:, 1:]


def test_equal_values_share_a_bin():
    ticks = np.random.default_rng(4).integers(1, 3, (40, 1, 25)).astype(float)
    found = overlaps(ticks, ticks + 2, Bootstrap(["A"] * 40))
    assert found["overlap"]["value"] == 0
    assert found["floor"] > 0.9


def test_nothing_to_compare():
    nothing = np.full((3, 2, 4), np.nan)
    found = overlaps(nothing[:, :1], nothing, Bootstrap(["A"] * 3)) | accuracies(
        nothing[:, :1], nothing, Bootstrap(["A"] * 3)
    )
    values = (found["overlap"]["value"], found["floor"], found["ceiling"]["value"], found["accuracy"]["value"])
    assert np.isnan([*values, found["majority"]]).all()


def test_one_start_has_no_interval():
    paths = np.random.default_rng(5).standard_normal((1, 5, 20))
    found = overlaps(paths[:, :1], paths[:, 1:], Bootstrap(["A"]))
    assert np.isfinite(found["overlap"]["value"])
    assert np.isnan([found["overlap"]["low"], found["overlap"]["high"], found["floor"]]).all()


def test_bins_follow_the_smaller_sample():
    assert [num_bins(size) for size in (1, 8, 1000)] == [2, 4, 20]
