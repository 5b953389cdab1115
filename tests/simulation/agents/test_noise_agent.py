"""MarS's noise agent: its distributions, and a market made of nothing else."""

import numpy as np
import pytest
from agent_markets import OPEN, SECOND, Script, limit, plans, run, start_at

from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.simulation.agents.noise import KINDS, OFFSETS, SIZES, NoiseAgent
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine

HOUR = 3600


@pytest.fixture(scope="module")
def empty():
    start = start_at()
    start.state.book = empty_books(1, 4096, 4096, 8_000)
    return start


@pytest.fixture(scope="module")
def warm_up(coding, empty):
    """An hour of one noise agent that begins with an empty book at 10,000 ticks."""
    return run(coding, [NoiseAgent(price=10_000)], empty, end=OPEN + HOUR * SECOND)


def test_an_empty_book_fills_and_trades(warm_up):
    assert warm_up.end == "horizon"
    last = warm_up.rows[-1]
    assert last[8] > 0
    assert last[9] > last[8]
    assert len(warm_up.fills) > 500
    assert set(warm_up.sources()) == {1}


def test_it_sends_about_one_order_a_second_half_a_second_to_one_and_a_half_apart(warm_up):
    times = np.diff(warm_up.rows[:, 0])
    sent = int(warm_up.engine.batch.agent.desk[0, 0, c.DECISIONS])
    assert 0.98 * HOUR < sent < 1.02 * HOUR
    assert times.min() >= 0.5 * SECOND
    # Draws of a cancel without an order to cancel send nothing.
    assert np.quantile(times, 0.99) < 1.5 * SECOND


def test_orders_follow_mars_distributions(warm_up):
    """Each count lies within five standard deviations of what it should be."""
    rows = warm_up.rows
    kind = np.where(rows[:, 1] == t.CANCEL, "cancel", np.where(rows[:, 2] == t.BUY, "buy", "sell"))
    check_shares(kind, KINDS)
    new = rows[kind != "cancel"]
    check_shares(new[:, 4], SIZES)
    last = np.concatenate([[10_000], rows[:-1, 7]])
    last[last == 0] = 10_000
    check_shares((rows[:, 3] - last)[kind != "cancel"], OFFSETS)


def check_shares(values, probabilities):
    assert set(np.unique(values).tolist()) == set(probabilities)
    for value, p in probabilities.items():
        count = np.count_nonzero(values == value)
        assert abs(count - p * len(values)) < 5 * np.sqrt(p * (1 - p) * len(values)), (value, count)


def test_cancels_take_any_of_its_own_orders_and_no_others(coding):
    """It holds ten orders and then only cancels: in 300 books each is as likely to go first."""
    agent = Owner(kinds={"buy": 0, "sell": 0, "cancel": 1}, rate=1000, open_orders=10)
    books = np.zeros(300, int), np.arange(300)
    engine = make_engine(RolloutConfig(), None, coding, [start_at()], *books, 100, plans([agent]))
    engine.progress[:, c.END_TIME] = OPEN + SECOND
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    gone = rows[..., 1] == t.CANCEL
    assert ((gone & (rows[..., c.ROW_SOURCE] == 1)).sum(axis=0) == 10).all()
    assert (engine.batch.rollout.outcomes[:, 1, t.ACCEPTED] == 20).all()
    first = rows[gone.argmax(axis=0), np.arange(300), 3]
    counts = np.bincount(first - 980, minlength=10)
    assert len(counts) == 10
    # Chi-squared with 9 degrees of freedom: above 27.9 once in a thousand times.
    assert ((counts - 30) ** 2 / 30).sum() < 27.9


class Owner(NoiseAgent):
    """A noise agent that begins with ten orders in the book."""

    def act(self, view, state):
        decision = super().act(view, state)
        began = state["began"]
        decision.orders = [
            *(view.limit(t.BUY, 980 + n, 100, where=~began) for n in range(10)),
            *decision.orders,
        ]
        return decision


def test_with_as_many_orders_as_it_can_track_it_cancels(coding):
    agent = NoiseAgent(kinds={"buy": 1, "sell": 0, "cancel": 0}, offsets={-20: 1.0}, rate=10, open_orders=3)
    outcome = run(coding, [agent], end=OPEN + 10 * SECOND)
    assert outcome.end == "horizon"
    assert outcome.rows[:8, 1].tolist() == [t.LIMIT] * 3 + [t.CANCEL, t.LIMIT] * 2 + [t.CANCEL]


def test_prices_count_from_the_last_trade_else_from_the_given_price_else_from_the_mid(coding):
    how = {"kinds": {"buy": 1, "sell": 0, "cancel": 0}, "offsets": {-50: 1}}

    def price(agent, *others):
        rows = run(coding, [agent, *others], end=OPEN + 2 * SECOND).rows
        return int(rows[rows[:, c.ROW_SOURCE] == 1][0, 3])

    trade = Script((OPEN + 1, limit(t.BUY, 1002, 700)))
    assert price(NoiseAgent(**how)) == 950
    assert price(NoiseAgent(price=900, **how)) == 850
    assert price(NoiseAgent(price=900, **how), trade) == 952


def test_rollouts_differ_and_repeat(coding, empty):
    def rows(seed, agents=1):
        agents = [NoiseAgent(price=10_000) for _ in range(agents)]
        return run(coding, agents, empty, seed=seed, end=OPEN + 60 * SECOND).rows

    np.testing.assert_array_equal(rows(1), rows(1))
    assert not np.array_equal(rows(1)[:, :5], rows(2)[:, :5])
    two = rows(1, agents=2)
    first, second = (two[two[:, c.ROW_SOURCE] == number][:20, 4].tolist() for number in (1, 2))
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0}, "rate=0"),
        ({"price": 0}, "price=0"),
        ({"kinds": {"buy": 1}}, "kinds has buy"),
        ({"offsets": {0: 0.5}}, "offsets: probabilities"),
        ({"sizes": {100: 1.5, 200: -0.5}}, "sizes: probabilities"),
        ({"sizes": {0: 1}}, "sizes has 0"),
        ({"open_orders": 0}, "open_orders=0"),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoiseAgent(**arguments)


def test_an_empty_book_needs_a_price(coding, empty):
    with pytest.raises(ValueError, match="give the noise agent a price"):
        run(coding, [NoiseAgent()], empty)
