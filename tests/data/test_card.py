"""The data card: what it adds up, its words for bins, and that it is the same for the same set."""

import json
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from math import inf

import pytest
from hydra import compose, initialize_config_dir

from mars_lmm.composition import typed
from mars_lmm.data.preparation.card import command_line, write_card
from mars_lmm.data.preparation.card_figures import bars, columns, share
from mars_lmm.data.preparation.card_page import MAX_ROWS, cancel_level, duration, order_place, render
from mars_lmm.data.prepare import PrepareConfig, prepare
from mars_lmm.data.prepared import CARD, CARD_PAGE, TRAIN, VALIDATION
from mars_lmm.paths import CONF
from mars_lmm.tokenizers.observation import CROSSING


@pytest.fixture(scope="module")
def card(small_set):
    return json.loads((small_set.path / CARD).read_text(), parse_constant=pytest.fail)


class Page(HTMLParser):
    """Text and references of a page; fails where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.references = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def test_the_card_adds_up(card, small_set):
    totals, sessions = card["totals"], card["sessions"]
    assert card["name"] == small_set.path.name
    assert card["fingerprint"] == small_set.fingerprint
    assert totals["orders"] == sum(entry["orders"] for entry in small_set.sessions)
    assert totals["training_orders"] + totals["held_out_orders"] == totals["orders"]
    # In this market all rows are orders or the opening book.
    assert totals["orders"] + totals["anonymous_rows"] == totals["flow_rows"] == totals["messages"]
    assert sum(totals["kinds"].values()) == totals["orders"]
    assert totals["volume"] > 0
    assert [session["date"] for session in sessions] == ["2024-01-02", "2024-01-03"]
    for split in (TRAIN, VALIDATION):
        assert card["splits"][split]["orders"] == small_set.splits[split]["orders"]
        assert card["splits"][split]["sessions"] == 1
    for histogram in card["histograms"].values():
        assert len(histogram["edges"]) == len(histogram["counts"])
    assert sum(card["histograms"]["sizes"]["counts"]) == totals["orders"]
    assert sum(card["histograms"]["places"]["counts"]) == totals["kinds"]["limit"]
    assert (card["rejected"], card["dropped"]) == ({}, [])


def test_bins_follow_each_other(card, small_set):
    tokenizer = small_set.tokenizer()
    for name, ranges in card["bins"].items():
        assert ranges[0][0] is ranges[-1][1] is None
        assert all(after[0] == before[1] + 1 for before, after in pairwise(ranges))
        bins = getattr(tokenizer, name)
        for number, (low, high) in enumerate(ranges):
            assert {*bins.encode([end for end in (low, high) if end is not None])} == {number}


def test_the_same_set_has_the_same_card(small_data, small_set, tmp_path):
    again = prepare(replace(small_data, root=str(tmp_path), workers=1))
    for name in (CARD, CARD_PAGE):
        assert (again.path / name).read_bytes() == (small_set.path / name).read_bytes()


def test_the_page_loads_nothing_and_tells_the_numbers(card, small_set):
    page = Page((small_set.path / CARD_PAGE).read_text())
    assert page.references == []
    for number in (card["totals"]["orders"], card["totals"]["training_orders"], card["totals"]["volume"]):
        assert f"{number:,}" in page.words
    for text in (card["fingerprint"], "at the touch", "with 1 better price", card["command"], "Nothing was left out"):
        assert text in page.words


def test_long_tables_are_cut_and_text_is_escaped(card):
    session = card["sessions"][0]
    days = [f"{2000 + number // 250}-{1 + number // 28 % 12:02}-{1 + number % 28:02}" for number in range(5000)]
    many = card | {
        "sessions": [session | {"symbol": f"<i>&{number}", "date": day} for number, day in enumerate(days)],
        "sources": card["sources"] * 2500,
        "dropped": [{"session": "<b>X</b>", "reason": "why"}] * 5000,
        "rejected": {"price off the tick": 3, "<script>": 1},
    }
    text = render(many)
    assert len(text) < 300_000
    page = Page(text)
    assert f"The first {MAX_ROWS} of 5,000 sessions; card.json has them all." in page.words
    assert "<i>&99 " in page.words
    assert "<i>&100 " not in page.words
    for words in ("Left out: 4 rows", "5,000 whole sessions or files", "price off the tick 3 75 %", "<script> 1 25 %"):
        assert words in page.words


def test_what_was_left_out_is_added_up(small_set, card, tmp_path):
    def found(**counts):
        return {"counts": {"messages": 10, "deletes": 2}, "rejected": counts, "dropped": None}

    statistics = {
        **{f"{flag}_{what}": 7 for flag in ("anonymous", "hidden", "auction") for what in ("rows", "volume")},
        **{name: [1] * len(histogram["counts"]) for name, histogram in card["histograms"].items()},
        "kinds": {"limit": 3, "own_best": 1},
        "volume": 5,
    }
    replayed = {"messages": 10, "rows": 9, "orders": 4, "training_orders": 3, "statistics": statistics}
    lost = found(torn=5) | {"dropped": "cut off"}
    prepared = replace(small_set, path=tmp_path, dropped=[{"session": "000001", "reason": "cut off"}])
    sources = [found(**{"time goes back": 1}), lost]
    write_card(prepared, small_set.tokenizer(), sources, [replayed | found(**{"time goes back": 2, "off tick": 9})] * 2)
    written = json.loads((tmp_path / CARD).read_text())
    assert written["rejected"] == {"off tick": 18, "time goes back": 5, "torn": 5}
    # What a dropped source held is no part of the set.
    assert written["totals"]["counts"] == {"messages": 30, "deletes": 6}
    assert written["totals"]["kinds"] == {"limit": 6, "own_best": 2}
    assert written["totals"]["hidden_volume"] == 14
    assert [session["rejected"] for session in written["sessions"]] == [11, 11]
    assert "28 rows that could not be used, 1 whole session or file" in Page((tmp_path / CARD_PAGE).read_text()).words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-inf, -50, "50 or more ticks behind the touch"),
        (-4, -2, "2 to 4 ticks behind the touch"),
        (-1, -1, "1 tick behind the touch"),
        (0, 0, "at the touch"),
        (1, 1, "1 tick inside the spread"),
        (3, CROSSING - 1, "3 or more ticks inside the spread"),
        (CROSSING, CROSSING, "at the other side's best"),
        (CROSSING, inf, "at or beyond the other side's best"),
        (CROSSING + 2, inf, "2 or more ticks beyond the other side's best"),
        (0, 1, "at the touch; 1 tick inside the spread"),
    ],
)
def test_places_in_words(low, high, words):
    assert order_place(low, high) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-inf, 0, "at the touch"),
        (1, 1, "with 1 better price"),
        (2, 4, "with 2 to 4 better prices"),
        (9, inf, "with 9 or more better prices"),
    ],
)
def test_levels_in_words(low, high, words):
    assert cancel_level(low, high) == words


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 ns"), (999, "999 ns"), (1000, "1 µs"), (25_300, "25.3 µs"), (10**9, "1 s"), (10**11, "100 s")],
)
def test_durations(nanoseconds, text):
    assert duration(nanoseconds) == text


def test_pictures_of_nothing():
    for svg in (bars([], []), columns([], []), bars(["a"], [0]), columns(["<"], [(0,)])):
        Page(svg)
    assert share(0, 1) == "0 %"
    assert share(1, 100_000) == "< 0.1 %"


def test_the_command_makes_the_same_recipe():
    feeds = [
        {"feed": "szse", "symbols": ["000001", "null"], "options": {"date": "2024-01-02"}},
        {"feed": "synthetic", "symbols": [], "options": {"minutes": 8, "orders_per_second": 8.5}},
    ]
    settings = {"feeds": feeds, "on_error": "skip", "cutoff": "13:00", "row_length": 64, "context": 16}
    words = shlex.split(shlex.join(command_line(settings)))
    assert words[:3] == ["python", "-m", "mars_lmm.data.prepare"]
    with initialize_config_dir(CONF, version_base="1.3"):
        config = typed(compose("prepare", words[3:]), PrepareConfig).data
    assert [(feed.feed, feed.symbols, feed.options) for feed in config.all_feeds] == [
        (feed["feed"], feed["symbols"], feed["options"]) for feed in feeds
    ]
    assert (config.path, config.on_error, config.cutoff) == ("FOLDER", "skip", "13:00")
    assert (config.row_length, config.context) == (64, 16)
