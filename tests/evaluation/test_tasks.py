"""Every task on rollouts of a tiny model and of the baselines, from the starts of a synthetic market."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import tasks
from mars_lmm.evaluation.config import BASELINES, TASKS, EvaluateConfig, EvaluatedRollouts
from mars_lmm.evaluation.evaluate import evaluate
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.tasks.lob_bench import over_symbols, verdict
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.running.predict import default_trainer

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
        assert manifest["starts"] == manifests[0]["starts"]
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
    found = verdict({"Simulation": summary(model, 0), BASELINES["cst"]: summary(0.4, 0), "Hawkes": summary(0.3, 0)})
    assert (found["beats_all"], found["halves"]) == (beats_all, halves)
    assert found["ratios"]["Hawkes"]["iqm"] == pytest.approx(model / 0.3)
