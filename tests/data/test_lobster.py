"""The LOBSTER feed on sessions that the reference book traded: every book, trade and order must come back."""

import numpy as np
import pytest
from lobster_writer import record, write_pair

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import lobster
from mars_lmm.data.flow import ANONYMOUS, HIDDEN
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, LIMIT, SELL

EMPTY_ASK, EMPTY_BID = "9999999999,0", "-9999999999,0"


def session_of(message_file):
    (session,) = lobster.find_sessions([message_file])
    return session


def rows(flow, mask):
    columns = (flow.kind, flow.side, flow.price, flow.size, flow.order_id, flow.flags, flow.source_row)
    return [tuple(row) for row in np.stack([column[mask].astype(np.int64) for column in columns], 1).tolist()]


def by_hand(folder, *lines):
    """A one-level session from lines `time,type,id,size,price,direction | ask,size,bid,size`."""
    messages, books = zip(*(line.split(" | ") for line in lines), strict=True)
    return session_of(write_pair(folder, list(messages), list(books), 1))


@pytest.fixture(scope="module", params=[(1, 0), (2, 1), (2, 2), (10, 3)], ids=lambda p: f"L{p[0]}-seed{p[1]}")
def recorded(request, tmp_path_factory):
    levels, seed = request.param
    recording = record(seed, levels)
    return recording, session_of(recording.write(tmp_path_factory.mktemp("lobster")))


def test_every_book_and_trade_comes_back(recorded):
    recording, session = recorded
    verification = lobster.verify(session)
    counts = verification.counts
    assert verification.notes == []
    assert counts["rows"] == counts["compared"] == len(recording.messages)
    assert counts["mismatches"] == counts["flow_mismatches"] == counts["trade_mismatches"] == 0
    assert counts["unknown_ids"] > 0
    assert counts["revealed_levels"] > 0
    if recording.levels < 10:
        assert counts["stale_levels"] > 0


def test_order_flow_is_what_was_submitted(recorded):
    recording, session = recorded
    flow = lobster.to_order_flow(session)
    found = rows(flow, flow.flags & ANONYMOUS == 0)
    assert len(found) == len(recording.submitted)
    for (*values, order_id, flags, row), (*expected, true_id, true_flags, true_row) in zip(
        found, recording.submitted, strict=True
    ):
        assert (values, flags, row) == (expected, true_flags, true_row)
        assert order_id == true_id if true_id is not None else order_id < 0


def test_what_the_feed_never_named_is_anonymous(recorded):
    recording, session = recorded
    flow = lobster.to_order_flow(session)
    anonymous = flow.flags == ANONYMOUS
    assert set(flow.kind[anonymous]) <= {LIMIT, CANCEL_AT}
    assert (flow.order_id[anonymous] < 0).all()
    synthetic = flow.order_id[flow.order_id < 0]
    assert len(np.unique(synthetic)) == len(synthetic)
    assert (np.diff(flow.time) >= 0).all()
    times = np.array([message[0] for message in recording.messages])
    assert (flow.time == times[flow.source_row - 1]).all()
    # Each revealed row stands before the order whose messages moved the window, not behind it.
    following = np.minimum.accumulate(np.where(anonymous, np.iinfo(np.int32).max, flow.source_row)[::-1])[::-1]
    assert (flow.source_row[anonymous] <= following[anonymous]).all()


def test_counts(recorded):
    recording, session = recorded
    counts = lobster.to_order_flow(session).counts
    kinds = [message[1] for message in recording.messages]
    names = ["new", "reductions", "deletions", "executions", "hidden_executions", "crosses", "halts"]
    assert [counts[name] for name in names] == [kinds.count(kind) for kind in range(1, 8)]
    assert counts["hidden_volume"] == sum(m[3] for m in recording.messages if m[1] == 5)
    hidden_only = sum(size for _, _, _, size, _, flags, _ in recording.submitted if flags == HIDDEN)
    assert counts["dropped_hidden_volume"] == counts["hidden_volume"] - hidden_only


def test_one_aggressor_from_a_run(tmp_path):
    """A buy of 25: 10 at 101, 5 hidden, 7 at 102, and 3 that rest at 102."""
    session = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,4,8,10,1010000,-1 | 1020000,7,990000,20",
        "34201,5,0,5,1015050,-1 | 1020000,7,990000,20",
        "34201,4,9,7,1020000,-1 | 1050000,1,990000,20",
        "34201,1,2,3,1020000,1 | 1050000,1,1020000,3",
    )
    flow = lobster.to_order_flow(session)
    assert rows(flow, flow.flags == 0)[1:] == [(LIMIT, BUY, 10200, 20, 2, 0, 5)]
    # The two asks that the sweep uncovered come before it, so that it meets them.
    assert rows(flow, flow.flags == ANONYMOUS)[-2:] == [
        (LIMIT, SELL, 10200, 7, -2, ANONYMOUS, 2),
        (LIMIT, SELL, 10500, 1, -3, ANONYMOUS, 4),
    ]
    assert flow.counts["merged_runs"] == flow.counts["remainders"] == 1
    assert flow.counts["dropped_hidden_volume"] == 5


def test_a_remainder_short_of_the_fills_is_an_order_of_its_own(tmp_path):
    session = by_hand(
        tmp_path,
        "34200.5,1,1,10,1010000,-1 | 1010000,10,990000,20",
        "34201,4,1,10,1010000,-1 | 1050000,1,990000,20",
        "34201,1,2,3,1009900,1 | 1050000,1,1009900,3",
    )
    flow = lobster.to_order_flow(session)
    assert [row[:5] for row in rows(flow, flow.flags == 0)[1:]] == [
        (LIMIT, BUY, 10100, 10, -3),
        (LIMIT, BUY, 10099, 3, 2),
    ]


@pytest.mark.parametrize(("direction", "side", "price"), [(-1, BUY, 10001), (1, SELL, 10000)])
def test_hidden_only(tmp_path, direction, side, price):
    """A trade at a midpoint becomes a marketable limit price, and leaves the book alone."""
    session = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        f"34201,5,0,5,1000050,{direction} | 1010000,10,990000,20",
    )
    flow = lobster.to_order_flow(session)
    assert [row[:4] for row in rows(flow, flow.flags == HIDDEN)] == [(LIMIT, side, price, 5)]
    assert lobster.verify(session).notes == []


def test_halts_and_crosses_are_no_orders(tmp_path):
    session = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34202,6,-1,500,1000000,-1 | 1010000,10,990000,20",
        "34203,3,1,20,990000,1 | 1010000,10," + EMPTY_BID,
    )
    flow = lobster.to_order_flow(session)
    assert [row[0] for row in rows(flow, flow.flags == 0)] == [LIMIT, CANCEL]
    assert (flow.counts["crosses"], flow.counts["halts"]) == (1, 1)


def test_opening_book_is_the_first_row_less_its_message(tmp_path):
    session = by_hand(tmp_path, "34200.5,4,77,4,1010000,-1 | 1010000,10," + EMPTY_BID)
    flow = lobster.to_order_flow(session)
    assert rows(flow, flow.flags == ANONYMOUS) == [(LIMIT, SELL, 10100, 14, -1, ANONYMOUS, 1)]
    assert flow.session.open_time == 34_200 * 10**9
    assert (flow.session.symbol, flow.session.date, flow.session.tick_size) == ("TEST", "2024-01-02", 0.01)


def test_an_id_that_gives_less_than_its_cancel(tmp_path):
    """Which order shrank while out of sight is a guess; the level's size stays right all the same."""
    session = by_hand(
        tmp_path,
        "34200,1,1,100,1010000,-1 | 1010000,100," + EMPTY_BID,
        "34201,1,2,50,1010000,-1 | 1010000,150," + EMPTY_BID,
        "34202,1,3,5,1000000,-1 | 1000000,5," + EMPTY_BID,
        "34203,3,3,5,1000000,-1 | 1010000,100," + EMPTY_BID,  # meanwhile order 2 went, out of sight
        "34204,3,1,100,1010000,-1 | " + f"{EMPTY_ASK},{EMPTY_BID}",
    )
    counts = lobster.verify(session).counts
    assert (counts["mismatches"], counts["flow_mismatches"], counts["stale_levels"]) == (0, 0, 1)


def test_a_visible_change_without_a_message_is_a_mismatch(tmp_path):
    session = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,5,0,5,1000000,1 | 1020000,10,990000,20",
    )
    verification = lobster.verify(session)
    assert verification.counts["mismatches"] == 1
    assert "row 2: ask level 1 is [10200, 10]" in verification.notes[0]
    with pytest.raises(DataError, match="1 books do not follow from the messages"):
        lobster.to_order_flow(session)


def test_a_cancel_of_nothing_is_a_mismatch(tmp_path):
    session = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,3,9,5,980000,1 | 1010000,10,990000,20",
    )
    verification = lobster.verify(session)
    assert verification.counts["mismatches"] == 1
    assert "row 2: the message takes volume that neither book has" in verification.notes[0]


def test_an_id_added_twice_contradicts(tmp_path):
    session = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,1,1,5,980000,1 | 1010000,10,990000,20",
    )
    with pytest.raises(DataError, match=r"row 2: our book rejects this new order \(duplicate_id\)"):
        lobster.verify(session)
