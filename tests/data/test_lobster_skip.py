"""Bad rows of LOBSTER files left out: each is listed, costs no good row, and the book is right again after it."""

from collections.abc import Callable

import numpy as np
import pytest
from lobster_reading import read_flow, sessions_of, verify
from lobster_writer import EMPTY_ASK, NAME, record, write_pair

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.common.by_order.levels import holds
from mars_lmm.data.flow import ANONYMOUS, AUCTION
from mars_lmm.data.ledger import SKIP, Ledger
from mars_lmm.data.replay import Replayer
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, LIMIT, NO_PRICE, SELL

LEVELS = 2
MESSAGE, ORDERBOOK = NAME.format("message", LEVELS), NAME.format("orderbook", LEVELS)


@pytest.fixture(scope="module")
def recording():
    return record(seed=11, levels=LEVELS, num_orders=400)


def field(column: int, value: str) -> Callable[[str], str]:
    """Sets a line's field, counted from 1."""

    def damage(line: str) -> str:
        values = line.split(",")
        values[column - 1] = value
        return ",".join(values)

    return damage


def cut(line: str) -> str:
    return line[: len(line) // 2]


BAD_MESSAGES = {
    "malformed row": cut,
    "unknown type": field(2, "9"),
    "time out of range": field(1, "86400"),
    "time goes back": field(1, "34200"),
    "time runs ahead": field(1, "80000"),
    "bad direction": field(6, "2"),
    "bad size": field(4, "-3"),
    "bad price": field(5, "0"),
    "price off the tick": field(5, "100150"),
    "price far away": field(5, "9999999900"),
    "bad halt": field(2, "7"),
    "bad id": field(2, "6"),
}
BAD_BOOKS = {
    "malformed row": lambda line: line + ",1,1",
    "bad size": field(2, "0"),
    "bad price": field(1, "-5"),
    "price off the tick": field(3, "99901"),
    "price far away": field(1, "9999999900"),
    "crossed book": lambda line: field(1, line.split(",")[2])(line),
    "levels out of order": lambda line: field(5, line.split(",")[0])(line),
}
CASES = [(MESSAGE, reason) for reason in BAD_MESSAGES] + [(ORDERBOOK, reason) for reason in BAD_BOOKS]


def shown(row: list[int]) -> np.ndarray:
    """A row of the orderbook file as levels in ticks, int64[2, L, 2]."""
    pairs = np.array(row).reshape(-1, 2, 2).swapaxes(0, 1).copy()
    missing = np.abs(pairs[..., 0]) == 9_999_999_999
    pairs[..., 0] = np.where(missing, NO_PRICE, pairs[..., 0] // 100)
    return pairs


def replayed_book(path):
    """Our exchange's book after the flow of the session's good rows; none of its orders is rejected."""
    feed, (session,) = load_feed("lobster"), sessions_of(path)
    replayer = Replayer(feed.describe(session))
    for columns in feed.order_flow(session, Ledger(SKIP)):
        replayer.put(columns, Ledger())
    return replayer.state.book[0]


@pytest.mark.parametrize(("name", "reason"), CASES, ids=[f"{name.split('_')[4]}-{reason}" for name, reason in CASES])
def test_a_bad_row_is_listed_and_costs_no_other(recording, tmp_path, name, reason):
    visible = [n for n, message in enumerate(recording.messages, start=1) if message[1] in (1, 3) and n > 20]
    bad = visible[10:200:40]  # rows
    lines = {MESSAGE: recording.message_lines(), ORDERBOOK: recording.book_lines()}
    damage = (BAD_MESSAGES if name == MESSAGE else BAD_BOOKS)[reason]
    for row in bad:
        lines[name][row - 1] = damage(lines[name][row - 1])
    path = write_pair(tmp_path, lines[MESSAGE], lines[ORDERBOOK], LEVELS)

    with pytest.raises(DataError, match=f"{name}, row {bad[0]}: {reason}: "):
        read_flow(path)
    flow, ledger = read_flow(path, SKIP)
    assert [(rejection.source, rejection.row, rejection.reason) for rejection in ledger.rejections] == [
        (str(tmp_path / name), row, reason) for row in bad
    ]
    assert flow.counts["messages"] == len(recording.messages) - len(bad)
    assert not np.isin(flow.source_row[flow.flags & ANONYMOUS == 0], bad).any()

    book = replayed_book(path)
    levels = shown(recording.books[-1])
    assert holds(book, SELL, levels[SELL])
    assert holds(book, BUY, levels[BUY])
    verification, _ = verify(path, SKIP)
    assert verification.notes == []
    assert verification.counts["compared"] == len(recording.messages) - len(bad)


@pytest.mark.parametrize(("longer", "shorter"), [(MESSAGE, ORDERBOOK), (ORDERBOOK, MESSAGE)])
def test_a_surplus(recording, tmp_path, longer, shorter):
    recording.write(tmp_path)
    lines = (tmp_path / shorter).read_text().splitlines(keepends=True)
    (tmp_path / shorter).write_text("".join(lines[:-30]))
    flow, ledger = read_flow(tmp_path, SKIP)
    surplus = range(len(lines) - 29, len(lines) + 1)
    assert [(rejection.source, rejection.row) for rejection in ledger.rejections] == [
        (str(tmp_path / longer), row) for row in surplus
    ]
    assert flow.counts["messages"] == len(lines) - 30


def test_a_surplus_over_many_parts(recording, tmp_path, monkeypatch):
    """A bad row of the surplus is listed once, for what it is."""
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", 7)
    messages, books = recording.message_lines(), recording.book_lines()
    messages[-20] = "garbage"
    path = write_pair(tmp_path, messages, books[:-40], LEVELS)
    flow, ledger = read_flow(path, SKIP)
    assert ledger.reasons == {"without its other half": 39, "malformed row": 1}
    refused = sorted(rejection.row for rejection in ledger.rejections)
    assert refused == list(range(len(books) - 39, len(books) + 1))
    assert flow.counts["messages"] == len(books) - 40


def by_hand(folder, *lines):
    messages, books = zip(*(line.split(" | ") for line in lines), strict=True)
    return write_pair(folder, list(messages), list(books), 1)


def rows(flow):
    columns = (flow.kind, flow.side, flow.price, flow.size, flow.flags, flow.source_row)
    return [tuple(row) for row in np.stack([column.astype(np.int64) for column in columns], 1).tolist()]


def test_a_message_that_takes_more_than_is_there(tmp_path):
    """What it takes all the same is nobody's cancel; then the book is set right before the next message."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,3,1,25,990000,1 | 1010000,10,990000,20",
        "34202,1,2,5,990000,1 | 1010000,10,990000,25",
    )
    flow, ledger = read_flow(path, SKIP)
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(2, "does not fit the book")]
    assert "bid level 1 is [9900, 20] (price in ticks, size), our book has [-1, 0]" in ledger.rejections[0].detail
    assert rows(flow) == [
        (LIMIT, SELL, 10100, 10, ANONYMOUS, 1),
        (LIMIT, BUY, 9900, 20, 0, 1),
        (CANCEL, BUY, 9900, 25, ANONYMOUS, 2),
        (LIMIT, BUY, 9900, 20, ANONYMOUS, 3),
        (LIMIT, BUY, 9900, 5, 0, 3),
    ]
    assert (flow.counts["messages"], flow.counts["new"], flow.counts["deletions"]) == (2, 2, 0)
    assert (flow.counts["mismatches"], flow.counts["reset_levels"]) == (1, 1)


def test_a_book_that_does_not_follow(tmp_path):
    """One wrong book costs its own row alone, and its wrong level never enters the flow."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,1,2,5,990000,1 | 1010000,10,990000,77",
        "34202,1,3,5,990000,1 | 1010000,10,990000,30",
    )
    flow, ledger = read_flow(path, SKIP)
    assert [rejection.row for rejection in ledger.rejections] == [2]
    assert rows(flow)[2:] == [(LIMIT, BUY, 9900, 5, ANONYMOUS, 2), (LIMIT, BUY, 9900, 5, 0, 3)]


def test_a_book_that_does_not_follow_while_trading_is_halted(tmp_path):
    """What the bad row's order did is told as it was: it rested, across the other side."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,990000,1 | 1010000,10,990000,20",
        "34201,7,0,0,-1,-1 | 1010000,10,990000,20",
        "34202,1,2,30,1020000,1 | 1010000,10,1020000,77",
        "34203,1,3,5,1030000,1 | 1010000,10,1030000,5",
    )
    flow, ledger = read_flow(path, SKIP)
    assert [rejection.row for rejection in ledger.rejections] == [3]
    assert rows(flow)[2:] == [
        (LIMIT, BUY, 10200, 30, ANONYMOUS | AUCTION, 3),
        (LIMIT, BUY, 10300, 5, AUCTION, 4),
    ]
    verification, _ = verify(path, SKIP)
    assert verification.counts["flow_mismatches"] == verification.counts["trade_mismatches"] == 0


def test_an_execution_behind_the_best_price(tmp_path):
    """No order could have caused it."""
    path = by_hand(
        tmp_path,
        "34200,1,1,20,1020000,-1 | 1020000,20,990000,20",
        "34201,1,2,10,1010000,-1 | 1010000,10,990000,20",
        "34202,4,1,20,1020000,-1 | 1010000,10,990000,20",
        f"34203,4,2,10,1010000,-1 | {EMPTY_ASK},990000,20",
    )
    flow, ledger = read_flow(path, SKIP)
    assert [rejection.row for rejection in ledger.rejections] == [3]
    assert rows(flow)[-2:] == [(CANCEL, SELL, 10200, 20, ANONYMOUS, 3), (LIMIT, BUY, 10100, 10, 0, 4)]


def test_a_run_does_not_go_on_behind_a_bad_row(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,1010000,-1 | 1010000,20,990000,20",
        "34201,4,1,5,1010000,-1 | 1010000,15,990000,20",
        "34201,4,1,5,1010000,x | 1010000,10,990000,20",
        "34201,4,1,5,1010000,-1 | 1010000,5,990000,20",
    )
    flow, _ = read_flow(path, SKIP)
    assert rows(flow)[-3:] == [
        (LIMIT, BUY, 10100, 5, 0, 2),
        (CANCEL_AT, SELL, 10100, 5, ANONYMOUS, 4),
        (LIMIT, BUY, 10100, 5, 0, 4),
    ]
    assert flow.counts["aggressors"] == 2


def test_the_first_rows_are_bad(tmp_path):
    path = by_hand(
        tmp_path,
        "34200,1,1,20,1010000,-1,? | x",
        "34201,4,1,5,1010000,-1 | y",
        "34202,4,1,5,1010000,-1,MPID | 1010000,10,990000,20",
    )
    flow, ledger = read_flow(path, SKIP)
    assert [rejection.row for rejection in ledger.rejections] == [2, 1, 2]
    assert rows(flow) == [
        (LIMIT, BUY, 9900, 20, ANONYMOUS, 3),
        (LIMIT, SELL, 10100, 15, ANONYMOUS, 3),
        (LIMIT, BUY, 10100, 5, 0, 3),
    ]


def test_no_good_row_at_all(tmp_path):
    path = by_hand(tmp_path, "x | y", "x | 1010000,10,990000,20")
    flow, ledger = read_flow(path, SKIP)
    assert (len(flow), flow.counts["messages"]) == (0, 0)
    assert [rejection.row for rejection in ledger.rejections] == [1, 2, 1]
    with pytest.raises(
        DataError, match=r"holds no good row: .*message_1\.csv, row 1: malformed row: 1 columns instead"
    ):
        verify(path, SKIP)


@pytest.mark.parametrize("lines", [7, 1000])
@pytest.mark.parametrize(("time", "reason"), [("57000.5", "time runs ahead"), ("34200", "time goes back")])
def test_a_run_of_wrong_times_costs_itself_alone(recording, tmp_path, monkeypatch, lines, time, reason):
    """Also where a part ends within the run."""
    monkeypatch.setattr("mars_lmm.data.feeds.lobster.read.LINES", lines)
    messages = recording.message_lines()
    bad = [*range(100, 103), *range(139, 142), len(messages) - 1]
    for row in bad:
        messages[row - 1] = field(1, time)(messages[row - 1])
    path = write_pair(tmp_path, messages, recording.book_lines(), LEVELS)
    _, ledger = read_flow(path, SKIP)
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(row, reason) for row in bad]


CROSSING = "34202,1,2,30,1020000,1 | 1010000,10,1020000,30"


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("7,0,0,1000000,-1 | 1010000,10,990000,20", "bad halt", "price 1000000 of a type 7 is not -1"),
        ("7,0,0,-2,-1 | 1010000,10,990000,20", "bad halt", "price -2 of a type 7"),
        ("7,9,0,-1,-1 | 1010000,10,990000,20", "bad id", "id 9 names an order"),
        ("7,0,5,-1,-1 | 1010000,10,990000,20", "bad size", "size 5 of a type 7 is not 0"),
        ("7,0,0,-1,-1 | 1010000,0,990000,20", "bad size", "ask level 1: size 0"),
        ("6,9,5,1000000,-1 | 1010000,10,990000,20", "bad id", "id 9 names an order"),
        ("6,-1,0,1000000,-1 | 1010000,10,990000,20", "bad size", "size 0 is not from 1"),
        ("6,-1,5,0,-1 | 1010000,10,990000,20", "bad price", "price 0 is not from 1"),
    ],
)
def test_what_is_no_halt_or_cross_stops_no_trading(tmp_path, row, reason, detail):
    path = by_hand(tmp_path, "34200,1,1,20,990000,1 | 1010000,10,990000,20", f"34201,{row}", CROSSING)
    _, ledger = read_flow(path, SKIP)
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(2, reason), (3, "crossed book")]
    assert detail in ledger.rejections[0].detail
    halted = by_hand(tmp_path, "34200,7,0,0,-1,-1 | 1010000,10,990000,20", CROSSING)
    assert read_flow(halted, SKIP)[1].rejections == []
