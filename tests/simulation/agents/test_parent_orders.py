"""TWAP and POV: by hand in a still market, and their promises in a noisy one."""

import pytest
from agent_markets import OPEN, SECOND, Script, limit, nothing, run, start_at

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.noise import NoiseAgent
from mars_lmm.simulation.agents.pov import PovAgent
from mars_lmm.simulation.agents.twap import TwapAgent
from mars_lmm.simulation.engine import columns as c

SELL, BUY = t.SELL, t.BUY
DEEP = [(side, 1000 + sign * n, 1000) for side, sign in ((BUY, -1), (SELL, 1)) for n in range(1, 9)]
LATENCIES = [{}, {"see_latency": 70_000_000, "send_latency": 40_000_000}]


def sent(outcome, agent=1):
    """(seconds, kind, price, size) of an agent's orders on the tape."""
    rows = outcome.rows[outcome.rows[:, c.ROW_SOURCE] == agent]
    return [(round((row[0] - OPEN) / SECOND, 3), *row[[1, 3, 4]].tolist()) for row in rows]


def test_twap_by_hand(coding):
    """600 in two slices of 20 + 10 s: 60 lie at the bid; after 20 s 300 are due, at the second ask at most 240."""
    agent = TwapAgent(
        600,
        seconds=60,
        passive_seconds=20,
        aggressive_seconds=10,
        passive_ratio=0.1,
        aggressive_level=2,
        aggressive_ratio=0.4,
    )
    seller = Script((OPEN + 5 * SECOND, limit(SELL, 999, 1030)), (OPEN + 30 * SECOND, limit(SELL, 999, 5)))
    outcome = run(coding, [agent, seller], start_at(book=DEEP))
    # 1,000 shares lie before it at 999: 30 of its 60 fill at 5 s, and the next look puts 30 more there.
    assert sent(outcome)[:3] == [(0.0, t.LIMIT, 999, 60), (6.0, t.LIMIT, 999, 30), (20.0, t.LIMIT, 1002, 240)]
    # At 30 s 5 of its 60 are sold to it. Of 600, 275 are done; at 50 s 240 more.
    assert sent(outcome)[3:5] == [(31.0, t.LIMIT, 999, 5), (50.0, t.LIMIT, 1002, 240)]
    # The end.
    assert sent(outcome)[5:] == [(60.0, t.CANCEL, 999, size) for size in (25, 30, 5)]
    assert outcome.filled(1, BUY) == 30 + 240 + 5 + 240


def test_twap_follows_its_best_price_and_leaves_others(coding):
    agent = TwapAgent(100, passive_ratio=0.5, aggressive_level=0)
    other = Script((OPEN + 2 * SECOND + 1, limit(BUY, 1000, 10)), (OPEN + 10 * SECOND, nothing))
    outcome = run(coding, [agent, other], start_at(book=DEEP), end=OPEN + 9 * SECOND)
    assert sent(outcome) == [(0.0, t.LIMIT, 999, 50), (3.0, t.CANCEL, 999, 50), (3.0, t.LIMIT, 1000, 50)]


def test_twap_makes_way_for_its_aggressive_order(coding):
    """90 of 100 lie at the bid; half are due at once, so 40 of the 90 have to go."""
    agent = TwapAgent(100, seconds=60, passive_ratio=0.9, aggressive_level=1)
    outcome = run(coding, [agent], start_at(book=DEEP), end=OPEN + 31 * SECOND)
    assert sent(outcome)[:3] == [(0.0, t.LIMIT, 999, 90), (25.0, t.CANCEL, 999, 40), (25.0, t.LIMIT, 1001, 50)]
    assert outcome.filled(1, BUY) == 50


def test_twap_sells_as_it_buys(coding):
    agent = TwapAgent(100, side="sell", seconds=60, passive_ratio=0.2, aggressive_level=3)
    outcome = run(coding, [agent], start_at(book=DEEP))
    assert sent(outcome)[:2] == [(0.0, t.LIMIT, 1001, 20), (25.0, t.LIMIT, 998 - 1, 50)]
    assert outcome.filled(1, SELL) == 100
    assert {fill.price for fill in outcome.fills} == {999}


def test_the_last_order_alone_is_no_whole_lot(coding):
    """Shanghai's lot is 100: of 250, 150 are padded to 200, and 50 are left, which the exchange does not take."""
    start = start_at(rules="sse_main", sent=OPEN, time=OPEN, book=DEEP)
    agent = TwapAgent(250, seconds=50, passive_seconds=20, aggressive_seconds=5, passive_ratio=0)
    outcome = run(coding, [agent], start, rules="venue", end=OPEN + 60 * SECOND)
    assert [size for *_, size in sent(outcome)] == [200]
    assert set(outcome.outcomes(1)) == {"accepted", "bad_lot"}


def noisy(coding, agent, seed, end=310, how=None, rate=8.0):
    noise = NoiseAgent(rate=rate, open_orders=128)
    return run(coding, [(agent, how or {}), noise], start_at(book=DEEP), seed=seed, end=OPEN + end * SECOND)


def done_by(outcome, second, side):
    return sum(f.size for f in outcome.fills if f.agent == 1 and f.side == side and f.time <= OPEN + second * SECOND)


@pytest.mark.parametrize("how", LATENCIES)
@pytest.mark.parametrize(("side", "ratio", "level"), [("buy", 0.9, 1), ("sell", 0.1, 5), ("buy", 0.5, 3)])
@pytest.mark.parametrize("target", [1_000, 12_345])
def test_twap_keeps_to_its_schedule_and_its_target(coding, side, ratio, level, target, how):
    agent = TwapAgent(target, side=side, passive_ratio=ratio, aggressive_level=level)
    outcome = noisy(coding, agent, seed=level, how=how)
    number = {"buy": BUY, "sell": SELL}[side]
    for k in range(1, 11):
        done = done_by(outcome, 30 * k, number)
        # Never a slice behind, and never more ahead than passive orders may be.
        assert target * (k - 1) / 10 <= done <= target
    assert outcome.filled(1, number) == target
    assert outcome.engine.batch.agent.desk[0, 0, c.COUNT] == 0
    assert not outcome.engine.batch.agent.own[0, 0].any()


@pytest.mark.parametrize("how", LATENCIES)
def test_without_a_passive_ratio_nothing_is_passive(coding, how):
    outcome = noisy(coding, TwapAgent(2_000, passive_ratio=0), 3, how=how)
    orders = [order for order in sent(outcome) if order[1] == t.LIMIT]
    assert orders
    assert all(second % 30 >= 25 for second, *_ in orders)


@pytest.mark.parametrize("how", LATENCIES)
def test_without_an_aggressive_level_nothing_crosses_the_spread(coding, how):
    outcome = noisy(coding, TwapAgent(10**6, passive_ratio=0.001, aggressive_level=0), 4, how=how)
    fills = [fill for fill in outcome.fills if fill.agent == 1]
    assert fills
    if not how:
        assert not any(fill.taker for fill in fills)
    assert 0 < done_by(outcome, 300, BUY) == outcome.filled(1, BUY) < 10**6
    assert not outcome.engine.batch.agent.own[0, 0].any()


def test_pov_by_hand(coding):
    """Half of what the others trade: 200 trade, 100 are due; they lie at the bid, as the slack is 200."""
    agent = PovAgent(1000, rate=0.5, slack=0.2, refresh=10)
    trades = Script(
        (OPEN + SECOND, limit(BUY, 1001, 200)),
        (OPEN + 12 * SECOND, limit(BUY, 1001, 400)),
        (OPEN + 33 * SECOND, limit(BUY, 1001, 2)),
    )
    outcome = run(coding, [agent, trades], start_at(book=DEEP), end=OPEN + 59 * SECOND)
    # At 20 s 300 are due, more than 200: what lies at the bid makes way for an order that crosses the spread.
    expected = [(10.0, t.LIMIT, 999, 100), (20.0, t.CANCEL, 999, 100), (20.0, t.LIMIT, 1001, 300)]
    # Its own 300 are nobody else's volume.
    assert sent(outcome) == [*expected, (40.0, t.LIMIT, 999, 1)]


@pytest.mark.parametrize("how", LATENCIES)
@pytest.mark.parametrize(("side", "level", "rate"), [("buy", 1, 0.2), ("sell", 3, 0.5), ("buy", 0, 0.1)])
def test_pov_takes_part_at_its_rate(coding, side, level, rate, how):
    agent = PovAgent(10**6, side=side, rate=rate, aggressive_level=level, slack=0.0)
    outcome = noisy(coding, agent, seed=7, how=how, end=120)
    number = {"buy": BUY, "sell": SELL}[side]
    volume = int(outcome.engine.batch.market.books[0, t.VOLUME])
    done = outcome.filled(1, number)
    due = rate * (volume - done)
    assert volume - done > 20_000
    assert done <= due + 1
    if level:
        assert done > 0.8 * due
    elif not how:
        assert not any(fill.taker for fill in outcome.fills if fill.agent == 1)


def test_pov_ends_at_its_target_or_its_time(coding):
    outcome = noisy(coding, PovAgent(777, rate=0.5), seed=1, end=120)
    assert outcome.filled(1, BUY) == 777
    timed = noisy(coding, PovAgent(10**6, rate=0.5, seconds=30), seed=1, end=120)
    assert 0 < done_by(timed, 30, BUY) == timed.filled(1, BUY)
    assert not timed.engine.batch.agent.own[0, 0].any()
    assert int(timed.engine.batch.agent.desk[0, 0, c.WAKE]) > OPEN + 120 * SECOND


@pytest.mark.parametrize(
    ("made", "arguments", "message"),
    [
        (TwapAgent, {"side": "both"}, "choose buy or sell"),
        (TwapAgent, {"target": 0}, "target=0"),
        (TwapAgent, {"target": 10.5}, "target=10.5"),
        (TwapAgent, {"seconds": 100}, "multiple of .* = 30"),
        (TwapAgent, {"passive_ratio": 1.5}, "passive_ratio=1.5"),
        (TwapAgent, {"aggressive_level": 6}, "aggressive_level=6"),
        (TwapAgent, {"aggressive_ratio": -1}, "aggressive_ratio=-1"),
        (TwapAgent, {"refresh": 0}, "refresh=0"),
        (TwapAgent, {"passive_seconds": float("nan")}, "passive_seconds=nan"),
        (PovAgent, {"rate": 0}, "rate=0"),
        (PovAgent, {"slack": 2}, "slack=2"),
        (PovAgent, {"seconds": -1}, "seconds=-1"),
    ],
)
def test_settings_that_cannot_be(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**{"target": 100} | arguments)
