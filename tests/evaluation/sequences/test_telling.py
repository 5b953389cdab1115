"""Orders as LOBSTER messages: by hand, and against what the exchange did."""

import zipfile
from difflib import SequenceMatcher

import numpy as np
import pytest

from mars_lmm.data.feeds import load_feed
from mars_lmm.data.flow import ANONYMOUS, COLUMNS, HIDDEN, OrderFlow
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.data.sessions import find_sessions
from mars_lmm.evaluation.sequences import sequences as q
from mars_lmm.evaluation.sequences.telling import Orders, tell
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.tokenizers import observation as o

BID, ASK = 100, 104
RESTING = [
    (t.LIMIT, t.BUY, BID, 5, 1, 0),
    (t.LIMIT, t.BUY, BID, 7, 2, 0),
    (t.LIMIT, t.SELL, ASK, 3, 3, 0),
    (t.LIMIT, t.SELL, ASK, 4, 4, 0),
    (t.LIMIT, t.SELL, ASK + 2, 6, 5, 0),
]


def tell_orders(orders, queue_rule=t.CLOSEST_SIZE, anonymous=()):
    rows = np.array([*RESTING, *orders], dtype=np.int64)
    clock = np.zeros(o.NUM_CLOCK, dtype=np.int64)
    clock[[o.MID, o.BID, o.ASK]] = t.NO_PRICE
    nobody = np.isin(np.arange(len(rows)) - len(RESTING), anonymous)
    # Whatever follows the resting orders comes at one moment.
    times = np.minimum(np.arange(len(rows)), len(RESTING))
    told = tell(empty_books(1, 20, 50, 80)[0], clock, Orders(rows, times, nobody, np.zeros_like(nobody)), queue_rule)
    assert told.rejected == -1
    return told


def after(told):
    """The messages after the resting orders, without times, and the touch after each: (bid, size, ask, size)."""
    touch = told.levels[len(RESTING) :, 0][:, [q.BID_PRICE, q.BID_SIZE, q.ASK_PRICE, q.ASK_SIZE]]
    return told.messages[len(RESTING) :, 1:].tolist(), touch.tolist()


def test_a_limit_order_that_sweeps_and_rests_is_told_in_four():
    messages, touch = after(tell_orders([(t.LIMIT, t.BUY, ASK + 1, 10, 9, 0)]))
    assert messages == [
        [q.EXECUTION, 3, 3, ASK, q.SELL],
        [q.EXECUTION, 4, 4, ASK, q.SELL],
        [q.NEW, 9, 3, ASK + 1, q.BUY],
    ]
    assert touch == [[BID, 12, ASK, 4], [BID, 12, ASK + 2, 6], [ASK + 1, 3, ASK + 2, 6]]


@pytest.mark.parametrize("kind", [t.IOC, t.MARKET])
def test_what_does_not_rest_leaves_no_new_order(kind):
    messages, touch = after(tell_orders([(kind, t.SELL, BID, 20, 9, 0)]))
    assert messages == [[q.EXECUTION, 1, 5, BID, q.BUY], [q.EXECUTION, 2, 7, BID, q.BUY]]
    assert touch[-1][0] == t.NO_PRICE


def test_cancels_are_partial_or_whole():
    messages, _ = after(tell_orders([(t.CANCEL, 0, 0, 2, 2, 0), (t.CANCEL, 0, 0, 0, 2, 0)]))
    assert messages == [[q.PARTIAL_CANCEL, 2, 2, BID, q.BUY], [q.DELETE, 2, 5, BID, q.BUY]]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (t.OLDEST_FIRST, [[q.DELETE, 1, 5, BID, q.BUY], [q.PARTIAL_CANCEL, 2, 1, BID, q.BUY]]),
        (t.NEWEST_FIRST, [[q.PARTIAL_CANCEL, 2, 6, BID, q.BUY]]),
        (t.CLOSEST_SIZE, [[q.DELETE, 2, 7, BID, q.BUY]]),
    ],
)
def test_a_cancel_at_a_price_is_told_as_the_cancels_of_the_orders_it_takes(rule, expected):
    assert after(tell_orders([(t.CANCEL_AT, t.BUY, BID, 6, 0, 0)], rule))[0] == expected


def test_kinds_that_are_executed_whole_are_told_from_their_report():
    messages, touch = after(tell_orders([(t.BEST_FIVE_LIMIT, t.BUY, 0, 9, 9, 0), (t.REPLACE, 0, BID - 1, 4, 1, 0)]))
    assert messages == [
        [q.EXECUTION, 3, 3, ASK, q.SELL],
        [q.EXECUTION, 4, 4, ASK, q.SELL],
        [q.EXECUTION, 5, 2, ASK + 2, q.SELL],
        [q.DELETE, 1, 5, BID, q.BUY],
        [q.NEW, 1, 4, BID - 1, q.BUY],
    ]
    assert touch[0] == touch[2] == [BID, 12, ASK + 2, 4]


def test_volume_of_nobody_shows_with_the_message_before_it():
    told = tell_orders([(t.LIMIT, t.BUY, BID, 1, 9, 0), (t.LIMIT, t.BUY, BID, 30, 10, 0)], anonymous=[1])
    messages, touch = after(told)
    assert messages == [[q.NEW, 9, 1, BID, q.BUY]]
    assert touch == [[BID, 43, ASK, 7]]


def test_a_rejected_order_is_told():
    rows = np.array([(t.CANCEL, 0, 0, 1, 5, 0)], dtype=np.int64)
    nothing = np.zeros(1, dtype=bool)
    told = tell(
        empty_books(1, 4, 50, 80)[0],
        np.zeros(o.NUM_CLOCK, np.int64),
        Orders(rows, np.zeros(1, np.int64), nothing, nothing),
        0,
    )
    assert (told.rejected, len(told.messages)) == (0, 0)


def test_a_session_told_is_the_session_replayed(synthetic_flow):
    state = opening_state(synthetic_flow)
    rows = synthetic_flow.orders()
    nothing = np.zeros(len(rows), dtype=bool)
    told = tell(state.book[0], state.clock, Orders(rows, synthetic_flow.time, nothing, nothing), t.OLDEST_FIRST)
    whole = replay(synthetic_flow, state)
    tape = dict(zip(o.TAPE_COLUMNS, whole.tape.T, strict=True))
    touch = np.stack([tape[name] for name in ("bid", "ask", "bid_size", "ask_size")], axis=1)
    np.testing.assert_array_equal(told.touch[whole.row], touch)
    executed = told.messages[told.messages[:, 1] == q.EXECUTION]
    assert executed[:, 3].sum() == tape["filled"].sum() == whole.state.book[0, t.VOLUME]
    assert (executed[:, 3] * executed[:, 4]).sum() == tape["fill_value"].sum()
    # Every message changes its level by its size, as LOBSTER's do.
    resting = {}
    for _, kind, order_id, size, price, _direction in told.messages.tolist():
        if kind == q.NEW:
            resting[order_id] = (size, price)
        else:
            left, at = resting.pop(order_id)
            assert at == price
            assert size <= left
            assert kind != q.DELETE or size == left
            if size < left:
                resting[order_id] = (left - size, at)


@pytest.fixture
def first_minutes(lobster_zip, tmp_path):
    """The start of a real day: its order flow, and the rows of both files; bare arrays of integers."""
    names = {"message": "GOOG_2012-06-21_34200000_57600000_message_10.csv"}
    names["orderbook"] = names["message"].replace("message", "orderbook")
    with zipfile.ZipFile(lobster_zip("GOOG", 10)) as archive:
        lines = {kind: archive.read(name).decode().splitlines()[:15_000] for kind, name in names.items()}
    for kind, name in names.items():
        (tmp_path / name).write_text("\n".join(lines[kind]) + "\n")
    feed = load_feed("lobster")
    (session,) = find_sessions(feed, feed.find_sources([tmp_path]), [])
    parts = list(feed.order_flow(session, Ledger()))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    # Times in nanoseconds, exactly.
    messages = [
        [int(line.split(",")[0].replace(".", "").ljust(14, "0")), *line.split(",")[1:6]] for line in lines["message"]
    ]
    books = np.array([line.split(",") for line in lines["orderbook"]], dtype=np.int64)
    return OrderFlow(feed.describe(session), columns), np.array(messages, dtype=np.int64), books


def test_the_feeds_own_messages_and_books_come_back(first_minutes):
    flow, messages, books = first_minutes
    visible = np.flatnonzero(flow.flags & HIDDEN == 0)
    state = opening_state(flow)
    anonymous = flow.flags[visible] & ANONYMOUS != 0
    orders = Orders(flow.orders()[visible], flow.time[visible], anonymous, np.zeros(len(visible), dtype=bool))
    told = tell(state.book[0], state.clock, orders, t.OLDEST_FIRST)
    during = told.messages[:, 0] >= messages[0, 0]
    seen = np.isin(messages[:, 1], [q.NEW, q.PARTIAL_CANCEL, q.DELETE, q.EXECUTION])
    messages, books = messages[seen], books[seen].reshape(-1, t.DEPTH, q.NUM_LEVEL_COLUMNS)
    messages[:, 4] //= 100
    books[..., [q.ASK_PRICE, q.BID_PRICE]] //= 100
    # Fills of orders that came before the session are told by the queue as far as it is known: a few runs differ.
    key = [0, 1, 3, 4, 5]
    ours, theirs = ([tuple(row) for row in part[:, key].tolist()] for part in (told.messages[during], messages))
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    pairs = np.concatenate([np.stack([b.a + np.arange(b.size), b.b + np.arange(b.size)], axis=1) for b in blocks])
    assert len(pairs) > 0.998 * len(theirs)
    same = (told.levels[during][pairs[:, 0]] == books[pairs[:, 1]]).all(axis=(1, 2))
    assert same.mean() > 0.9998
