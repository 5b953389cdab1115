import mars_release as release
import numpy as np
import pytest
import torch
from start_cases import MINUTE, SECOND, Gambler, at, queues, small_model

from mars_lmm.data.flow import OrderFlow
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.models.mars_converters import load_converters
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig, WarmUpConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import coding_of
from mars_lmm.simulation.starts.warm_up import warm_up_start
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.mars import MarsTokenizer


class Script(Agent):
    """Sends a list of orders, one a second: side, price."""

    open_orders = 400

    def __init__(self, orders):
        self._orders = torch.tensor(orders)

    def begin(self, view):
        return {"sent": view.full(0)}

    def act(self, view, state):
        sent = state["sent"]
        side, price = self._orders[sent.clamp(max=len(self._orders) - 1)].unbind(1)
        wake = torch.where(sent + 1 < len(self._orders), view.time + SECOND, NEVER)
        return Decision(wake, [view.limit(side, price, 100)], {"sent": sent + 1})


ORDERS = [(k % 2, 1000 + (k * 7) % 5 - 2) for k in range(300)]


def recorded_flow(session):
    """The same orders as if somebody had recorded them."""
    side, price = np.array(ORDERS).T
    count = np.arange(len(ORDERS))
    columns = {
        "time": at("10:00") + SECOND * count,
        "kind": np.full(len(ORDERS), t.LIMIT),
        "side": side,
        "price": price,
        "size": np.full(len(ORDERS), 100),
        "order_id": count + 1,
        "source_row": count,
    }
    return OrderFlow(session, columns)


def test_history_and_book_are_those_of_the_same_orders_recorded(coding):
    config = WarmUpConfig(minutes=10, price=1000, time="10:00", rules="sse_main", symbol="600000")
    start = warm_up_start(config, [SeatPlan("script", Script(ORDERS))], coding, history=1000)
    assert start.time == at("10:10")
    recorded = replay(recorded_flow(start.session))
    token, market = coding._tokenizer.encode(recorded.observed)
    np.testing.assert_array_equal(start.token, token)
    np.testing.assert_array_equal(start.market, market)
    np.testing.assert_array_equal(start.state.clock, recorded.state.clock)
    np.testing.assert_array_equal(start.touch, recorded.tape[-1])
    sizes, owners, ids = (
        [(s, p, [order[column] for order in queue]) for s, p, queue in queues(start.state.book[0])]
        for column in (1, 2, 0)
    )
    assert sizes == [(s, p, [order[1] for order in queue]) for s, p, queue in queues(recorded.state.book[0])]
    assert {owner for _, _, queue in owners for owner in queue} == {t.BACKGROUND}
    assert all(c.FIRST_SIMULATED_ID <= i < start.next_id for _, _, queue in ids for i in queue)
    assert start.state.book[0, t.NUM_ACCOUNTS] == 0
    assert start.continuation is None


def test_the_history_of_an_imported_model_is_coded_as_such(tmp_path):
    bins = (3, release.PRICES, release.VOLUMES, release.INTERVALS)
    mars = coding_of(MarsTokenizer(bins, load_converters([release.write_converters(tmp_path)])))
    config = WarmUpConfig(minutes=10, price=1000, time="10:00", rules="sse_main")
    start = warm_up_start(config, [SeatPlan("script", Script(ORDERS))], mars, history=1000)
    recorded = replay(recorded_flow(start.session))
    expected = mars.history(recorded.observed, recorded.tape, int(recorded.state.book[0, t.OPEN_PRICE]), 1000)
    assert len(expected.token) == len(ORDERS) - 1  # the first has no book before it
    np.testing.assert_array_equal(start.token, expected.token)
    np.testing.assert_array_equal(start.market, expected.market)
    np.testing.assert_array_equal(start.stream, expected.stream)


def gamble(coding, seed=0, minutes=5.0, **config):
    seats = [SeatPlan("gambler", Gambler())]
    return warm_up_start(WarmUpConfig(minutes=minutes, price=1000, seed=seed, **config), seats, coding, history=200)


def test_the_seed_decides(coding):
    first, again, other = gamble(coding), gamble(coding), gamble(coding, seed=1)
    np.testing.assert_array_equal(first.token, again.token)
    np.testing.assert_array_equal(first.state.book, again.state.book)
    np.testing.assert_array_equal(first.state.clock, again.state.clock)
    assert not np.array_equal(first.token, other.token)
    assert len(first.token) == 200


def test_models_go_on_from_it(coding):
    start = gamble(coding)
    seats = [SeatPlan("gambler", Gambler())]
    engine = make_engine(RolloutConfig(), small_model(), coding, [start], np.zeros(2, int), np.arange(2), 5000, seats)
    engine.progress[:, c.END_TIME] = start.end_time(3 * MINUTE)
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    assert [c.ENDS[reason] for reason in engine.progress[:, c.END].tolist()] == ["horizon", "horizon"]
    for b in range(2):
        sources = rows[:, b, c.ROW_SOURCE]
        assert (sources == c.MODEL).sum() > 5
        assert (sources == 1).sum() > 50
        assert rows[sources != c.NOBODY, b, 0].min() >= start.time


def test_it_begins_in_an_auction_and_crosses_the_lunch_break(coding):
    start = gamble(coding, minutes=12, time="09:15", rules="sse_main")
    assert start.time == at("09:32")  # five minutes of pause
    assert start.state.book[0, t.VOLUME] > 0
    assert start.describe()["bid"] < start.describe()["ask"]
    start = gamble(coding, minutes=2, time="11:29", rules="sse_main")
    assert start.time == at("13:01")
    assert start.end_time(MINUTE) == at("13:02")
    assert start.state.clock[o.LAST_TIME] > at("13:00")


def test_too_few_orders_are_told(coding):
    seats = [SeatPlan("gambler", Gambler())]
    with pytest.raises(ValueError, match=r"gambler made \d+ orders, and the model needs 1024 before it begins"):
        warm_up_start(WarmUpConfig(minutes=1), seats, coding, history=2048, needed=1024)
    with pytest.raises(ValueError, match="no agents made 0 orders, and the model needs 1"):
        warm_up_start(WarmUpConfig(minutes=1), [], coding, history=2048)


def test_a_session_that_closes_before_is_told(coding):
    with pytest.raises(ValueError, match="last until the session closes"):
        gamble(coding, minutes=30, time="14:40", rules="sse_main")


def test_agents_that_go_wrong_are_told(coding):
    class Hoarder(Gambler):
        open_orders = 2

    with pytest.raises(ValueError, match=r"hoarder went wrong \(open_orders\)"):
        warm_up_start(WarmUpConfig(minutes=5), [SeatPlan("hoarder", Hoarder())], coding, history=10)


def test_bad_settings_are_told():
    for settings in ({"minutes": 0}, {"price": 0}, {"time": "9 o'clock"}):
        with pytest.raises(ValueError, match="warm_up"):
            WarmUpConfig(**settings)
