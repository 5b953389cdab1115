"""Every reason to reject an order: its code, a book that stays as it was, and what the error says."""

import numpy as np
import pytest

from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.opening import open_books
from mars_lmm.market.rejections import ADVICE, MarketError
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, FOK, IOC, LIMIT, MARKET, POST_ONLY, SELL

MINUTE = 60 * 10**9
TRADING, LUNCH, EVENING = (minutes * MINUTE for minutes in (9 * 60 + 31, 12 * 60, 18 * 60))
BEFORE_THE_OPENING, BEFORE_THE_CLOSE = 9 * 60 * MINUTE, (14 * 60 + 58) * MINUTE

# Shanghai's main board, with a tick of two and a few kinds more; the close before was 1000.
RULES = ("prices.tick=2", "orders.kinds=[limit,ioc,fok,post_only,best_five]", "halts.mode=shut")
RESTING = [(LIMIT, SELL, 1010, 200, 1, 0), (LIMIT, BUY, 990, 200, 2, 1)]
ACCOUNTS = [(0, 0, 0), (400_000, 0, 0), (0, 300, 100)]  # owner 2 bought 200 of its 300 today

CASES = {
    "a kind that is none": (t.BAD_KIND, (99, BUY, 1000, 100, 3, 0), TRADING),
    "a side that is none": (t.BAD_SIDE, (LIMIT, 2, 1000, 100, 3, 0), TRADING),
    "a negative size": (t.BAD_SIZE, (LIMIT, BUY, 1000, -100, 3, 0), TRADING),
    "a size of nothing": (t.BAD_SIZE, (LIMIT, BUY, 1000, 0, 3, 0), TRADING),
    "a cancel of a negative size": (t.BAD_SIZE, (CANCEL, 0, 0, -1, 1, 0), TRADING),
    "a price outside the ladder": (t.BAD_PRICE, (LIMIT, BUY, 978, 100, 3, 0), TRADING),
    "an id in use": (t.DUPLICATE_ID, (LIMIT, BUY, 1000, 100, 1, 0), TRADING),
    "a full book": (t.BOOK_FULL, (LIMIT, BUY, 1000, 100, 3, 0), TRADING),
    "a cancel of an order that is not there": (t.UNKNOWN_ID, (CANCEL, 0, 0, 0, 77, 0), TRADING),
    "a cancel where the owner has nothing": (t.NOTHING_TO_CANCEL, (CANCEL_AT, BUY, 990, 100, 0, 0), TRADING),
    "nothing to trade with": (t.NO_LIQUIDITY, (IOC, BUY, 1008, 100, 3, 0), TRADING),
    "more than there is, all or nothing": (t.UNFILLABLE, (FOK, BUY, 1010, 300, 3, 0), TRADING),
    "a post-only order that crosses": (t.WOULD_TRADE, (POST_ONLY, BUY, 1010, 100, 3, 0), TRADING),
    "somebody else's order": (t.NOT_OWNER, (CANCEL, 0, 0, 0, 1, 1), TRADING),
    "before the session": (t.CLOSED, (LIMIT, BUY, 1000, 100, 3, 0), BEFORE_THE_OPENING),
    "in the lunch break": (t.CLOSED, (LIMIT, BUY, 1000, 100, 3, 0), LUNCH),
    "a cancel in the lunch break": (t.CLOSED, (CANCEL, 0, 0, 0, 1, 0), LUNCH),
    "after the session": (t.CLOSED, (LIMIT, BUY, 1000, 100, 3, 0), EVENING),
    "while trading is halted": (t.HALTED, (LIMIT, BUY, 1000, 100, 3, 0), TRADING),
    "a cancel before the closing auction": (t.NO_CANCEL, (CANCEL, 0, 0, 0, 1, 0), BEFORE_THE_CLOSE),
    "a kind that the venue does not take": (t.KIND_NOT_TAKEN, (MARKET, BUY, 0, 100, 3, 0), TRADING),
    "a kind that no auction takes": (t.KIND_NOT_TAKEN, (IOC, BUY, 1010, 100, 3, 0), BEFORE_THE_CLOSE),
    "a price off the tick": (t.OFF_TICK, (LIMIT, BUY, 1001, 100, 3, 0), TRADING),
    "more than the largest order": (t.TOO_LARGE, (LIMIT, BUY, 1000, 1_000_100, 3, 0), TRADING),
    "a buy of an odd lot": (t.BAD_LOT, (LIMIT, BUY, 1000, 150, 3, 0), TRADING),
    "above the day's limit": (t.PRICE_LIMIT, (LIMIT, SELL, 1102, 100, 3, 0), TRADING),
    "outside the price cage": (t.PRICE_CAGE, (LIMIT, BUY, 1032, 100, 3, 0), TRADING),
    "an owner without an account": (t.NO_ACCOUNT, (LIMIT, BUY, 1000, 100, 3, 7), TRADING),
    "more than the cash left": (t.NO_CASH, (LIMIT, BUY, 1000, 300, 3, 1), TRADING),
    "a sale of what was bought today": (t.NO_POSITION, (LIMIT, SELL, 1012, 200, 3, 2), TRADING),
}


def market(outcome, time, on_reject):
    """Two orders rest, in a book of two slots and prices 980 to 1109."""
    books = open_books(1, 2, 130, 980, load_rules("sse_main", RULES).day(1000), np.array(ACCOUNTS))
    exchange = Exchange(books, on_reject=on_reject)
    if time >= TRADING:
        exchange.run(np.array(RESTING), times=np.full(2, TRADING))
    if outcome == t.HALTED:
        exchange.step(np.array([(t.HALT, 0, 0, 0, 0, 0)]), np.array([time]))
    exchange.advance(np.array([time]))
    return exchange


@pytest.mark.parametrize(("outcome", "order", "time"), CASES.values(), ids=CASES)
def test_a_rejected_order_changes_nothing_but_its_count(outcome, order, time):
    exchange = market(outcome, time, "count")
    before, snapshot = exchange.books.copy(), exchange.snapshots.copy()
    report = exchange.step(np.array([order]), np.array([time]))[0]
    assert t.OUTCOMES[report[t.OUTCOME]] == t.OUTCOMES[outcome]
    assert exchange.outcome_counts[0, outcome] == 1
    exchange.outcome_counts[0, outcome] -= 1
    np.testing.assert_array_equal(exchange.books, before)
    np.testing.assert_array_equal(exchange.snapshots, snapshot)
    nothing = np.zeros(t.NUM_REPORT_COLUMNS, np.int64)
    nothing[[t.OUTCOME, t.ACTED_PRICE]] = outcome, t.NO_PRICE
    np.testing.assert_array_equal(report, nothing)
    assert exchange.num_trades[0] == 0


@pytest.mark.parametrize(("outcome", "order", "time"), CASES.values(), ids=CASES)
def test_or_is_an_error_that_says_why(outcome, order, time):
    exchange = market(outcome, time, "raise")
    with pytest.raises(MarketError, match=t.OUTCOMES[outcome]) as caught:
        exchange.step(np.array([order]), np.array([time]))
    assert caught.value.outcome == outcome
    assert ADVICE[outcome] in str(caught.value)


def test_there_is_a_case_for_every_reason():
    assert {outcome for outcome, *_ in CASES.values()} == set(range(len(t.OUTCOMES))) - {t.ACCEPTED}
