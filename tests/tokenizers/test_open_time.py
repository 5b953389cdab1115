"""The session's time under Shanghai's phases, worked by hand."""

import pytest

from mars_lmm.data.market import load_rules
from mars_lmm.market.book import empty_books
from mars_lmm.market.opening import open_books
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.tokenizers.open_time import add_open_time, open_time_between

MINUTE = 60 * 10**9


def at(text):
    return nanoseconds("time", text)


@pytest.fixture(scope="module")
def book():
    return open_books(1, 4, 4, 1000, load_rules("sse_main").day(previous_close=1000))[0]


@pytest.mark.parametrize(
    ("begin", "minutes", "end"),
    [
        ("11:20", 20, "13:10"),
        ("11:20", 9, "11:29"),
        ("11:20", 10, "13:00"),  # ends as the venue shuts: nothing happens before it opens again
        ("11:30", 0, "13:00"),
        ("12:10", 20, "13:20"),
        ("11:30", 20, "13:20"),
        ("12:59:59.999999999", 1, "13:01"),
        ("09:15", 20, "09:40"),  # 09:25 to 09:30 is shut
        ("14:50", 10, "15:00"),
        ("14:50", 20, "15:10"),
        ("10:00", 0, "10:00"),
    ],
)
def test_open_time_is_added(book, begin, minutes, end):
    assert add_open_time(book, at(begin), minutes * MINUTE) == at(end)


@pytest.mark.parametrize(
    ("begin", "end", "minutes"),
    [
        ("11:20", "13:10", 20),
        ("11:20", "11:30", 10),
        ("11:30", "13:00", 0),
        ("12:00", "12:30", 0),
        ("12:10", "13:20", 20),
        ("09:00", "15:30", 10 + 120 + 120),
        ("10:00", "10:00", 0),
    ],
)
def test_open_time_between_two_times(book, begin, end, minutes):
    assert open_time_between(book, at(begin), at(end)) == minutes * MINUTE


def test_the_two_undo_each_other(book):
    for begin in range(at("09:15"), at("15:00"), 7 * MINUTE):
        for interval in range(0, open_time_between(book, begin, at("15:00")), 11 * MINUTE):
            assert open_time_between(book, begin, add_open_time(book, begin, interval)) == interval


def test_without_rules_all_time_is_open():
    book = empty_books(1, 4, 4, 1000, num_phases=3)[0]
    assert add_open_time(book, at("11:20"), 20 * MINUTE) == at("11:40")
    assert open_time_between(book, at("11:20"), at("13:10")) == 110 * MINUTE


def test_time_does_not_go_back(book):
    with pytest.raises(ValueError, match="interval=-1"):
        add_open_time(book, at("10:00"), -1)
    with pytest.raises(ValueError, match="must not lie before"):
        open_time_between(book, at("10:00"), at("09:59"))
