"""An agent that is the background: its orders are nobody's, as the model's are."""

import numpy as np
import pytest
from agent_markets import OPEN, SECOND, Script, clock, limit, run, start_at

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c


class Background(Script):
    background = True


def cancel_at(side, price, size):
    return lambda view: [view.order(t.CANCEL_AT, side, price, size)]


def test_it_cancels_what_rests_at_the_start_and_others_do_not(coding):
    take_back = (OPEN + SECOND, cancel_at(t.BUY, 999, 200))
    outcome = run(coding, [Background(take_back)])
    (row,) = outcome.rows
    # The whole of the order, as the model's cancels take it.
    assert row[[1, 3, 4, 8, 10]].tolist() == [t.CANCEL_AT, 999, 500, 998, 500]
    assert row[c.ROW_SOURCE] == 1
    assert run(coding, [Script(take_back)]).outcomes(1) == {"nothing_to_cancel": 1}


def test_its_orders_fill_without_an_account_and_leave_no_fills(coding):
    agent = Background((OPEN + SECOND, limit(t.BUY, 1001, 700)), (OPEN + 2 * SECOND, limit(t.SELL, 1001, 50)))
    broke = (agent, {"account": (0, 0, 0)})
    outcome = run(coding, [broke])
    assert outcome.outcomes(1) == {"accepted": 2}
    assert outcome.rows[:, 5].tolist() == [500, 50]
    assert outcome.fills == []
    assert agent.at(OPEN + 2 * SECOND).orders == []


def test_it_may_leave_more_orders_in_the_book_than_an_agent_keeps_track_of(coding):
    agent = Background(*((OPEN + n * SECOND, limit(t.BUY, 990, 1)) for n in range(1, 30)))
    agent.open_orders = 1
    assert run(coding, [agent]).end == "horizon"


@pytest.mark.parametrize("rule", ["newest", "oldest"])
def test_its_cancels_take_the_end_of_the_queue_that_is_configured(coding, rule):
    """Another agent's order joins the queue between two of its own, whose places the cancel tells apart."""
    agent = Background(
        (OPEN + SECOND, limit(t.BUY, 1000, 100)),
        (OPEN + 3 * SECOND, limit(t.BUY, 1000, 100)),
        (OPEN + 4 * SECOND, cancel_at(t.BUY, 1000, 100)),
        (OPEN + 5 * SECOND, limit(t.SELL, 1000, 100)),
    )
    other = Script((OPEN + 2 * SECOND, limit(t.BUY, 1000, 100)))
    outcome = run(coding, [agent, other], cancels=rule)
    # With the newest gone, the seller meets the oldest, which is nobody's; else the other agent's.
    assert outcome.filled(2, t.BUY) == (0 if rule == "newest" else 100)


def test_what_the_venue_does_not_take_is_made_what_it_takes(coding):
    agent = Background((OPEN + SECOND, lambda view: [view.order(t.IOC, t.BUY, 1001, 130)]))
    # sse_main takes whole lots and no orders that are immediate or cancelled.
    outcome = run(
        coding, [agent], start_at(rules="sse_main", sent=clock(9, 31), time=OPEN + 120 * SECOND), rules="venue"
    )
    assert outcome.outcomes(1) == {"accepted": 1}
    assert outcome.rows[0][[1, 4]].tolist() == [t.LIMIT, 100]


def test_the_view_tells_when_a_phase_ends(coding):
    class Look(Background):
        def act(self, view, state):
            self.ends = [*getattr(self, "ends", []), int(view.phase_end[0])]
            return super().act(view, state)

    agent = Look((clock(11, 0), lambda view: []), (clock(12, 0), lambda view: []), (clock(15, 0, 1), lambda view: []))
    start = start_at(time=clock(10), rules="sse_main", sent=clock(9, 40))
    run(coding, [agent], start, end=clock(16))
    assert agent.ends == [clock(11, 30), clock(11, 30), clock(13), c.NEVER]
    always = Look()
    run(coding, [always])
    assert always.ends == [c.NEVER]


def test_others_trade_with_it_as_with_the_background(coding):
    taker = Script((OPEN + 2 * SECOND, lambda view: [view.market(t.SELL, 100)]))
    outcome = run(coding, [taker, Background((OPEN + SECOND, limit(t.BUY, 1000, 100)))])
    assert [(fill.agent, fill.side, fill.price) for fill in outcome.fills] == [(1, t.SELL, 1000)]
    assert np.array_equal(outcome.sources(), [2, 1])
