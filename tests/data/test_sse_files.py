"""Finding and reading Shanghai level-2 files; every fault names the file, the row and the reason."""

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sorted_feeds import Reading
from sse_writer import log_line, merged_rows, snapshot_line, table_rows, write_log, write_merged, write_tables

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.columns import delimited
from mars_lmm.data.feeds.common.level2.feed import UNDATED
from mars_lmm.data.feeds.common.level2.messages import ADD, DELETE, TRADE
from mars_lmm.data.feeds.common.level2.records import merge
from mars_lmm.data.feeds.sse.snapshots import SNAPSHOT
from mars_lmm.data.ledger import SKIP
from mars_lmm.data.spool import SNAPSHOTS, read_records
from mars_lmm.market.types import BUY, NO_PRICE, SELL

MESSAGES = [
    (ADD, "09300001", BUY, 100, 300, 11, 0),
    (TRADE, "09300199", SELL, 100, 200, 11, 12),
    (DELETE, "14565999", BUY, 100, 100, 11, 0),
]
SNAPSHOT_SHOWN = ("093002", (1, 200, 20_000, 100, 100, 100, 100), [], [(100, 100)])
LINES = [*(log_line(i, message) for i, message in enumerate(MESSAGES, start=1)), snapshot_line(*SNAPSHOT_SHOWN)]
ORDERS, TRADES = table_rows(MESSAGES)
MERGED = merged_rows(MESSAGES)
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


def read(*paths, **settings):
    """The columns of `COLUMNS` and the records of snapshots, a session each."""
    reading = Reading("sse", paths, **settings)
    sessions = []
    for session in reading.sessions:
        if not reading.feed.is_whole(session, reading.ledger):
            continue
        shown = [path.with_suffix(SNAPSHOTS) for path in session.records]
        snapshots = [read_records(path, SNAPSHOT) for path in shown if path.exists()]
        sessions.append(([column.tolist() for column in merge(session, reading.ledger)[:8]], snapshots))
    return sessions


def test_a_log(tmp_path):
    ((columns, (snapshots,)),) = read(write_log(tmp_path / "x.log", LINES[::-1]))
    assert columns == COLUMNS
    assert snapshots["time"].tolist() == [34_202_000_000_000]
    assert snapshots["figures"].tolist() == [list(SNAPSHOT_SHOWN[1])]
    levels = snapshots["levels"]
    assert levels[0, BUY, 0].tolist() == [100, 100]
    assert levels[0, SELL, 0].tolist() == levels[0, BUY, 1].tolist() == [NO_PRICE, 0]


def test_tables(tmp_path):
    assert read(write_tables(tmp_path, ORDERS, TRADES)) == [(COLUMNS, [])]


def test_the_merged_stream(tmp_path):
    assert read(write_merged(tmp_path, merged_rows(MESSAGES))) == [(COLUMNS, [])]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TickTime", "Time"),
        ("BizIndex", "TickIndex"),
        ("BuyOrderNO,SellOrderNO", "buyno,sellno"),
        (",09:30:00.010,", ",93000010,"),
        (",09:30:00.010,", ",2024-01-02 09:30:00.01,"),
        (",09:30:00.010,", ",20240102093000010,"),
        (",A,", ",65,"),
        (",T,", ",84,"),
        (",600000,", ",600000.SH,"),
        (",600000,", ",600000.xshg,"),
        (",11,0,1.000,", ",11,,1.000,"),
        (",1.000,300,", ",1,300.000,"),
        (",1.000,100,0.000,", ",0,100,0.000,"),  # vendors may leave out a delete's price
        (",1.000,100,0.000,", ",,100,0.000,"),
    ],
)
def test_spellings_of_the_merged_stream(tmp_path, old, new):
    rows = merged_rows(MESSAGES)
    assert any(old in row for row in rows)
    reading = Reading("sse", [write_merged(tmp_path / "20240102", [row.replace(old, new) for row in rows])])
    flow = reading.flow()
    assert flow["time"].tolist() == COLUMNS[2]
    assert [flow[name].tolist() for name in ("price", "size")] == [[100] * 3, [300, 200, 100]]
    assert {session.date for session in reading.sessions} == {"2024-01-02"}


@pytest.mark.parametrize("price", ["", "0"])
def test_deletes_need_no_price(tmp_path, price):
    orders = [row.replace(",10,1.0,", f",10,{price},") for row in ORDERS]
    log = [line.replace("OrdType=68", "").replace("Price=1000", f"Price={price}") for line in LINES[2:3]]
    log = [*LINES[:2], *(line.replace("Side=66", "OrdType=68 Side=66") for line in log)]
    assert orders != ORDERS
    for path in (write_tables(tmp_path / "20240102", orders, TRADES), write_log(tmp_path / "x.log", log)):
        flow = Reading("sse", [path]).flow()
        assert [flow[name].tolist() for name in ("price", "size")] == [[100] * 3, [300, 200, 100]]


def test_float_prices_are_ticks(tmp_path):
    orders = [row.replace(",1.0,", ",15.929999999999999,") for row in ORDERS]
    ((columns, _),) = read(write_tables(tmp_path, orders, TRADES))
    assert columns[4] == [1593, 100, 1593]


def test_blocks_end_anywhere(tmp_path, monkeypatch):
    paths = [write_tables(tmp_path / "tables", ORDERS, TRADES), write_log(tmp_path / "x.log", LINES)]
    for block in (1, 7, 300):
        monkeypatch.setattr(delimited, "BLOCK", block)
        assert [columns for columns, _ in read(*paths, options={"date": "2024-01-03"})] == [COLUMNS] * 2


def test_other_instruments_are_counted(tmp_path):
    others = [row.replace(",600000,", f",{code},") for code in ("510050", "900901", "000001.SZ") for row in MERGED[1:]]
    reading = Reading("sse", [write_merged(tmp_path / "20240102", merged_rows(MESSAGES) + others)])
    assert [session.symbol for session in reading.sessions] == ["600000"]
    assert reading.ledger.counts["other_instruments"] == len(others)


@pytest.mark.parametrize("dialect", ["BOM", "CRLF", "no last line end", "blank lines at the end"])
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
        elif dialect == "blank lines at the end" and path.suffix == ".log":
            data += b"\r\n\n"
        path.write_bytes(data)
    for columns, _ in read(tmp_path):
        assert columns == COLUMNS


def test_every_form_of_a_path(tmp_path):
    folder = write_tables(tmp_path / "tables", ORDERS, TRADES)
    orders, trades = folder / "orders.csv", folder / "trades.csv"
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    both = zipped(tmp_path / "both.zip", orders, trades)
    one, other = zipped(shelf / "a.zip", trades), zipped(shelf / "b.zip", orders)
    log = zipped(tmp_path / "log.zip", write_log(tmp_path / "600000_20240102.log", LINES))
    for paths in ([folder], [orders, trades], [both], [shelf], [one, other], [other, one]):
        (session,) = Reading("sse", paths).sessions
        assert session.name == "600000_2024-01-02"
        assert read(*paths) == [(COLUMNS, [])]
    (session,) = Reading("sse", [log]).sessions
    assert (session.name, len(session.sources)) == ("600000_2024-01-02", 1)


def test_several_stocks_and_days(tmp_path):
    orders, trades = ORDERS[:], TRADES[:]
    for symbol, date in (("600001", "2024.01.02"), ("600000", "2024.01.03")):
        more = table_rows(MESSAGES, symbol, date)
        orders += more[0][1:]
        trades += more[1][1:]
    log = [*LINES, *(log_line(i, message, "600001") for i, message in enumerate(MESSAGES, start=9))]
    write_log(write_tables(tmp_path / "day", orders, trades) / "x.log", log)
    reading = Reading("sse", [tmp_path])
    assert [session.name for session in reading.sessions] == [
        "600000_2024-01-02",
        "600001_2024-01-02",
        "600000_2024-01-03",
        f"600000_{UNDATED}",
        f"600001_{UNDATED}",
    ]
    for columns, _ in read(tmp_path):
        assert columns[:1] + columns[2:] == COLUMNS[:1] + COLUMNS[2:]
    (only,) = Reading("sse", [tmp_path], {"date": "2024-01-03"}, symbols=["600001"]).sessions[1:]
    assert only.name == "600001_2024-01-03"


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("AX_600000_20230207.log", "2023-02-07"),
        ("2023-02-07.log", "2023-02-07"),
        ("600000.log", UNDATED),
        ("x_20230231.log", UNDATED),
    ],
)
def test_a_log_is_dated_by_its_name(tmp_path, name, date):
    folder = tmp_path / "logs"
    folder.mkdir()
    (session,) = Reading("sse", [write_log(folder / name, LINES)]).sessions
    assert session.date == date


def test_a_log_is_dated_by_its_folder(tmp_path):
    folder = tmp_path / "2023.02.07"
    folder.mkdir()
    (session,) = Reading("sse", [write_log(folder / "x.log", LINES)]).sessions
    assert session.date == "2023-02-07"


@pytest.mark.parametrize(
    ("named", "inside", "date"),
    [
        ("", "20230207/SH/x.log", "2023-02-07"),
        ("", "2023/02/07/x.log", "2023-02-07"),
        ("", "20230207/SH/x_20230208.log", "2023-02-08"),
        ("20230207", "SH/deep/x.log", "2023-02-07"),
        ("", "20230207/a.zip!SH/x.log", "2023-02-07"),
        ("", "20230206/a.zip!20230207/SH/x.log", "2023-02-07"),
        ("20230207/a.zip", "20230207/a.zip!SH/x.log", "2023-02-07"),
        ("20230207/SH", "x.log", ""),  # beyond what was named
    ],
)
def test_a_log_is_dated_by_its_path(tmp_path, named, inside, date):
    archive, _, member = inside.partition("!")
    path = tmp_path / (named if not named.endswith(".zip") else "") / archive
    path.parent.mkdir(parents=True)
    if member:
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr(member, "\n".join(LINES))
    else:
        write_log(path, LINES)
    reading = Reading("sse", [tmp_path / named])
    assert [source.date for source in reading.sources] == [date]
    assert [session.date for session in reading.sessions] == [date or UNDATED]


def test_undated_files_of_several_folders(tmp_path):
    """They may be of several days."""
    rows = merged_rows(MESSAGES)
    folders = [write_merged(tmp_path / name, rows) for name in ("monday", "tuesday")]
    with pytest.raises(DataError, match=r"no date: the files of 600000 lie in 2 places, .*; give options.date"):
        Reading("sse", [tmp_path]).flow()
    assert [session.date for session in Reading("sse", folders[:1], {"date": "2024-01-02"}).sessions] == ["2024-01-02"]


def test_what_cannot_be_found(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "absent")
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no Shanghai level-2 files; expected"):
        read(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(DataError, match=r"x.zip: unreadable file: cannot be read .*; get the file again"):
        read(tmp_path / "x.zip")
    with pytest.raises(ValueError, match="isoformat"):
        read(tmp_path, options={"date": "yesterday"})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("more.csv", b"", "is empty; get it again"),
        ("more.csv.gz", b"\x1f\x8b no", "cannot be read"),
        ("more.zip", b"PK no", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of(tmp_path, name, content, reason):
    path = write_tables(tmp_path / "20240102", ORDERS, TRADES) / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: unreadable file: {reason}"):
        Reading("sse", [tmp_path])
    reading = Reading("sse", [tmp_path], on_error=SKIP)
    assert [rejection.source for rejection in reading.ledger.rejections] == [str(path)]
    assert reading.flow()["price"].tolist() == [100] * 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ORDERS[0].replace("OrderBSFlag", "Order?Flag"), "its header lacks OrderBSFlag, which a file of orders has"),
        (ORDERS[1], "its first line names no column of such a file"),
        ("ApplSeqNum,Price,OrderQty,Side,OrdType", "it is a file of the feed szse"),
    ],
)
def test_a_file_that_is_none_is_told_of(tmp_path, content, reason):
    path = write_tables(tmp_path / "20240102", ORDERS, TRADES) / "other.csv"
    path.write_text(content + "\n")
    reading = Reading("sse", [tmp_path])
    assert [(str(source), why) for source, why in reading.foreign] == [(str(path), reason)]
    assert reading.flow()["price"].tolist() == [100] * 3
    with pytest.raises(DataError, match=f"no Shanghai level-2 files; .* is none: {reason}"):
        Reading("sse", [path])


def two_stocks(traded=True):
    """Tables of 600000, and of 600001 that has orders alone."""
    orders, _ = table_rows([message for message in MESSAGES if message[0] == ADD], "600001")
    return ORDERS + orders[1:], TRADES if traded else TRADES[:1]


@pytest.mark.parametrize("symbols", [(), ("600001",)])
@pytest.mark.parametrize("traded", [True, False])
def test_a_stock_without_a_trade(tmp_path, symbols, traded):
    """The trades of its day are there, and it is not among them; or nothing traded at all."""
    path = write_tables(tmp_path, *two_stocks(traded))
    reading = Reading("sse", [path], symbols=symbols)
    number = [session.symbol for session in reading.sessions].index("600001")
    assert reading.flow(number)["order_id"].tolist() == [11]
    assert reading.verify(number).counts["rows"] == 1


def test_trades_of_other_files_are_not_those_of_a_stock(tmp_path):
    """A file for each stock: those of one stock say nothing of another's, whose trades are lost."""
    for symbol in ("600000", "600001"):
        write_tables(tmp_path / symbol, *table_rows(MESSAGES, symbol))
    (tmp_path / "600001" / "trades.csv").unlink()
    reading = Reading("sse", [tmp_path], on_error=SKIP)
    assert [len(reading.flow(number)["time"]) for number in range(2)] == [3, 0]
    assert reading.ledger.reasons == {"trades missing": 1}


def test_trades_of_which_some_are_bad_may_lack_a_stock(tmp_path):
    orders, trades = two_stocks()
    reading = Reading("sse", [write_tables(tmp_path, orders, [*trades, "cut"])], on_error=SKIP)
    assert [len(reading.flow(number)["time"]) for number in range(2)] == [3, 0]
    assert reading.ledger.reasons == {"wrong number of columns": 1, "trades missing": 1}


@pytest.mark.parametrize(("given", "missing"), [("orders", "trades"), ("trades", "orders")])
def test_half_a_session(tmp_path, given, missing):
    path = write_tables(tmp_path / "tables", ORDERS, TRADES) / f"{given}.csv"
    with pytest.raises(DataError, match=rf"{given}.csv: {missing} missing: the {missing} of 600000 2024-01-02 are"):
        Reading("sse", [path]).flow()
    reading = Reading("sse", [path], on_error=SKIP)
    assert len(reading.flow()["time"]) == 0
    assert reading.verify().counts["rows"] == 0
    assert reading.ledger.reasons == {f"{missing} missing": 2}


def test_a_file_named_twice_by_two_names(tmp_path):
    folders = [write_tables(tmp_path / name, ORDERS, TRADES) for name in ("one", "other")]
    with pytest.raises(DataError, match=r"other/orders.csv, row 2: repeated sequence number: sequence number 1 occurs"):
        read(*folders)
    ((columns, _),) = read(*folders, on_error=SKIP)
    assert columns == COLUMNS


@pytest.mark.parametrize(
    ("line", "old", "new", "reason"),
    [
        (1, "MsgType=192", "MsgType=193", "unknown MsgType: MsgType '193' is not one of 192, 191, 111"),
        (1, " resv=", " ", "the line is cut: 14 fields instead of 15"),
        (2, "BizIndex=2", "Biz", "the line is cut: 14 fields instead of 15"),
        (3, "OrderNo", "OrderNr", "fields in another order: the field OrderNo is not where"),
        (1, "Price=1000", "Price=1x00", "Price is no number: Price is"),
        (1, "Price=1000", "Price=-1000", "Price out of range: Price is -1000"),
        (1, "Price=1000", "Price=1005", "Price is finer than its unit: Price is 1005"),
        (1, "Price=1000", "Price=0", "Price out of range: Price is 0"),
        (2, "LastQty=200000", "LastQty=0", "LastQty out of range: LastQty is 0"),
        (2, "LastQty=200000", "LastQty=200500", "LastQty is finer than its unit: LastQty is 200500"),
        (2, "BizIndex=2", "BizIndex=2222222222222222222", "BizIndex out of range: BizIndex is"),
        (1, "OrdType=65", "OrdType=67", "unknown OrdType: OrdType '67' is not one of 2, A, 65"),
        (1, "Side=66", "Side=0", "unknown Side: Side '0' is not one of"),
        (2, "ExecType=83", "ExecType=70", "unknown ExecType: ExecType '70' is not one of"),
        (3, "TransactTime=14565999", "TransactTime=14606000", "not a time: TransactTime '14606000' is not a time"),
        (4, "DataTimeStamp=93002", "DataTimeStamp=240000", "not a time: DataTimeStamp '240000' is not a time"),
        (
            4,
            "BidLevel[0].Price=1000",
            "BidLevel[0].Price=1001",
            r"BidLevel\[0\].Price is finer than its unit: BidLevel\[0\].Price is 1001",
        ),
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
        ([*LINES, "words"], "row 5: not a line of this log: it has 0 fields"),
        ([*LINES, LINES[0]], "sequence number 1 occurs twice"),
        (
            [LINES[0].replace("9300001", "15000000"), *LINES[1:]],
            "row 1: time out of order: the time of the message with sequence number 1 contradicts",
        ),
        ([LINES[0].replace("ChannelNo=6", "ChannelNo=5"), *LINES[1:]], "row 1: several channels: channel 5 besides 6"),
    ],
)
def test_a_log_that_contradicts_itself(tmp_path, lines, reason):
    with pytest.raises(DataError, match=reason):
        read(write_log(tmp_path / "x.log", lines))


@pytest.mark.parametrize("time", ["09:14:00.000", "14:59:59.990"])
def test_a_wrong_time_costs_one_row(tmp_path, time):
    messages = [(ADD, f"0931{second:02d}00", BUY, 100, 100, second + 1, 0) for second in range(40)]
    orders, trades = table_rows(messages)
    orders[20] = orders[20].replace("09:31:19.000", time)
    reading = Reading("sse", [write_tables(tmp_path, orders, trades)], on_error=SKIP)
    assert reading.flow()["order_id"].tolist() == [number for number in range(1, 41) if number != 20]
    assert [(rejection.reason, rejection.row) for rejection in reading.ledger.rejections] == [("time out of order", 21)]


@pytest.mark.parametrize(
    ("table", "row", "old", "new", "reason"),
    [
        ("orders", 1, "OrderQty", "Quantity", "columns missing: the header lacks OrderQty"),
        ("trades", 2, ",200,", ",", "wrong number of columns: 14 columns instead of 15"),
        ("trades", 2, ",200,", ",200.5,", "size is finer than its unit: TradeQty is 200.5"),
        ("trades", 2, ",200,", ",,", "size is missing: TradeQty is empty"),
        ("orders", 3, "14:56:59.990", "14:56:60.990", "not a time: MDTime '14:56:60.990' is not a time"),
        ("orders", 2, ",1.0,", ",one,", "price is no number: OrderPrice is 'one'"),
        ("orders", 2, ",1.0,", ",1.005,", "price is finer than its unit: OrderPrice is 1.005"),
        ("orders", 2, ",1.0,", ",-1.0,", "price out of range: OrderPrice is -1.0"),
        ("orders", 2, ",2,1.0,", ",3,1.0,", "unknown type: OrderType '3' is not one of 2, A, 65, 10, D, 68"),
        ("orders", 2, ",300,1,", ",300,3,", "unknown side: OrderBSFlag '3' is not one of 1, B"),
        ("trades", 2, ",0,2,", ",0,4,", "unknown side: TradeBSFlag '4' is not one of"),
        ("orders", 3, ",100,", ",0,", "size out of range: OrderQty is 0"),
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


def spoil(draw, lines):
    """Lines that are cut, shuffled, repeated, or hold garbage."""
    lines = list(lines)
    for _ in range(draw(st.integers(1, 4))):
        how, at = draw(st.integers(0, 5)), draw(st.integers(0, len(lines) - 1))
        if how == 0:
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        elif how == 1:
            lines = draw(st.permutations(lines))
        elif how == 2:
            lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
        elif how == 3:
            lines[at] = draw(st.binary(max_size=40)).decode("latin-1")
        else:  # a field
            separator = "," if "," in lines[at] else "="
            fields = lines[at].split(separator)
            values = ["", "0", "-1", "7", "11", "1.005", "9" * 17, "9" * 30, "1e5", "nan", "24:00:00", "D", "T", "\0"]
            fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(values))
            lines[at] = separator.join(fields)
    return lines


@st.composite
def spoilt_files(draw):
    """A file's name and its spoilt content."""
    files = {"x.log": LINES, "orders.csv": ORDERS, "trades.csv": TRADES, "mdl_4_24_0.csv": MERGED}
    name = draw(st.sampled_from(list(files)))
    text = "\n".join(spoil(draw, files[name])).encode("latin-1", errors="replace")
    return name, text + draw(st.sampled_from([b"", b"\n", b"\xff\x00"]))


@pytest.mark.fuzz
@given(spoilt_files())
def test_damage_is_an_error_or_is_listed(tmp_path_factory, spoilt):
    """Whatever a file holds: a DataError, or an order flow and a list of what was left out."""
    name, content = spoilt
    folder = write_tables(tmp_path_factory.mktemp("spoilt"), ORDERS, TRADES)
    (folder / name).write_bytes(content)
    for on_error in ("raise", SKIP):
        try:
            reading = Reading("sse", [folder], on_error=on_error)
            for number in range(len(reading.sessions)):
                flow = reading.flow(number)
                assert (np.minimum(flow["size"], flow["price"]) > 0).all()
                reading.verify(number)
        except DataError:
            continue
        assert on_error == SKIP or not reading.ledger.rejections
