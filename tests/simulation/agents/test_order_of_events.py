"""The order of events in a book, ties included; agents follow scripts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agent_markets import OPEN, SECOND, Script, clock, limit, nothing, plans, run, start_at

from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.recorded import held_out_starts
from mars_lmm.tokenizers import observation as o

MILLI = 10**6
NOON = OPEN + 600 * SECOND
ORDERS = 40


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return OrderModel(OrderModelConfig(width=32, layers=2, heads=2, window=32, head="fields")).eval()


@pytest.fixture(scope="module")
def start(small_set, coding):
    return held_out_starts(small_set, coding, count=1, horizon=60 * SECOND, history=64)[0]


@pytest.fixture(scope="module")
def roll(model, coding, start):
    def make(*agents, order_limit=ORDERS, **config):
        return run(coding, agents, start, end=NEVER - 1, model=model, order_limit=order_limit, **config)

    return make


@pytest.fixture(scope="module")
def alone(roll):
    """The model's rollout without agents."""
    return roll().rows


@pytest.fixture(scope="module")
def gap(alone):
    """A row before which the model waits for a while, and when that order comes."""
    times = alone[:, 0]
    row = next(i for i in range(5, len(times)) if times[i] - times[i - 1] > 10 * MILLI)
    return row, int(times[row])


def shanghai(time):
    """A start under Shanghai's rules."""
    return start_at(time, rules="sse_main", sent=OPEN)


def far_bid(view):
    """A bid that changes nothing at the touch."""
    return [view.limit(t.BUY, view.bid - 5, 100)]


def test_an_agent_before_the_model_is_executed_first_and_the_model_proposes_again(roll, alone, gap):
    row, time = gap
    outcome = roll(Script((time - 1, far_bid)))
    np.testing.assert_array_equal(outcome.rows[:row], alone[:row])
    assert outcome.sources()[row] == 1
    assert outcome.rows[row, 0] == time - 1
    assert not np.array_equal(outcome.rows[row + 1, :6], alone[row, :6])
    progress = outcome.engine.progress[0]
    assert progress[c.ORDERS] == ORDERS
    # One proposal was given up for the agent's order.
    assert progress[c.PROPOSALS] == outcome.sources().count(c.MODEL) + 1


def test_the_model_reads_an_agents_order(roll, model, coding, start, gap):
    outcome = roll(Script((gap[1] - 1, far_bid)), order_limit=gap[0] + 1)
    assert outcome.sources()[-1] == 1
    reader = outcome.engine.forecaster.reader
    unread = roll(order_limit=gap[0]).engine.forecaster.reader
    assert not torch.equal(reader.hidden, unread.hidden)


def test_at_one_moment_the_model_comes_before_an_agents_order(roll, alone, gap):
    row, time = gap
    outcome = roll(Script((time - MILLI, lambda view: [view.limit(t.BUY, view.bid - 5, 100, at=time)])))
    np.testing.assert_array_equal(outcome.rows[: row + 1], alone[: row + 1])
    assert outcome.rows[row + 1, 0] == time
    assert outcome.sources()[row : row + 2] == [c.MODEL, 1]


def test_at_one_moment_the_model_comes_before_an_agents_decision(roll, alone, gap):
    row, time = gap
    agent = Script((time, far_bid))
    outcome = roll(agent)
    assert outcome.sources()[row : row + 2] == [c.MODEL, 1]
    seen = agent.at(time)
    assert [seen.bid, seen.ask, seen.bid_size, seen.ask_size] == alone[row, 8:12].tolist()


def test_orders_that_arrive_at_one_moment_come_by_agent(coding):
    late, early = (Script((NOON - n, limit(t.BUY, 900 + n, 100, at=NOON))) for n in (1, 2))
    outcome = run(coding, [late, early])
    assert outcome.sources() == [1, 2]
    assert (outcome.rows[:, 0] == NOON).all()


def test_an_order_that_arrives_comes_before_a_decision_at_that_moment(coding):
    decides, sends = Script((NOON, nothing)), Script((NOON - 5, limit(t.BUY, 1000, 100, at=NOON)))
    run(coding, [decides, sends])
    assert decides.at(NOON).bid == 1000


@pytest.mark.parametrize("before", [[], [(NOON - 1, nothing)]])
def test_decisions_at_one_moment_come_by_agent_and_each_sees_the_one_before(coding, before):
    agents = [Script(*before, (NOON, limit(t.BUY, 1000, 100))), Script((NOON, limit(t.BUY, 999, 100)))]
    outcome = run(coding, agents)
    assert outcome.sources() == [1, 2]
    assert agents[0].at(NOON).bid == 999
    assert agents[1].at(NOON).bid == 1000


def test_orders_of_one_decision_come_in_their_order(coding):
    agent = Script((NOON, lambda view: [view.limit(t.BUY, price, 100) for price in (997, 1000, 996)]))
    assert run(coding, [agent]).rows[:, 3].tolist() == [997, 1000, 996]


def test_orders_of_an_agent_do_not_overtake_each_other(coding):
    slow = (NOON, limit(t.BUY, 997, 100, at=NOON + SECOND))
    agent = Script(slow, (NOON + 1, limit(t.BUY, 998, 100)))
    rows = run(coding, [agent]).rows
    assert rows[:, 3].tolist() == [997, 998]
    assert (rows[:, 0] == NOON + SECOND).all()


@pytest.mark.parametrize("before", [0, 1])
def test_a_decision_at_the_moment_of_an_auction_sees_its_result(coding, before):
    """The closing auction of Shanghai is held at 15:00; a nanosecond before, nothing has traded."""
    close = clock(15)
    sends = Script((clock(14, 58), lambda view: [view.limit(side, 1000, 300) for side in (t.BUY, t.SELL)]))
    looks = Script((close - before, nothing))
    outcome = run(coding, [sends, looks], shanghai(clock(14, 50)), end=clock(15, 5))
    seen = looks.at(close - before)
    assert outcome.end == "session_end"
    assert (seen.last_price, seen.bid) == ((0, 1000) if before else (1000, 999))
    assert [(fill.size, fill.price) for fill in outcome.fills] == [(300, 1000)] * 2


def test_market_data_comes_late_and_orders_take_their_time(coding):
    """What happens at noon is seen 30 ms later, and the answer arrives 20 ms after that."""
    moves = Script((NOON, limit(t.BUY, 1000, 100)))
    reaction = Script((NOON + 30 * MILLI - 1, nothing), (NOON + 30 * MILLI, limit(t.SELL, 1000, 100)))
    seats = (reaction, {"see_latency": 30 * MILLI, "send_latency": 20 * MILLI})
    outcome = run(coding, [moves, seats])
    assert reaction.at(NOON + 30 * MILLI - 1).bid == 999
    assert reaction.at(NOON + 30 * MILLI).bid == 1000
    assert outcome.rows[:, 0].tolist() == [NOON, NOON + 50 * MILLI]
    assert outcome.sources() == [1, 2]
    assert outcome.filled(2, t.SELL) == 100


def test_an_agent_learns_of_its_fills_with_its_market_data(coding):
    late = {"see_latency": 30 * MILLI, "send_latency": 20 * MILLI}
    checks = [NOON + 20 * MILLI, NOON + 50 * MILLI - 1, NOON + 50 * MILLI]
    agent = Script((NOON, limit(t.BUY, 1001, 100)), *((time, nothing) for time in checks))
    run(coding, [(agent, late)])
    assert [agent.at(time).under_way for time in checks] == [1, 1, 0]
    assert [agent.at(time).bought for time in checks] == [0, 0, 100]


def test_an_agent_is_woken_by_each_order_of_somebody_else(roll, coding):
    watches = Script(on_order=True)
    outcome = roll(watches)
    times = [OPEN, *outcome.rows[:, 0].tolist()]
    assert [seen.time for seen in watches.seen[1:]] == times[1 : len(watches.seen)]
    # The last order ends the rollout.
    assert len(watches.seen) == ORDERS
    assert [seen.bid for seen in watches.seen[1:]] == outcome.rows[: ORDERS - 1, 8].tolist()


def test_nobody_is_woken_by_its_own_orders_or_by_rejected_ones(coding):
    watches = Script((NOON, limit(t.BUY, 997, 100)), on_order=True)
    other = Script((NOON + 5, lambda view: [view.cancel(view.full(77))]), (NOON + 9, limit(t.BUY, 996, 100)))
    run(coding, [watches, other])
    assert [seen.time for seen in watches.seen] == [OPEN, NOON, NOON + 9]


def test_more_orders_under_way_than_the_queue_holds_end_the_rollout(coding):
    agent = Script((NOON, lambda view: [view.limit(t.BUY, 990 - n, 1, at=NOON + SECOND) for n in range(17)]))
    outcome = run(coding, [agent])
    assert outcome.end == "queue_full"
    assert outcome.engine.progress[0, c.END_AT] == NOON


def test_more_open_orders_than_an_agent_can_track_end_the_rollout(coding):
    sixteen = Script((NOON, lambda view: [view.limit(t.BUY, 990 - n, 1) for n in range(16)]))
    assert run(coding, [sixteen]).end == "horizon"
    agent = Script(*sixteen.steps, (NOON + 1, limit(t.BUY, 900, 1)))
    outcome = run(coding, [agent])
    assert outcome.end == "open_orders"


def test_open_orders_are_those_in_the_book(coding):
    """One is filled in part, one whole, one is cancelled, one never rested."""

    def sends(view):
        return [view.limit(t.BUY, price, 100) for price in (1000, 998, 997, 996)] + [view.limit(t.BUY, 1001, 50)]

    agent = Script((NOON, sends), (NOON + 1, lambda view: [view.cancel(view.orders[:, 2, 0])]), (NOON + 9, nothing))
    other = Script((NOON + 5, limit(t.SELL, 1000, 60)))
    run(coding, [agent, other])
    assert agent.at(NOON + 1).orders == [[t.BUY, price, 100] for price in (1000, 998, 997, 996)]
    assert agent.at(NOON + 9).orders == [[t.BUY, 1000, 40], [t.BUY, 998, 100], [t.BUY, 996, 100]]


def test_a_rejected_order_of_an_agent_leaves_the_models_proposal_standing(roll, alone, gap):
    outcome = roll(Script((gap[1] - 1, lambda view: [view.cancel(view.full(12345))])))
    assert outcome.outcomes(1) == {"unknown_id": 1}
    np.testing.assert_array_equal(outcome.rows, alone)


class Busy(Agent):
    """Sends orders often, all of which are rejected."""

    def begin(self, view):
        return {"acted": view.time.clone()}

    def act(self, view, state):
        return Decision(view.time + MILLI, [view.cancel(view.full(12345))], {"acted": view.time})


def test_after_a_rejected_order_the_models_next_one_comes_no_earlier_than_what_agents_did(model, coding, start):
    rollouts = np.zeros(8, int), np.arange(8)
    config = RolloutConfig(limits=LimitsConfig(empty_side_seconds=1e6))
    engine = make_engine(config, model, coding, [start], *rollouts, ORDERS, plans([Busy()]))
    rules = engine.batch.market.books[:, t.RULES : t.RULES + t.NUM_RULE_COLUMNS]
    free, progress = rules.clone(), engine.progress
    while bool(engine.running.any()):
        # Every other proposal of the model is rejected.
        refused = progress[:, c.PROPOSALS] % 2 == 0
        rules[:, t.ENFORCED] = refused.long()
        rules[:, t.KINDS_TAKEN] = torch.where(refused, 0, free[:, t.KINDS_TAKEN])
        engine.step()
        rules.copy_(free)
        executed = engine.batch.rollout.accepted
        acted = engine.seats[0].state["acted"]
        assert (engine.batch.market.clock[executed, o.LAST_TIME] >= acted[executed]).all()
        if engine.full:
            engine.flush()
    assert engine.batch.rollout.outcomes[:, c.MODEL, t.KIND_NOT_TAKEN].sum() > ORDERS


def test_a_model_that_has_to_wait_for_the_opening_trades_when_it_comes(model, coding):
    at_noon = shanghai(clock(12))
    at_noon.state.clock[o.LAST_TIME] = clock(11, 29, 59)  # as if somebody had traded until the break
    end = clock(13, 0, 10)
    outcome = run(coding, [], at_noon, end=end, model=model, order_limit=ORDERS)
    assert "closed" not in outcome.outcomes(c.MODEL)
    assert (outcome.rows[:, 0] >= clock(13)).all()
    assert len(outcome.rows) > 0


@pytest.mark.parametrize("rules", ["session", "venue"])
def test_the_model_sends_no_kinds_that_an_auction_does_not_take(model, small_set, rules):
    coding = OrderCoding(replace(small_set.tokenizer(), takers_rest=False))
    closing = shanghai(clock(14, 58))
    closing.state.clock[o.LAST_TIME] = clock(14, 58)
    outcome = run(coding, [], closing, end=clock(15), model=model, order_limit=400, rules=rules)
    assert len(outcome.rows) > 100
    assert "kind_not_taken" not in outcome.outcomes(c.MODEL)


def test_rules_that_lack_a_price_to_count_from_are_told_of(coding):
    start = start_at(rules="sse_main", reference_price=None, sent=OPEN)
    with pytest.raises(ValueError, match=r"sse_main cannot be in force in TEST.*previous close.*rules=session"):
        run(coding, [], start, rules="venue")


class Idle(Agent):
    """Looks at the market often, and does nothing."""

    num_draws = 3

    def act(self, view, state):
        return Decision(view.time + MILLI)


def test_agents_that_do_nothing_change_nothing(roll, alone):
    outcome = roll(Idle(), Script(on_order=True))
    np.testing.assert_array_equal(outcome.rows, alone)
    assert outcome.engine.batch.agent.desk[0, 0, c.DECISIONS] > 100


class Counter(Agent):
    """Counts its decisions; decides ever more rarely the later its start."""

    def begin(self, view):
        return {"decisions": view.full(0), "sum": torch.zeros(len(view), 2, dtype=torch.float64)}

    def act(self, view, state):
        step = 1 + torch.arange(len(view))
        changed = {"decisions": state["decisions"] + 1, "sum": state["sum"] + view.draws[:, :1]}
        return Decision(view.time + SECOND * step, state=changed)


def test_what_an_agent_remembers_changes_in_books_where_it_decides(model, coding, start):
    agents = plans([Counter()])
    engine = make_engine(RolloutConfig(), model, coding, [start], np.zeros(3, int), np.arange(3), 400, agents)
    engine.progress[:, c.END_TIME] = start.time + 6 * SECOND
    draws = torch.zeros(3, dtype=torch.float64)
    desk, counted = engine.batch.agent.desk, torch.zeros(3, dtype=torch.int64)
    while engine.running.any():
        engine.step()
        new = desk[:, 0, c.DECISIONS] - counted
        assert (new <= 1).all()
        draws += new * engine.batch.agent.draws[:, 0, 0]
        counted += new
    state = engine.seats[0].state
    assert counted.tolist() == [7, 4, 3]
    torch.testing.assert_close(state["decisions"], counted)
    torch.testing.assert_close(state["sum"], draws[:, None].expand(-1, 2))


def account(cash, position=0, sellable=0):
    return {"account": (cash, position, sellable)}


def test_an_agent_cannot_spend_what_it_does_not_have(coding):
    agent = Script((NOON, lambda view: [view.limit(t.BUY, 995, size) for size in (300, 300, 200, 100)]))
    outcome = run(coding, [(agent, account(cash=500_000))], shanghai(OPEN), rules="venue")
    assert outcome.outcomes(1) == {"accepted": 2, "no_cash": 2}
    assert outcome.rows[:, 4].tolist() == [300, 200]


def test_an_agent_cannot_sell_what_it_does_not_have(coding):
    agent = Script((NOON, lambda view: [view.limit(t.SELL, 1005, size) for size in (300, 300, 200, 100)]))
    outcome = run(coding, [(agent, account(0, position=500, sellable=500))], shanghai(OPEN), rules="venue")
    assert outcome.outcomes(1) == {"accepted": 2, "no_position": 2}
    assert outcome.rows[:, 4].tolist() == [300, 200]


def test_what_is_bought_today_is_sold_tomorrow(coding):
    """Shanghai settles the next day (T+1)."""
    agent = Script((NOON, limit(t.BUY, 1001, 100)), (NOON + 5, limit(t.SELL, 999, 100)), (NOON + 9, nothing))
    outcome = run(coding, [(agent, account(10**7))], shanghai(OPEN), rules="venue")
    assert agent.at(NOON + 9).bought == 100
    assert outcome.outcomes(1) == {"accepted": 1, "no_position": 1}


@pytest.mark.parametrize(("rules", "start"), [("session", start_at()), ("venue", shanghai(OPEN))])
def test_an_agent_without_an_account_of_its_own_is_limited_by_none(coding, rules, start):
    agent = Script((NOON, lambda view: [view.limit(t.BUY, 1003, 1500), view.limit(t.SELL, 998, 2000)]))
    outcome = run(coding, [agent], start, rules=rules)
    assert outcome.outcomes(1) == {"accepted": 2}
    assert (outcome.filled(1, t.BUY), outcome.filled(1, t.SELL)) == (1500, 1000)


def test_without_rules_credit_is_given(coding):
    agent = Script((NOON, limit(t.BUY, 1001, 100)), (NOON + 5, limit(t.SELL, 999, 200)))
    assert run(coding, [(agent, account(0))]).outcomes(1) == {"accepted": 2}
