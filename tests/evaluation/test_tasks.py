"""Every task on rollouts of a tiny model and of the baselines, from the starts of a synthetic market."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import tasks
from mars_lmm.evaluation.baselines import Baselines
from mars_lmm.evaluation.config import BASELINES, TASKS, EvaluateConfig, EvaluatedRollouts
from mars_lmm.evaluation.evaluate import evaluate
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.tasks.lob_bench import over_symbols, verdict
from mars_lmm.models.checkpoint import KEY, PREFIX
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.models.sampling import SamplingConfig
from mars_lmm.simulation.agents.noise import NoiseAgent
from mars_lmm.simulation.agents.registry import BUILT_IN
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.running.predict import default_trainer
from mars_lmm.simulation.starts.recorded import Moment
from mars_lmm.training.identity import describe_run
from mars_lmm.training.optimizers import OptimConfig

ROLLOUTS = {"starts": 4, "rollouts": 2, "minutes": 1.0}
SOURCES = ["Simulation", "Noise agent", "Bootstrap"]


@pytest.fixture(scope="module")
def tiny(small_set):
    torch.manual_seed(0)
    config = OrderModelConfig(width=16, layers=1, heads=2, window=16, head="fields")
    return Trained(OrderModel(config).eval(), OrderCoding(small_set.tokenizer()), small_set, Path("tiny.ckpt"))


@pytest.fixture(autouse=True)
def quick(tiny, monkeypatch):
    """Whatever the run, the model is the tiny one; and the page is empty."""
    monkeypatch.setattr("mars_lmm.evaluation.material.load_trained", lambda *arguments, **settings: tiny)
    monkeypatch.setattr("mars_lmm.evaluation.evaluate.report.draw", lambda *results: {})
    monkeypatch.setattr("mars_lmm.evaluation.evaluate.report.render", lambda *results: "")


def settings(folder, **given):
    given = {"baselines": ["noise", "bootstrap"], "simulation": EvaluatedRollouts(**ROLLOUTS), "replicates": 9} | given
    return EvaluateConfig(run=str(folder), **given)


def scored(folder, **given):
    return evaluate(settings(folder, **given), default_trainer(accelerator="cpu"), "python evaluate.py")


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """All tasks and the whole report, from nothing but a model: its folder and what was returned."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mars_lmm.evaluation.material.load_trained", lambda *arguments, **settings: tiny)
        return folder, scored(folder)


def result(folder, task):
    return json.loads((folder / "evaluation" / f"{task}.json").read_text())


def copied(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def test_what_is_missing_is_simulated_from_the_same_starts(finished):
    folder, returned = finished
    manifests = [
        json.loads((folder / place / "simulation.json").read_text())
        for place in (
            "simulation",
            "baselines/noise",
            "baselines/bootstrap",
        )
    ]
    assert (len(manifests[0]["starts"]), manifests[0]["rollouts"], manifests[0]["horizon_ns"]) == (4, 2, 60 * 10**9)
    for manifest in manifests[1:]:
        for start, other in zip(manifest["starts"], manifests[0]["starts"], strict=True):
            assert {key: start[key] for key in other if not key.startswith("rejected")}.items() <= other.items()
        for key in ("rollouts", "horizon_ns", "seed", "cancels", "rules", "prepared"):
            assert manifest[key] == manifests[0][key], key
        assert not manifest["by_kind"]["model"]
    assert [manifest["background"] for manifest in manifests] == [[], [], [1]]
    assert list(returned["sources"]) == SOURCES
    assert returned["commands"][0] == "python evaluate.py"


def test_every_task_knows_every_source(finished):
    folder, _ = finished
    lob_bench, table7, likelihood = (result(folder, task) for task in ("lob_bench", "table7", "likelihood"))
    assert list(result(folder, "facts")["order_flow"]["comparison"]["facts"][0]["sources"]) == ["Replay", *SOURCES]
    (symbol,) = lob_bench["symbols"].values()
    for found in (symbol["models"], lob_bench["summary"], lob_bench["tests"], table7["sources"]):
        assert list(found) == SOURCES
    assert list(likelihood["calibration"]) == list(likelihood["validity"]) == SOURCES
    assert likelihood["validity"]["Noise agent"]["sent"] > 0
    assert table7["sources"]["Bootstrap"]["rows"][0]["means"].keys() == {"Replay", "Bootstrap"}
    orders = likelihood["orders"]
    assert orders["bits"]["value"] == pytest.approx(orders["nats"]["value"] / np.log(2))


def test_one_symbol_is_its_own_mean(finished):
    lob_bench = result(finished[0], "lob_bench")
    (symbol,) = lob_bench["symbols"].values()
    for source in SOURCES:
        for distance, found in lob_bench["summary"][source].items():
            assert found == pytest.approx(symbol["models"][source]["summary"]["all_24"][distance])
    assert lob_bench["floor"]["l1"] == pytest.approx(symbol["floor"]["summary"]["all_24"]["l1"])
    assert 0 < lob_bench["floor"]["l1"]["mean"] < 1
    assert len(symbol["floor"]["unconditional"]) == 21
    assert set(lob_bench["verdict"]["ratios"]) == {"Noise agent", "Bootstrap"}
    assert lob_bench["verdict"]["halves"] is None


@pytest.mark.parametrize("task", TASKS)
def test_each_task_alone(finished, tmp_path, task):
    """Gives what it gives among the others, and does no other."""
    folder = copied(finished, tmp_path)
    shutil.rmtree(folder / "evaluation")
    scored(folder, task=task)
    made = {path.name for path in (folder / "evaluation").glob("*.json")}
    assert made == {f"{task}.json", "evaluation.json"}
    alone, among = result(folder, task), result(finished[0], task)
    if task == "likelihood":
        assert alone["orders"].pop("seconds") > 0 < among["orders"].pop("seconds")
    assert alone == among


def test_a_second_time_nothing_is_done(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path)
    for task in TASKS:
        monkeypatch.setitem(tasks.RUN, task, None)
    for place in ("material.simulate", "baselines.simulate", "baselines.fit_baselines"):
        monkeypatch.setattr(f"mars_lmm.evaluation.{place}", None)
    again = scored(folder)
    assert again == finished[1] | {"commands": again["commands"]}


def test_another_seed_scores_anew_and_simulates_nothing(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path)
    for place in ("material.simulate", "baselines.simulate"):
        monkeypatch.setattr(f"mars_lmm.evaluation.{place}", None)
    scored(folder, task="lob_bench", seed=1)
    one, other = (result(place, "lob_bench")["summary"]["Simulation"]["l1"] for place in (finished[0], folder))
    assert one["mean"] == other["mean"]
    assert one["mean_low"] != other["mean_low"]


def test_baselines_of_other_rollouts_are_made_again(finished, tmp_path):
    folder = copied(finished, tmp_path)
    shutil.rmtree(folder / "simulation")
    returned = scored(
        folder, task="facts", baselines=["noise"], simulation=EvaluatedRollouts(**ROLLOUTS | {"rollouts": 1})
    )
    assert {source: found["rollouts"] for source, found in returned["sources"].items()} == {
        "Simulation": 1,
        "Noise agent": 1,
    }


def test_an_instrument_that_is_held_out_altogether_has_no_fitted_baselines(finished):
    material = Material(settings(finished[0], baselines=[]), default_trainer(accelerator="cpu"))
    for entry in material.prepared.sessions:
        entry["held_out_from"] = entry["open_time"]
    baselines = Baselines(material.run, material.prepared, finished[0] / "baselines")
    assert not baselines._parameters("noise")
    for name in ("cst", "hawkes", "bootstrap"):
        with pytest.raises(ValueError, match=f"nothing to fit {name} to; give baselines"):
            baselines._parameters(name)


def baselines_of(folder):
    material = Material(settings(folder, baselines=[]), default_trainer(accelerator="cpu"))
    return Baselines(material.run, material.prepared, folder / "baselines")


def test_baselines_of_other_parameters_or_code_are_not_finished(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path)
    baselines = baselines_of(folder)
    assert baselines.finished("noise")
    assert baselines.finished("bootstrap")
    fit = folder / "baselines" / "fits" / "bootstrap.json"
    content = fit.read_text()
    fit.write_text(content.replace('"takers_rest"', ' "takers_rest"'))
    assert not baselines.finished("bootstrap")
    fit.unlink()
    assert not baselines.finished("bootstrap")
    fit.write_text(content)
    assert baselines.finished("bootstrap")

    class Another(NoiseAgent):
        """Of this file, which its source is then in."""

    with monkeypatch.context() as patch:
        patch.setitem(BUILT_IN, "noise", Another)
        assert not baselines.finished("noise")
    with monkeypatch.context() as patch:
        patch.setattr("mars_lmm.evaluation.baselines.FITS", {"bootstrap": baselines_of})
        assert not baselines.finished("bootstrap")


def test_a_lost_fit_is_made_again(finished, tmp_path):
    folder = copied(finished, tmp_path)
    fit = folder / "baselines" / "fits" / "bootstrap.json"
    content = fit.read_text()
    fit.unlink()
    scored(folder, task="facts", baselines=["bootstrap"])
    assert fit.read_text() == content
    assert baselines_of(folder).finished("bootstrap")


def test_the_noise_agent_needs_no_fit(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path)
    shutil.rmtree(folder / "baselines")
    monkeypatch.setattr("mars_lmm.evaluation.baselines.fit_baselines", None)
    scored(folder, task="facts", baselines=["noise"])
    assert [path.name for path in (folder / "baselines").iterdir()] == ["noise"]


def write_checkpoint(trained, path, seed=None):
    """The tiny model's weights as a checkpoint, or others of its shape."""
    weights = trained.model.state_dict()
    if seed is not None:
        torch.manual_seed(seed)
        weights = OrderModel(trained.model.config).state_dict()
    path.parent.mkdir(exist_ok=True)
    run = describe_run({}, trained.model.config, OptimConfig(), trained.prepared)
    torch.save({KEY: run, "state_dict": {PREFIX + name: weight for name, weight in weights.items()}}, path)


@pytest.fixture
def with_checkpoint(finished, tiny, tmp_path):
    """A run whose simulation was made by its best checkpoint, which is there."""
    folder = copied(finished, tmp_path)
    write_checkpoint(tiny, folder / "checkpoints" / "best.ckpt")
    rewrite(folder, checkpoint=str(folder / "checkpoints" / "best.ckpt"))
    return folder


def rewrite(folder, **entries):
    """Other entries in the simulation's manifest; None: without."""
    path = folder / "simulation" / "simulation.json"
    manifest = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))


def test_a_simulation_by_weights_that_were_replaced_is_refused(with_checkpoint, tiny, monkeypatch):
    folder, facts = with_checkpoint, {"task": "facts", "baselines": []}
    scored(folder, **facts)
    write_checkpoint(tiny, folder / "checkpoints" / "best.ckpt", seed=1)
    with pytest.raises(DataError, match=r"simulation: was made by other weights than .*best\.ckpt .*checkpoint=PATH"):
        scored(folder, **facts)

    rewrite(folder, weights=None)  # as older versions wrote it
    with monkeypatch.context() as patch:
        patch.setattr("mars_lmm.evaluation.material.load_order_model", None)
        scored(folder, **facts)


def test_a_simulation_whose_checkpoint_is_gone_is_scored(with_checkpoint):
    shutil.rmtree(with_checkpoint / "checkpoints")
    assert scored(with_checkpoint, task="facts", baselines=[])


def test_a_simulation_without_its_prepared_set_is_compared_with_its_weights(with_checkpoint):
    rewrite(with_checkpoint, prepared=str(with_checkpoint / "none"))
    assert scored(with_checkpoint, task="facts", baselines=[])


def test_another_checkpoint_that_is_asked_for_is_noted(with_checkpoint, tiny):
    folder = with_checkpoint
    write_checkpoint(tiny, folder / "checkpoints" / "last.ckpt", seed=1)
    for checkpoint, noted in (("last", True), ("best", False), (str(folder / "checkpoints" / "last.ckpt"), True)):
        notes = scored(folder, task="likelihood", baselines=[], checkpoint=checkpoint)["notes"]
        assert any("last.ckpt; the simulation was made by other weights" in note for note in notes) == noted


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"rollouts": 64},
            r"simulation\.rollouts=64: .*simulation is finished and was made with rollouts=2; remove it",
        ),
        ({"minutes": 3.0}, r"simulation\.minutes=3\.0: .* made with minutes=1\.0"),
        ({"starts": 5}, r"simulation\.starts=5: .* made with starts=4"),
        ({"seed": 3}, r"simulation\.seed=3: .* made with seed=0"),
        ({"rules": "venue"}, r"simulation\.rules=venue: .* made with rules=session"),
        ({"cancels": "oldest"}, r"simulation\.cancels=oldest: .* made with cancels=whole"),
        ({"attention": "window"}, r"simulation\.attention=window: .* made with attention=ring"),
        ({"recalibration": 0}, r"simulation\.recalibration=0: .* made with recalibration=4096"),
        (
            {"sampling": SamplingConfig(top_p=0.9)},
            r"simulation\.sampling\.top_p=0\.9: .* made with sampling\.top_p=1\.0",
        ),
        ({"agents": {"noise": {"agent": "noise"}}}, r"simulation\.agents=\{'noise': .*\}: .* made with agents=\{\}"),
        ({"starts": 4, "at": ["SYN 10:00"]}, r"simulation\.starts=5: .* made with starts=4"),
        ({"starts": 3, "at": ["SYN 10:00"]}, r"simulation\.at: .* has no start at SYN 10:00; remove it"),
        (
            {"rollouts": 4, "recalibration": 0},
            r"simulation\.rollouts=4 simulation\.recalibration=0: .* rollouts=2, recalibration=4096; .*leave out",
        ),
    ],
)
def test_settings_of_another_simulation_are_refused(finished, asked, message):
    with pytest.raises(ValueError, match=message):
        scored(finished[0], simulation=EvaluatedRollouts(**ROLLOUTS | asked))


def test_settings_that_fit_what_is_finished_are_accepted(finished, tmp_path):
    folder = copied(finished, tmp_path)
    same = ROLLOUTS | {"recalibration": 4096, "cancels": "whole", "attention": "ring"}
    start = json.loads((folder / "simulation" / "simulation.json").read_text())["starts"][1]
    named = [str(Moment(start["symbol"], date, start["time_ns"])) for date in (None, start["date"])]
    moments = {"starts": 2, "at": named}  # a manifest does not tell which starts were named
    for given in ({}, same, moments):
        scored(folder, task="facts", baselines=[], simulation=EvaluatedRollouts(**given))
    rewrite(folder, sampling=None, recalibration=None)  # as older versions wrote it
    scored(folder, task="facts", baselines=[], simulation=EvaluatedRollouts(recalibration=0))


def test_recent_baselines_are_fitted_to_what_came_before_each_start(finished, tmp_path):
    folder = copied(finished, tmp_path)
    returned = scored(folder, task="facts", baselines=["noise", "bootstrap_recent"])
    assert list(returned["sources"]) == ["Simulation", "Noise agent", "Bootstrap, recent"]
    material = Material(settings(folder, baselines=[]), default_trainer(accelerator="cpu"))
    fits = json.loads((folder / "baselines" / "fits_recent" / "bootstrap.json").read_text())["fits"]
    assert list(fits) == material.run.moments
    manifest = json.loads((folder / "baselines" / "bootstrap_recent" / "simulation.json").read_text())
    assert (manifest["agents"], manifest["background"]) == (["bootstrap_recent"], [1])
    baselines = Baselines(material.run, material.prepared, folder / "baselines")
    assert baselines.finished("bootstrap_recent")
    (folder / "baselines" / "fits_recent" / "bootstrap.json").write_text("{}")
    assert not baselines.finished("bootstrap_recent")


def test_sequences_tell_the_rollouts_orders(finished):
    material = Material(settings(finished[0]), default_trainer(accelerator="cpu"))
    for source in SOURCES:
        sequences, orders = material.sequences(source), material.run.orders[source]
        assert len(sequences) == 8
        traded = orders["filled"].sum()
        assert sequences.size[sequences.type == 4].sum() == traded, source
    assert sequences.book.shape[1] == 10
    assert len(material.real) == 4
    open_time, close_time = material.hours
    assert open_time < min(start["time_ns"] for start in material.run.manifest["starts"]) < close_time


def test_fewer_levels_of_the_book(finished):
    material = Material(settings(finished[0], levels=3), default_trainer(accelerator="cpu"))
    assert material.real.book.shape[1] == material.sequences("Simulation").book.shape[1] == 3


def test_an_older_simulation_has_to_be_made_again(finished, tmp_path):
    folder = copied(finished, tmp_path)
    path = folder / "simulation" / "simulation.json"
    manifest = json.loads(path.read_text())
    prepared = manifest.pop("prepared")
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"lacks prepared; give prepared=SET"):
        scored(folder)
    del manifest["background"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="did not tell `background`; simulate again"):
        scored(folder, task="lob_bench", prepared=prepared, baselines=[])


def test_one_process_evaluates(tmp_path):
    trainer = default_trainer(accelerator="cpu", devices=2, strategy="ddp")
    with pytest.raises(ValueError, match="2 processes, and an evaluation has one"):
        evaluate(settings(tmp_path), trainer)


def summary(value, reach):
    numbers = {"mean": value, "mean_low": value - reach, "mean_high": value + reach}
    return {
        distance: {
            key.replace("mean", name): number for key, number in numbers.items() for name in ("mean", "median", "iqm")
        }
        for distance in ("l1", "wasserstein")
    }


def test_the_interval_of_a_mean_over_symbols():
    """Two equal intervals make one that is narrower by the square root of 2."""
    found = over_symbols([summary(0.2, 0.1), summary(0.4, 0.1)])["l1"]
    assert found["mean"] == pytest.approx(0.3)
    assert found["iqm_low"] == pytest.approx(0.3 - 0.1 / np.sqrt(2))
    assert found["median_high"] == pytest.approx(0.3 + 0.1 / np.sqrt(2))


@pytest.mark.parametrize(
    ("model", "beats_all", "halves"), [(0.1, True, True), (0.25, True, False), (0.5, False, False)]
)
def test_the_verdict(model, beats_all, halves):
    values = {"Simulation": model, BASELINES["cst"]: 0.4, "Hawkes": 0.3}
    replicates = {name: [dict.fromkeys(("mean", "iqm"), np.full(9, value))] for name, value in values.items()}
    replicates["Hawkes"][0]["iqm"] = np.array([0.3])  # of a single start
    found = verdict({name: summary(value, 0) for name, value in values.items()}, replicates)
    assert (found["beats_all"], found["halves"]) == (beats_all, halves)
    assert found["ratios"]["Hawkes"]["iqm"] == pytest.approx(model / 0.3)
    cst, hawkes = (found["ratio_intervals"][name] for name in (BASELINES["cst"], "Hawkes"))
    assert cst["mean"] == pytest.approx({"low": model / 0.4, "high": model / 0.4})
    assert np.isnan([hawkes["iqm"]["low"], hawkes["iqm"]["high"]]).all()


def test_a_symbol_without_an_interval_leaves_the_mean_without():
    """It does not count as known exactly."""
    found = over_symbols([summary(0.2, 0.1), summary(0.4, np.nan)])["l1"]
    assert found["mean"] == pytest.approx(0.3)
    assert np.isnan([found["mean_low"], found["mean_high"]]).all()


def without(sequences, starts):
    """The same, but with no message from some starts."""
    kept = ~np.isin(sequences.start, starts)
    lengths = np.where(kept, np.diff(sequences.offsets), 0)
    rows = kept[sequences.sequence]
    columns = ("time", "type", "order_id", "size", "price", "direction", "book")
    chosen = {name: getattr(sequences, name)[rows] for name in columns}
    return replace(sequences, offsets=np.concatenate([[0], np.cumsum(lengths)]), **chosen)


def two_symbols(folder, monkeypatch, real=(), silent=()):
    """LOB-Bench of a material that has a second symbol, MSFT; starts that the real market or the model is silent in."""
    material = Material(settings(folder), default_trainer(accelerator="cpu"))
    (symbol,) = material.members
    monkeypatch.setattr(material, "members", {symbol: np.array([0, 1]), "MSFT": np.array([2, 3])})
    monkeypatch.setattr(material, "levels", dict.fromkeys((symbol, "MSFT"), material.levels[symbol]))
    monkeypatch.setattr(material, "real", without(material.real, real))
    told = material.sequences
    monkeypatch.setattr(
        material, "sequences", lambda source: without(told(source), silent if source == "Simulation" else ())
    )
    return symbol, tasks.RUN["lob_bench"](material)


def test_a_source_that_is_silent_in_one_symbol_is_as_far_as_can_be(finished, monkeypatch):
    symbol, found = two_symbols(finished[0], monkeypatch, silent=(2, 3))
    assert found["notes"] == ["Simulation sends no message from the starts of MSFT: its L1 there is 1."]
    there = found["symbols"]["MSFT"]["models"]["Simulation"]["summary"]["all_24"]["l1"]
    assert (there["mean"], there["iqm"]) == (1, 1)
    assert np.isnan([there["mean_low"], found["summary"]["Simulation"]["l1"]["mean_high"]]).all()
    here = found["symbols"][symbol]["models"]["Simulation"]["summary"]["all_24"]["l1"]
    assert here["mean_low"] < here["mean_high"]
    assert np.isnan(found["verdict"]["ratio_intervals"]["Noise agent"]["mean"]["low"])


def test_a_symbol_in_which_the_market_is_silent_is_left_out(finished, monkeypatch):
    symbol, found = two_symbols(finished[0], monkeypatch, real=(2, 3))
    assert found["notes"] == ["MSFT is left out of LOB-Bench: no real message follows its starts."]
    assert list(found["symbols"]) == [symbol]
    assert 0 < found["summary"]["Simulation"]["l1"]["mean"] < 1
    with pytest.raises(ValueError, match="no start has a real message"):
        two_symbols(finished[0], monkeypatch, real=(0, 1, 2, 3))


def in_time(finished, begins, minutes):
    """The finished run, as if its starts were at these minutes."""
    material = Material(settings(finished[0]), default_trainer(accelerator="cpu"))
    assert len(material.real) == 4  # made before they are moved
    for start, begin in zip(material.run.manifest["starts"], begins, strict=True):
        start["time_ns"], start["end_ns"] = begin * 60 * 10**9, (begin + minutes) * 60 * 10**9
    return material


@pytest.mark.parametrize(
    ("begins", "minutes", "groups", "blocks"),
    [((0, 1, 2, 3), 9, [0, 0, 0, 0], 1), ((0, 2, 4, 6), 3, [0, 0, 0, 0], 2), ((0, 1, 9, 10), 3, [0, 0, 1, 1], 2)],
)
def test_starts_that_overlap_are_drawn_together(finished, monkeypatch, begins, minutes, groups, blocks):
    material = in_time(finished, begins, minutes)
    given = []
    for name in ("two_sample_test", "sequence_divergence", "real_control"):
        monkeypatch.setattr(
            f"mars_lmm.evaluation.tasks.lob_bench.{name}", lambda *arguments: given.append(arguments[-1]) or {}
        )
    found = tasks.RUN["lob_bench"](material)
    assert len(given) == 1 + 2 * len(SOURCES)
    assert all(group.tolist() == groups for group in given)
    (symbol,) = found["symbols"].values()
    assert symbol["models"]["Simulation"]["starts"] == blocks
    assert (symbol["floor"] is None) == (blocks == 1) == np.isnan(found["summary"]["Simulation"]["l1"]["mean_low"])
    assert any(f"some of the 4 starts overlap: LOB-Bench's intervals draw {blocks}" in n for n in found["notes"])
