from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, Source
from mars_lmm.data.feeds.common.by_order import flow_builder, session_records
from mars_lmm.data.feeds.common.by_order.messages import (
    CLEAR,
    COLLECT,
    CROSS,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    NEW,
    RECORD,
    REDUCE,
    UNCROSS,
    UNTOLD,
    Messages,
)
from mars_lmm.data.feeds.common.by_order.moments import whole_runs
from mars_lmm.data.feeds.common.by_order.order_feed import OrderFeed
from mars_lmm.data.feeds.common.by_order.session_records import MAX_TICKS
from mars_lmm.data.feeds.common.clock import DAY_NS
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.flow import ANONYMOUS, AUCTION, COLUMNS, HIDDEN, typed
from mars_lmm.data.ledger import Ledger
from mars_lmm.market.types import BUY, CANCEL, LIMIT, MAX_SIZE, NO_SIDE, SELL


class RecordFeed(OrderFeed):
    """A feed whose sessions are made by the test."""

    price_units = 1_000
    knows_all_orders = True

    def find_sources(self, paths):
        raise NotImplementedError

    def decode(self, source, ledger):
        raise NotImplementedError


class PartialFeed(RecordFeed):
    knows_all_orders = False


TICK = 10  # price units: a cent where a unit is a tenth of one


def message(kind, order_id=0, price=UNTOLD, size=UNTOLD, side=UNTOLD, time=0, row=None):
    return {"kind": kind, "order_id": order_id, "price": price, "size": size, "side": side, "time": time, "row": row}


def new(order_id, side, price, size, **rest):
    return message(NEW, order_id, price * TICK, size, side, **rest)


def session_of(folder: Path, *sources: list[dict]) -> FeedSession:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, messages in enumerate(sources):
        records = np.zeros(len(messages), RECORD)
        for row, (record, fields) in enumerate(zip(records, messages, strict=True), start=1):
            for name, value in (fields | {"row": fields["row"] or row}).items():
                record[name] = value
        paths.append(folder / f"{number}.records")
        records.tofile(paths[-1])
    files = tuple(Source((RawFile(Path(f"file{number}")),)) for number in range(len(sources)))
    return FeedSession("A", "2024-01-02", files, tuple(paths))


def flow_of(session, ledger=None, feed=RecordFeed):
    nothing = typed({name: np.empty(0) for name in COLUMNS})
    parts = [nothing, *feed().order_flow(session, ledger or Ledger())]
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def rows(columns, *names):
    return list(zip(*(columns[name].tolist() for name in names), strict=True))


ORDER = ("kind", "side", "price", "size", "order_id", "flags")
QUOTES = [new(1, BUY, 99, 10), new(2, SELL, 101, 10)]


def test_untold_fields_are_those_of_the_order(tmp_path):
    messages = [
        *QUOTES,
        message(REDUCE, 1, size=3),
        message(DELETE, 1, row=4),
        message(NEW, 3, 98 * TICK, 5, row=4),  # a replacement, so a bid
        message(EXECUTE, 2, size=4),
    ]
    assert rows(flow_of(session_of(tmp_path, messages)), *ORDER, "source_row") == [
        (LIMIT, BUY, 99, 10, 1, 0, 1),
        (LIMIT, SELL, 101, 10, 2, 0, 2),
        (CANCEL, BUY, 99, 3, 1, 0, 3),
        (CANCEL, BUY, 99, 7, 1, 0, 4),
        (LIMIT, BUY, 98, 5, 3, 0, 4),
        (LIMIT, BUY, 101, 4, -1, 0, 6),
    ]


def test_executions_that_are_not_of_continuous_trading(tmp_path):
    messages = [
        *QUOTES,
        new(3, SELL, 101, 10),
        new(4, SELL, 102, 10),
        message(EXECUTE, 3, size=1),  # behind order 2 in its queue
        message(EXECUTE, 4, size=1),  # behind the best price
        message(EXECUTE, 2, price=100 * TICK, size=1),  # at another price
        message(UNCROSS, 1, price=100 * TICK, size=1),
        message(EXECUTE, 2, price=101 * TICK, size=1),  # as it should be
    ]
    ledger = Ledger()
    uncrossed = ANONYMOUS | AUCTION
    assert rows(flow_of(session_of(tmp_path, messages), ledger), *ORDER)[4:] == [
        (CANCEL, SELL, 101, 1, 3, uncrossed),
        (CANCEL, SELL, 102, 1, 4, uncrossed),
        (CANCEL, SELL, 101, 1, 2, uncrossed),
        (CANCEL, BUY, 99, 1, 1, uncrossed),
        (LIMIT, BUY, 101, 1, -1, 0),
    ]
    assert (ledger.counts["out_of_priority"], ledger.counts["off_price"]) == (2, 1)
    assert (ledger.counts["executions"], ledger.counts["uncrosses"]) == (4, 1)


def test_orders_that_cross_and_rest_are_collected(tmp_path):
    messages = [
        *QUOTES,
        message(HALT, price=-1, size=0, side=NO_SIDE),
        new(3, BUY, 102, 5),
        message(COLLECT, 4, 90 * TICK, 5, BUY),
        message(CROSS, price=101 * TICK, size=5, side=NO_SIDE),
        message(UNCROSS, 3, size=5),
        message(UNCROSS, 2, size=5),
        message(EXECUTE, 2, size=5),
    ]
    session = session_of(tmp_path, messages)
    ledger = Ledger()
    assert rows(flow_of(session, ledger), "kind", "order_id", "flags")[2:4] == [
        (LIMIT, 3, AUCTION),
        (LIMIT, 4, AUCTION),
    ]
    assert ledger.counts["crossing"] == 1
    counts = RecordFeed().verify(session, Ledger()).counts
    assert (counts["flow_rows"], counts["flow_mismatches"], counts["trade_mismatches"]) == (7, 0, 0)


def test_a_clear_takes_every_order(tmp_path):
    far = 50 * MAX_TICKS
    messages = [*QUOTES, new(3, SELL, far, 1), message(CLEAR), *QUOTES, new(3, SELL, 102, 1), message(CLEAR)]
    session = session_of(tmp_path, [message | {"time": n} for n, message in enumerate(messages)])
    ledger = Ledger()
    cleared = [(CANCEL, SELL, 101, 10, 2, ANONYMOUS), (CANCEL, BUY, 99, 10, 1, ANONYMOUS)]
    found = rows(flow_of(session, ledger), *ORDER)
    assert found[2:4] == cleared
    assert sorted(found[-3:]) == sorted([*cleared, (CANCEL, SELL, 102, 1, 3, ANONYMOUS)])
    assert ledger.counts["clears"] == 2
    assert RecordFeed().verify(session, Ledger()).counts["flow_mismatches"] == 0


def test_orders_far_from_the_market_are_counted_and_left_out(tmp_path):
    far = 50 * MAX_TICKS
    messages = [
        *QUOTES,
        new(3, SELL, far, 7),
        new(4, BUY, 98, 7),
        message(REDUCE, 3, size=2),
        message(DELETE, 3),
        new(5, SELL, far, 7),
        message(EXECUTE, 5, size=7),
    ]
    session = session_of(tmp_path, messages)
    with pytest.raises(DataError, match="file0, row 8: execution far from the market: order 5"):
        flow_of(session)
    ledger = Ledger("skip")
    assert flow_of(session, ledger)["order_id"].tolist() == [1, 2, 4]
    assert ledger.counts["far_messages"] == 4
    assert ledger.reasons == {"execution far from the market": 1}


def test_the_market_is_where_most_orders_are(tmp_path):
    far = 50 * MAX_TICKS
    messages = [new(1, SELL, far, 1), new(2, SELL, far + 1, 1), new(3, BUY, 99, 1), new(4, BUY, 98, 1)]
    assert flow_of(session_of(tmp_path, messages))["order_id"].tolist() == [3, 4]


def test_ids_of_a_log_that_starts_in_mid_session(tmp_path):
    messages = [message(DELETE, 9), *QUOTES, message(EXECUTE, 9, size=1), message(DELETE, 1)]
    session = session_of(tmp_path, messages)
    ledger = Ledger()
    assert flow_of(session, ledger, PartialFeed)["order_id"].tolist() == [1, 2, 1]
    assert ledger.counts["unknown_ids"] == 2
    counts = PartialFeed().verify(session, Ledger()).counts
    assert (counts["mismatches"], counts["unknown_ids"]) == (0, 2)
    with pytest.raises(DataError, match="row 1: unknown id: no live order has the id 9"):
        flow_of(session)


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("unknown kind of message", message(11, 3)),
        ("deletes less than is left", message(DELETE, 1, size=9)),
        ("takes more than is left", message(DELETE, 1, size=11)),
        ("another side than its order's", message(REDUCE, 1, size=1, side=SELL)),
        ("another price than its order's", message(REDUCE, 1, size=1, price=98 * TICK)),
        ("no side", message(NEW, 3, 99 * TICK, 1)),
        ("no side", message(EXECUTE_HIDDEN, 0, 99 * TICK, 1, side=7)),
        ("size out of range", message(NEW, 3, 99 * TICK, MAX_SIZE + 1, BUY)),
        ("price out of range", message(EXECUTE_HIDDEN, 0, 2**62, 1, BUY)),
        ("time outside the day", message(DELETE, 1, time=-1)),
    ],
)
def test_messages_that_do_not_fit(tmp_path, reason, bad):
    session = session_of(tmp_path, [*QUOTES, bad, new(8, BUY, 98, 1)])
    with pytest.raises(DataError, match=f"file0, row 3: {reason}: "):
        flow_of(session)
    ledger = Ledger("skip")
    assert flow_of(session, ledger)["order_id"].tolist() == [1, 2, 8]
    assert ledger.reasons == {reason: 1}
    assert RecordFeed().verify(session, Ledger("skip")).counts["mismatches"] == 1


def test_sources_are_read_by_their_first_time(tmp_path):
    early = [new(1, BUY, 99, 10, time=5), new(2, SELL, 101, 10, time=6)]
    late = [message(DELETE, 1, time=7), message(DELETE, 2, time=8)]
    assert flow_of(session_of(tmp_path, late, early, []))["order_id"].tolist() == [1, 2, 1, 2]
    overlapping = [message(DELETE, 1, time=6), new(3, SELL, 101, 10, time=5)]
    with pytest.raises(DataError, match="file1, row 2: time goes back: 5 ns"):
        flow_of(session_of(tmp_path, early, overlapping))


@pytest.mark.parametrize("chunk", [2, 3, 4, 1000])
@pytest.mark.parametrize("wrong", range(9))
def test_one_time_that_is_ahead_costs_one_row(tmp_path, monkeypatch, chunk, wrong):
    monkeypatch.setattr(session_records, "CHUNK", chunk)
    messages = [new(n, BUY, 90 + n, 1, time=10 * n) for n in range(1, 11)]
    messages[wrong]["time"] = DAY_NS - 1
    session = session_of(tmp_path, messages)
    row = wrong + 1
    with pytest.raises(DataError, match=f"file0, row {row}: time runs ahead: {DAY_NS - 1} ns is later"):
        flow_of(session)
    ledger = Ledger("skip")
    assert flow_of(session, ledger)["source_row"].tolist() == [n for n in range(1, 11) if n != row]
    assert ledger.reasons == {"time runs ahead": 1}


def test_an_order_is_never_larger_than_orders_can_be(tmp_path):
    messages = [new(1, BUY, 99, MAX_SIZE), new(2, BUY, 99, MAX_SIZE), message(EXECUTE, 1, size=MAX_SIZE)]
    messages += [message(EXECUTE, 2, size=1), new(3, SELL, 100, MAX_SIZE)]
    session = session_of(tmp_path, messages)
    assert rows(flow_of(session), "size", "order_id")[2:] == [(MAX_SIZE, -1), (1, -2), (MAX_SIZE, 3)]
    counts = RecordFeed().verify(session, Ledger()).counts
    assert counts["flow_mismatches"] == counts["trade_mismatches"] == 0


def test_a_session_without_orders(tmp_path):
    session = session_of(tmp_path, [message(HALT, price=-1, size=0, side=NO_SIDE)])
    assert len(flow_of(session)["time"]) == 0
    assert RecordFeed().verify(session, Ledger()).counts["rows"] == 1


def test_the_book_grows_with_the_orders(tmp_path, monkeypatch):
    monkeypatch.setattr(session_records, "CHUNK", 700)
    orders = [
        new(n, n % 2, 500 + (-n if n % 2 else n) % 400 * (1 if n % 2 == SELL else -1), 1) for n in range(1, 5_000)
    ]
    session = session_of(tmp_path, [*orders, *(message(DELETE, n) for n in range(1, 5_000))])
    verification = RecordFeed().verify(session, Ledger())
    assert verification.counts["rows"] == verification.counts["flow_rows"] == 2 * len(orders)
    assert verification.counts["flow_mismatches"] == 0


@pytest.mark.parametrize(
    "change", [{"size": 9}, {"price": 98}, {"order_id": 2}, {"side": SELL}, {"flags": HIDDEN}], ids=str
)
def test_a_wrong_flow_is_found(tmp_path, monkeypatch, change):
    build = flow_builder.FlowBuilder.build

    def change_first(self, messages):
        columns, last = build(self, messages)
        for name, value in change.items():
            columns[name][0] = value
        return columns, last

    monkeypatch.setattr(flow_builder.FlowBuilder, "build", change_first)
    verification = RecordFeed().verify(session_of(tmp_path, QUOTES), Ledger())
    assert verification.counts["flow_mismatches"] > 0
    assert verification.notes[0].startswith("file0, row ")


def test_one_trade_may_be_told_in_two_messages(tmp_path):
    messages = [*QUOTES, message(EXECUTE, 2, size=4), message(EXECUTE, 2, size=3), message(EXECUTE, 2, size=3, time=1)]
    session = session_of(tmp_path, messages)
    assert rows(flow_of(session), *ORDER)[2:] == [(LIMIT, BUY, 101, 7, -1, 0), (LIMIT, BUY, 101, 3, -2, 0)]
    counts = RecordFeed().verify(session, Ledger()).counts
    assert (counts["trades"], counts["trade_mismatches"], counts["flow_mismatches"]) == (3, 0, 0)


def test_trades_with_the_wrong_order_are_found(tmp_path, monkeypatch):
    build = flow_builder.FlowBuilder.build

    def swap(self, messages):
        columns, last = build(self, messages)
        columns["order_id"][:2] = columns["order_id"][1::-1].copy()
        return columns, last

    messages = [new(1, BUY, 99, 10), new(2, BUY, 99, 10), message(EXECUTE, 1, size=10)]
    session = session_of(tmp_path, messages)
    monkeypatch.setattr(flow_builder.FlowBuilder, "build", swap)
    verification = RecordFeed().verify(session, Ledger())
    assert (verification.counts["flow_mismatches"], verification.counts["trade_mismatches"]) == (0, 1)
    assert "other trades" in verification.notes[0]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tick": "0.0001"}, "tick=0.0001: not a multiple of 0.001"),
        ({"tick": 0}, "tick=0: must be positive"),
        ({"open": "9:30"}, "open='9:30': write a time as HH:MM"),
        ({"close": 780}, "close=780: must be text: put it in quotes, for YAML takes 16:00 for 960"),
        ({"open": "16:00"}, "must come after open"),
        ({"ticks": 1}, "unknown option ticks"),
    ],
)
def test_bad_options(options, problem):
    with pytest.raises(ValueError, match=problem):
        RecordFeed(options)


# Few ids, prices and times, so that messages meet.
MESSAGES = st.lists(
    st.builds(
        message,
        kind=st.sampled_from(
            [NEW] * 6 + [EXECUTE] * 5 + [REDUCE, DELETE, EXECUTE_HIDDEN, UNCROSS, COLLECT, CLEAR, 0, 12]
        ),
        order_id=st.integers(0, 12),
        price=st.sampled_from([UNTOLD, 5, *range(970, 1040, TICK)]),
        size=st.sampled_from([UNTOLD, 0, 1, 2, 3, 5, 8, MAX_SIZE, 2**62]),
        side=st.integers(-1, 1),
        time=st.sampled_from([0, 0, 0, 0, 0, 1]),
        row=st.none(),
    ),
    max_size=60,
)


@pytest.mark.fuzz
@given(messages=MESSAGES, chunk=st.sampled_from([1, 2, 7, 1000]))
def test_whatever_the_messages_the_flow_makes_their_book(tmp_path_factory, messages, chunk):
    clock = np.cumsum([message["time"] for message in messages]).tolist()
    messages = [message | {"time": time} for message, time in zip(messages, clock, strict=True)]
    session = session_of(tmp_path_factory.mktemp("stream"), messages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_records, "CHUNK", chunk)
        counts = RecordFeed().verify(session, ledger := Ledger("skip")).counts
        many = flow_of(session, cut := Ledger("skip"))
    assert counts["flow_mismatches"] == counts["trade_mismatches"] == 0
    assert counts["mismatches"] == len(ledger.rejections)
    one = flow_of(session, whole := Ledger("skip"))
    assert all(np.array_equal(one[name], many[name]) for name in one)
    assert whole == cut
    if ledger.rejections:
        with pytest.raises(DataError):
            flow_of(session)


@pytest.mark.fuzz
@given(
    kinds=st.lists(st.sampled_from([NEW, DELETE, EXECUTE, EXECUTE_HIDDEN]), min_size=1, max_size=40),
    data=st.data(),
)
def test_runs_are_never_cut(kinds, data):
    records = np.zeros(len(kinds), RECORD)
    records["kind"] = kinds
    records["time"] = np.cumsum(data.draw(st.lists(st.integers(0, 1), min_size=len(kinds), max_size=len(kinds))))
    records["row"] = np.arange(len(kinds))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(kinds)), max_size=8)))
    parts = list(whole_runs(Messages.of(part) for part in np.split(records, cuts)))
    assert np.concatenate([part.row for part in parts]).tolist() == list(range(len(kinds)))
    for part, following in pairwise(parts):
        assert part.kind[-1] in (NEW, DELETE) or part.time[-1] < following.time[0]
