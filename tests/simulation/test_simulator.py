from pathlib import Path

import numpy as np
import pytest
import torch

from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation import Simulator
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.loading import Trained

SECOND = 10**9


@pytest.fixture(scope="module")
def trained(small_set):
    torch.manual_seed(0)
    config = OrderModelConfig(width=32, layers=1, heads=2, window=32, head="fields")
    model = OrderModel(config, small_set.tokenizer().bins).eval()
    return Trained(model, OrderCoding(small_set.tokenizer()), small_set, Path("none"))


@pytest.fixture(scope="module")
def moment(small_set):
    session = small_set.flow(1).session
    seconds = session.open_time // SECOND + 120
    return f"{session.symbol} {session.date} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@pytest.fixture
def simulator(trained, moment):
    def make(rollouts=1, cash=10**9, position=100, **config):
        return Simulator(trained, RolloutConfig(**config), cash, position).reset(moment, rollouts)

    return make


def test_it_says_what_to_do_first(trained):
    for ask in (Simulator.book, Simulator.plot, lambda sim: sim.time, lambda sim: sim.step(1)):
        with pytest.raises(ValueError, match="call reset"):
            ask(Simulator(trained))


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (("buy", 100, 1), "side='buy'"),
        ((t.BUY, 100.5, 1), "price=100.5: give a whole number"),
        ((t.BUY, 100, 0), "size=0: give a whole number from 1"),
        ((t.BUY, 100, 1, 99), "kind=99"),
        ((t.BUY, 100, 1, t.LIMIT, 2), "no book 2: they are numbered from 0 to 1"),
    ],
)
def test_orders_that_cannot_be_are_refused_at_once(simulator, order, told):
    with pytest.raises(ValueError, match=told):
        simulator(2).submit(*order)


def test_what_the_exchange_rejects_is_counted(simulator):
    sim = simulator(2)
    sim.cancel(12345, book=1)
    sim.step(0)
    assert (sim.rejected(0), sim.rejected(1)) == ({}, {"unknown_id": 1})


def test_time_passes_and_stops_at_the_close(simulator):
    sim = simulator()
    begin = sim.time
    sim.step(10)
    assert sim.time == begin + 10 * SECOND
    times = sim.orders()["time"].to_numpy()
    assert len(times) > 5
    assert times[-1] <= sim.time
    with pytest.raises(ValueError, match="closes at"):
        sim.step(10**5)
    with pytest.raises(ValueError, match="it is"):
        sim.step_to(begin)


def test_stopping_on_the_way_changes_nothing(simulator):
    whole, parts = simulator(2).step(20), simulator(2)
    for _ in range(8):
        parts.step(2.5)
    assert parts.orders().equals(whole.orders())
    assert str(parts.book(1)) == str(whole.book(1))


def test_an_order_rests_fills_and_is_paid_for(simulator):
    sim = simulator(2).step(5)
    before = sim.account(1)
    ask, size = sim.book(1).ask, int(sim.book(1).levels[t.SELL, 0, 1])
    (taker,) = sim.submit(t.BUY, ask, size + 3, book=1)
    sim.step(0)
    account = sim.account(1)
    assert account["bought"] == size
    assert account["cash"] == before["cash"] - size * ask
    assert account["position"] == before["position"] + size
    assert sim.account(0)["bought"] == 0
    assert sim.open_orders(1) == [{"order_id": taker, "side": t.BUY, "price": ask, "size": 3}]
    assert sim.book(1).bid == ask
    fills = sim.fills().to_pylist()
    assert {(fill["rollout"], fill["price"], fill["order_id"]) for fill in fills} == {(1, ask, taker)}
    sim.cancel(taker, book=1)
    sim.step(0)
    assert sim.open_orders(1) == []


def test_an_order_changes_the_future(simulator):
    quiet, loud = simulator().step(5), simulator().step(5)
    loud.submit(t.BUY, loud.book().ask + 3, 500)
    quiet.step(10)
    loud.step(10)
    mine = loud.orders().filter(loud.orders()["source"].to_numpy() > 0)
    assert len(mine) == 1
    others = loud.orders().filter(loud.orders()["source"].to_numpy() == 0)
    assert others["price"].to_pylist() != quiet.orders()["price"].to_pylist()


def test_forks_share_the_past_and_part(simulator):
    sim = simulator().step(5)
    past = sim.orders().num_rows
    forks = sim.fork(3)
    again = sim.fork(2).step(5)
    forks.step(5)
    sim.step(5)
    rows = [forks.orders().filter(forks.orders()["rollout"].to_numpy() == number) for number in range(3)]
    prices = [part["price"].to_pylist() for part in rows]
    assert prices[0][:past] == prices[1][:past] == prices[2][:past]
    assert prices[0] == sim.orders()["price"].to_pylist()
    assert prices[1] != prices[0]
    assert prices[2] not in prices[:2]
    fork = again.orders().filter(again.orders()["rollout"].to_numpy() == 1)
    assert fork["price"].to_pylist() not in prices


def test_a_fork_draws_its_next_order_given_that_none_came(simulator):
    sim = simulator().step(5)
    forks = sim.fork(40)
    now = sim.time
    forks.step(10)
    table = forks.orders()
    later = table.filter(table["time"].to_numpy() > now)
    first = {number: int(later["time"].to_numpy()[later["rollout"].to_numpy() == number][0]) for number in range(40)}
    assert len(set(first.values())) > 10
    inside = table["time"].to_numpy()[table["rollout"].to_numpy() == 5]
    assert (np.diff(inside) >= 0).all()


def test_a_saved_market_goes_on(simulator, trained, tmp_path):
    sim = simulator().step(5)
    sim.submit(t.BUY, sim.book().bid, 7)
    sim.step(0)
    sim.save(tmp_path / "state")
    back = Simulator(trained).reset(tmp_path / "state")
    assert back.time == sim.time
    assert str(back.book()) == str(sim.book())
    back.step(5)
    assert back.orders().num_rows > 5


def test_agents_of_the_configuration_trade_too(simulator):
    agents = {"maker": {"agent": "market_maker", "size": 5}}
    sim = simulator(agents=agents).step(20)
    assert 2 in sim.orders()["source"].to_pylist()  # 1 is the user


def test_the_picture_has_every_path(simulator):
    figure = simulator(3).step(5).plot()
    assert len(figure.axes[0].lines) >= 4
