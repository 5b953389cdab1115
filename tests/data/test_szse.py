"""The Shenzhen feed: a day by hand, days made by the reference venue, faults planted in them, and the real sample."""

import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import SHARED
from sorted_feeds import Reading
from szse_writer import clock, random_messages, write_messages

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, MARKET_ORDER, OWN_BEST_ORDER, TRADE
from mars_lmm.data.flow import AUCTION, OrderFlow
from mars_lmm.data.ledger import SKIP
from mars_lmm.data.replay import replay
from mars_lmm.data.validate import check_flow
from mars_lmm.market.types import BEST_FIVE, BUY, CANCEL, LIMIT, MARKET, NO_SIDE, OPPOSITE_BEST, OWN_BEST, SELL
from mars_lmm.tokenizers.observation import TAPE_COLUMNS

LAYOUTS = ("letters", "ascii", "unified")

# kind, time HHMMSSmmm, side, price, size, buy id, sell id; the id of an order is its row
DAY = [
    (ADD, "091500010", BUY, 1002, 300, 1, 0),
    (ADD, "091600000", SELL, 1000, 200, 0, 2),
    (ADD, "091700000", BUY, 990, 100, 3, 0),
    (DELETE, "091800000", BUY, 0, 100, 3, 0),
    (TRADE, "092500000", NO_SIDE, 1002, 200, 1, 2),
    (ADD, "092600000", SELL, 1001, 50, 0, 6),  # waits until 09:30, and then meets what is left of order 1
    (ADD, "092700000", SELL, 1010, 500, 0, 7),
    (DELETE, "092800000", SELL, 0, 500, 0, 7),
    (TRADE, "093000000", SELL, 1002, 50, 1, 6),
    (OWN_BEST_ORDER, "093000010", SELL, 0, 100, 0, 10),  # no sell: cancelled
    (DELETE, "093000010", SELL, 0, 100, 0, 10),
    (MARKET_ORDER, "093001000", BUY, 0, 100, 12, 0),  # no sell: cancelled
    (DELETE, "093001000", BUY, 0, 100, 12, 0),
    (ADD, "093002000", SELL, 1003, 100, 0, 14),
    (ADD, "093002000", SELL, 1004, 100, 0, 15),
    (ADD, "093002000", SELL, 1005, 100, 0, 16),
    (ADD, "093002000", SELL, 1006, 100, 0, 17),
    (ADD, "093002000", SELL, 1007, 100, 0, 18),
    (ADD, "093002000", SELL, 1008, 900, 0, 19),
    (MARKET_ORDER, "093003000", BUY, 0, 600, 20, 0),  # best five, then cancel
    *((TRADE, "093003000", BUY, 1003 + i, 100, 20, 14 + i) for i in range(5)),
    (DELETE, "093003000", BUY, 0, 100, 20, 0),
    (MARKET_ORDER, "093004000", BUY, 0, 200, 27, 0),  # fills whole
    (TRADE, "093004000", BUY, 1008, 200, 27, 19),
    (MARKET_ORDER, "093005000", SELL, 0, 120, 0, 29),  # the other side's best: 50 trade, 70 rest
    (TRADE, "093005000", SELL, 1002, 50, 1, 29),
    (OWN_BEST_ORDER, "093006000", SELL, 0, 200, 0, 31),  # rests at 1002
    (MARKET_ORDER, "093007000", BUY, 0, 1100, 32, 0),  # all there is, then cancel
    (TRADE, "093007000", BUY, 1002, 70, 32, 29),
    (TRADE, "093007000", BUY, 1002, 200, 32, 31),
    (TRADE, "093007000", BUY, 1008, 700, 32, 19),
    (DELETE, "093007000", BUY, 0, 130, 32, 0),
    (ADD, "130000000", SELL, 1009, 100, 0, 37),
    (ADD, "130000000", SELL, 1010, 100, 0, 38),
    (MARKET_ORDER, "130001000", BUY, 0, 150, 39, 0),  # the other side's best; its rest is taken back at once
    (TRADE, "130001000", BUY, 1009, 100, 39, 37),
    (DELETE, "130002000", BUY, 0, 50, 39, 0),
    (ADD, "145800000", BUY, 1010, 80, 42, 0),
    (TRADE, "150000000", NO_SIDE, 1010, 80, 42, 38),
]
SENT = [  # kind, side, price, size, id, the last message that it caused
    (LIMIT, BUY, 1002, 300, 1, 1),
    (LIMIT, SELL, 1000, 200, 2, 2),
    (LIMIT, BUY, 990, 100, 3, 3),
    (CANCEL, BUY, 990, 100, 3, 4),
    (LIMIT, SELL, 1001, 50, 6, 6),
    (LIMIT, SELL, 1010, 500, 7, 7),
    (CANCEL, SELL, 1010, 500, 7, 8),
    *((LIMIT, SELL, 1003 + i, 900 if i == 5 else 100, 14 + i, 14 + i) for i in range(6)),
    (BEST_FIVE, BUY, 0, 600, 20, 26),
    (MARKET, BUY, 0, 200, 27, 28),
    (OPPOSITE_BEST, SELL, 0, 120, 29, 30),
    (OWN_BEST, SELL, 0, 200, 31, 31),
    (MARKET, BUY, 0, 1100, 32, 36),
    (LIMIT, SELL, 1009, 100, 37, 37),
    (LIMIT, SELL, 1010, 100, 38, 38),
    (OPPOSITE_BEST, BUY, 0, 150, 39, 40),
    (CANCEL, BUY, 1009, 50, 39, 41),
    (LIMIT, BUY, 1010, 80, 42, 42),
]


def read_day(folder, messages=DAY, layout="letters", **settings):
    """Write and read messages."""
    return Reading("szse", [write_messages(folder / "20240102", layout, messages)], **settings)


def changed(messages, row, **columns):
    """Messages with another one at a row, counted from 1."""
    names = ("kind", "time", "side", "price", "size", "buy", "sell")
    message = dict(zip(names, messages[row - 1], strict=True)) | columns
    return [*messages[: row - 1], tuple(message.values()), *messages[row:]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_flow_is_what_was_sent(tmp_path, layout):
    reading = read_day(tmp_path, layout=layout)
    flow = reading.flow()
    columns = ("kind", "side", "price", "size", "order_id", "source_row")
    assert list(zip(*(flow[name].tolist() for name in columns), strict=True)) == SENT
    called = [(DAY[order_id - 1][1] < "0925" or DAY[order_id - 1][1] >= "1457") for *_, order_id, _ in SENT]
    assert flow["flags"].tolist() == [AUCTION * call for call in called]
    session = reading.feed.describe(reading.sessions[0])
    assert (session.name, session.rules, session.rebuilt_takers) == ("000001_2024-01-02", "szse_main", False)
    assert reading.ledger.rejections == []
    counts = reading.ledger.counts
    assert (counts["orders"], counts["trades"], counts["void_orders"]) == (22, 14, 2)
    assert (counts["buy_cancels"], counts["sell_cancels"]) == (5, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_books_trades_and_auctions_come_back(tmp_path, layout):
    verification = read_day(tmp_path, layout=layout).verify()
    assert verification.notes == []
    assert verification.counts == {
        "rows": len(DAY),
        "compared": len(SENT),
        "mismatches": 0,
        "unknown_ids": 0,
        "void_orders": 2,
        "market_limits": 0,
        "flow_rows": len(SENT),
        "flow_mismatches": 0,
        "trades": 14,
        "trade_mismatches": 0,
        "auctions": 2,
        "auction_mismatches": 0,
    }


@pytest.mark.parametrize("seed", range(4))
def test_days_of_the_reference_venue_come_back(tmp_path, seed):
    """Auctions, queued orders, market orders of all kinds and cancels, written by a venue of its own."""
    messages = random_messages(seed, 3000)
    reading = read_day(tmp_path, messages, LAYOUTS[seed % 3])
    verification = reading.verify()
    assert verification.notes == []
    counts = verification.counts
    assert sum(count for name, count in counts.items() if name.endswith("mismatches")) == 0
    assert counts["rows"] == len(messages)
    assert counts["trades"] == sum(message[0] == TRADE for message in messages) > 500
    assert counts["auctions"] == 2
    assert counts["unknown_ids"] == 0
    flow = reading.flow()
    assert {LIMIT, CANCEL, MARKET, BEST_FIVE, OPPOSITE_BEST, OWN_BEST} <= set(flow["kind"].tolist())
    assert len(flow["kind"]) == counts["flow_rows"]


@pytest.mark.parametrize(
    ("messages", "name"),
    [
        (changed(DAY, 4, size=90), "mismatches"),
        (changed(DAY, 4, buy=99), "unknown_ids"),
        (changed(DAY, 5, price=1001), "auction_mismatches"),
        (changed(DAY, 5, size=100), "auction_mismatches"),
        (changed(DAY, 9, price=1001), "mismatches"),
        (changed(DAY, 13, buy=0, sell=6), "mismatches"),  # the market order neither trades nor is cancelled
        (changed(DAY, 21, sell=19), "mismatches"),
        (changed(DAY, 28, size=300), "mismatches"),
        (changed(DAY, 31, kind=MARKET_ORDER), "mismatches"),
        ([*DAY[:24], DAY[25], *DAY[26:]], "mismatches"),  # a trade is missing
        ([*DAY[:32], DAY[33], DAY[32], *DAY[34:]], "trade_mismatches"),
        (DAY[:-1], "trade_mismatches"),
        (changed(DAY, 37, time="120000000"), "flow_mismatches"),
    ],
)
def test_a_wrong_message_is_found(tmp_path, messages, name):
    assert read_day(tmp_path, messages).verify().counts[name] > 0


@pytest.mark.fuzz
@given(st.integers(0, 10**6))
def test_a_planted_fault_is_found(tmp_path_factory, place):
    """The loss of any message, or another size in it, shows."""
    messages = random_messages(9, 400)
    row = place % len(messages) + 1
    kind, _, _, _, size, _, _ = messages[row - 1]
    lost = changed(messages, row, size=size + 100)
    verification = read_day(tmp_path_factory.mktemp("fault"), lost).verify()
    wrong = sum(count for name, count in verification.counts.items() if name.endswith("mismatches"))
    assert wrong > 0 or kind == ADD  # an order that rests to the end may be of any size


def test_a_market_order_that_trades_through_and_rests_becomes_a_limit(tmp_path):
    day = [
        (ADD, "100000000", SELL, 1003, 100, 0, 1),
        (ADD, "100000000", SELL, 1004, 100, 0, 2),
        (MARKET_ORDER, "100001000", BUY, 0, 250, 3, 0),
        (TRADE, "100001000", BUY, 1003, 100, 3, 1),
        (TRADE, "100001000", BUY, 1004, 100, 3, 2),
        (ADD, "100002000", SELL, 1010, 100, 0, 6),
    ]
    reading = read_day(tmp_path, day)
    flow = reading.flow()
    assert (flow["kind"][2], flow["price"][2], flow["size"][2]) == (LIMIT, 1004, 250)
    assert reading.ledger.counts["market_limits"] == 1
    assert reading.verify().notes == []


@pytest.mark.parametrize("cancelled", ["100001000", "100600000"])
def test_what_an_opposite_best_order_left_is_cancelled_later(tmp_path, cancelled):
    """It took all there was, and what rested of it was taken back; at once, or while nothing else happened."""
    day = [
        (ADD, "100000000", SELL, 1003, 400, 0, 1),
        (MARKET_ORDER, "100001000", BUY, 0, 1000, 2, 0),
        (TRADE, "100001000", BUY, 1003, 400, 2, 1),
        (DELETE, cancelled, BUY, 0, 600, 2, 0),
        (ADD, "100700000", BUY, 990, 100, 5, 0),
    ]
    reading = read_day(tmp_path, day)
    flow = reading.flow()
    rows = list(zip(*(flow[name].tolist() for name in ("kind", "price", "size", "order_id")), strict=True))
    at_once = [(MARKET, 0, 1000, 2)]
    later = [(OPPOSITE_BEST, 0, 1000, 2), (CANCEL, 1003, 600, 2)]
    assert rows[1:-1] == (at_once if cancelled == "100001000" else later)
    assert clock(int(flow["time"][-2])) == ("100001000" if cancelled == "100001000" else cancelled)
    assert reading.verify().notes == []


@pytest.mark.parametrize("price", [1000, 1002, 1010, 1020])
def test_the_replay_holds_the_auction_that_verify_proves(tmp_path, price):
    """Every price from 1000 to 1020 trades as much: the one that traded is the one nearest to the previous close."""
    day = [
        (ADD, "091600000", BUY, 1020, 1000, 1, 0),
        (ADD, "091700000", SELL, 1000, 1000, 0, 2),
        (TRADE, "092500000", NO_SIDE, price, 1000, 1, 2),
        (ADD, "093100000", BUY, 1001, 100, 4, 0),
        (ADD, "093200000", SELL, 1003, 100, 0, 5),
    ]
    reading = read_day(tmp_path, day)
    verification = reading.verify()
    assert (verification.notes, verification.counts["auctions"]) == ([], 1)
    session = reading.feed.describe(reading.sessions[0])
    OrderFlow(session, reading.flow()).write(tmp_path / "flow.parquet")
    replayed = replay(OrderFlow.read(tmp_path / "flow.parquet"))
    assert replayed.tape[2:, TAPE_COLUMNS.index("last_price")].tolist() == [price] * 2


@pytest.mark.parametrize("price", [0, 10.02, "1002", True])
def test_a_reference_price_that_is_none_is_told(tmp_path, price):
    reading = read_day(tmp_path)
    session = reading.feed.describe(reading.sessions[0])
    path = tmp_path / session.file
    OrderFlow(session, reading.flow()).write(path)
    assert check_flow(path).problems == []
    session.reference_price = price
    OrderFlow(session, reading.flow()).write(path)
    assert check_flow(path).problems == [f"the session's reference price is {price!r}; give it in ticks, or null"]


def test_a_flow_from_before_reference_prices_is_read(tmp_path):
    reading = read_day(tmp_path)
    session = reading.feed.describe(reading.sessions[0])
    assert session.reference_price == 1002
    del session.reference_price  # the class's own is left
    OrderFlow(session, reading.flow()).write(tmp_path / "flow.parquet")
    assert "reference_price" not in json.loads(pq.read_schema(tmp_path / "flow.parquet").metadata[b"session"])
    assert OrderFlow.read(tmp_path / "flow.parquet").session.reference_price is None


@pytest.mark.parametrize(
    ("symbol", "rules"), [("300750", "szse_chinext"), ("302132", "szse_chinext"), ("002415", "szse_main")]
)
def test_boards(tmp_path, symbol, rules):
    reading = Reading("szse", [write_messages(tmp_path / "20240102", "letters", DAY, symbol)])
    assert reading.feed.describe(reading.sessions[0]).rules == rules
    assert reading.verify().notes == []


@pytest.mark.parametrize("suffix", [".SZ", ".sz", ".XSHE"])
def test_a_market_behind_the_symbol(tmp_path, suffix):
    reading = Reading("szse", [write_messages(tmp_path / "20240102", "letters", DAY, f"000001{suffix}")])
    assert reading.sessions[0].symbol == "000001"
    assert len(reading.flow()["time"]) == len(SENT)


def test_a_cancel_need_not_name_the_other_side(tmp_path):
    folder = write_messages(tmp_path / "20240102", "letters", DAY)
    file = folder / "mdl_6_36_0.csv"
    text = file.read_text()
    assert ",3,0," in text
    file.write_text(text.replace(",3,0,", ",3,,"))
    assert len(Reading("szse", [folder]).flow()["time"]) == len(SENT)


def test_contradictions_are_errors_or_left_out(tmp_path):
    messages = changed(DAY, 4, size=90)
    with pytest.raises(DataError, match=r"mdl_6_36_0.csv, row 2: message does not fit the book: sequence number 4"):
        read_day(tmp_path, messages).flow()
    reading = read_day(tmp_path, messages, on_error=SKIP)
    assert len(reading.flow()["time"]) == len(SENT) - 1
    assert reading.ledger.reasons == {"message does not fit the book": 1}


@pytest.mark.parametrize(
    ("table", "row", "old", "new", "reason"),
    [
        ("mdl_6_33_0", 1, "OrderQty", "Amount", "columns missing: the header lacks OrderQty"),
        ("mdl_6_33_0", 2, ",10.0200,", ",10.0250,", "price is finer than its unit: Price is 10.0250"),
        ("mdl_6_33_0", 2, ",10.0200,", ",-1,", "price out of range: Price is -1"),
        ("mdl_6_33_0", 2, ",300.00,1,", ",300.00,G,", "unknown side: Side 'G' is not one of"),
        ("mdl_6_33_0", 2, ",300.00,1,", ",1,", "wrong number of columns: 9 columns instead of 10"),
        ("mdl_6_36_0", 2, ",3,0,", ",0,0,", "cancel of no order"),
        ("mdl_6_36_0", 2, ",3,0,", ",3,4,", "cancel of no order"),
        ("mdl_6_36_0", 3, ",F,", ",A,", "unknown type: ExecType 'A' is not one of F, 70, 4, 52"),
        ("mdl_6_36_0", 3, ",1,2,", ",1,0,", "seller out of range"),
        ("mdl_6_36_0", 3, "20240102092500000", "20240102096000000", "not a time"),
        ("mdl_6_36_0", 3, "20240102092500000", "20240230092500000", "not a time: TransactTime '20240230092500000'"),
    ],
)
def test_a_damaged_table(tmp_path, table, row, old, new, reason):
    folder = write_messages(tmp_path / "20240102", "letters", DAY)
    file = folder / f"{table}.csv"
    lines = file.read_text().splitlines()
    assert old in lines[row - 1]
    lines[row - 1] = lines[row - 1].replace(old, new)
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"{table}.csv, row {row}: {reason}"):
        Reading("szse", [folder])


@pytest.mark.fuzz
@given(st.data())
def test_damage_is_an_error_or_is_listed(tmp_path_factory, data):
    """Whatever a file holds: a DataError, or an order flow and a list of what was left out."""
    folder = write_messages(tmp_path_factory.mktemp("spoilt"), data.draw(st.sampled_from(LAYOUTS)), DAY)
    file = data.draw(st.sampled_from(sorted(folder.glob("*.csv"))))
    lines = file.read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        how = data.draw(st.integers(0, 4))
        if how == 0:
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif how == 1:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif how == 2:
            lines.insert(at, data.draw(st.sampled_from(lines)))
        else:
            fields = lines[at].split(",")
            values = ["", "0", "-1", "3", "14", "10.005", "9" * 17, "9" * 30, "1e5", "24:00:00", "U", "1", "F", "4"]
            fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(st.sampled_from(values))
            lines[at] = ",".join(fields)
    file.write_bytes("\n".join(lines).encode() + data.draw(st.binary(max_size=20)))
    for on_error in ("raise", SKIP):
        try:
            reading = Reading("szse", [folder], on_error=on_error)
            for number in range(len(reading.sessions)):
                assert (reading.flow(number)["size"] > 0).all()
                reading.verify(number)
        except DataError:
            continue
        assert on_error == SKIP or not reading.ledger.rejections


def test_real_trades_without_orders():
    """The sample has trades and cancels alone: an error, or listed; nothing of it is lost unseen."""
    path = SHARED / "data" / "szse" / "tradeData.zip"
    if not path.exists():
        pytest.skip("the sample is not at hand; set MARS_LMM_SHARED")
    reading = Reading("szse", [path], on_error=SKIP)
    assert [session.name for session in reading.sessions] == ["000001_2023-02-01"]
    assert len(reading.flow()["time"]) == 0
    assert [(r.reason, r.row) for r in reading.ledger.rejections] == [("orders missing", None)]
    assert "the orders of 000001 2023-02-01 are missing" in reading.ledger.rejections[0].detail
    assert +reading.ledger.counts == {
        "other_instruments": 14_872,  # Shanghai's 600000
        "messages": 166_811,
        "trades": 133_815,
        "buyers_last": 56_699,
        "sellers_last": 77_116,
        "buy_cancels": 19_533,
        "sell_cancels": 13_463,
    }
    with pytest.raises(DataError, match="orders missing"):
        Reading("szse", [path]).flow()
