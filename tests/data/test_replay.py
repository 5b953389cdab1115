from itertools import pairwise

import numpy as np
import pytest

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS, HIDDEN, OrderFlow, Session
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.tokenizers import observation as o

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
    assert cancel[: o.LEVELS].tolist() == [o.CANCEL_TYPE, -5, 20, 127 * SECOND, 96, 2]
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
