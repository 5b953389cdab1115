"""Calibration of fabricated rollouts, and of forecasts whose faults are planted."""

import json

import numpy as np
import pytest
from fabricate import write_simulation

from mars_lmm.evaluation.bars import minute_bars
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.likelihood.calibration import LABELS, _forecasts, _scores, calibration
from mars_lmm.evaluation.likelihood.figures import calibration_figure
from mars_lmm.evaluation.likelihood.validity import validity
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.report.drawing import to_svg
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation")
    write_simulation(folder, starts=5, rollouts=6, minutes=4)
    return SimulationRun.read(folder)


def _found(paths, symbols=None):
    return _scores(paths, Bootstrap(["A"] * len(paths) if symbols is None else symbols), 0)


def test_forecasts_are_those_of_the_bars(run):
    bars = minute_bars(run).to_pydict()
    source = np.array(bars["source"])
    for name in (REPLAY, SIMULATION):
        price, volume = (np.array(bars[key])[source == name].reshape(5, -1, 5) for key in ("price_mid_last", "volume"))
        found = _forecasts(run, name)
        np.testing.assert_allclose(found["price"], 1e4 * np.log(price / price[..., :1])[..., 1:], atol=1e-9)
        np.testing.assert_array_equal(found["volume"], volume[..., 1:])


def test_what_is_found(run):
    found = calibration(run)
    assert (found["starts"], found["rollouts"], found["minutes"]) == (5, 6, 4)
    for name in LABELS:
        assert found[name]["pit"]["shares"].sum() == pytest.approx(1)
        assert 0 < found[name]["pit"]["p_value"] <= 1
        for score in (*found[name]["coverage"].values(), found[name]["crps"], found[name]["skill"]):
            assert score["low"] <= score["value"] <= score["high"]
            assert score["by_minute"].shape == (4,)
            assert score["by_start"].shape == (5,)
    assert json.loads(dumps(calibration(run))) == json.loads(dumps(found))


def test_a_calibrated_forecast_covers_what_it_says_and_has_the_climatologys_skill():
    found = _found(np.random.default_rng(0).standard_normal((400, 17, 3)))
    assert found["coverage"]["50"]["value"] == pytest.approx(0.5, abs=0.03)
    assert found["coverage"]["90"]["value"] == pytest.approx(0.9, abs=0.02)
    assert found["skill"]["value"] == pytest.approx(0, abs=0.03)
    assert found["pit"]["p_value"] > 0.01
    assert ((found["pit"]["low"] < 0.1) & (found["pit"]["high"] > 0.1)).all()


def test_knowing_the_start_is_skill():
    generator = np.random.default_rng(1)
    paths = 5 * generator.standard_normal((60, 1, 4)) + generator.standard_normal((60, 9, 4))
    assert _found(paths)["skill"]["low"] > 0.6


def test_a_narrow_forecast_covers_too_little():
    paths = np.random.default_rng(2).standard_normal((100, 17, 3))
    paths[:, 1:] *= 0.3
    found = _found(paths)
    assert found["coverage"]["90"]["high"] < 0.9
    assert found["pit"]["p_value"] < 0.01
    assert found["skill"]["value"] < 0


def test_unknown_minutes_and_starts_do_not_count():
    paths = np.random.default_rng(3).standard_normal((20, 5, 6))
    more = np.concatenate([paths, paths], axis=2)
    more[:, 1, 6:] = np.nan  # one rollout of each start
    more = np.concatenate([more, np.full((1, 5, 12), np.nan)])
    few, many = _found(paths), _found(more)
    np.testing.assert_allclose(few["pit"]["shares"], many["pit"]["shares"])
    for name in ("crps", "skill"):
        assert many[name]["value"] == pytest.approx(few[name]["value"])
        np.testing.assert_allclose(many[name]["by_minute"][:6], few[name]["by_minute"])
        assert np.isnan(many[name]["by_minute"][6:]).all()
        assert np.isnan(many[name]["by_start"][20])


def test_symbols_count_alike_whatever_their_size():
    generator = np.random.default_rng(4)
    small, large = generator.standard_normal((6, 8, 3)), generator.standard_normal((12, 8, 3))
    found = _found(np.concatenate([small, 1000 * large]), ["A"] * 6 + ["B"] * 12)
    alone = _found(small), _found(1000 * large)
    for get in (lambda f: f["skill"]["value"], lambda f: f["coverage"]["50"]["value"], lambda f: f["pit"]["shares"]):
        np.testing.assert_allclose(get(found), (get(alone[0]) + get(alone[1])) / 2)


def test_one_rollout_or_start_leaves_scores_open():
    found = _found(np.random.default_rng(5).standard_normal((4, 2, 3)))
    assert np.isnan(found["crps"]["value"])
    assert np.isfinite(found["coverage"]["50"]["value"])
    found = _found(np.random.default_rng(6).standard_normal((1, 9, 3)))
    assert np.isfinite(found["crps"]["value"])
    assert np.isnan([found["crps"]["low"], found["skill"]["value"]]).all()


def test_the_figure_is_drawn_from_json(run):
    found = json.loads(dumps(calibration(run)))
    assert to_svg("calibration", calibration_figure, found).startswith("<svg")
    nothing = {name: _found(np.full((2, 3, 4), np.nan)) | {"label": label} for name, label in LABELS.items()}
    assert to_svg("calibration", calibration_figure, json.loads(dumps(nothing))).startswith("<svg")


def simulation_of(rejected, accepted, agent=None):
    """Starts with so many rejected and accepted orders of the model, or of one agent in its stead."""
    name, key = (agent, "rejected_agents") if agent else ("model", "rejected")
    reasons = {"a": sum(rejected) // 4, "b": sum(rejected) - sum(rejected) // 4}
    manifest = {
        "starts": [{"symbol": "X", "rejected": 0, "rejected_agents": 0} | {key: count} for count in rejected],
        "by_kind": {"model": {}, "twap": {"limit": 900}} | {name: {"limit": sum(accepted) - 20, "ioc": 20}},
        "agents": [agent] if agent else ["twap"],
        "rejected": {} if agent else reasons,
        "rejected_agents": {agent: reasons} if agent else {"twap": {"c": 7}},
    }
    start = np.repeat(np.arange(len(accepted)), accepted)
    orders = {"start": np.append(start, 0), "source": np.append(np.full(len(start), bool(agent)), 2)}
    return SimulationRun(manifest, {SIMULATION: orders})


@pytest.mark.parametrize("agent", [None, "cst"])
def test_rejections_are_shares_of_what_was_sent(agent):
    found = validity(simulation_of([4, 6, 2, 8, 0, 0], [16, 14, 18, 12, 20, 0], agent))
    assert found["sent"] == 100
    assert found["rejected"] == pytest.approx(0.2)
    assert list(found["by_reason"].items()) == [("b", 0.15), ("a", 0.05)]
    assert found["published"] == 0.083
    assert 0 < found["interval"]["low"] < 0.2 < found["interval"]["high"] < 0.4


def test_the_share_of_rejections_is_certain_where_all_starts_have_it():
    found = validity(simulation_of([5] * 6, [20] * 6))
    assert found["interval"] == pytest.approx({"low": 0.2, "high": 0.2})
    run = simulation_of([5] * 6, [20] * 6)
    del run.manifest["starts"][2]["rejected"]
    assert np.isnan(list(validity(run)["interval"].values())).all()


def test_a_model_that_sends_nothing_has_no_share():
    run = SimulationRun({"starts": [{"symbol": "X"}], "by_kind": {"model": {}}, "rejected": {"a": 0}}, {SIMULATION: {}})
    found = validity(run)
    assert (found["sent"], found["rejected"], found["by_reason"]) == (0, None, {})
