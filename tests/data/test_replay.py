from itertools import pairwise

import numpy as np
import pytest

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, OrderFlow, Session
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.cpu import OBSERVING

SECOND = 10**9
OPEN = 34_200 * SECOND


def flow_of(rows):
    """An order flow from (seconds, kind, side, price, size, id, flags)."""
    columns = np.array(rows, dtype=np.int64).T
    names = ("time", "kind", "side", "price", "size", "order_id", "flags")
    data = dict(zip(names, columns, strict=True))
    data["time"] = OPEN + data["time"] * SECOND
    data["source_row"] = np.arange(1, len(rows) + 1)
    return OrderFlow(Session("TEST", "2024-01-02", 0.01, OPEN, OPEN + 3600 * SECOND, source="test.csv"), data)


def test_a_hand_made_session():
    flow = flow_of(
        [
            (0, t.LIMIT, t.SELL, 104, 50, -1, ANONYMOUS),
            (0, t.LIMIT, t.BUY, 100, 50, -2, ANONYMOUS),
            (1, t.LIMIT, t.BUY, 101, 10, 1, 0),
            (1, t.LIMIT, t.SELL, 200, 99, 2, HIDDEN),
            (3, t.LIMIT, t.BUY, 105, 60, 3, 0),
            (130, t.CANCEL, t.BUY, 100, 20, 77, 0),
        ]
    )
    replayed = replay(flow)
    # Anonymous volume and hidden trades are nobody's orders.
    assert replayed.row.tolist() == [2, 4, 5]
    first, sweep, cancel = replayed.observed
    # The touch before it is 100 to 104: one tick inside the spread.
    assert first[: o.LEVELS].tolist() == [t.BUY, 1, 10, SECOND, 0, 0]
    # One tick beyond the best ask, 104: it fills 50 and rests 10 at 105.
    assert sweep[: o.LEVELS].tolist() == [t.BUY, o.CROSSING + 1, 60, 2 * SECOND, 105 * 10_000 // 104 - 10_000, 0]
    # A lone bid is the mid; asks are missing.
    levels = sweep[o.LEVELS :].reshape(2, 2, t.DEPTH)
    assert (levels[t.SELL, 0] == -1).all()
    assert levels[t.BUY, 0, :3].tolist() == [0, 4, 5]
    assert levels[t.BUY, 1, :3].tolist() == [10, 10, 50]
    # The cancel's id is unknown: it takes from the volume at its price.
    # It leaves two better prices alone, 105 and 101.
    assert cancel[: o.LEVELS].tolist() == [o.CANCEL_TYPE, -2, 20, 127 * SECOND, 96, 2]
    time, kind, side, price, size, filled, value, last, bid, ask, bid_size, ask_size = replayed.tape[1]
    assert (time, kind, side, price, size) == (OPEN + 3 * SECOND, t.LIMIT, t.BUY, 105, 60)
    assert (filled, value, last) == (50, 50 * 104, 104)
    assert (bid, ask, bid_size, ask_size) == (105, t.NO_PRICE, 10, 0)


def test_replay_in_parts_is_replay(synthetic_flow):
    whole = replay(synthetic_flow)
    state = opening_state(synthetic_flow)
    cuts = [0, 500, 501, 1500, len(synthetic_flow)]
    parts = [replay(synthetic_flow, state, a, b) for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([part.observed for part in parts]), whole.observed)
    np.testing.assert_array_equal(np.concatenate([part.tape for part in parts]), whole.tape)


def test_replay_agrees_with_the_reference_book(synthetic_flow):
    whole = replay(synthetic_flow)
    ladder = int(whole.state.book[0, t.NUM_TICKS]), int(whole.state.book[0, t.BASE_PRICE])
    book = ReferenceBook(10**6, *ladder)
    seen = 0
    for row, order in enumerate(synthetic_flow.orders()):
        book.execute(*order.tolist())
        if seen < len(whole.row) and whole.row[seen] == row:
            levels = whole.observed[seen, o.LEVELS :].reshape(2, 2, t.DEPTH)
            for side in (t.SELL, t.BUY):
                shown = [(price, size) for price, size in book.snapshot()[side] if price != t.NO_PRICE]
                assert levels[side, 1, : len(shown)].tolist() == [size for _, size in shown]
                assert whole.tape[seen, 9 - side] == (shown[0][0] if shown else t.NO_PRICE)
            seen += 1
    assert seen == len(whole.row)


def test_a_rejected_order_names_its_row():
    flow = flow_of([(0, t.LIMIT, t.SELL, 104, 50, 1, 0), (1, t.LIMIT, t.SELL, 104, 50, 1, 0)])
    with pytest.raises(DataError, match=r"test.csv, row 2: .*duplicate_id"):
        replay(flow)


def test_flow_round_trip(synthetic_flow, tmp_path):
    path = tmp_path / "flow.parquet"
    synthetic_flow.write(path)
    again = OrderFlow.read(path)
    assert again.session == synthetic_flow.session
    for name, column in synthetic_flow.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_flow_is_named(tmp_path):
    path = tmp_path / "flow.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"flow.parquet: not a readable order-flow"):
        OrderFlow.read(path)


def nanos(text):
    hours, minutes, seconds = map(int, text.split(":"))
    return (hours * 3600 + minutes * 60 + seconds) * SECOND


SHANGHAI = Session("600000", "2024-01-02", 0.01, nanos("09:15:00"), nanos("15:00:00"), rules="sse_main")


def shanghai_flow(rows):
    """A Shanghai flow from (time of day, kind, side, price, size, id)."""
    names = ("kind", "side", "price", "size", "order_id")
    columns = dict(zip(names, np.array([row[1:] for row in rows], dtype=np.int64).T, strict=True))
    times = np.array([nanos(row[0]) for row in rows])
    return OrderFlow(SHANGHAI, columns | {"time": times, "source_row": np.arange(1, len(rows) + 1)})


def test_a_session_with_auctions_and_a_lunch_break():
    flow = shanghai_flow(
        [
            ("09:16:00", t.LIMIT, t.BUY, 1002, 300, 1),
            ("09:17:00", t.LIMIT, t.SELL, 1000, 200, 2),  # crosses, and rests until 09:25
            ("09:30:01", t.LIMIT, t.SELL, 1005, 100, 3),
            ("11:29:59", t.LIMIT, t.BUY, 1001, 100, 4),
            ("13:00:02", t.CANCEL, t.BUY, 1001, 100, 4),
            ("14:58:00", t.LIMIT, t.SELL, 1000, 50, 5),
        ]
    )
    replayed = replay(flow)
    levels = replayed.observed[:, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
    book = [
        [(row[t.SELL, 1, 0], row[t.BUY, 1, 0]) for row in levels][i] for i in range(len(flow))
    ]  # sizes at the touch
    assert book[1] == (200, 300)
    assert book[2] == (100, 100)  # the auction at 09:25 traded 200
    assert replayed.tape[2, o.TAPE_COLUMNS.index("last_price")] == replayed.tape[2, o.TAPE_COLUMNS.index("bid")] == 1002
    # In Shanghai nobody may send orders from 09:25 to 09:30 and from 11:30 to 13:00.
    assert (replayed.observed[:, o.INTERVAL] // SECOND).tolist() == [60, 60, 481, 7198, 3, 7078]
    assert replayed.observed[:, o.MINUTE].tolist() == [1, 2, 10, 129, 130, 248]
    # The closing call collects what crosses.
    assert replayed.tape[-1, o.TAPE_COLUMNS.index("filled")] == 0


@pytest.mark.parametrize(
    ("time", "interval", "expected"),
    [
        ("09:31:00", 60, "09:32:00"),
        ("11:29:00", 59, "11:29:59"),
        ("11:29:00", 60, "13:00:00"),
        ("11:29:00", 90, "13:00:30"),
        ("12:00:00", 1, "13:00:01"),
        ("09:24:50", 20, "09:30:10"),
        ("14:59:00", 30, "14:59:30"),
    ],
)
def test_waiting_passes_over_closed_hours(time, interval, expected):
    book = opening_state(shanghai_flow([("09:31:00", t.LIMIT, t.BUY, 1000, 100, 1)])).book[0]
    assert OBSERVING.after(book, nanos(time), interval * SECOND) == nanos(expected)


def test_without_a_schedule_the_flow_says_what_an_auction_collects():
    flow = flow_of(
        [
            (0, t.LIMIT, t.SELL, 100, 50, 1, AUCTION),
            (1, t.LIMIT, t.BUY, 105, 20, 2, AUCTION),
            (2, t.CANCEL, t.SELL, 100, 20, 1, AUCTION | ANONYMOUS),
            (2, t.CANCEL, t.BUY, 105, 20, 2, AUCTION | ANONYMOUS),
            (3, t.LIMIT, t.BUY, 100, 10, 3, 0),
        ]
    )
    filled = replay(flow).tape[:, o.TAPE_COLUMNS.index("filled")]
    assert filled.tolist() == [0, 0, 10]
