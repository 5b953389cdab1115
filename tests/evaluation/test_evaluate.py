"""The whole way from a simulation's folder to its report."""

import json
import re
from html.parser import HTMLParser

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fabricate import write_simulation, write_training

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation import report
from mars_lmm.evaluation.evaluate import evaluate

FILES = {
    *("bars.parquet", "facts.json", "evaluation.json", "report.html"),
    *("loss.svg", "fan.svg", "facts.svg", "activity.svg"),
}
VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An evaluation of a small simulation: its folder and what was returned."""
    folder = tmp_path_factory.mktemp("run")
    write_simulation(folder / "simulation", starts=6, rollouts=4, minutes=12)
    returned = evaluate(folder / "simulation", folder / "evaluation", write_training(folder))
    return folder, returned


def page(finished):
    return (finished[0] / "evaluation" / "report.html").read_text()


def test_all_files_and_nothing_else(finished):
    folder, _ = finished
    assert {path.name for path in (folder / "evaluation").iterdir()} == FILES
    assert {path.name for path in folder.iterdir()} == {"simulation", "evaluation", "metrics.csv"}
    assert len(pq.read_table(folder / "evaluation" / "bars.parquet")) == 6 * (1 + 4) * 13


def test_report_loads_nothing_from_elsewhere(finished):
    html = page(finished)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", html)
    assert not re.search(r"url\((?!#)|@import|<script|<link|<iframe|<img", html)
    # Names of XML vocabularies are not addresses to load.
    assert "http" not in re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", html)


def test_report_has_every_figure_and_is_well_formed(finished):
    html = page(finished)
    assert html.count("<svg") == 4 == html.count("</svg>")
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


def test_report_says_what_the_numbers_say(finished):
    folder, returned = finished
    facts = json.loads((folder / "evaluation" / "facts.json").read_text())
    agreement = returned["agreement"]
    assert agreement["agreed"] <= agreement["shown_by_replay"]
    assert agreement["shown_by_replay"] == sum(
        fact["sources"]["Replay"]["verdict"] == "present" for fact in facts["comparison"]["facts"]
    )
    html = page(finished)
    if agreement["shown_by_replay"]:
        assert f"{agreement['agreed']} of the {agreement['shown_by_replay']}" in html
    for fact in facts["comparison"]["facts"]:
        assert fact["name"] in html
    for text in (
        "1,234,567 parameters",
        "5.652 nats",
        "nothing to cancel",
        "python train.py experiment=demo",
    ):
        assert text in html


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
    figures = {
        name: (folder / "evaluation" / f"{name}.svg").read_text() for name in ("loss", "fan", "facts", "activity")
    }
    assert report.render(evaluation, facts, figures) == page(finished)


def test_repeats_exactly_and_replaces(finished, tmp_path):
    folder, _ = finished
    write_simulation(tmp_path / "simulation", starts=6, rollouts=4, minutes=12)
    out = tmp_path / "evaluation"
    out.mkdir()
    (out / "report.html").write_text("old")
    evaluate(tmp_path / "simulation", out, None)
    assert (out / "facts.json").read_text() == (folder / "evaluation" / "facts.json").read_text()
    html = (out / "report.html").read_text()
    assert html.count("<svg") == 3
    assert "Learning" not in html


def test_a_tiny_simulation_gives_a_report_that_promises_nothing(tmp_path):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=1, orders_per_minute=3)
    returned = evaluate(tmp_path / "simulation", tmp_path / "evaluation", None)
    assert returned["agreement"] == {"shown_by_replay": 0, "agreed": 0}
    assert "too few to judge" in (tmp_path / "evaluation" / "report.html").read_text()


def test_early_ends_are_admitted(tmp_path):
    manifest = write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=3)
    manifest["ended"] = {"horizon": 3, "orders": 1}
    (tmp_path / "simulation" / "simulation.json").write_text(json.dumps(manifest))
    returned = evaluate(tmp_path / "simulation", tmp_path / "evaluation", None)
    assert any("before the horizon (1 by orders)" in note for note in returned["notes"])


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
    evaluate(whole / "simulation", whole / "evaluation", None)
    returned = evaluate(part / "simulation", part / "evaluation", None)
    everything, bars = (pq.read_table(folder / "evaluation" / "bars.parquet") for folder in (whole, part))
    expected = everything.filter(pc.field("start").isin([1, 3]))
    for name in ("source", "time_ns", "price_last", "price_mid", "price_mid_last", "volume", "minute_index"):
        assert bars[name].equals(expected[name]), name
    assert sorted(set(bars["start"].to_pylist())) == [0, 1]
    simulation = returned["simulation"]
    assert (simulation["starts"], simulation["left_out"], simulation["tick_size"]) == (2, 2, 0.01)
    assert simulation["dates"] == ["2012-06-21"]
    rejected = sum(manifest["rejected"].values())
    assert simulation["rejected"] == pytest.approx(rejected / (manifest["orders"] + rejected))
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
    ],
)
def test_nothing_to_be_held_against_is_an_error(tmp_path, other, message):
    manifest = write_simulation(tmp_path / "simulation", starts=2, rollouts=2, minutes=2)
    not_recorded(tmp_path / "simulation", manifest, [0, 1], **other)
    with pytest.raises(DataError, match=rf"simulation\.json: {message}"):
        evaluate(tmp_path / "simulation", tmp_path / "evaluation", None)


def test_missing_log_is_named(tmp_path):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=2)
    training = write_training(tmp_path)
    (tmp_path / "metrics.csv").write_text("step,epoch,train/nats\n1,0,9.5\n")
    with pytest.raises(DataError, match=r"metrics\.csv: holds no values of validation/nats"):
        evaluate(tmp_path / "simulation", tmp_path / "evaluation", training)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(DataError, match=r"metrics\.csv: not found"):
        evaluate(tmp_path / "simulation", tmp_path / "evaluation", training)


@pytest.mark.parametrize("stage", ["figures.to_svg", "report.render", "minute_bars"])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, stage):
    write_simulation(tmp_path / "simulation", starts=1, rollouts=1, minutes=2)

    def fail(*arguments):
        raise RuntimeError("planted")

    monkeypatch.setattr(f"mars_lmm.evaluation.evaluate.{stage}", fail)
    with pytest.raises(RuntimeError, match="planted"):
        evaluate(tmp_path / "simulation", tmp_path / "evaluation", None)
    assert [path.name for path in tmp_path.iterdir()] == ["simulation"]
