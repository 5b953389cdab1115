"""Bitstamp's live orders: aggressors out of orders that are created before they trade, in both layouts."""

import csv
import gzip
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sorted_feeds import Reading

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.bitstamp.feed import BitstampFeed
from mars_lmm.data.flow import ANONYMOUS
from mars_lmm.data.ledger import RAISE, SKIP
from mars_lmm.data.sessions import find_sources
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import BUY, CANCEL, LIMIT, SELL

MIDNIGHT = 1_777_680_000_000  # 2026-05-02 00:00 UTC
HEADERS = {
    2015: "id,timestamp,exchange.timestamp,price,volume,action,direction",
    2026: "id,timestamp,exchange_timestamp,price,volume,action,direction",
}
COIN = 10**8
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, events, layout=2026):
    """Events (millisecond of the day, id, price in cents, satoshi left, action, side) as a file of a layout."""
    lines = [HEADERS[layout]]
    for ms, order_id, price, left, action, side in events:
        time = MIDNIGHT + ms
        volume = str(left) if layout == 2015 else str(left / COIN)  # as Python writes it: 1e-08 among them
        times = (time, time // 1000 * 1000) if layout == 2015 else (time + 70, time)
        direction = "bid" if side == BUY else "ask"
        lines.append(f"{order_id},{times[0]},{times[1]},{price / 100},{volume},{action},{direction}")
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, on_error=RAISE):
    return Reading("bitstamp", [path], {"tick": "0.01"}, on_error)


def rows_of(flow, names=("kind", "side", "price", "size", "order_id")):
    return [tuple(row) for row in np.stack([flow[name].astype(np.int64) for name in names], 1).tolist()]


def named(rows):
    """Rows of the flow, but for the ids of aggressors that left nothing."""
    return [(*row[:-1], max(row[-1], 0)) for row in rows]


class Venue:
    """What Bitstamp would tell of random orders that the reference book matches."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.book = ReferenceBook(10_000, 2_000, 1)
        self.events, self.submitted, self.trades = [], [], 0
        self.ms, self.next_id = 1000, 1

    def run(self, num_orders):
        for _ in range(num_orders):
            self.ms += int(self.rng.integers(1, 3))
            live = list(self.book.live.values())
            if live and self.rng.random() < 0.3:
                order = live[int(self.rng.integers(len(live)))]
                self.tell(order.order_id, order.price, order.size, "deleted", order.side)
                self.submitted.append((CANCEL, order.side, order.price, order.size, order.order_id))
                self.book.execute(CANCEL, order.side, order.price, 0, order.order_id, 0)
            else:
                self.enter(int(self.rng.integers(2)), int(self.rng.integers(980, 1021)), int(self.rng.integers(1, 60)))
        return self

    def enter(self, side, price, size):
        order_id, left = self.next_id, size
        self.next_id += 1
        self.tell(order_id, price, size, "created", side)
        sizes = {order.order_id: order.size for order in self.book.live.values()}
        _, trades = self.book.execute(LIMIT, side, price, size, order_id, 0)
        for trade in trades:
            left -= trade.size
            sizes[trade.resting_id] -= trade.size
            self.tell(order_id, trade.price, left, "changed" if left else "deleted", side)
            rest = sizes[trade.resting_id]
            self.tell(trade.resting_id, trade.price, rest, "changed" if rest else "deleted", 1 - side)
        self.trades += len(trades)
        if left:
            self.submitted.append((LIMIT, side, price, size, order_id))
        else:
            self.submitted.append((LIMIT, side, trades[-1].price, size, 0))

    def tell(self, order_id, price, left, action, side):
        self.events.append((self.ms, order_id, price, left, action, side))


@pytest.fixture(scope="module")
def venue():
    return Venue(seed=0).run(500)


@pytest.mark.parametrize("layout", [2026, 2015])
def test_what_was_submitted_comes_back(tmp_path, venue, layout):
    events = venue.events
    if layout == 2015:  # so far apart that no two executions of one size are mistaken for each other
        events = [(ms * 3000, *event) for ms, *event in events]
    reading = read(write(tmp_path / "orders.csv", events, layout))
    assert (reading.sessions[0].symbol, reading.sessions[0].date) == ("BTCUSD", "2026-05-02")
    counts = reading.verify().counts
    assert named(rows_of(reading.flow())) == venue.submitted
    assert counts["trades"] == venue.trades
    assert not any(count for name, count in counts.items() if name.endswith("mismatches"))
    assert counts["unknown_ids"] == counts["crossing"] == counts["out_of_priority"] == 0


def test_a_sweep_leaves_its_remainder_at_its_own_price(tmp_path):
    events = [
        (5, 1, 10_000, 3 * COIN, "created", SELL),
        (6, 2, 10_001, 2 * COIN, "created", SELL),
        (9, 3, 10_005, 6 * COIN, "created", BUY),
        (9, 3, 10_000, 3 * COIN, "changed", BUY),
        (9, 1, 10_000, 0, "deleted", SELL),
        (9, 3, 10_001, 1 * COIN, "changed", BUY),
        (9, 2, 10_001, 0, "deleted", SELL),
        (12, 3, 10_005, 1 * COIN, "deleted", BUY),
    ]
    reading = read(write(tmp_path / "orders.csv", events))
    assert rows_of(reading.flow())[2:] == [
        (LIMIT, BUY, 10_005, 6 * COIN, 3),
        (CANCEL, BUY, 10_005, 1 * COIN, 3),
    ]


def test_two_aggressors_of_one_millisecond_stay_two(tmp_path):
    events = [
        (5, 1, 10_000, 9, "created", SELL),
        (9, 2, 10_000, 4, "created", BUY),
        (9, 2, 10_000, 0, "deleted", BUY),
        (9, 1, 10_000, 5, "changed", SELL),
        (9, 3, 10_000, 2, "created", BUY),
        (9, 3, 10_000, 0, "deleted", BUY),
        (9, 1, 10_000, 3, "changed", SELL),
        (9, 4, 10_000, 1, "created", SELL),
    ]
    flow = read(write(tmp_path / "orders.csv", events)).flow()
    assert named(rows_of(flow))[1:] == [
        (LIMIT, BUY, 10_000, 4, 0),
        (LIMIT, BUY, 10_000, 2, 0),
        (LIMIT, SELL, 10_000, 1, 4),
    ]
    assert flow["time"].tolist() == [5_000_000, 9_000_000, 9_000_001, 9_000_002]


def test_orders_that_could_not_rest_are_counted(tmp_path):
    """Post-only orders that would trade, market orders, absurd limits, and more than a size can be."""
    events = [
        (1, 1, 10_000, 5, "created", SELL),
        (2, 2, 10_000, 7, "created", BUY),
        (2, 2, 10_000, 7, "deleted", BUY),
        (3, 3, 99_999_999_900, 2, "created", BUY),
        (3, 3, 10_000, 0, "deleted", BUY),
        (3, 1, 10_000, 3, "changed", SELL),
        (4, 4, 0, 7, "created", SELL),
        (5, 5, 9_000, 100 * COIN, "created", BUY),
        (6, 5, 9_000, 100 * COIN, "deleted", BUY),
    ]
    reading = read(write(tmp_path / "orders.csv", events))
    assert named(rows_of(reading.flow())) == [(LIMIT, SELL, 10_000, 5, 1), (LIMIT, BUY, 10_000, 2, 0)]
    counts = reading.ledger.counts
    assert (counts["flashed_orders"], counts["unpriced_orders"], counts["oversized_orders"]) == (1, 2, 1)


def test_a_log_that_starts_in_mid_session(tmp_path):
    """Unknown ids are counted; an order that must be gone makes way for one that crosses it."""
    events = [
        (1, 7, 10_000, 5, "created", SELL),
        (2, 1, 10_000, 0, "deleted", SELL),
        (3, 2, 10_000, 4, "changed", BUY),
        (4, 8, 10_001, 5, "created", BUY),
        (9, 8, 10_001, 5, "deleted", BUY),
    ]
    reading = read(write(tmp_path / "orders.csv", events))
    flow = reading.flow()
    assert rows_of(flow, ("kind", "order_id", "flags")) == [
        (LIMIT, 7, 0),
        (CANCEL, 7, ANONYMOUS),
        (LIMIT, 8, 0),
        (CANCEL, 8, 0),
    ]
    counts = reading.verify().counts
    assert (counts["unknown_ids"], counts["stale_orders"], counts["mismatches"]) == (2, 1, 0)


def test_live_orders_open_the_next_day(tmp_path):
    day = 24 * 60 * 60 * 1000
    events = [
        (day - 9, 1, 10_000, 5, "created", SELL),
        (day - 8, 2, 9_000, 6, "created", BUY),
        (day - 7, 2, 9_000, 6, "deleted", BUY),
        (day - 6, 3, 9_100, 9, "created", BUY),
        (day + 5, 4, 9_100, 2, "created", SELL),
        (day + 5, 4, 9_100, 0, "deleted", SELL),
        (day + 5, 3, 9_100, 7, "changed", BUY),
    ]
    reading = read(write(tmp_path / "orders.csv", events))
    assert [session.date for session in reading.sessions] == ["2026-05-02", "2026-05-03"]
    flow = reading.flow(1)
    assert named(rows_of(flow)) == [
        (LIMIT, SELL, 10_000, 5, 1),
        (LIMIT, BUY, 9_100, 9, 3),
        (LIMIT, SELL, 9_100, 2, 0),
    ]
    assert flow["time"].tolist() == [0, 0, 5_000_000]
    session = reading.feed.describe(reading.sessions[1])
    assert session.open_time == 1, "what comes at midnight is the opening book"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "wrong number of columns"),
        ("x,1777680000099,1777680000099,1.0,1.0,created,bid", "id is no number"),
        ("5,,1777680000099,1.0,1.0,created,bid", "timestamp is missing"),
        ("5,1777680000099,1777680000001,1.0,1.0,created,bid", "time goes back"),
        ("5,1777680000099,1777680000099,1.005,1.0,created,bid", "price is finer than its unit"),
        ("5,1777680000099,1777680000099,1.0,-1.0,created,bid", "volume out of range"),
        ("5,1777680000099,1777680000099,1.0,1e-09,created,bid", "volume is finer than its unit"),
        ("9223372036854775808,1777680000099,1777680000099,1.0,1.0,created,bid", "id is too large"),
        ("5,1777680000099,1777680000099,1.0,1.0,moved,bid", "unknown action"),
        ("5,1777680000099,1777680000099,1.0,1.0,created,up", "unknown direction"),
        ("1,1777680000099,1777680000099,2.0,1.0,created,bid", "id in use"),
        ("1,1777680000199,1777680000099,100.0,9.0,deleted,ask", "takes more than is left"),
    ],
)
def test_a_bad_row_is_an_error_or_a_rejection_with_its_row(tmp_path, line, reason):
    file = write(tmp_path / "orders.csv", [(50, 1, 10_000, 5 * COIN, "created", SELL)])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError) as caught:
        read(file).verify()
    assert (caught.value.row, caught.value.reason.partition(":")[0]) == (3, reason)
    reading = read(file, SKIP)
    assert reading.flow()["order_id"].tolist() == [1]
    assert [(r.row, r.reason) for r in reading.ledger.rejections] == [(3, reason)]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "orders.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a file of live orders"):
        read(tmp_path)
    (tmp_path / "orders.csv").unlink()
    with pytest.raises(DataError, match=r"no \.csv files"):
        read(tmp_path)


def test_a_folder_holds_orders_beside_other_files(tmp_path, venue):
    write(tmp_path / "orders.csv", venue.events)
    (tmp_path / "Orders2.CSV.gz").write_bytes(gzip.compress((tmp_path / "orders.csv").read_bytes()))
    (tmp_path / "orders3.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "packed.zip").write_bytes(b"no archive")
    (tmp_path / "trades.csv").write_text("trade_id\n1\n")
    found = find_sources(BitstampFeed(), [tmp_path])
    names = [[Path(str(source)).name for source in found.readable]]
    names += [[Path(str(source)).name for source, _ in sources] for sources in (found.faulty, found.foreign)]
    assert names == [["Orders2.CSV.gz", "orders.csv"], ["orders3.csv.gz", "packed.zip"], ["trades.csv"]]
    (tmp_path / "orders.csv").rename(tmp_path / "x.csv")
    (tmp_path / "Orders2.CSV.gz").unlink()
    assert {reason for _, reason in find_sources(BitstampFeed(), [tmp_path]).foreign} == {
        "its name does not begin with orders; name the file itself if it holds them"
    }


@pytest.mark.fuzz
@ANY
@given(data=st.data())
def test_no_file_breaks_the_reader(tmp_path, venue, data):
    events = [list(event) for event in venue.events[:60]]
    for _ in range(data.draw(st.integers(1, 4))):
        i, j = (data.draw(st.integers(0, len(events) - 1)) for _ in range(2))
        column = data.draw(st.integers(0, 5))
        what = data.draw(st.sampled_from(["swap", "drop", "copy", "repeat"]))
        if what == "swap":
            events[i], events[j] = events[j], events[i]
        elif what == "drop":
            del events[i]
        elif what == "copy":
            events[i][column] = events[j][column]
        else:
            events.insert(j, list(events[i]))
    layout = data.draw(st.sampled_from([2015, 2026]))
    file = write(tmp_path / "orders.csv", events, layout)
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    file.write_bytes(content[:at] + data.draw(st.binary(max_size=4)) + content[at:])
    skipping, error = read(file, SKIP), ""
    for number in range(len(skipping.sessions)):
        skipping.verify(number)
    try:
        reading = read(file)
        for number in range(len(reading.sessions)):
            reading.flow(number)
    except DataError as caught:
        error = str(caught)
    assert bool(error) == bool(skipping.ledger.rejections)


@pytest.fixture(scope="module")
def sample():
    if find_spec("ob_analytics") is None:
        pytest.skip("the package ob-analytics is not at hand")
    return Reading("bitstamp", [])


def test_the_sample_follows_from_its_orders(sample):
    """Half an hour of 2026-05-02; the numbers of trades and of made-up rows are those that its recorder states."""
    (session,) = sample.sessions
    counts = sample.verify().counts
    trades = Path(find_spec("ob_analytics").origin).parent / "_sample_data" / "trades.csv"
    with trades.open() as file:
        told = list(csv.DictReader(file))
    assert not any(count for name, count in counts.items() if name.endswith("mismatches"))
    assert counts["compared"] > 0.99 * counts["rows"]
    assert counts["trades"] + counts["out_of_priority"] == len(told) == 284
    flow = sample.flow()
    assert session.date == "2026-05-02"
    opening = flow["time"] < sample.feed.describe(session).open_time
    assert 6_000 < np.count_nonzero(opening) <= 6_512


def test_the_samples_aggressors_are_those_of_its_trades(sample):
    """The other file of the sample tells which order came in; size by aggressor must be the same."""
    with (Path(find_spec("ob_analytics").origin).parent / "_sample_data" / "trades.csv").open() as file:
        told = Counter()
        for trade in csv.DictReader(file):
            side = trade["side"]
            told[side, trade[f"{side}_order_id"], trade["exchange_timestamp"]] += round(float(trade["amount"]) * COIN)
    flow = sample.flow()
    takes = (flow["kind"] == LIMIT) & (flow["order_id"] < 0)
    time = MIDNIGHT + flow["time"][takes] // 10**6
    sides = np.where(flow["side"][takes] == BUY, "buy", "sell")
    found = Counter(zip(sides.tolist(), time.tolist(), flow["size"][takes].tolist(), strict=True))
    whole = Counter((side, int(time), size) for (side, _, time), size in told.items())
    # The others: three left a remainder, so that they are larger, and one traded behind an order that was gone already.
    assert len(told) == 170
    assert sum((whole & found).values()) == 166
    assert not found - whole
