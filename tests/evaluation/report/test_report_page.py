"""The page and its figures, from results of every subset of the tasks."""

import copy
import re
from html import unescape
from html.parser import HTMLParser
from itertools import product

import pytest
from made_results import RIVAL, SOURCES, made_results

from mars_lmm.evaluation.report import draw, render
from mars_lmm.evaluation.report.answers import verdicts
from mars_lmm.evaluation.report.drawing import to_svg
from mars_lmm.evaluation.report.figures.scores import summary_figure
from mars_lmm.evaluation.report.filters import number, percent, with_span
from mars_lmm.evaluation.report.scores import mean_over_symbols
from mars_lmm.evaluation.report.sources import palette

LARGEST = 3_000_000  # characters
VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return made_results(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def figures(results):
    return draw(*results)


@pytest.fixture(scope="module")
def html(results, figures):
    return render(*results, figures)


class Page(HTMLParser):
    """Its words outside figures and styles, its anchors and links; and whether its elements close."""

    def __init__(self, html):
        super().__init__()
        self.words, self.ids, self.links, self._open = [], [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self._open.append(tag)
        if "svg" not in self._open:
            self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "a":
            self.links.append(attributes["href"])

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"svg", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.mark.parametrize("chosen", list(product((False, True), repeat=4)))
def test_any_subset_of_tasks_gives_a_whole_page(results, figures, chosen):
    evaluation, *found = results
    found = [task if taken else None for task, taken in zip(found, chosen, strict=True)]
    if not any(chosen):
        figures = draw(evaluation, *found)
    page = Page(render(evaluation, *found, figures))
    assert not re.search(r"\b(None|nan|NaN|inf|null|Undefined)\b", page.text)
    assert all(link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    names = {"fact": "No autocorrelation of returns", "score": "imbalance at the touch", "row": "buy order ratio"}
    for name, taken in zip((*names.values(), "Nats per order"), chosen, strict=True):
        assert (name in page.text) == taken or name == "Nats per order"


def test_the_page_stands_alone_and_is_small(html):
    assert not re.search(r"url\((?!#)|@import|<script|<link|<iframe|<img", html)
    assert "http" not in re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", html)
    assert len(html) < LARGEST


def test_figures_are_deterministic_and_their_text_is_text(results, figures):
    assert draw(*copy.deepcopy(results)) == figures
    assert all("<text" in svg for svg in figures.values())
    ids = [name for svg in figures.values() for name in set(re.findall(r'\bid="([^"]+)"', svg))]
    assert len(ids) == len(set(ids))  # one page holds them all


def test_figures_show_no_colour_that_dark_pages_hide(figures):
    for svg in figures.values():
        outside = re.sub(r"var\([^)]*\)", "", svg)
        assert set(re.findall(r"#[0-9a-f]{6}", outside)) <= {"#ffffff"}


def test_numbers_are_those_of_the_results(results, html):
    evaluation, facts, lob_bench, table7, likelihood = results
    text = Page(html).text
    expected = [number(lob_bench["summary"][source]["l1"]["mean"]) for source in SOURCES]
    expected += [number(lob_bench["tests"][RIVAL]["discriminator"]["auc"])]
    expected += [number(facts["order_flow"]["comparison"]["facts"][0]["sources"]["Replay"]["value"])]
    expected += [number(table7["sources"]["Simulation"]["rows"][2]["overlap"]["value"])]
    expected += [percent(likelihood["calibration"]["Simulation"]["price"]["coverage"]["90"]["value"]), "54,321"]
    expected += [with_span(likelihood["orders"]["baselines"]["bigram"]["gain"]), "1,234,567 parameters"]
    expected += evaluation["commands"]
    for words in expected:
        assert unescape(words).replace("\u00a0", " ") in text.replace("\u00a0", " "), words


def test_names_are_escaped(results, figures):
    evaluation, facts, lob_bench, table7, likelihood = copy.deepcopy(results)
    bad = "<b>&amp;</b>"
    for found in (lob_bench["summary"], lob_bench["tests"], lob_bench["symbols"]["AAPL"]["models"]):
        found[bad] = found[RIVAL]
    lob_bench["symbols"]["MSFT"]["models"][bad] = lob_bench["symbols"]["MSFT"]["models"][RIVAL]
    evaluation["commands"] = [bad]
    figures = figures | {"l1_mean": to_svg("l1_mean", summary_figure, lob_bench, "mean", palette([*SOURCES, bad]))}
    html = render(evaluation, facts, lob_bench, table7, likelihood, figures)
    assert bad not in html
    assert Page(html).text.count(bad) > 4


def answers(results):
    return {verdict.link: verdict for verdict in verdicts(*results)}


def test_the_verdict_follows_the_results(results):
    evaluation, facts, lob_bench, table7, likelihood = copy.deepcopy(results)

    def answer():
        found = verdicts(evaluation, facts, lob_bench, table7, likelihood)
        return [verdict.answer for verdict in found if verdict.link == "lob-bench"]

    def ratio(key, value, low, high):
        lob_bench["verdict"]["ratios"][RIVAL][key] = value
        lob_bench["verdict"]["ratio_intervals"][RIVAL][key] = {"low": low, "high": high}

    ratio("mean", 0.4, 0.3, 0.5)
    ratio("iqm", 0.4, 0.3, 0.5)
    assert answer() == ["yes", "yes"]
    ratio("mean", 0.4, 0.3, 0.6)  # below a half, but perhaps by chance
    assert answer() == ["yes", "cannot tell"]
    ratio("mean", 0.55, 0.49, 0.7)  # above, but perhaps by chance
    assert answer() == ["yes", "cannot tell"]
    ratio("mean", 0.6, 0.51, 0.7)
    assert answer() == ["yes", "no"]
    ratio("mean", 0.9, 0.7, 1.1)
    assert answer() == ["cannot tell", "no"]
    ratio("mean", 0.4, None, None)  # of a single start
    assert answer() == ["cannot tell", "cannot tell"]
    ratio("iqm", 1.2, 1.1, 1.3)
    assert answer() == ["no", "no"]
    for of_symbol in lob_bench["symbols"].values():
        of_symbol["models"]["Simulation"]["starts"] = 5
    assert answer() == ["cannot tell", "cannot tell"]


def test_results_without_intervals_of_ratios_cannot_tell(results):
    """Those of older versions."""
    evaluation, facts, lob_bench, *others = copy.deepcopy(results)
    del lob_bench["verdict"]["ratio_intervals"], lob_bench["notes"]
    found = [one.answer for one in verdicts(evaluation, facts, lob_bench, *others) if one.link == "lob-bench"]
    assert found == ["cannot tell", "cannot tell"]


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.45, 0.55, "yes"),
        (0.40, 0.60, "yes"),
        (0.49, 1.00, "cannot tell"),  # AUC 0.8 of six starts
        (0.30, 0.45, "cannot tell"),
        (0.51, 0.55, "no"),
    ],
)
def test_a_classifier_fails_only_where_it_could_have_told(results, low, high, answer):
    evaluation, facts, lob_bench, *others = copy.deepcopy(results)
    lob_bench["tests"]["Simulation"]["discriminator"] |= {"auc": (low + high) / 2, "low": low, "high": high}
    assert answers((evaluation, facts, lob_bench, *others))["discriminator"].answer == answer


@pytest.mark.parametrize(
    ("starts", "p_values", "answer"),
    [
        (20, (0.04, 0.3, 0.5), "yes"),  # three tests: 0.04 is no surprise
        (20, (0.016, 0.3, 0.5), "no"),
        (19, (0.04, 0.3, 0.5), "cannot tell"),
        (19, (0.016, 0.3, 0.5), "no"),
        (20, (0.04, None, None), "no"),
        (5, (0.001, 0.3, 0.5), "cannot tell"),
    ],
)
def test_calibration_is_judged_by_three_tests_and_enough_starts(results, starts, p_values, answer):
    *others, likelihood = copy.deepcopy(results)
    found = likelihood["calibration"]["Simulation"]
    found["starts"] = starts
    for name, value in zip(("price", "volume", "spread"), p_values, strict=True):
        found[name]["pit"]["p_value"] = value
    assert answers((*others, likelihood))["calibration"].answer == answer


def test_a_model_that_sent_no_order_is_not_judged_by_it(results):
    evaluation, facts, lob_bench, table7, likelihood = copy.deepcopy(results)
    nothing = {"low": None, "high": None}
    evaluation["simulation"] |= {"rejected": None, "rejected_interval": nothing, "rejected_by_reason": {}}
    likelihood["validity"]["Simulation"] |= {"sent": 0, "rejected": None, "by_reason": {}}
    results = evaluation, facts, lob_bench, table7, likelihood
    assert answers(results)["validity"].answer == "cannot tell"
    assert "It sent none." in Page(render(*results, draw(*results))).text


@pytest.mark.parametrize(
    ("low", "high", "starts", "answer"),
    [(0.0, 0.02, 6, "yes"), (0.0, 0.02, 5, "cannot tell"), (0.07, 0.09, 6, "cannot tell"), (0.09, 0.2, 6, "no")],
)
def test_whether_orders_are_valid_is_decided_by_the_interval(results, low, high, starts, answer):
    evaluation, *others = copy.deepcopy(results)
    share = {"rejected": (low + high) / 2, "rejected_interval": {"low": low, "high": high}, "starts": starts}
    evaluation["simulation"] |= share
    assert answers((evaluation, *others))["validity"].answer == answer
    evaluation["simulation"]["rejected_interval"] = {"low": None, "high": None}
    assert answers((evaluation, *others))["validity"].answer == "cannot tell"


def test_the_share_of_rejections_stands_beside_its_interval(results, figures):
    found = results[-1]["validity"]["Simulation"]
    told = f"{percent(found['interval']['low'])} to {percent(found['interval']['high'])}"
    page = render(*results, figures)
    assert page.count(told) == 4  # in the verdict, in the table of the run, and of both sources in that of validity


def test_the_page_tells_who_was_silent_and_which_starts_overlap(results, figures):
    evaluation, facts, lob_bench, *others = copy.deepcopy(results)
    lob_bench["notes"] = ["Hawkes sends no message."]
    lob_bench["tests"]["Simulation"]["discriminator"]["groups"] = 3
    text = Page(render(evaluation, facts, lob_bench, *others, figures)).text
    assert "Hawkes sends no message." in text
    assert "6 starts, 3 apart in time, 240 windows" in text


def test_facts_are_agreed_on_only_where_the_replay_shows_them(results):
    evaluation, facts, *others = copy.deepcopy(results)
    for row in facts["comparison"]["facts"]:
        for found in row["sources"].values():
            found["verdict"] = "cannot tell"
    assert answers((evaluation, facts, *others))["facts"].answer == "cannot tell"
    first, second = facts["comparison"]["facts"][:2]
    first["sources"]["Replay"]["verdict"] = first["sources"]["Simulation"]["verdict"] = "present"
    facts["comparison"]["agreed"]["Simulation"] = 1
    assert answers((evaluation, facts, *others))["facts"].answer == "yes"
    second["sources"]["Replay"]["verdict"], second["sources"]["Simulation"]["verdict"] = "present", "absent"
    found = answers((evaluation, facts, *others))["facts"]
    assert found.answer == "no"
    assert "1 of the 2" in found.text
    assert "Absent: heavy tails." in found.text


def test_means_over_symbols():
    found = [{"value": 1.0, "low": 0.7, "high": 1.3}, {"value": 2.0, "low": 1.6, "high": 2.4}]
    mean = mean_over_symbols([*found, {"value": None, "low": None, "high": None}])
    assert mean == pytest.approx({"value": 1.5, "low": 1.25, "high": 1.75})
    assert mean_over_symbols([]) == {"value": None, "low": None, "high": None}


def test_too_few_data_are_said_to_be(tmp_path):
    results = made_results(tmp_path, starts=2, rollouts=1, minutes=1, messages=40, symbols=("AAPL",))
    page = Page(render(*results, draw(*results)))
    assert "2 starts apart in time are too few" in page.text
    assert {verdict.answer for link, verdict in answers(results).items() if link in ("facts", "order-flow")} == {
        "cannot tell"
    }
    assert not re.search(r"\b(None|nan|NaN|inf)\b", page.text)


def test_a_single_start_has_no_interval(tmp_path):
    """Instead of one that has shrunk to a point."""
    results = made_results(tmp_path, starts=1, rollouts=2, minutes=1, messages=150, symbols=("AAPL", "MSFT"))
    lob_bench = results[2]
    found = lob_bench["summary"]["Simulation"]["l1"]
    assert 0 < found["mean"] < 1
    assert found["mean_low"] is found["mean_high"] is None
    assert lob_bench["verdict"]["ratio_intervals"][RIVAL]["mean"] == {"low": None, "high": None}
    report = lob_bench["symbols"]["AAPL"]["models"]["Simulation"]
    assert {end for name in ("low", "high") for end in report["macro_impact"]["real"][name]} == {None}
    assert {end for curve in report["divergence"]["reference"]["low"].values() for end in curve} == {None}
    assert {one.answer for one in verdicts(*results) if one.link == "lob-bench"} == {"cannot tell"}
    assert not re.search(r"\b(None|nan|NaN|inf)\b", Page(render(*results, draw(*results))).text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (0.0, "0"), (-0.0001, "0"), (0.2, "0.2"), (0.1234, "0.123"), (1.998, "2.00"), (12.345, "12.3")),
        *((-0.5, "−0.5"), (1234.5678, "1,235"), (1234.0, "1,234"), (0.99996, "1.00"), (10, "10"), (100.4, "100")),
    ],
)
def test_numbers_have_about_three_digits(value, text):
    assert number(value) == text
