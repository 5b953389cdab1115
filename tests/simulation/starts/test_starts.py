import copy

import numpy as np
import pytest
from start_cases import MINUTE, SECOND, at, prepared_of, queues, shanghai_flow

from mars_lmm.data.errors import DataError
from mars_lmm.data.replay import MarketState, opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.repack import repack
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.recorded import Moment, held_out_starts, start_at
from mars_lmm.simulation.starts.session_time import closing_time, passed
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.open_time import open_time_between

MOMENTS = ("09:18", "09:22", "09:27", "10:00", "11:29:59", "12:00", "13:00", "14:58")


@pytest.fixture(scope="module")
def day():
    return shanghai_flow()


@pytest.fixture(scope="module")
def shanghai_set(day, tmp_path_factory):
    days = [day, shanghai_flow(date="2024-01-03", seed=1), shanghai_flow("600001", seed=2)]
    return prepared_of(tmp_path_factory.mktemp("shanghai"), days, held_out_from=at("13:00"))


def test_a_start_is_the_replayed_prefix(small_set):
    tokenizer = small_set.tokenizer()
    starts = held_out_starts(small_set, OrderCoding(tokenizer), count=3, horizon=MINUTE, history=50)
    flow = small_set.flow(1)
    whole = replay(flow)
    token, market = tokenizer.encode(whole.observed)
    assert [start.session.date for start in starts] == [small_set.sessions[1]["date"]] * 3
    for start in starts:
        here = np.searchsorted(whole.tape[:, 0], start.time, side="right")
        np.testing.assert_array_equal(start.token, token[here - 50 : here])
        np.testing.assert_array_equal(start.market, market[here - 50 : here])
        end = np.searchsorted(whole.tape[:, 0], start.time + MINUTE, side="right")
        np.testing.assert_array_equal(start.continuation, whole.tape[here:end])
        snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
        MATCHING.snapshot(start.state.book[0], snapshot)
        assert snapshot[t.BUY, 0, 0] == whole.tape[here - 1, 8]
        assert start.state.clock[o.LAST_TIME] == whole.tape[here - 1, 0]
        assert start.held_out
    assert starts[-1].time + MINUTE == flow.session.close_time


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_start_at_any_time_and_the_rest_of_the_day_are_the_day(shanghai_set, coding, day, moment):
    start = start_at(shanghai_set, coding, "600000", "2024-01-02", moment, history=40)
    whole, book = replay(day), start.state.book.copy()
    here = int(np.searchsorted(whole.tape[:, 0], at(moment), side="right"))
    token, market = coding._tokenizer.encode(whole.observed[max(here - 40, 0) : here])
    np.testing.assert_array_equal(start.token, token)
    np.testing.assert_array_equal(start.market, market)
    np.testing.assert_array_equal(start.touch, whole.tape[here - 1])
    np.testing.assert_array_equal(start.continuation, whole.tape[here:])
    rest = replay(day, MarketState(book, start.state.clock.copy()), int(np.searchsorted(day.time, at(moment), "right")))
    np.testing.assert_array_equal(rest.tape, whole.tape[here:])
    np.testing.assert_array_equal(rest.observed, whole.observed[here:])
    assert queues(rest.state.book[0]) == queues(whole.state.book[0])
    assert start.held_out == (at(moment) >= at("13:00"))


def test_auctions_that_are_over_have_traded(shanghai_set, coding):
    before, after, lunch, closing = (
        start_at(shanghai_set, coding, "600000", "2024-01-02", moment, 10)
        for moment in ("09:24:59", "09:27", "12:30", "14:59:30")
    )
    assert before.describe()["last_price"] == 0
    assert before.describe()["bid"] >= before.describe()["ask"]  # what crosses waits for the auction
    for start in (after, lunch):
        assert start.describe()["bid"] < start.describe()["ask"]
        assert start.state.book[0, t.VOLUME] > 0
        phases, phase = sections(start.state.book).phases[0], int(start.state.book[0, t.PHASE])
        assert phases[phase, t.PHASE_START] <= start.time < phases[phase + 1, t.PHASE_START]
    assert after.describe()["last_price"] > 0
    assert closing.describe()["bid"] >= closing.describe()["ask"]
    assert not after.state.book[0, [t.TRADE_ROWS, t.TRADES_DROPPED]].any()


@pytest.mark.parametrize(
    ("begin", "minutes", "end"),
    [
        ("11:20", 20, "13:10"),  # over the lunch break
        ("11:20", 10, "11:30"),
        ("12:00", 10, "13:10"),
        ("10:00", 20, "10:20"),
        ("14:50", 20, "15:00"),  # the closing auction is the end
        ("14:50", 7, "14:57"),
        ("09:20", 10, "09:35"),  # the auction's pause
    ],
)
def test_a_horizon_counts_open_time(shanghai_set, coding, begin, minutes, end):
    start = start_at(shanghai_set, coding, "600000", "2024-01-02", begin, 10, minutes * MINUTE)
    assert start.end_time(minutes * MINUTE) == at(end)
    times = replay(shanghai_set.flow(0)).tape[:, 0]
    inside = times[(times > at(begin)) & (times <= at(end))]
    np.testing.assert_array_equal(start.continuation[:, 0], inside)


def test_without_a_schedule_a_session_ends_when_it_says(synthetic_flow):
    state, session = opening_state(synthetic_flow), synthetic_flow.session
    assert closing_time(state.book[0], session) == session.close_time
    assert passed(state.book[0], session.open_time, MINUTE) == session.open_time + MINUTE
    with pytest.raises(ValueError, match="takes time"):
        passed(state.book[0], session.open_time, 0)


def test_held_out_starts_spread_over_open_time_up_to_the_last_that_fits(shanghai_set, coding, tmp_path):
    held_out = prepared_of(tmp_path, [shanghai_flow()], held_out_from=at("10:00"))
    starts = held_out_starts(held_out, coding, count=5, horizon=20 * MINUTE, history=20)
    book = starts[0].state.book[0]
    # From 10:00 to 14:40 there are 190 minutes of open market.
    assert [open_time_between(book, starts[0].time, start.time) for start in starts] == [
        k * 190 * MINUTE // 4 for k in range(5)
    ]
    assert [start.time for start in starts[::4]] == [at("10:00"), at("14:40")]
    assert starts[-1].end_time(20 * MINUTE) == at("15:00")


def test_starts_in_continuous_trading_meet_no_break_and_no_auction(shanghai_set, coding, tmp_path):
    held_out = prepared_of(tmp_path, [shanghai_flow()], held_out_from=at("10:00"))
    starts = held_out_starts(held_out, coding, count=9, horizon=20 * MINUTE, history=20, continuous=True)
    # From 10:00 to 11:10 and from 13:00 to 14:37 there are 167 minutes.
    places = [k * 167 / 8 for k in range(9)]
    expected = [at("10:00") + m * MINUTE if m <= 70 else at("13:00") + (m - 70) * MINUTE for m in places]
    assert [start.time for start in starts] == [int(time) for time in expected]
    assert (starts[-1].time, starts[-1].end_time(20 * MINUTE)) == (at("14:37"), at("14:57"))
    with pytest.raises(DataError, match="simulate fewer minutes"):
        held_out_starts(held_out, coding, count=1, horizon=118 * MINUTE, history=20, continuous=True)


def test_a_market_without_phases_is_always_continuous(small_set):
    coding = OrderCoding(small_set.tokenizer())
    plain, continuous = (
        held_out_starts(small_set, coding, count=3, horizon=MINUTE, history=50, continuous=wanted)
        for wanted in (False, True)
    )
    assert [start.time for start in plain] == [start.time for start in continuous]


def test_starts_are_shared_out_over_the_sessions_in_turn(shanghai_set, coding):
    starts = held_out_starts(shanghai_set, coding, count=4, horizon=MINUTE, history=20)
    names = [(start.session.symbol, start.session.date) for start in starts]
    assert names == [("600000", "2024-01-02")] * 2 + [("600000", "2024-01-03"), ("600001", "2024-01-02")]
    fewer = held_out_starts(shanghai_set, coding, count=2, horizon=MINUTE, history=20)
    assert [(start.session.symbol, start.session.date) for start in fewer] == [names[0], names[2]]


def test_too_long_a_horizon_is_an_error(small_set):
    with pytest.raises(DataError, match="simulate fewer minutes"):
        held_out_starts(small_set, OrderCoding(small_set.tokenizer()), count=1, horizon=60 * MINUTE, history=10)


@pytest.mark.parametrize(
    ("symbol", "date", "time", "message"),
    [
        ("GOOG", None, "10:00", "no session GOOG; it has 600000 2024-01-02, 600000 2024-01-03, 600001 2024-01-02"),
        ("600001", "2024-01-03", "10:00", "no session 600001 2024-01-03; it has 600001 2024-01-02"),
        ("600000", None, "10:00", "name the date: 600000 2024-01-02, 600000 2024-01-03"),
        ("600001", None, "15:00", "choose a time from 09:15:00 on and before 15:00:00"),
        ("600001", None, at("09:15") - 1, "a start at 09:14:59 is outside the session"),
        ("600001", None, "09:15", "no orders come before 09:15:00: start later"),
    ],
)
def test_a_moment_that_is_none_is_told(shanghai_set, coding, symbol, date, time, message):
    with pytest.raises(DataError, match=message):
        start_at(shanghai_set, coding, symbol, date, time, history=10)


def test_one_session_of_a_symbol_needs_no_date(shanghai_set, coding):
    start = start_at(shanghai_set, coding, "600001", None, at("10:00") + SECOND // 2, history=10, horizon=MINUTE)
    assert (start.session.symbol, start.session.date, start.time) == ("600001", "2024-01-02", at("10:00") + SECOND // 2)


def test_moments_are_read_as_people_write_them():
    assert Moment.parse("GOOG 2012-06-21 13:30:00") == Moment("GOOG", "2012-06-21", at("13:30"))
    assert Moment.parse("600519 11:20") == Moment("600519", None, at("11:20"))
    assert Moment.parse("BRK A undated 11:20:05") == Moment("BRK A", "undated", at("11:20:05"))
    for text in ("", "11:20"):
        with pytest.raises(ValueError, match="write it as 'SYMBOL"):
            Moment.parse(text)
    with pytest.raises(ValueError, match="the time of 'GOOG 25:00'='25:00'"):
        Moment.parse("GOOG 25:00")


def test_a_start_shares_nothing_that_rollouts_change(shanghai_set, coding):
    starts = held_out_starts(shanghai_set, coding, count=4, horizon=MINUTE, history=20)
    first = copy.deepcopy(starts[0])
    starts[1].state.book[:] = 0
    starts[1].state.clock[:] = 0
    np.testing.assert_array_equal(starts[0].state.book, first.state.book)
    np.testing.assert_array_equal(starts[0].state.clock, first.state.clock)


def test_repacked_books_hold_the_same_queues(synthetic_flow):
    source = replay(synthetic_flow).state.book[0]
    live = int(source[t.LIVE_ORDERS])
    copies = repack(source, 3, live + 10, int(source[t.NUM_TICKS]) + 64)
    for b in (0, 2):
        book = copies[b]
        assert queues(book) == queues(source)
        for column in (t.LIVE_ORDERS, t.OPEN_PRICE, t.LAST_PRICE, t.VOLUME, t.NUM_TRADES):
            assert book[column] == source[column]
