"""The Shanghai feed on a small day by hand, and on the real days where they are at hand."""

import numpy as np
import pytest
from shared_data import SHARED
from sorted_feeds import Reading
from sse_writer import (
    log_line,
    merged_rows,
    snapshot_line,
    table_rows,
    write_log,
    write_merged,
    write_tables,
)

from mars_lmm.data import verify
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE
from mars_lmm.data.feeds.common.level2.records import merge
from mars_lmm.data.feeds.sse.book import rebuild
from mars_lmm.data.feeds.sse.snapshots import NO_MATCH, SNAPSHOT, Snapshots, match_snapshots
from mars_lmm.data.flow import AUCTION
from mars_lmm.data.spool import SNAPSHOTS as SHOWN
from mars_lmm.data.spool import read_records
from mars_lmm.market.types import BUY, CANCEL, LIMIT, NO_SIDE, SELL

LAYOUTS = ("log", "tables", "merged")

# kind, time HHMMSScc, side, price, size, buy id, sell id
DAY = [
    (ADD, "09150010", BUY, 1002, 300, 1, 0),
    (ADD, "09150100", SELL, 1000, 200, 0, 2),
    (ADD, "09160000", BUY, 1001, 100, 3, 0),
    (DELETE, "09170000", BUY, 1001, 100, 3, 0),
    (ADD, "09180000", BUY, 999, 500, 4, 0),
    (ADD, "09210000", SELL, 1005, 400, 0, 5),
    (TRADE, "09250010", NO_SIDE, 1002, 200, 1, 2),
    (ADD, "09300050", SELL, 1006, 300, 0, 6),
    (TRADE, "09300200", BUY, 1005, 400, 7, 5),  # a buy of 500 fills whole
    (TRADE, "09300200", BUY, 1006, 100, 7, 6),
    (TRADE, "09310000", SELL, 1002, 100, 1, 8),  # a sell of 250, of which 150 rest
    (ADD, "09310000", SELL, 1000, 150, 0, 8),
    (DELETE, "09310500", SELL, 1000, 150, 0, 8),
    (ADD, "13000100", BUY, 1004, 200, 9, 0),
    (DELETE, "13050000", SELL, 1006, 200, 0, 6),
    (ADD, "13060000", SELL, 1008, 100, 0, 10),
    (ADD, "14573000", SELL, 1003, 350, 0, 11),
    (ADD, "14580000", BUY, 1003, 100, 12, 0),
    (TRADE, "15000050", NO_SIDE, 1003, 200, 9, 11),
    (TRADE, "15000050", NO_SIDE, 1003, 100, 12, 11),
]
SENT = [  # kind, side, price, size, id, the message that completes it
    (LIMIT, BUY, 1002, 300, 1, 1),
    (LIMIT, SELL, 1000, 200, 2, 2),
    (LIMIT, BUY, 1001, 100, 3, 3),
    (CANCEL, BUY, 1001, 100, 3, 4),
    (LIMIT, BUY, 999, 500, 4, 5),
    (LIMIT, SELL, 1005, 400, 5, 6),
    (LIMIT, SELL, 1006, 300, 6, 8),
    (LIMIT, BUY, 1006, 500, 7, 10),
    (LIMIT, SELL, 1000, 250, 8, 12),
    (CANCEL, SELL, 1000, 150, 8, 13),
    (LIMIT, BUY, 1004, 200, 9, 14),
    (CANCEL, SELL, 1006, 200, 6, 15),
    (LIMIT, SELL, 1008, 100, 10, 16),
    (LIMIT, SELL, 1003, 350, 11, 17),
    (LIMIT, BUY, 1003, 100, 12, 18),
]
OPENED = (1, 200, 200_400, 1002, 1002, 1002, 1002)  # trades, volume, value, open, last, high, low
SOLD = (4, 800, 803_200, 1002, 1002, 1006, 1002)
SNAPSHOTS = [
    ("091600", (0,) * 7, [(1002, 200)], [(1002, 200)]),  # a call's: not compared
    ("093001", OPENED, [(1005, 400), (1006, 300)], [(1002, 100), (999, 500)]),
    ("093100", SOLD, [(1000, 150), (1006, 200)], [(999, 500)]),
    ("093106", SOLD, [(1006, 200)], [(999, 500)]),
    ("113000", SOLD, [(1006, 200)], [(999, 500)]),
    ("120000", SOLD, [(1, 1)], []),  # at lunch: not compared
    ("145700", SOLD, [], []),  # a call's
]


def real(name):
    """Path of a real file; skips where it is not at hand."""
    path = SHARED / "data" / "sse" / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand; set MARS_LMM_SHARED")
    return path


def write_day(folder, layout, messages=DAY, snapshots=SNAPSHOTS):
    """Write the messages; returns the path."""
    if layout == "tables":
        return write_tables(folder / "2024", *table_rows(messages))
    if layout == "merged":
        return write_merged(folder / "20240102", merged_rows(messages))
    # The streams of a log come one behind the other as they please.
    trades = [log_line(i, m) for i, m in enumerate(messages, start=1) if m[0] == TRADE]
    orders = [log_line(i, m) for i, m in enumerate(messages, start=1) if m[0] != TRADE]
    shown = [snapshot_line(*snapshot) for snapshot in snapshots]
    return write_log(folder / "600000_2024-01-02.log", trades + shown + orders)


def read_day(folder, layout, messages=DAY, snapshots=SNAPSHOTS, **settings):
    """Write and read the messages."""
    return Reading("sse", [write_day(folder, layout, messages, snapshots)], **settings)


def changed(row, **columns):
    """The day with another message at a row, counted from 1."""
    names = ("kind", "time", "side", "price", "size", "buy", "sell")
    message = dict(zip(names, DAY[row - 1], strict=True)) | columns
    return [*DAY[: row - 1], tuple(message.values()), *DAY[row:]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_flow_is_what_was_sent(tmp_path, layout):
    reading = read_day(tmp_path, layout)
    flow = reading.flow()
    columns = ("kind", "side", "price", "size", "order_id", "source_row")
    assert list(zip(*(flow[name].tolist() for name in columns), strict=True)) == SENT
    clock = [DAY[row - 1][1] for *_, row in SENT]
    nanoseconds = [((int(c[:2]) * 60 + int(c[2:4])) * 60 + int(c[4:6])) * 10**9 + int(c[6:]) * 10**7 for c in clock]
    assert flow["time"].tolist() == nanoseconds
    assert flow["flags"].tolist() == [AUCTION * (c < "0925" or c >= "1457") for c in clock]
    session = reading.feed.describe(reading.sessions[0])
    assert (session.name, session.tick_size, session.rebuilt_takers) == ("600000_2024-01-02", 0.01, True)
    assert session.rules == "sse_main"
    assert reading.ledger.rejections == []
    assert +reading.ledger.counts == {
        "messages": 20,
        "adds": 11,
        "deletes": 3,
        "trades": 6,
        "auction_trades": 3,
        "aggressors": 2,
        "merged_runs": 1,
        "remainders": 1,
        **({"statuses": 2} if layout == "merged" else {}),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_books_trades_and_auctions_come_back(tmp_path, layout):
    verification = read_day(tmp_path, layout).verify()
    assert verification.notes == []
    assert verification.counts == {
        "rows": 20,
        "compared": 4 if layout == "log" else 0,
        "mismatches": 0,
        "unknown_ids": 0,
        "snapshots": 7 if layout == "log" else 0,
        "flow_rows": 15,
        "flow_mismatches": 0,
        "trades": 6,
        "trade_mismatches": 0,
        "auctions": 2,
        "auction_mismatches": 0,
    }


@pytest.mark.parametrize(
    ("messages", "name", "note"),
    [
        (changed(4, size=90), "mismatches", "the delete of 90"),
        (changed(4, price=1003), "mismatches", "the delete of 100 at 1003"),
        (changed(9, sell=99), "unknown_ids", None),
        (changed(9, sell=99), "mismatches", "does not fit the book"),
        (changed(9, size=401), "mismatches", "the trade of 401"),
        (changed(9, price=1004), "mismatches", "at 1004 ticks"),
        (changed(9, buy=4), "mismatches", "buyer 4"),  # both orders rest
        (changed(12, buy=0, sell=6), "mismatches", "the new order"),  # an id twice
        (changed(7, price=1001), "auction_mismatches", "auction 1 is [1001, 200]"),
        (changed(19, size=150), "auction_mismatches", "auction 2 is [1003, 250]"),
        (changed(19, buy=12, size=100)[:-1], "auction_mismatches", "auction 2 is [1003, 100]"),
        ([*DAY[:8], DAY[9], DAY[8], *DAY[10:]], "trade_mismatches", "trade 2 is [7, 6, 1006, 100, 1]"),
        ([*DAY[:18], DAY[19], DAY[18]], "trade_mismatches", "trade 5"),
        (DAY[:-2], "auction_mismatches", "auction 2 is None"),
        (changed(14, time="12000100"), "flow_mismatches", "closed"),
    ],
)
def test_a_wrong_message_is_found(tmp_path, messages, name, note):
    verification = read_day(tmp_path, "log", messages).verify()
    assert verification.counts[name] > 0
    assert note is None or any(note in text for text in verification.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "093004"},  # trades too few for its time
        {"time": "092959"},
        {"asks": [(1005, 400), (1006, 301)]},
        {"asks": [(1005, 400)]},
        {"bids": [(1002, 100), (998, 500)]},
        *({"figures": (*OPENED[:i], OPENED[i] + 1, *OPENED[i + 1 :])} for i in range(7)),
    ],
)
def test_a_wrong_snapshot_is_found(tmp_path, change):
    time, figures, asks, bids = SNAPSHOTS[1]
    wrong = {"time": time, "figures": figures, "asks": asks, "bids": bids} | change
    verification = read_day(tmp_path, "log", snapshots=[tuple(wrong.values()), *SNAPSHOTS[2:4]]).verify()
    expected = 0 if change.get("time") == "092959" else 1  # before trading: not compared
    assert verification.counts["mismatches"] == expected
    assert len(verification.notes) == expected


def test_snapshots_match_in_sequence(tmp_path):
    """The second one shows the book before that of the first, though its time would do."""
    snapshots = [SNAPSHOTS[2], ("093100", *SNAPSHOTS[3][1:]), ("093105", *SNAPSHOTS[2][1:])]
    assert (
        read_day(tmp_path, "log", snapshots=snapshots).verify().counts["mismatches"] == 1
    )  # the delete is five seconds after the second one's
    snapshots = [SNAPSHOTS[2], SNAPSHOTS[3], ("093105", *SNAPSHOTS[2][1:])]
    assert read_day(tmp_path, "log", snapshots=snapshots).verify().counts["mismatches"] == 1


def test_contradictions_are_errors_or_left_out(tmp_path):
    path = write_day(tmp_path, "log", changed(4, size=90))
    reason = "row [0-9]+: message does not fit the book: sequence number 4: the delete of 90"
    with pytest.raises(DataError, match=reason):
        Reading("sse", [path]).flow()
    reading = Reading("sse", [path], on_error="skip")
    assert reading.flow()["order_id"].tolist() == [row[4] for row in SENT if row[0] != CANCEL or row[4] != 3]
    assert reading.ledger.reasons == {"message does not fit the book": 1}


def test_what_an_order_traded_before_it_rests_is_checked(tmp_path):
    rows = merged_rows(DAY)
    (row,) = [i for i, text in enumerate(rows) if ",A," in text and ",100.000,S," in text]  # the remainder of 8
    rows[row] = rows[row].replace(",100.000,S,", ",200.000,S,")
    reading = Reading("sse", [write_merged(tmp_path / "20240102", rows)])
    verification = reading.verify()
    assert verification.counts["mismatches"] == 2  # and its delete
    assert "the new order of 150 at 1000" in verification.notes[0]


HALTED = [  # from 10:00 to 10:10, orders are collected; then an auction
    *DAY[:13],
    (ADD, "10010000", SELL, 1000, 500, 0, 20),
    (ADD, "10020000", BUY, 1004, 600, 21, 0),
    (TRADE, "10100000", NO_SIDE, 1004, 500, 21, 20),
    *DAY[13:],
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_halt_is_refused(tmp_path, layout):
    """An order flow cannot tell it, and a replay would let the orders trade at once."""
    reason = "row [0-9]+: trading was halted: an auction at 10:10:00, within continuous trading: .* leave the stock-day"
    path = write_day(tmp_path, layout, HALTED)
    with pytest.raises(DataError, match=reason):
        Reading("sse", [path]).flow()
    reading = Reading("sse", [path], on_error="skip")
    assert len(reading.flow()["time"]) == 0
    assert reading.verify().counts["rows"] == 0
    assert reading.ledger.reasons == {"trading was halted": 2}


@pytest.mark.parametrize(
    ("time", "refused"), [("10:00:00.000", True), ("09:10:00.000", False), ("14:58:00.000", False)]
)
def test_a_suspension_within_the_session_is_refused(tmp_path, time, refused):
    """What was collected may reopen in the closing auction."""
    rows = merged_rows([*HALTED[:15], *DAY[13:17]])
    rows.insert(14, f"0,1,600000,{time},S,0,0,0.000,0,0.000,SUSP,{time},1")
    reading = Reading("sse", [write_merged(tmp_path / "20240102", rows)], on_error="skip")
    assert bool(len(reading.flow()["time"])) != refused
    assert reading.ledger.counts["statuses"] == 3
    told = [(rejection.reason, rejection.row, rejection.detail[:25]) for rejection in reading.ledger.rejections]
    assert told == [("trading was halted", 15, "trading stops at 10:00:00")] * refused


def test_a_wrong_flag_alone_is_no_halt(tmp_path):
    path = write_day(tmp_path, "tables", changed(9, side=NO_SIDE))
    with pytest.raises(DataError, match="message does not fit the book: sequence number 9: the trade of 400"):
        Reading("sse", [path]).flow()


def test_verify_prints_the_result(tmp_path, capsys):
    write_day(tmp_path, "tables")
    assert verify.main(["sse", str(tmp_path)]) == 0
    assert '"feed": "sse"' in capsys.readouterr().out
    write_day(tmp_path, "tables", changed(7, price=1001))
    assert verify.main(["sse", str(tmp_path)]) == 1


def test_real_log():
    """600519: every snapshot of continuous trading, every trade, both auctions."""
    reading = Reading("sse", [real("AX_sbe_sse_600519.zip")], {"date": "2023-02-07"})
    assert reading.sessions[0].name == "600519_2023-02-07"
    verification = reading.verify()
    assert verification.notes == []
    assert verification.counts == {
        "rows": 64_449,
        "compared": 4_767,
        "mismatches": 0,
        "unknown_ids": 0,
        "snapshots": 5_146,
        "flow_rows": 58_430,
        "flow_mismatches": 0,
        "trades": 18_685,
        "trade_mismatches": 0,
        "auctions": 2,
        "auction_mismatches": 0,
    }
    _a_missing_message_shows(reading)


def _a_missing_message_shows(reading):
    """The match is not so lax that a wrong book passes: the loss of one add shows in the snapshots."""
    (session,) = reading.sessions
    messages = merge(session, reading.ledger)
    snapshots = Snapshots.of(read_records(session.records[0].with_suffix(SHOWN), SNAPSHOT))
    best = rebuild(messages).books[:, BUY, 0, 0]
    improves = (messages.kind[1:] == ADD) & (messages.side[1:] == BUY) & (messages.price[1:] > best[:-1])
    stays = np.flatnonzero(improves[: len(best) // 2])[-20:] + 1
    lost = 0
    for row in stays:
        without = messages.keep(np.arange(len(messages.time)) != row)
        _, matches = match_snapshots(without, rebuild(without).books, snapshots)
        lost += bool((matches == NO_MATCH).any())
    assert lost > 0


def test_real_tables():
    """Five stocks: every trade and both auctions of each."""
    reading = Reading("sse", [real("SHorders.zip"), real("SHtrans.zip")])
    trades = {}
    for number, session in enumerate(reading.sessions):
        verification = reading.verify(number)
        assert verification.notes == []
        wrong = {name: count for name, count in verification.counts.items() if name.endswith("mismatches") and count}
        assert (wrong, verification.counts["unknown_ids"], verification.counts["auctions"]) == ({}, 0, 2)
        trades[session.name] = verification.counts["trades"]
    assert trades == {
        "600536_2023-07-11": 33_553,
        "600761_2023-07-11": 24_760,
        "600961_2023-07-11": 28_937,
        "601825_2023-07-11": 5_370,
        "605580_2023-07-11": 16_996,
    }
