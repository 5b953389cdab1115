"""The LOBSTER feed on sessions that the reference book traded: every book, trade and order must come back."""

import numpy as np
import pytest
from lobster_reading import read_flow, verify
from lobster_writer import EMPTY_ASK, EMPTY_BID, record, write_pair

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.lobster.read import STUB_TICKS
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN
from mars_lmm.data.ledger import SKIP
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, LIMIT, SELL


def rows(flow, mask):
    columns = (flow.kind, flow.side, flow.price, flow.size, flow.order_id, flow.flags, flow.source_row)
    return [tuple(row) for row in np.stack([column[mask].astype(np.int64) for column in columns], 1).tolist()]


@pytest.mark.parametrize("lines", [1, 7, 64])
def test_the_size_of_the_parts_does_not_matter(recorded, monkeypatch, lines):
    _, path = recorded
    whole, _ = read_flow(path)
    verification, _ = verify(path)
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", lines)
    monkeypatch.setattr("mars_lmm.data.feeds.common.number_rows.BLOCK", 50 * lines)
    parts, _ = read_flow(path)
    assert parts.counts == whole.counts
    for name, column in whole.columns.items():
        assert np.array_equal(parts.columns[name], column), name
    again, _ = verify(path)
    assert again.counts == verification.counts
    assert again.notes == []


def by_hand(folder, *lines):
    """The message file of a one-level session from lines `time,type,id,size,price,direction | ask,size,bid,size`."""
    messages, books = zip(*(line.split(" | ") for line in lines), strict=True)
    return write_pair(folder, list(messages), list(books), 1)


@pytest.fixture(scope="module", params=[(1, 0), (2, 1), (2, 2), (10, 3)], ids=lambda p: f"L{p[0]}-seed{p[1]}")
def recorded(request, tmp_path_factory):
    levels, seed = request.param
    recording = record(seed, levels)
    return recording, recording.write(tmp_path_factory.mktemp("lobster"))


def test_every_book_and_trade_comes_back(recorded):
    recording, path = recorded
    verification, _ = verify(path)
    counts = verification.counts
    assert verification.notes == []
    assert counts["rows"] == counts["compared"] == len(recording.messages)
    assert counts["mismatches"] == counts["flow_mismatches"] == counts["trade_mismatches"] == 0
    assert counts["unknown_ids"] > 0
    assert counts["revealed_levels"] > 0
    if recording.levels < 10:
        assert counts["stale_levels"] > 0


def test_order_flow_is_what_was_submitted(recorded):
    recording, path = recorded
    flow, _ = read_flow(path)
    found = rows(flow, flow.flags & ANONYMOUS == 0)
    assert len(found) == len(recording.submitted)
    for (*values, order_id, flags, row), (*expected, true_id, true_flags, true_row) in zip(
        found, recording.submitted, strict=True
    ):
        assert (values, flags, row) == (expected, true_flags, true_row)
        assert order_id == true_id if true_id is not None else order_id < 0


def test_what_the_feed_never_named_is_anonymous(recorded):
    recording, path = recorded
    flow, _ = read_flow(path)
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
    recording, path = recorded
    counts = read_flow(path)[0].counts
    kinds = [message[1] for message in recording.messages]
    names = ["new", "reductions", "deletions", "executions", "hidden_executions", "crosses", "halts"]
    assert [counts[name] for name in names] == [kinds.count(kind) for kind in range(1, 8)]
    assert counts["hidden_volume"] == sum(m[3] for m in recording.messages if m[1] == 5)
    hidden_only = sum(size for _, _, _, size, _, flags, _ in recording.submitted if flags == HIDDEN)
    assert counts["dropped_hidden_volume"] == counts["hidden_volume"] - hidden_only


def test_one_aggressor_from_a_run(tmp_path):
    """A buy of 25: 10 at 101, 5 hidden, 7 at 102, and 3 that rest at 102."""
    path = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,4,8,10,1010000,-1 | 1020000,7,990000,20",
        "34201,5,0,5,1015050,-1 | 1020000,7,990000,20",
        "34201,4,9,7,1020000,-1 | 1050000,1,990000,20",
        "34201,1,2,3,1020000,1 | 1050000,1,1020000,3",
    )
    flow, _ = read_flow(path)
    assert rows(flow, flow.flags == 0)[1:] == [(LIMIT, BUY, 10200, 20, 2, 0, 5)]
    # The two asks that the sweep uncovered come before it, so that it meets them.
    assert rows(flow, flow.flags == ANONYMOUS)[-2:] == [
        (LIMIT, SELL, 10200, 7, -2, ANONYMOUS, 2),
        (LIMIT, SELL, 10500, 1, -3, ANONYMOUS, 4),
    ]
    assert flow.counts["merged_runs"] == flow.counts["remainders"] == 1
    assert flow.counts["dropped_hidden_volume"] == 5


def test_a_remainder_short_of_the_fills_is_an_order_of_its_own(tmp_path):
    path = by_hand(
        tmp_path,
        "34200.5,1,1,10,1010000,-1 | 1010000,10,990000,20",
        "34201,4,1,10,1010000,-1 | 1050000,1,990000,20",
        "34201,1,2,3,1009900,1 | 1050000,1,1009900,3",
    )
    flow, _ = read_flow(path)
    assert [row[:5] for row in rows(flow, flow.flags == 0)[1:]] == [
        (LIMIT, BUY, 10100, 10, flow.order_id.min()),
        (LIMIT, BUY, 10099, 3, 2),
    ]


@pytest.mark.parametrize(("direction", "side", "price"), [(-1, BUY, 10001), (1, SELL, 10000)])
def test_hidden_only(tmp_path, direction, side, price):
    """A trade at a midpoint becomes a marketable limit price, and leaves the book alone."""
    path = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        f"34201,5,0,5,1000050,{direction} | 1010000,10,990000,20",
    )
    flow, _ = read_flow(path)
    assert [row[:4] for row in rows(flow, flow.flags == HIDDEN)] == [(LIMIT, side, price, 5)]
    assert verify(path)[0].notes == []


def test_halts_and_crosses_are_no_orders(tmp_path):
    path = by_hand(
        tmp_path,
        "34200.5,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34202,6,-1,500,1000000,-1 | 1010000,10,990000,20",
        "34203,3,1,20,990000,1 | 1010000,10," + EMPTY_BID,
    )
    flow, _ = read_flow(path)
    assert [row[0] for row in rows(flow, flow.flags == 0)] == [LIMIT, CANCEL]
    assert (flow.counts["crosses"], flow.counts["halts"]) == (1, 1)


def test_opening_book_is_the_first_row_less_its_message(tmp_path):
    path = by_hand(tmp_path, "34200.5,4,77,4,1010000,-1 | 1010000,10," + EMPTY_BID)
    flow, _ = read_flow(path)
    assert rows(flow, flow.flags == ANONYMOUS) == [(LIMIT, SELL, 10100, 14, -1, ANONYMOUS, 1)]
    assert flow.session.open_time == 34_200 * 10**9
    assert (flow.session.symbol, flow.session.date, flow.session.tick_size) == ("TEST", "2024-01-02", 0.01)


def test_an_id_that_gives_less_than_its_cancel(tmp_path):
    """Which order shrank while out of sight is a guess; the level's size stays right all the same."""
    path = by_hand(
        tmp_path,
        "34200,1,1,100,1010000,-1 | 1010000,100," + EMPTY_BID,
        "34201,1,2,50,1010000,-1 | 1010000,150," + EMPTY_BID,
        "34202,1,3,5,1000000,-1 | 1000000,5," + EMPTY_BID,
        "34203,3,3,5,1000000,-1 | 1010000,100," + EMPTY_BID,  # meanwhile order 2 went, out of sight
        "34204,3,1,100,1010000,-1 | " + f"{EMPTY_ASK},{EMPTY_BID}",
    )
    counts = verify(path)[0].counts
    assert (counts["mismatches"], counts["flow_mismatches"], counts["stale_levels"]) == (0, 0, 1)


def test_a_visible_change_without_a_message_is_a_mismatch(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,5,0,5,1000000,1 | 1020000,10,990000,20",
    )
    verification, _ = verify(path)
    assert verification.counts["mismatches"] == 1
    assert "row 2: ask level 1 is [10200, 10]" in verification.notes[0]
    with pytest.raises(DataError, match=r"message_1\.csv, row 2: does not fit the book: .*ask level 1 is"):
        read_flow(path)


def test_a_cancel_of_nothing_is_a_mismatch(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,3,9,5,980000,1 | 1010000,10,990000,20",
    )
    verification, _ = verify(path)
    assert verification.counts["mismatches"] == 1
    assert "row 2: the message takes volume that neither book has" in verification.notes[0]


def test_an_id_added_twice_contradicts(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,1,1,5,980000,1 | 1010000,10,990000,20",
    )
    verification, _ = verify(path)
    assert verification.counts["mismatches"] == 1
    assert "row 2: the message takes volume that neither book has, or adds an id that is live" in verification.notes[0]
    with pytest.raises(DataError, match="row 2: does not fit the book"):
        read_flow(path)


def test_a_cancel_at_another_price_than_its_orders(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,3,1,20,980000,1 | 1010000,10," + EMPTY_BID,
    )
    with pytest.raises(DataError, match=r"row 2: does not fit the book: .*bid level 1 is \[-1, 0\]"):
        read_flow(path)


def test_an_auction_sets_the_book(tmp_path):
    """The cross moves both sides past each other; what it left is told again, and is no second order."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,1,2,30,980000,1 | 1010000,10,990000,20",
        "34202,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34203,6,-1,500,950000,-1 | 960000,7,940000,5",
        "34203,1,1,5,940000,1 | 960000,7,940000,5",
        "34203,1,77,7,960000,-1 | 960000,7,940000,5",
        "34204,7,0,0,1,-1 | 960000,7,940000,5",
        "34205,3,77,7,960000,-1 | " + EMPTY_ASK + ",940000,5",
    )
    verification, _ = verify(path)
    assert verification.notes == []
    flow, _ = read_flow(path)
    assert flow.counts["reannounced"] == 2
    assert flow.counts["auction_levels"] == 4  # the ask of 10100 is out of view
    auction = flow.flags & AUCTION != 0
    assert (flow.flags[auction] == ANONYMOUS | AUCTION).all()
    assert [row[:3] for row in rows(flow, auction)] == [
        (CANCEL_AT, BUY, 9900),
        (CANCEL_AT, BUY, 9800),
        (LIMIT, SELL, 9600),
        (LIMIT, BUY, 9400),
    ]
    assert rows(flow, flow.flags == 0)[-1] == (CANCEL, SELL, 9600, 7, 77, 0, 8)


def test_orders_that_cross_while_trading_is_halted(tmp_path):
    """They rest, and the auction that ends the halt executes them, at its price."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34202,1,2,30,1020000,1 | 1010000,10,1020000,30",
        "34203,6,-1,10,1015000,-1 | 1010000,10,1020000,30",
        "34203,4,77,10,1015000,-1 | " + EMPTY_ASK + ",1020000,30",
        "34203,4,2,10,1015000,1 | " + EMPTY_ASK + ",1020000,20",
        "34204,7,0,0,1,-1 | " + EMPTY_ASK + ",1020000,20",
        "34205,1,3,5,1020000,-1 | " + EMPTY_ASK + ",1020000,20",
    )
    verification, ledger = verify(path, SKIP)
    assert verification.counts["mismatches"] == 1  # the last order may not rest across the bid: trading goes on
    assert verification.counts["flow_mismatches"] == verification.counts["trade_mismatches"] == 0
    assert [rejection.row for rejection in ledger.rejections] == [8]


def test_a_halt_seen_through_one_level(tmp_path):
    """A bid that rests across the ask came out of view; when it comes into view, it trades with nobody."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34202,1,2,30,1020000,1 | 1010000,10,1020000,30",
        "34203,3,2,30,1020000,1 | 1010000,10,1015000,5",
        "34204,3,9,5,1015000,1 | 1010000,10,990000,20",
        "34205,7,0,0,1,-1 | 1010000,10,990000,20",
        "34206,4,8,10,1010000,-1 | 1050000,1,990000,20",
    )
    verification, _ = verify(path)
    assert verification.notes == []
    flow, _ = read_flow(path)
    assert [row[:4] + row[5:] for row in rows(flow, flow.source_row > 2)] == [
        (LIMIT, BUY, 10200, 30, AUCTION, 3),
        (LIMIT, BUY, 10150, 5, ANONYMOUS | AUCTION, 4),
        (CANCEL, BUY, 10200, 30, 0, 4),
        (CANCEL, BUY, 10150, 5, 0, 5),
        (LIMIT, SELL, 10500, 1, ANONYMOUS, 7),
        (LIMIT, BUY, 10100, 10, 0, 7),
    ]


def test_an_auction_that_empties_the_book_before_it_tells_it_again(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        f"34203,6,-1,500,950000,-1 | {EMPTY_ASK},{EMPTY_BID}",
        "34203,1,1,5,940000,1 | " + EMPTY_ASK + ",940000,5",
        "34204,3,1,5,940000,1 | " + f"{EMPTY_ASK},{EMPTY_BID}",
    )
    verification, _ = verify(path)
    assert verification.notes == []
    assert rows(read_flow(path)[0], ...)[-2:] == [
        (LIMIT, BUY, 9400, 5, 1, 0, 3),
        (CANCEL, BUY, 9400, 5, 1, 0, 4),
    ]


def test_an_empty_book(tmp_path):
    """Neither side at first, then one, then neither for a while, then both."""
    nothing = f"{EMPTY_ASK},{EMPTY_BID}"
    path = by_hand(
        tmp_path,
        f"34200,7,0,0,1,-1 | {nothing}",
        f"34201,1,1,20,990000,1 | {EMPTY_ASK},990000,20",
        f"34202,3,1,20,990000,1 | {nothing}",
        f"34203,5,0,5,1000000,1 | {nothing}",
        f"34204,1,2,10,1010000,-1 | 1010000,10,{EMPTY_BID}",
        "34205,1,3,20,990000,1 | 1010000,10,990000,20",
        f"34206,4,2,10,1010000,-1 | {EMPTY_ASK},990000,20",
    )
    verification, _ = verify(path)
    assert verification.notes == []
    flow, _ = read_flow(path)
    assert rows(flow, flow.flags == ANONYMOUS) == []
    assert [row[:4] for row in rows(flow, flow.flags == 0)] == [
        (LIMIT, BUY, 9900, 20),
        (CANCEL, BUY, 9900, 20),
        (LIMIT, SELL, 10100, 10),
        (LIMIT, BUY, 9900, 20),
        (LIMIT, BUY, 10100, 10),
    ]


def test_a_level_that_uncovers_many_outdated_ones(tmp_path):
    """Twenty bids fall out of view and go unseen; when the best one leaves, they leave with it."""
    lines = [f"{34200 + i},1,{i + 1},5,{900000 + 100 * i},1 | 1010000,10,{900000 + 100 * i},5" for i in range(20)]
    path = by_hand(tmp_path, *lines, "34300,3,20,5,901900,1 | 1010000,10," + EMPTY_BID)
    verification, _ = verify(path)
    assert verification.notes == []
    assert verification.counts["stale_levels"] == 19


@pytest.mark.parametrize("lines", [1, 1000])
def test_stub_quotes_are_left_out(tmp_path, monkeypatch, lines):
    """Also where a part shows hardly anything else."""
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", lines)
    far = 1_000_000 + 2 * STUB_TICKS * 100
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        f"34201,1,2,10,{far},-1 | 1010000,10,990000,20",
        f"34202,4,3,10,1010000,-1 | {far},10,990000,20",
        f"34203,3,2,10,{far},-1 | {EMPTY_ASK},990000,20",
    )
    verification, ledger = verify(path)
    assert verification.notes == []
    assert ledger.counts["stub_quotes"] == 2
    flow, _ = read_flow(path)
    assert flow.price.max() == 10100
    assert flow.counts["messages"] == 4


@pytest.mark.parametrize("lines", [5, 1000])
@pytest.mark.parametrize("way", [1, -1])
def test_a_market_that_moves_far(tmp_path, monkeypatch, lines, way):
    """Twice as far as a stub quote stands, within a part and from part to part, with rows that show no price at all."""
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", lines)
    start, step, num_steps = 70_000_000, STUB_TICKS // 4 * way, 8
    nothing = f"{EMPTY_ASK},{EMPTY_BID}"
    text, expected = [], []
    for n in range(num_steps):
        bid, ask, first = start + n * step, start + n * step + 300, 2 * n + 1
        both = f"{ask * 100},7,{bid * 100},5"
        text += [
            f"7,0,0,0,-1 | {nothing}",
            f"1,{first},5,{bid * 100},1 | {EMPTY_ASK},{bid * 100},5",
            f"1,{first + 1},7,{ask * 100},-1 | {both}",
            f"3,{first + 1},7,{ask * 100},-1 | {EMPTY_ASK},{bid * 100},5",
            f"3,{first},5,{bid * 100},1 | {nothing}",
            *[f"7,0,0,1,-1 | {nothing}"] * 6,
        ]
        expected += [(BUY, bid), (SELL, ask), (SELL, ask), (BUY, bid)]
    path = by_hand(tmp_path, *[f"{34200 + n},{line}" for n, line in enumerate(text)])
    verification, ledger = verify(path)
    assert verification.notes == []
    assert (verification.counts["compared"], ledger.counts["stub_quotes"]) == (len(text), 0)
    flow, _ = read_flow(path)
    assert list(zip(flow.side, flow.price, strict=True)) == expected


@pytest.mark.parametrize("lines", [3, 1000])
def test_a_market_that_moves_away_from_an_order_and_back(tmp_path, monkeypatch, lines):
    """The order is a stub quote meanwhile, and in the book again when the market is near once more."""
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", lines)
    start, step = 70_000_000, STUB_TICKS * 3 // 10
    far = start - STUB_TICKS * 9 // 10
    text, books, resting = [], [], {}

    def tell(kind, order_id, price, direction):
        if kind == 1:
            resting[order_id] = price, direction
        else:
            del resting[order_id]
        text.append(f"{34200 + len(text)},{kind},{order_id},5,{price * 100},{direction}")
        asks = [f"{price * 100},5" for price, side in sorted(resting.values()) if side < 0]
        bids = [f"{price * 100},5" for price, side in sorted(resting.values(), reverse=True) if side > 0]
        books.append(",".join(f"{(asks + [EMPTY_ASK] * 2)[n]},{(bids + [EMPTY_BID] * 2)[n]}" for n in range(2)))

    tell(1, 1, far, 1)
    for n, place in enumerate([0, 1, 2, 3, 2, 1, 0]):
        bid, ask = (2 * n + 2, start + place * step, 1), (2 * n + 3, start + place * step + 300, -1)
        for kind in (1, 3):
            tell(kind, *bid)
            tell(kind, *ask)
            if kind == 1:
                tell(1, 100, ask[1] + 100, -1)  # so that rows show both sides for a while
                tell(3, 100, ask[1] + 100, -1)
    tell(3, 1, far, 1)
    path = write_pair(tmp_path, text, books, 2)
    verification, _ = verify(path)
    assert verification.notes == []
    assert verification.counts["compared"] == len(text)
    assert verification.counts["reset_levels"] == 2
    flow, _ = read_flow(path)
    assert rows(flow, flow.price == far)[0][:5] == (LIMIT, BUY, far, 5, 1)
    assert [row[0] for row in rows(flow, flow.price == far)] == [LIMIT, CANCEL_AT, LIMIT, CANCEL]


@pytest.mark.parametrize("tick", [True, 0, 1.0, "1", 10**9])
def test_a_tick_is_a_whole_number_of_units(tick):
    with pytest.raises(ValueError, match="must be a whole number"):
        load_feed("lobster", {"price_tick": tick})
