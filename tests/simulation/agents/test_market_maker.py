"""The market maker: quotes by hand in a still market, and its limits in a noisy one."""

import pytest
from agent_markets import OPEN, SECOND, Script, limit, run, start_at

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.market_maker import MarketMaker
from mars_lmm.simulation.agents.noise import NoiseAgent
from mars_lmm.simulation.engine import columns as c

SELL, BUY = t.SELL, t.BUY
WIDE = [(BUY, 990, 500), (BUY, 989, 500), (SELL, 1010, 500), (SELL, 1011, 500)]


def quotes(coding, agent, *others, book=WIDE, end=5):
    """What the market maker has in the book at the end: bids and asks as (price, size)."""
    outcome = run(coding, [agent, *others], start_at(book=book), end=OPEN + end * SECOND + 500_000_000)
    own = outcome.engine.batch.agent.own[0, 0]
    alive = own[own[:, c.OWN_ID] != 0]
    # Its own list is brought up to date when it looks; the book knows best.
    sides = [[(int(o[2]), int(o[3])) for o in alive.tolist() if o[1] == side] for side in (BUY, SELL)]
    return (*sides, outcome)


@pytest.mark.parametrize(
    ("settings", "bid", "ask"),
    [
        ({"around": "touch"}, 990, 1010),
        ({"around": "touch", "distance": 3}, 987, 1013),
        ({"around": "mid", "distance": 4}, 996, 1004),
        ({"around": "mid", "distance": 2.5}, 997, 1003),
        ({"around": "mid"}, 1000, 1001),
    ],
)
def test_where_it_quotes(coding, settings, bid, ask):
    bids, asks, _ = quotes(coding, MarketMaker(size=100, **settings))
    assert (bids, asks) == ([(bid, 100)], [(ask, 100)])


def test_its_own_quotes_do_not_move_it(coding):
    """Alone inside the spread it would else follow itself."""
    bids, asks, outcome = quotes(coding, MarketMaker(around="mid", distance=1, skew=1), end=60)
    assert (bids, asks) == ([(999, 100)], [(1001, 100)])
    assert len(outcome.rows) == 2


def test_it_leans_against_its_inventory(coding):
    """100 bought shift both quotes by 3 ticks; the ask that stood at 1,004 moves to 1,001."""
    hit = Script((OPEN + SECOND, limit(SELL, 996, 100)))
    bids, asks, outcome = quotes(coding, MarketMaker(around="mid", distance=4, skew=3), hit)
    assert (bids, asks) == ([(993, 100)], [(1001, 100)])
    assert outcome.filled(1, BUY) == 100


def test_it_never_crosses_the_spread(coding):
    """Long by 1,000 with a skew of 50 ticks, it would sell far below the bid."""
    hit = Script((OPEN + SECOND, limit(SELL, 996, 500)))
    bids, asks, _ = quotes(coding, MarketMaker(size=500, limit=500, around="mid", distance=4, skew=50), hit)
    assert (bids, asks) == ([], [(991, 500)])


def test_it_stops_at_its_limit_and_fills_up_what_is_left(coding):
    """Limit 150: after 100 are bought, 50 more are; after 30 of its asks are gone it asks for as many again."""
    hits = Script(
        (OPEN + SECOND, limit(SELL, 990, 600)),
        (OPEN + 2 * SECOND, limit(SELL, 1010, 200)),
        (OPEN + 3 * SECOND, limit(BUY, 1010, 530)),
    )
    bids, asks, outcome = quotes(coding, MarketMaker(size=100, limit=150), hits)
    assert outcome.filled(1, BUY) == 100
    assert outcome.filled(1, SELL) == 30
    # Its bid was the last at 990, so the others' best is 989.
    assert bids == [(989, 50), (989, 30)]
    assert asks == [(1010, 70), (1010, 30)]


def test_it_follows_the_market(coding):
    moves = Script((OPEN + SECOND, limit(BUY, 995, 100)))
    bids, asks, outcome = quotes(coding, MarketMaker(), moves)
    assert (bids, asks) == ([(995, 100)], [(1010, 100)])
    assert outcome.rows[:, 1].tolist() == [t.LIMIT] * 3 + [t.CANCEL, t.LIMIT]


@pytest.mark.parametrize(("on_order", "seconds"), [(False, 2.0), (True, 1.5)])
def test_it_looks_after_each_order_or_when_its_time_comes(coding, on_order, seconds):
    moves = Script((OPEN + 3 * SECOND // 2, limit(BUY, 995, 100)))
    _, _, outcome = quotes(coding, MarketMaker(on_order=on_order), moves)
    assert outcome.rows[-1, 0] - OPEN == pytest.approx(seconds * SECOND, abs=5)


def test_without_others_it_does_not_quote(coding):
    bids, asks, _ = quotes(coding, MarketMaker(), book=[(BUY, 990, 100)])
    assert (bids, asks) == ([], [])
    away = Script((OPEN + SECOND, limit(BUY, 1010, 10_000)))
    bids, asks, _ = quotes(coding, MarketMaker(), away, book=[(BUY, 990, 100), (SELL, 1010, 100)])
    assert (bids, asks) == ([], [])


@pytest.mark.parametrize("how", [{}, {"see_latency": 70_000_000, "send_latency": 40_000_000}])
@pytest.mark.parametrize("settings", [{}, {"around": "mid", "distance": 1, "skew": 0.5, "on_order": True}])
def test_its_inventory_stays_within_its_limit(coding, settings, how):
    maker = MarketMaker(size=300, limit=500, refresh=0.5, **settings)
    noise = NoiseAgent(rate=10.0, open_orders=128)
    book = [(side, 1000 + sign * n, 300) for side, sign in ((BUY, -1), (SELL, 1)) for n in range(1, 9)]
    outcome = run(coding, [(maker, how), noise], start_at(book=book), end=OPEN + 20 * SECOND)
    inventory, most = 0, 0
    for fill in outcome.fills:
        if fill.agent == 1:
            inventory += fill.size if fill.side == BUY else -fill.size
            most = max(most, abs(inventory))
    assert 200 < most <= 500
    assert outcome.outcomes(1).keys() <= {"accepted", "unknown_id"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"around": "last"}, "choose touch or mid"),
        ({"distance": -1}, "distance=-1"),
        ({"skew": float("inf")}, "skew=inf"),
        ({"refresh": 0}, "refresh=0"),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        MarketMaker(**arguments)
