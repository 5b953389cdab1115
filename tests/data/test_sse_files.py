"""Finding and reading Shanghai level-2 files; every fault names the file, the row and the reason."""

import zipfile

import numpy as np
import pytest
from sse_writer import log_line, snapshot_line, table_rows, write_log, write_tables

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.sse_files import UNDATED, find_sessions
from mars_lmm.data.feeds.sse_messages import ADD, DELETE, TRADE
from mars_lmm.market.types import BUY, NO_PRICE, SELL

MESSAGES = [
    (ADD, "09300001", BUY, 100, 300, 11, 0),
    (TRADE, "09300199", SELL, 100, 200, 11, 12),
    (DELETE, "14565999", BUY, 100, 100, 11, 0),
]
SNAPSHOT = ("093002", (1, 200, 20_000, 100, 100, 100, 100), [], [(100, 100)])
LINES = [*(log_line(i, message) for i, message in enumerate(MESSAGES, start=1)), snapshot_line(*SNAPSHOT)]
ORDERS, TRADES = table_rows(MESSAGES)
COLUMNS = [  # kind, sequence, time, side, price, size, buy id, sell id
    [ADD, TRADE, DELETE],
    [1, 2, 3],
    [34_200_010_000_000, 34_201_990_000_000, 53_819_990_000_000],
    [BUY, SELL, BUY],
    [100, 100, 100],
    [300, 200, 100],
    [11, 11, 11],
    [0, 12, 0],
]


def zipped(path, *files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"sub/{file.name}")
        archive.writestr("readme.csv", "words")
    return path


def read(*paths):
    return [session.read() for session in find_sessions(list(paths))]


def test_a_log(tmp_path):
    ((messages, snapshots),) = read(write_log(tmp_path / "x.log", LINES[::-1]))
    assert [column.tolist() for column in messages] == COLUMNS
    assert messages.order_id.tolist() == [11, 12, 11]
    assert snapshots.time.tolist() == [34_202_000_000_000]
    assert snapshots.figures.tolist() == [list(SNAPSHOT[1])]
    assert snapshots.levels[0, BUY, 0].tolist() == [100, 100]
    assert snapshots.levels[0, SELL, 0].tolist() == snapshots.levels[0, BUY, 1].tolist() == [NO_PRICE, 0]


def test_tables(tmp_path):
    ((messages, snapshots),) = read(write_tables(tmp_path, ORDERS, TRADES))
    assert [column.tolist() for column in messages] == COLUMNS
    assert len(snapshots.time) == 0


def test_float_prices_are_ticks(tmp_path):
    orders = [row.replace(",1.0,", ",15.929999999999999,") for row in ORDERS]
    ((messages, _),) = read(write_tables(tmp_path, orders, TRADES))
    assert messages.price.tolist() == [1593, 100, 1593]


@pytest.mark.parametrize("dialect", ["BOM", "CRLF", "no last line end"])
def test_dialects(tmp_path, dialect):
    paths = [*write_tables(tmp_path, ORDERS, TRADES).iterdir(), write_log(tmp_path / "x.log", LINES)]
    for path in paths:
        data = path.read_bytes()
        if dialect == "BOM" and path.suffix == ".csv":
            data = b"\xef\xbb\xbf" + data
        elif dialect == "CRLF":
            data = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
        elif dialect == "no last line end":
            data = data.rstrip(b"\r\n")
        path.write_bytes(data)
    for messages, _ in read(tmp_path):
        assert [column.tolist() for column in messages] == COLUMNS


def test_every_form_of_a_path(tmp_path):
    folder = write_tables(tmp_path / "tables", ORDERS, TRADES)
    orders, trades = folder / "orders.csv", folder / "trades.csv"
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    both = zipped(tmp_path / "both.zip", orders, trades)
    one, other = zipped(shelf / "a.zip", trades), zipped(shelf / "b.zip", orders)
    log = zipped(tmp_path / "log.zip", write_log(tmp_path / "600000_20240102.log", LINES))
    for paths in ([folder], [orders, trades], [both], [shelf], [one, other], [other, one]):
        (session,) = find_sessions(paths)
        assert session.name == "600000_2024-01-02"
        assert [column.tolist() for column in session.read()[0]] == COLUMNS
    (session,) = find_sessions([log])
    assert (session.name, len(session.files)) == ("600000_2024-01-02", 1)
    assert len(find_sessions([log, folder])) == 2


def test_several_stocks_and_days(tmp_path):
    orders, trades = ORDERS[:], TRADES[:]
    for symbol, date in (("600001", "2024.01.02"), ("600000", "2024.01.03")):
        more = table_rows(MESSAGES, symbol, date)
        orders += more[0][1:]
        trades += more[1][1:]
    log = [*LINES, *(log_line(i, message, "600001") for i, message in enumerate(MESSAGES, start=9))]
    write_log(write_tables(tmp_path / "day", orders, trades) / "x.log", log)
    sessions = find_sessions([tmp_path])
    assert [session.name for session in sessions] == [
        f"600000_{UNDATED}",
        f"600001_{UNDATED}",
        "600000_2024-01-02",
        "600001_2024-01-02",
        "600000_2024-01-03",
    ]
    for session in sessions:
        assert [c.tolist() for name, c in session.read()[0]._asdict().items() if name != "sequence"] == (
            COLUMNS[:1] + COLUMNS[2:]
        )
    assert len({session.checksum() for session in sessions}) == 5


@pytest.mark.parametrize(
    ("name", "date"),
    [("AX_600000_20230207.log", "2023-02-07"), ("2023-02-07.log", "2023-02-07"), ("600000.log", UNDATED)],
)
def test_a_log_is_dated_by_its_name(tmp_path, name, date):
    folder = tmp_path / "logs"
    folder.mkdir()
    (session,) = find_sessions([write_log(folder / name, LINES)])
    assert session.date == date


def test_a_log_is_dated_by_its_folder(tmp_path):
    folder = tmp_path / "2023.02.07"
    folder.mkdir()
    (session,) = find_sessions([write_log(folder / "x.log", LINES)])
    assert session.date == "2023-02-07"


def test_what_cannot_be_found(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        find_sessions([tmp_path / "absent"])
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no Shanghai level-2 files; expected"):
        find_sessions([tmp_path])
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(DataError, match="not a readable zip archive"):
        find_sessions([tmp_path / "x.zip"])
    folder = write_tables(tmp_path / "tables", ORDERS, TRADES)
    with pytest.raises(DataError, match=r"the trades of 600000 2024-01-02 are missing; name their file too"):
        find_sessions([folder / "orders.csv"])
    with pytest.raises(DataError, match=r"the orders of 600000 2024-01-02 are missing"):
        find_sessions([folder / "trades.csv"])
    again = write_tables(tmp_path / "again", ORDERS, TRADES)
    with pytest.raises(DataError, match=r"600000 2024-01-02 is in .*orders.csv too"):
        find_sessions([folder, again])


@pytest.mark.parametrize(
    ("line", "old", "new", "reason"),
    [
        (1, "MsgType=192", "MsgType=193", "MsgType 193 is not one of"),
        (1, " resv=", " ", "14 fields instead of 15: the line is cut"),
        (2, "BizIndex=2", "Biz", "14 fields instead of 15: the line is cut"),
        (3, "OrderNo", "OrderNr", "the field OrderNo is not where"),
        (1, "Price=1000", "Price=1x00", "Price is not a number"),
        (1, "Price=1000", "Price=-1000", "Price is not a number"),
        (1, "Price=1000", "Price=1005", "Price 1005 is not a multiple of 10"),
        (1, "Price=1000", "Price=0", "Price 0 is not positive"),
        (2, "LastQty=200000", "LastQty=0", "LastQty 0 is not positive"),
        (2, "LastQty=200000", "LastQty=200500", "LastQty 200500 is not a multiple of 1000"),
        (2, "BizIndex=2", "BizIndex=2222222222222222222", "BizIndex is not a number of at most 18 digits"),
        (1, "OrdType=65", "OrdType=67", "OrdType 67 is not one of 65, 68"),
        (1, "Side=66", "Side=0", "Side 0 is not one of 66, 83"),
        (2, "ExecType=83", "ExecType=70", "ExecType 70 is not one of 66, 83, 78"),
        (3, "TransactTime=14565999", "TransactTime=14606000", "TransactTime 14606000 is not a time of day"),
        (4, "DataTimeStamp=93002", "DataTimeStamp=240000", "DataTimeStamp 240000 is not a time of day"),
        (4, "BidLevel[0].Price=1000", "BidLevel[0].Price=1001", r"BidLevel\[0\].Price 1001 is not a multiple of 10"),
    ],
)
def test_a_damaged_log(tmp_path, line, old, new, reason):
    lines = LINES[:]
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    with pytest.raises(DataError, match=rf"x.log, row {line}: {reason}"):
        read(write_log(tmp_path / "x.log", lines))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([*LINES, "words"], "row 5: not a line of this log; it has 0 fields"),
        ([*LINES, LINES[0]], "sequence number 1 occurs twice"),
        ([LINES[0].replace("9300001", "15000000"), *LINES[1:]], "sequence number 2 is earlier than the one before"),
        ([LINES[0].replace("ChannelNo=6", "ChannelNo=5"), *LINES[1:]], r"channels \[5, 6\]"),
        (LINES[3:], "holds no order and no trade"),
    ],
)
def test_a_log_that_contradicts_itself(tmp_path, lines, reason):
    with pytest.raises(DataError, match=reason):
        read(write_log(tmp_path / "x.log", lines))


@pytest.mark.parametrize(
    ("table", "row", "old", "new", "reason"),
    [
        ("orders", 1, "OrderQty", "Quantity", "the header lacks OrderQty"),
        ("trades", 2, ",200,", ",", "14 columns instead of 15"),
        ("trades", 2, ",200,", ",200.5,", "TradeQty: '200.5' is not an integer"),
        ("trades", 2, ",200,", ",,", "TradeQty: '' is not an integer"),
        ("orders", 3, "14:56:59.990", "14:56:60.990", "MDTime: '14:56:60.990' is not a time HH:MM:SS.mmm"),
        ("orders", 2, ",1.0,", ",one,", "OrderPrice: 'one' is not a decimal number"),
        ("orders", 2, ",1.0,", ",1.005,", "OrderPrice 1.005 is off the tick of 0.01"),
        ("orders", 2, ",1.0,", ",-1.0,", "OrderPrice -1.0 is no price"),
        ("orders", 2, ",2,1.0,", ",3,1.0,", "OrderType 3 is not one of 2, 10"),
        ("orders", 2, ",300,1,", ",300,3,", "OrderBSFlag 3 is not one of 1, 2"),
        ("trades", 2, ",0,2,", ",0,4,", "TradeBSFlag 4 is not one of 1, 2, 0"),
        ("orders", 3, ",100,", ",0,", "OrderQty 0 is not positive"),
    ],
)
def test_a_damaged_table(tmp_path, table, row, old, new, reason):
    tables = {"orders": ORDERS[:], "trades": TRADES[:]}
    assert old in tables[table][row - 1]
    tables[table][row - 1] = tables[table][row - 1].replace(old, new)
    with pytest.raises(DataError, match=rf"{table}.csv, row {row}: {reason}"):
        read(write_tables(tmp_path, **tables))


def test_a_damaged_archive(tmp_path):
    path = zipped(tmp_path / "x.zip", write_log(tmp_path / "x.log", LINES))
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[60:90] ^= 0xFF
    path.write_bytes(data.tobytes())
    with pytest.raises(DataError, match=r"x.zip"):
        read(path)
