import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import SHARED

from mars_lmm.data import verify
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import itch, load_feed
from mars_lmm.data.feeds.common.by_order import session_records
from mars_lmm.data.feeds.itch import decoding
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.sessions import find_sessions, find_sources, sort_source
from mars_lmm.market.types import BUY, SELL
from tests.data.itch_writer import OPEN_TIME, Locate, framed, record, write

NAME = "12312013.NASDAQ_ITCH50"
STOCK = Locate(7, "AAA")


def read(path, folder, on_error="raise", **options):
    """Read files: sort, and return {symbol: columns}, each joined from its parts, and the ledger."""
    feed, ledger = load_feed("itch", options), Ledger(on_error)
    sources = feed.find_sources([path])
    folders = [folder / f"spool{n}" for n in range(len(sources))]
    for source, spool in zip(sources, folders, strict=True):
        sort_source(feed, source, spool, (), ledger)
    flows = {}
    for session in find_sessions(feed, sources, folders):
        parts = list(feed.order_flow(session, ledger))
        flows[session.symbol] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return flows, ledger


@pytest.fixture
def flow_of(tmp_path):
    def read_here(path, on_error="raise", **options):
        return read(path, tmp_path, on_error, **options)

    return read_here


@pytest.fixture(scope="module")
def day():
    return record(1)


def rows(columns):
    names = ("kind", "side", "price", "size", "order_id", "flags", "source_row")
    found = list(zip(*(columns[name].tolist() for name in names), strict=True))
    return [(*row[:4], row[4] if row[4] > 0 else None, *row[5:]) for row in found]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_flow_is_what_was_submitted(tmp_path, flow_of, seed):
    day = record(seed)
    flows, ledger = flow_of(write(tmp_path / NAME, day.messages, end=True))
    assert {stock: rows(columns) for stock, columns in flows.items()} == day.submitted
    for columns in flows.values():
        ids = columns["order_id"][columns["order_id"] < 0]
        assert len(ids) == len(set(ids.tolist())) > 0
    assert not ledger.rejections
    assert ledger.counts["type_U"] > 0
    assert ledger.counts["type_R"] == 3
    assert ledger.counts["off_price"] > 0
    assert ledger.counts["out_of_priority"] == 0


def test_our_matching_makes_the_same_books_and_trades(tmp_path, day):
    result = verify.verify("itch", [write(tmp_path / NAME, day.messages)])
    assert result["sessions"] == 3
    assert result["compared"] == result["flow_rows"] == sum(map(len, day.submitted.values()))
    assert result["trades"] > 100
    assert not any(count for name, count in result.items() if name.endswith("mismatches"))
    assert not result["rejected"]


@pytest.mark.parametrize("form", ["zero lengths", "zero lengths and end", "gz", "zip", "tiny blocks", "tiny chunks"])
def test_the_same_flow_however_the_file_is_framed_or_cut(tmp_path, flow_of, monkeypatch, day, form):
    path = write(tmp_path / "day" / NAME, day.messages, lengths="zero" not in form, end="end" in form)
    if form == "gz":
        path = write(tmp_path / "packed" / f"{NAME}.gz", day.messages)
    elif form == "zip":
        path = tmp_path / "day.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "day" / NAME, f"inside/{NAME}")
    elif form == "tiny blocks":
        monkeypatch.setattr(itch, "BLOCK", 29)
        monkeypatch.setattr(decoding, "MAX_RECORDS", 3)
    elif form == "tiny chunks":
        monkeypatch.setattr(session_records, "CHUNK", 3)
    flows, _ = flow_of(path)
    assert {stock: rows(columns) for stock, columns in flows.items()} == day.submitted


def test_dates_of_file_names(tmp_path):
    names = {
        "01302019.NASDAQ_ITCH50": "2019-01-30",
        "S013119-v50.txt.gz": "2019-01-31",
        "S020119-v50-bx.txt.gz": "2019-02-01",
        "s020419-v50-psx.txt": "2019-02-04",
        "20190205.nasdaq_itch50.GZ": "2019-02-05",
        "artificial_20101224.ITCH_50": "2010-12-24",
        "xnas-2019-02-06.itch": "2019-02-06",
    }
    feed = load_feed("itch")
    for name, date in names.items():
        assert feed.find_sources([write(tmp_path / name, [])])[0].date == date
    assert len(feed.find_sources([tmp_path])) == len(names)
    undated = write(tmp_path / "other" / "99999999.ITCH_50", [])
    for written in ("2019-01-30", "20190130"):
        assert load_feed("itch", {"date": written}).find_sources([undated])[0].date == "2019-01-30"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no ITCH file"):
        feed.find_sources([tmp_path / "nothing"])
    with pytest.raises(ValueError, match="write it as"):
        load_feed("itch", {"date": "30.01.2019"})


def test_a_file_without_a_date_and_two_of_one_day_are_at_fault_alone(tmp_path):
    good = write(tmp_path / "01312019.NASDAQ_ITCH50", stream())
    undated = write(tmp_path / "99999999.ITCH_50", stream())
    same = [write(tmp_path / name, stream()) for name in ("01302019.NASDAQ_ITCH50.gz", "S013019-v50-bx.txt")]
    damaged = tmp_path / "01302019.zip"
    damaged.write_bytes(b"PK")
    found = find_sources(load_feed("itch"), [tmp_path, good])
    assert [source.files[0].path for source in found.readable] == [good]
    faults = {source.files[0].path: fault for source, fault in found.faulty}
    assert set(faults) == {undated, damaged, *same}
    assert faults[undated] == "the file's name has no date; set the feed's option date"
    for path in same:
        assert "2 files are of 2019-01-30" in faults[path]
        assert all(str(named) in faults[path] for named in same)
    assert "date" not in faults[damaged]
    result = verify.verify("itch", [tmp_path])
    assert (result["sessions"], result["rejected"]) == (1, {"unreadable file": 4})


def stream(*messages):
    """A directory, a resting bid (id 1) and ask (id 2), and more messages, from row 4 on."""
    start = [
        STOCK.directory(OPEN_TIME),
        STOCK.add(OPEN_TIME, 1, BUY, 10, 9900),
        STOCK.add(OPEN_TIME, 2, SELL, 10, 10100),
    ]
    return [*start, *messages]


NOW = OPEN_TIME + 1
OTHER = Locate(7, "BBB")
FAULTS = {
    "unknown id": STOCK.delete(NOW, 5),
    "id in use": STOCK.add(NOW, 1, BUY, 10, 9900),
    "takes more than is left": STOCK.execute(NOW, 1, 11),
    "price off the tick": STOCK.add(NOW, 3, BUY, 10, 9950),
    "price out of range": STOCK.add(NOW, 3, BUY, 10, 0),
    "size out of range": STOCK.add(NOW, 3, BUY, 0, 9900),
    "no side": STOCK.add(NOW, 3, BUY, 10, 9900).replace(b"B\0", b"T\0", 1),
    "id out of range": STOCK.add(NOW, 0, BUY, 10, 9900),
    "time goes back": STOCK.delete(OPEN_TIME - 1, 1),
    "time outside the day": STOCK.delete(2**48 - 1, 1),
    "stock differs from its locate's": OTHER.add(NOW, 3, BUY, 10, 9900),
    "unknown stock": Locate(9, "CCC").delete(NOW, 1),
    "unreadable stock name": Locate(9, "\n").directory(NOW),
    "unknown message type": b"Z" + STOCK.delete(NOW, 1)[1:],
    "wrong message length": STOCK.delete(NOW, 1) + b"!",
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_bad_message_is_refused_and_nothing_else(tmp_path, flow_of, reason):
    good, behind = stream(), STOCK.delete(NOW, 2)
    path = write(tmp_path / NAME, [*good, FAULTS[reason], behind])
    with pytest.raises(DataError, match=f"{NAME}, row 4: {reason}: "):
        flow_of(path)
    flows, ledger = flow_of(path, on_error="skip")
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(4, reason)]
    assert flows["AAA"]["source_row"].tolist() == [2, 3, 5]
    result = verify.verify("itch", [path])
    decoded = reason.startswith(("stock", "unknown s", "unknown m", "unread", "wrong"))
    assert result["mismatches"] == (not decoded)
    assert result["rejected"] == {reason: 1}


def test_the_replacement_of_an_unknown_order_is_refused_once(tmp_path, flow_of):
    path = write(tmp_path / NAME, stream(STOCK.replace(NOW, 5, 6, 10, 9900), STOCK.delete(NOW, 2)))
    flows, ledger = flow_of(path, on_error="skip")
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(4, "unknown id")]
    assert flows["AAA"]["source_row"].tolist() == [2, 3, 5]


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_truncated_file_is_refused(tmp_path, flow_of, cut):
    path = tmp_path / NAME
    path.write_bytes(framed(stream())[:-cut])
    with pytest.raises(DataError, match=f"{NAME}, row 3: truncated"):
        flow_of(path)
    flows, ledger = flow_of(path, on_error="skip")
    assert ledger.reasons == {"truncated": 1}
    assert flows["AAA"]["source_row"].tolist() == [2]


@pytest.mark.parametrize("block", [29, 1 << 20])
def test_what_follows_a_message_of_unknown_length_cannot_be_read(tmp_path, flow_of, monkeypatch, block):
    monkeypatch.setattr(itch, "BLOCK", block)
    lost = [b"Z" + bytes(18), STOCK.delete(NOW, 2)]
    path = write(tmp_path / NAME, [*stream(), *lost], lengths=False)
    flows, ledger = flow_of(path, on_error="skip")
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(4, "unknown message type")]
    assert f"type 'Z', without a length: the {len(framed(lost))} bytes from here on" in ledger.rejections[0].detail
    assert flows["AAA"]["source_row"].tolist() == [2, 3]


def test_what_is_passed_over_is_told(tmp_path, flow_of):
    path = write(tmp_path / NAME, [*stream(), b"Z" * 40, STOCK.delete(NOW, 2), b"D" * 30, STOCK.delete(NOW, 1)[:9]])
    path.write_bytes(path.read_bytes()[:-4])
    _, ledger = flow_of(path, on_error="skip")
    assert [(rejection.row, rejection.detail) for rejection in ledger.rejections] == [
        (4, "type 'Z' is none of ITCH 5.0; 40 bytes are passed over"),
        (6, "30 bytes are not the length of type 'D'"),
        (7, "the file ends within this message, after 7 bytes; get it again"),
    ]


@pytest.mark.parametrize("lengths", [True, False])
def test_files_joined_into_one_are_read_to_the_end(tmp_path, flow_of, day, lengths):
    cut = len(day.messages) // 3
    first, second = (framed(part, lengths, end=True) for part in (day.messages[:cut], day.messages[cut:]))
    path = tmp_path / NAME
    path.write_bytes(first + second)
    flows, ledger = flow_of(path)
    assert {stock: rows(columns) for stock, columns in flows.items()} == day.submitted
    path.write_bytes(first + bytes(98) + second + bytes(98))
    flows, ledger = flow_of(path, on_error="skip")
    assert {stock: rows(columns) for stock, columns in flows.items()} == day.submitted
    (hole,) = ledger.rejections
    assert (hole.row, hole.reason) == (cut + 1, "zeros between messages")
    assert hole.detail.startswith("100 bytes before this message")


def test_hidden_sides_are_inferred_where_the_feed_stopped_to_tell_them(tmp_path, flow_of):
    messages = stream(
        STOCK.hidden(NOW, BUY, 5, 10050),  # near the ask: somebody bought
        STOCK.hidden(NOW + 1, BUY, 5, 9950),  # near the bid: somebody sold
        STOCK.hidden(NOW + 2, BUY, 5, 10050),  # with an execution of the bid: the same seller
        STOCK.execute(NOW + 2, 1, 4),
        STOCK.hidden(NOW + 2, BUY, 5, 10050),
    )
    expected = {"2014-07-11": [SELL, SELL, SELL], "2014-07-14": [BUY, SELL, SELL]}
    for date, sides in expected.items():
        flows, ledger = flow_of(write(tmp_path / NAME, messages), date=date)
        assert flows["AAA"]["side"].tolist() == [BUY, SELL, *sides]
        assert ledger.counts["dropped_hidden_volume"] == 10


def test_messages_before_the_first_order_are_counted(tmp_path, flow_of):
    early = [STOCK.directory(OPEN_TIME), STOCK.halt(OPEN_TIME, "T"), Locate(8, "BBB").halt(OPEN_TIME, "T")]
    flows, ledger = flow_of(write(tmp_path / NAME, [*early, *stream(STOCK.halt(NOW, "H"))]))
    assert list(flows) == ["AAA"]
    assert ledger.counts["before_first_order"] == 2
    assert ledger.counts["type_H"] == 3
    assert ledger.counts["halts"] == 1


def test_one_wrong_time_costs_one_message(tmp_path, day):
    rng = np.random.default_rng(5)
    orders = [n for n, message in enumerate(day.messages) if message[:1] == b"X"]
    for wrong in rng.choice(orders, 5, replace=False).tolist():
        message = day.messages[wrong]
        ahead = message[:5] + (86_399 * 10**9).to_bytes(6, "big") + message[11:]
        path = write(tmp_path / str(wrong) / NAME, [*day.messages[:wrong], ahead, *day.messages[wrong + 1 :]])
        _, ledger = read(path, path.parent, "skip")
        assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [
            (wrong + 1, "time runs ahead")
        ]


def test_one_symbol_of_many(tmp_path, day):
    result = verify.verify("itch", [write(tmp_path / NAME, day.messages)], symbols=["BB.B"])
    assert result["flow_rows"] == len(day.submitted["BB.B"])


def test_the_session_in_words(tmp_path):
    feed = load_feed("itch", {"tick": "0.0001", "close": "13:00"})
    (source,) = feed.find_sources([write(tmp_path / NAME, stream())])
    sort_source(feed, source, tmp_path / "spool", (), Ledger())
    session = feed.describe(find_sessions(feed, [source], [tmp_path / "spool"])[0])
    assert (session.symbol, session.date, session.tick_size) == ("AAA", "2013-12-31", 0.0001)
    assert (session.open_time, session.close_time) == (OPEN_TIME, 46_800 * 10**9)
    assert session.rebuilt_takers


@pytest.mark.fuzz
@given(data=st.data())
def test_no_bytes_crash_it(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    content = bytearray(framed(record(3, num_orders=12).messages, lengths=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if action == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del content[at : at + data.draw(st.integers(1, 60))]
        elif action == "insert":
            content[at:at] = data.draw(st.binary(max_size=40))
        else:
            content[at:at] = content[at : at + data.draw(st.integers(1, 200))]
        content = content or bytearray(b"\0")
    path = folder / NAME
    path.write_bytes(content)
    try:
        result = verify.verify("itch", [path])
    except DataError as error:
        if "no row to verify" not in error.reason:
            raise
        return
    assert result["flow_mismatches"] == result["trade_mismatches"] == 0
    assert result["mismatches"] <= sum(result["rejected"].values())
    if result["rejected"]:
        with pytest.raises(DataError):
            read(path, folder)


@pytest.fixture
def real_file():
    def find(name):
        path = SHARED / "data" / "itch" / name
        if not path.exists():
            pytest.skip(f"{name} is not at hand; set MARS_LMM_SHARED")
        return path

    return find


def test_the_artificial_day(real_file, flow_of):
    path = real_file("artificial_20101224.ITCH_50")
    _, ledger = flow_of(path, on_error="skip", tick="0.0001")
    types = {"S": 6, "R": 3, "H": 3, "A": 4997, "F": 3, "E": 198, "X": 45, "D": 1745, "U": 12, "P": 5000}
    assert {name: ledger.counts[f"type_{name}"] for name in types} == types
    assert sum(types.values()) == 12_012
    # 117 messages name orders that no message of the file adds; the first order has the id 0.
    assert ledger.reasons == {"id out of range": 1, "unknown id": 117}
    result = verify.verify("itch", [path], {"tick": "0.0001"})
    assert result["mismatches"] == 118
    assert result["flow_mismatches"] == result["trade_mismatches"] == 0
    # Its book is crossed for most of the day, and its executions are of any order.
    assert result["crossing"] > 4000
    assert result["out_of_priority"] + result["trades"] + 18 == types["E"]


def test_a_file_without_orders_says_so(real_file, capsys):
    path = real_file("real_first_1000_messages.ITCH_50")
    assert verify.main(["itch", str(path), "--option", "date=2019-01-30"]) == 2
    assert "no orders: messages by type: H 3, R 993, S 1, Y 3" in capsys.readouterr().err
