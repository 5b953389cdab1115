"""The whole way from a simulation's folder to its report, without a model: the facts alone."""

import json
import re
from html.parser import HTMLParser

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fabricate import write_simulation, write_training

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import report, tasks
from mars_lmm.evaluation.config import EvaluateConfig
from mars_lmm.evaluation.evaluate import evaluate

FILES = {"bars.parquet", "facts.json", "evaluation.json", "report.html"}
VOID = {"meta", "link", "br", "hr", "img", "input"}


def judged(folder, **settings):
    """An evaluation of what `write_simulation` made, which no model and no prepared set belong to."""
    return evaluate(EvaluateConfig(run=str(folder), **({"task": "facts", "baselines": []} | settings)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An evaluation of a small simulation: its folder and what was returned."""
    folder = tmp_path_factory.mktemp("run")
    write_simulation(folder / "simulation", starts=6, rollouts=4, minutes=12)
    write_training(folder)
    return folder, judged(folder)


@pytest.fixture
def no_page(monkeypatch):
    """Figures take their time."""
    monkeypatch.setattr("mars_lmm.evaluation.evaluate.report.draw", lambda *results: {})
    monkeypatch.setattr("mars_lmm.evaluation.evaluate.report.render", lambda *results: "")


def page(finished):
    return (finished[0] / "evaluation" / "report.html").read_text()


def test_all_files_and_nothing_else(finished):
    folder, _ = finished
    found = {path.name for path in (folder / "evaluation").iterdir()}
    assert {name for name in found if not name.endswith(".svg")} == FILES
    names = {"simulation", "evaluation", "report.html", "metrics.csv", "training.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "report.html").read_text() == page(finished)
    assert len(pq.read_table(folder / "evaluation" / "bars.parquet")) == 6 * (1 + 4) * 13


def test_report_loads_nothing_from_elsewhere(finished):
    html = page(finished)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", html)
    assert not re.search(r"url\((?!#)|@import|<script|<link|<iframe|<img", html)
    # Names of XML vocabularies are not addresses to load.
    assert "http" not in re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", html)


def test_report_has_every_figure_and_is_well_formed(finished):
    html = page(finished)
    drawn = len(list((finished[0] / "evaluation").glob("*.svg")))
    assert html.count("<svg") == drawn == html.count("</svg>")
    open_tags = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in VOID and tag not in ("tr", "td", "th", "li"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            if tag not in ("tr", "td", "th", "li"):
                assert open_tags.pop() == tag

    Checker().feed(html)
    assert open_tags == []


def test_the_verdict_counts_what_the_replay_shows(finished):
    folder, returned = finished
    facts = json.loads((folder / "evaluation" / "facts.json").read_text())
    for kind, comparison in (("facts", facts["comparison"]), ("order_flow", facts["order_flow"]["comparison"])):
        found = returned["verdict"][kind]
        assert found["agreed"]["Simulation"] == returned["sources"]["Simulation"][kind] <= found["shown_by_replay"]
        assert found["shown_by_replay"] == sum(
            fact["sources"]["Replay"]["verdict"] == "present" for fact in comparison["facts"]
        )
    assert returned["verdict"]["lob_bench"] is None
    html = page(finished)
    assert all(fact["name"] in html for fact in facts["comparison"]["facts"])
    assert "python train.py experiment=demo" in html


def test_rejected_share(finished):
    folder, returned = finished
    manifest = json.loads((folder / "simulation" / "simulation.json").read_text())
    rejected = sum(manifest["rejected"].values())
    assert returned["simulation"]["rejected"] == pytest.approx(rejected / (manifest["orders"] + rejected))


def test_the_report_is_made_from_the_json(finished):
    folder, _ = finished
    evaluation, facts = (
        json.loads((folder / "evaluation" / f"{name}.json").read_text()) for name in ("evaluation", "facts")
    )
    results = evaluation, facts, None, None, None
    assert report.render(*results, report.draw(*results)) == page(finished)


def test_repeats_exactly_and_replaces(finished, tmp_path):
    folder, _ = finished
    write_simulation(tmp_path / "simulation", starts=6, rollouts=4, minutes=12)
    out = tmp_path / "evaluation"
    out.mkdir()
    (out / "report.html").write_text("old")
    returned = judged(tmp_path)
    assert (out / "facts.json").read_text() == (folder / "evaluation" / "facts.json").read_text()
    html = (out / "report.html").read_text()
    assert (returned["training"], returned["curves"]) == (None, None)
    assert html != "old"
    assert "python train.py" not in html


def test_a_tiny_simulation_gives_a_report_that_promises_nothing(tmp_path):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=1, orders_per_minute=3)
    returned = judged(tmp_path)
    assert returned["verdict"]["facts"] == {"shown_by_replay": 0, "agreed": {"Simulation": 0}}
    assert any("Simulate more starts" in note for note in returned["notes"])


def test_early_ends_and_what_the_model_was_fitted_to_are_admitted(tmp_path, no_page):
    manifest = write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3)
    manifest |= {"ended": {"horizon": 3, "orders": 1}, "recalibration": 4096}
    (tmp_path / "simulation" / "simulation.json").write_text(json.dumps(manifest))
    returned = judged(tmp_path)
    assert any("before the horizon (1 by orders)" in note for note in returned["notes"])
    assert any("the last orders before each start, 4,096 at most" in note for note in returned["notes"])


def not_recorded(folder, manifest, numbers, **other):
    """Leave these starts without a real continuation, or with other entries."""
    for number in numbers:
        manifest["starts"][number].update(other or {"recorded": False, "date": "undated", "tick_size": 0.5})
    replay = pq.read_table(folder / "replay.parquet")
    kept = [start["start"] for start in manifest["starts"] if start["recorded"]]
    pq.write_table(replay.filter(pc.field("start").isin(kept)), folder / "replay.parquet")
    (folder / "simulation.json").write_text(json.dumps(manifest))


def test_starts_without_a_replay_are_left_out_and_said_to_be(tmp_path):
    """What is left is what a simulation of the other starts alone would give."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    manifest = write_simulation(whole / "simulation", starts=4, rollouts=2, minutes=4)
    write_simulation(part / "simulation", starts=4, rollouts=2, minutes=4)
    manifest["tick_size"] = 0.5
    not_recorded(part / "simulation", manifest, [0, 2])
    judged(whole)
    returned = judged(part)
    everything, bars = (pq.read_table(folder / "evaluation" / "bars.parquet") for folder in (whole, part))
    expected = everything.filter(pc.field("start").isin([1, 3]))
    for name in ("source", "time_ns", "price_last", "price_mid", "price_mid_last", "volume", "minute_index"):
        assert bars[name].equals(expected[name]), name
    assert sorted(set(bars["start"].to_pylist())) == [0, 1]
    simulation = returned["simulation"]
    assert (simulation["starts"], simulation["left_out"], simulation["tick_size"]) == (2, 2, 0.01)
    assert simulation["dates"] == ["2012-06-21"]
    rejected = sum(manifest["starts"][number]["rejected"] for number in (1, 3))
    assert simulation["rejected"] == pytest.approx(rejected / (simulation["orders"] + rejected))
    assert any("2 of 4 starts are left out" in note for note in returned["notes"])
    assert "2 of 4 starts are left out" in (part / "evaluation" / "report.html").read_text()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"recorded": False}, "none of the 2 starts has a real continuation .* simulate starts of recorded sessions"),
        (
            {"date": "undated"},
            "the sessions of all 2 recorded starts are without a date.* give the data's source a date",
        ),
        (
            {"end_ns": 16 * 3600 * 10**9},
            "the minutes of all 2 starts go across a break or beyond the close.* continuous=true",
        ),
    ],
)
def test_nothing_to_be_held_against_is_an_error(tmp_path, other, message):
    manifest = write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=2)
    not_recorded(tmp_path / "simulation", manifest, [0, 1], **other)
    with pytest.raises(DataError, match=rf"simulation\.json: {message}"):
        judged(tmp_path)


def test_missing_log_is_named(tmp_path):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=2)
    write_training(tmp_path)
    (tmp_path / "metrics.csv").write_text("step,epoch,train/nats\n1,0,9.5\n")
    with pytest.raises(DataError, match=r"metrics\.csv: holds no values of validation/nats"):
        judged(tmp_path)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(DataError, match=r"metrics\.csv: not found"):
        judged(tmp_path)


@pytest.mark.parametrize("stage", ["evaluate.report.draw", "evaluate.report.render", "material.minute_bars"])
def test_a_failure_leaves_no_half_made_report(tmp_path, monkeypatch, stage):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=2)

    def fail(*arguments):
        raise RuntimeError("planted")

    monkeypatch.setattr(f"mars_lmm.evaluation.{stage}", fail)
    with pytest.raises(RuntimeError, match="planted"):
        judged(tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if "simulation" not in str(path.relative_to(tmp_path))}
    assert left <= {"evaluation", "facts.json"}


def test_what_is_finished_is_not_done_again(tmp_path, monkeypatch, no_page):
    """Until the simulation, or a setting that decides, is another."""
    write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3)
    result = tmp_path / "evaluation" / "facts.json"
    judged(tmp_path)
    first = result.read_text()

    with monkeypatch.context() as patch:
        patch.setitem(tasks.RUN, "facts", None)
        again = judged(tmp_path)
        assert again["verdict"]["facts"] is not None
    judged(tmp_path, seed=1)
    assert json.loads(first)["identity"] != json.loads(result.read_text())["identity"]
    judged(tmp_path)
    assert result.read_text() == first
    write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3, seed=5)
    judged(tmp_path)
    assert result.read_text() != first


def test_a_report_shows_what_was_done_before_and_nothing_out_of_date(tmp_path, no_page):
    write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3)
    judged(tmp_path, task="table7")
    both = judged(tmp_path, task="facts")["sources"]["Simulation"]
    assert {"facts", "overlap", "accuracy"} <= set(both)
    write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3, seed=5)
    new = judged(tmp_path, task="facts")["sources"]["Simulation"]
    assert "overlap" not in new


def test_other_runs_stand_in_the_same_tables(tmp_path, no_page):
    for name, rollouts in (("mine", 2), ("theirs", 3)):
        write_simulation(tmp_path / name / "simulation", starts=2, rollouts=rollouts, minutes=3)
    returned = judged(tmp_path / "mine", models=[str(tmp_path / "theirs")])
    assert {name: source["rollouts"] for name, source in returned["sources"].items()} == {"Simulation": 2, "theirs": 3}
    judged(tmp_path / "theirs")
    found, alone = (
        json.loads((tmp_path / name / "evaluation" / "facts.json").read_text()) for name in ("mine", "theirs")
    )
    for number in range(11):
        beside, own = found["comparison"]["facts"][number]["sources"], alone["comparison"]["facts"][number]["sources"]
        assert beside["theirs"] == own["Simulation"]
    assert found["sources"]["theirs"]["paths"] == 6


def test_other_runs_need_the_same_starts(tmp_path):
    write_simulation(tmp_path / "mine" / "simulation", starts=2, rollouts=2, minutes=3)
    write_simulation(tmp_path / "theirs" / "simulation", starts=2, rollouts=2, minutes=4)
    with pytest.raises(DataError, match=r"theirs.*has other starts.*AAPL 2012-06-21 10:00:00\.000000000.*minutes=3"):
        judged(tmp_path / "mine", models=[str(tmp_path / "theirs")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "fact"}, "choose facts, lob_bench, table7, likelihood or all"),
        ({"baselines": ["noise", "zero"]}, "'zero' is unknown; choose from noise, cst, hawkes, bootstrap"),
        ({"levels": 11}, "levels up to 10"),
        ({"replicates": 0}, "replicates=0"),
        ({"models": ["a/run", "b/run"]}, "two sources are called run"),
    ],
)
def test_bad_settings_are_told_before_anything_is_read(settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(run="nowhere", **settings)
