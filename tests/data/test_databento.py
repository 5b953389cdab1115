"""The Databento feed: files in all forms, what records mean, and the order flow behind them."""

import gzip
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from databento_writer import COLUMNS, LAST, SNAPSHOT, START, TICK, csv_text, dbn_bytes, mbo, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_data import SHARED

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.common.by_order.messages import CLEAR, DELETE, EXECUTE, EXECUTE_HIDDEN, NEW, REDUCE, UNTOLD
from mars_lmm.data.feeds.databento import dbn
from mars_lmm.data.feeds.databento.records import NO_PRICE, NO_SIZE
from mars_lmm.data.ledger import RAISE, SKIP, Ledger
from mars_lmm.data.sessions import find_sessions, find_sources, sort_source
from mars_lmm.data.verify import main, verify
from mars_lmm.market.types import BUY, SELL

pytest.importorskip("databento_dbn")

NAMES = {7: "AAPL", 8: "MSFT"}
OPEN = 34_200 * 10**9
ZONE = {"zone": "America/New_York"}
FORMS = ["dbn 1", "dbn 2", "dbn 3", "raw csv", "pretty csv"]


def write(folder, records, form="dbn 3"):
    """The records as a file; return its path."""
    if form.startswith("dbn"):
        path = folder / "day.dbn"
        path.write_bytes(dbn_bytes(records.tobytes(), NAMES, int(form[-1])))
    else:
        path = folder / "day.csv"
        path.write_text(csv_text(records, NAMES, form.startswith("pretty")))
    return path


def decoded(path, ledger=None, options=ZONE):
    """All messages by (symbol, date)."""
    feed, sessions = load_feed("databento", options), {}
    for source in feed.find_sources([path]):
        for symbol, date, records in feed.decode(source, ledger or Ledger()):
            sessions.setdefault((symbol, date), []).append(records)
    return {key: np.concatenate(parts) for key, parts in sessions.items()}


def meaning(folder, *records, ledger=None):
    """What records of one instrument come to: (kind, id, price in ticks, size, side)."""
    sessions = decoded(write(folder, np.concatenate(records)), ledger)
    return [
        (kind, order_id, price if price == UNTOLD else price / TICK, size, side)
        for messages in sessions.values()
        for _, order_id, price, size, _, kind, side in messages.tolist()
    ]


def by_receipt(*records):
    """The records of several instruments in one file's order."""
    records = np.concatenate(records)
    return records[np.argsort(records["ts_recv"], kind="stable")]


def sessions_of(feed, paths, folder, ledger):
    sources = find_sources(feed, paths).readable
    folders = [folder / f"spool{number}" for number in range(len(sources))]
    for source, spool in zip(sources, folders, strict=True):
        sort_source(feed, source, spool, (), ledger)
    return find_sessions(feed, sources, folders)


def flow_of(feed, session, ledger):
    parts = list(feed.order_flow(session, ledger))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else None


# Round trips


@pytest.mark.parametrize("form", FORMS)
def test_the_flow_is_what_was_submitted(tmp_path, form):
    recording = record(seed=3)
    path = write(tmp_path, np.concatenate(recording.records), form)
    feed, ledger = load_feed("databento", ZONE), Ledger()
    (session,) = sessions_of(feed, [path], tmp_path, ledger)
    assert (session.symbol, session.date) == ("AAPL", "2024-01-02")
    flow = flow_of(feed, session, ledger)
    names = ("kind", "side", "price", "size", "order_id", "flags", "source_row")
    rows = list(zip(*(flow[name].tolist() for name in names), strict=True))
    header = 1 if "csv" in form else 0
    wanted = [(*order[:6], order[6] + header) for order in recording.submitted]
    assert [row[:4] + row[5:] for row in rows] == [order[:4] + order[5:] for order in wanted]
    told = [order[4] for order in wanted]
    assert [row[4] if name is not None else None for row, name in zip(rows, told, strict=True)] == told
    nameless = [row[4] for row, name in zip(rows, told, strict=True) if name is None]
    assert max(nameless) < 0
    assert len(set(nameless)) == len(nameless) > 50
    assert flow["time"][0] == OPEN
    assert (np.diff(flow["time"]) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_verify_finds_nothing(tmp_path, seed):
    first, second = (record(seed=10 * seed + i, instrument=7 + i).records for i in range(2))
    result = verify("databento", [write(tmp_path, by_receipt(*first, *second))])
    assert {name: count for name, count in result.items() if "mismatches" in name and count} == {}
    assert result["sessions"] == 2
    assert result["trades"] > 200
    assert result["unknown_ids"] == result["out_of_priority"] == result["off_price"] == 0


def test_verify_finds_a_planted_fault(tmp_path):
    records = np.concatenate(record(seed=5).records)
    cancels = np.flatnonzero(records["action"] == ord("C"))
    records["size"][cancels[20]] += 1
    result = verify("databento", [write(tmp_path, records)])
    assert result["mismatches"] > 0
    assert result["rejected"]["takes more than is left"] == 1


@pytest.mark.parametrize("part_bytes", [56, 100, 1_000, 5_000])
def test_borders_between_parts_do_not_matter(tmp_path, monkeypatch, part_bytes):
    first, second = (record(seed=i, num_orders=300, instrument=i).records for i in NAMES)
    path = write(tmp_path, by_receipt(*first, *second))
    whole = decoded(path)
    monkeypatch.setattr(dbn, "PIECE_BYTES", part_bytes)
    monkeypatch.setattr(dbn, "PART_BYTES", part_bytes)
    cut = decoded(path)
    assert whole.keys() == cut.keys()
    for key, records in whole.items():
        np.testing.assert_array_equal(records, cut[key])


# What records mean


ORDER = mbo("A", "B", 100 * TICK, 10, 1, sequence=1)
ENTERED = (NEW, 1, 100, 10, BUY)


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        (mbo("C", "B", 100 * TICK, 10, 1), [(DELETE, 1, 100, 10, BUY)]),
        (mbo("C", "B", 100 * TICK, 3, 1), [(REDUCE, 1, 100, 3, BUY)]),
        (mbo("C", "N", NO_PRICE, NO_SIZE, 1), [(DELETE, 1, UNTOLD, 10, UNTOLD)]),
        (mbo("M", "B", 100 * TICK, 4, 1), [(REDUCE, 1, 100, 6, BUY)]),
        (mbo("M", "B", 100 * TICK, 10, 1), []),
        (mbo("M", "B", 100 * TICK, 12, 1), [(DELETE, 1, 100, 10, BUY), (NEW, 1, 100, 12, BUY)]),
        (mbo("M", "B", 99 * TICK, 4, 1), [(DELETE, 1, 100, 10, BUY), (NEW, 1, 99, 4, BUY)]),
        (mbo("M", "A", 100 * TICK, 10, 1), [(DELETE, 1, 100, 10, BUY), (NEW, 1, 100, 10, SELL)]),
        (mbo("M", "B", 99 * TICK, 4, 2), [(DELETE, 2, UNTOLD, UNTOLD, UNTOLD), (NEW, 2, 99, 4, BUY)]),
        (mbo("C", "B", 99 * TICK, 4, 2), [(DELETE, 2, 99, 4, BUY)]),
        (mbo("R"), [(CLEAR, 0, 0, 0, -1)]),
        (mbo("N"), []),
        (mbo("F", "B", 100 * TICK, 4, 1), []),
        (mbo("T", "A", 100 * TICK, 4, sequence=2), [(EXECUTE_HIDDEN, 0, 100, 4, BUY)]),
        (mbo("T", "N", 100.5 * TICK, 4, sequence=2), [(EXECUTE_HIDDEN, 0, 100.5, 4, BUY)]),
    ],
)
def test_one_record(tmp_path, record, messages):
    assert meaning(tmp_path, ORDER, record) == [ENTERED, *messages]


def event(*letters, **more):
    """Records of one sequence about order 1: a letter and a size each."""
    sides = {"T": "A"}
    return [mbo(letter, sides.get(letter, "B"), 100 * TICK, size, 1, sequence=9, **more) for letter, size in letters]


@pytest.mark.parametrize(
    ("letters", "messages"),
    [
        ((("T", 4), ("F", 4), ("C", 4)), [(EXECUTE, 1, 100, 4, BUY)]),
        ((("T", 10), ("F", 10), ("C", 10)), [(EXECUTE, 1, 100, 10, BUY)]),
        ((("T", 4), ("F", 4), ("M", 6)), [(EXECUTE, 1, 100, 4, BUY)]),
        ((("F", 4), ("C", 10)), [(EXECUTE, 1, 100, 4, BUY), (DELETE, 1, 100, 6, BUY)]),
        ((("F", 4), ("M", 3)), [(EXECUTE, 1, 100, 4, BUY), (REDUCE, 1, 100, 3, BUY)]),
        ((("F", 1), ("F", 3), ("C", 4)), [(EXECUTE, 1, 100, 4, BUY)]),
        ((("T", 4), ("T", 2), ("F", 4), ("C", 4)), [(EXECUTE, 1, 100, 4, BUY)]),
    ],
)
def test_an_execution_is_a_fill_and_what_takes_it_off_the_book(tmp_path, letters, messages):
    assert meaning(tmp_path, ORDER, *event(*letters)) == [ENTERED, *messages]


def test_a_fill_of_another_event_is_no_execution(tmp_path):
    ledger = Ledger()
    later = mbo("C", "B", 100 * TICK, 4, 1, START + 1, sequence=10)
    assert meaning(tmp_path, ORDER, *event(("F", 4)), later, ledger=ledger) == [ENTERED, (REDUCE, 1, 100, 4, BUY)]
    other = [mbo("A", "B", 100 * TICK, 5, 2), mbo("F", "B", 100 * TICK, 5, 2, START + 2, sequence=11)]
    meaning(tmp_path, ORDER, *event(("F", 4)), *other, ledger=ledger)
    assert ledger.counts["fills_without_cancel"] == 3


def test_a_clear_forgets_the_orders(tmp_path):
    records = [ORDER, mbo("R"), mbo("M", "B", 100 * TICK, 4, 1)]
    told = [ENTERED, (CLEAR, 0, 0, 0, -1), (DELETE, 1, UNTOLD, UNTOLD, UNTOLD), (NEW, 1, 100, 4, BUY)]
    assert meaning(tmp_path, *records) == told


def test_a_snapshot_is_of_the_time_it_was_made(tmp_path):
    sent = START - 3 * 86_400 * 10**9
    records = [
        mbo("R", flags=SNAPSHOT, time=sent, ts_recv=START),
        mbo("A", "B", 100 * TICK, 1, 1, flags=SNAPSHOT, time=sent, ts_recv=START),
        mbo("A", "B", 100 * TICK, 1, 2, time=START - 50),  # received behind the snapshot, so it happened behind it
        mbo("A", "B", 100 * TICK, 1, 3, time=START + 50),
    ]
    ledger = Ledger()
    ((key, messages),) = decoded(write(tmp_path, np.concatenate(records)), ledger).items()
    assert key == ("AAPL", "2024-01-02")
    assert messages["time"].tolist() == [OPEN, OPEN, OPEN, OPEN + 50]
    assert (ledger.counts["snapshot_records"], ledger.counts["held_times"]) == (2, 1)


def test_days_are_local(tmp_path):
    evening = START + (14 * 3600 + 1800) * 10**9  # 05:00 UTC is midnight in New York
    records = [mbo("A", "B", 100 * TICK, 1, i + 1, time=evening + i - 1) for i in range(2)]
    path = write(tmp_path, np.concatenate(records))
    assert {key: messages["time"].tolist() for key, messages in decoded(path, options={}).items()} == {
        ("AAPL", "2024-01-02"): [86_400 * 10**9 - 1],
        ("AAPL", "2024-01-03"): [0],
    }
    assert [date for _, date in decoded(path, options={"zone": "UTC"})] == ["2024-01-03"]


# Files


def test_symbols_come_from_the_mappings(tmp_path):
    path = tmp_path / "day.dbn"
    late = START + 2 * 86_400 * 10**9
    orders = [mbo("A", "B", 100 * TICK, 1, i + 1, time, instrument=7) for i, time in enumerate((START, late))]
    path.write_bytes(dbn_bytes(by_receipt(*orders, mbo("R", instrument=99)).tobytes(), NAMES))
    assert sorted(decoded(path)) == [("AAPL", "2024-01-02"), ("ID7", "2024-01-04"), ("ID99", "2024-01-02")]


def test_live_streams_name_their_instruments_on_the_way(tmp_path):
    path = SHARED / "data" / "databento" / "LIVE.test_data.live.dbn.zst"
    if not path.exists():
        pytest.skip("the live sample is not at hand; set MARS_LMM_SHARED")
    ledger = Ledger()
    sessions = decoded(path, ledger, {})
    assert {key: len(messages) for key, messages in sessions.items()} == {("ESZ4", "2023-11-19"): 5}
    assert ledger.counts["other_records"] == 41


@pytest.mark.parametrize(
    ("name", "symbol", "date", "count"),
    [
        ("XNAS.ITCH.test_data.mbo.dbn.zst", "NVDA", "2020-12-28", 4),
        ("GLBX.MDP3.test_data.mbo.dbn.zst", "ESH1", "2020-12-27", 4),
        ("IFEU.IMPACT.test_data.mbo.dbn.zst", "BRN FMJ0024!", "2024-01-18", 4),
        ("NDEX.IMPACT.test_data.mbo.dbn.zst", "TFM FMH0024!", "2024-01-18", 4),
        ("test_data.mbo.v1.dbn.zst", "ESH1", "2020-12-28", 2),
        ("test_data.mbo.v2.dbn.zst", "ESH1", "2020-12-28", 2),
        ("test_data.mbo.v3.dbn", "ESH1", "2020-12-28", 2),
    ],
)
def test_the_vendors_samples(name, symbol, date, count):
    path = SHARED / "data" / "databento" / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand; set MARS_LMM_SHARED")
    ledger = Ledger()
    assert {key: len(messages) for key, messages in decoded(path, ledger, {}).items()} == {(symbol, date): count}
    assert ledger.rejections == []


def test_the_vendors_own_reader_agrees():
    import databento_dbn

    path = SHARED / "data" / "databento" / "XNAS.ITCH.test_data.mbo.dbn.zst"
    if not path.exists():
        pytest.skip("the NASDAQ sample is not at hand; set MARS_LMM_SHARED")
    decoder = databento_dbn.DBNDecoder()
    decoder.write(pa.CompressedInputStream(str(path), "zstd").read())
    told = [
        (message.order_id, message.price, message.size)
        for message in decoder.decode()
        if isinstance(message, databento_dbn.MBOMsg)
    ]
    ((_, messages),) = decoded(path, options={}).items()
    assert messages[["order_id", "price", "size"]].tolist() == told


def test_other_records_are_skipped_by_their_length(tmp_path):
    path, order = tmp_path / "day.dbn", ORDER.tobytes()
    other = bytes([5, 1]) + bytes(18)
    stamped = bytes([16]) + order[1:] + bytes(8)  # live data with the time of sending behind each record
    path.write_bytes(dbn_bytes(other + order + other * 2 + stamped, NAMES))
    ledger = Ledger()
    ((_, messages),) = decoded(path, ledger).items()
    assert messages["row"].tolist() == [2, 5]
    assert ledger.counts["other_records"] == 3


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".zip", ".zst.zip"])
@pytest.mark.parametrize("form", ["dbn 3", "pretty csv"])
def test_packed_files(tmp_path, form, suffix):
    path = write(tmp_path, np.concatenate([ORDER, ORDER]), form)
    plain = decoded(path)
    name, data = path.name, path.read_bytes()
    path.unlink()
    if suffix == ".gz":
        (tmp_path / (name + ".gz")).write_bytes(gzip.compress(data))
    elif suffix == ".zst":
        (tmp_path / (name + ".zst")).write_bytes(pa.compress(data, "zstd", asbytes=True))
    else:
        member = suffix.removesuffix(".zip")
        with zipfile.ZipFile(tmp_path / "day.zip", "w") as archive:
            archive.writestr("sub/" + name + member, pa.compress(data, "zstd", asbytes=True) if member else data)
    packed = decoded(tmp_path)
    assert packed.keys() == plain.keys()
    np.testing.assert_array_equal(*(sessions["AAPL", "2024-01-02"] for sessions in (packed, plain)))


def test_csv_columns_go_by_name(tmp_path):
    lines = [line.split(",") for line in csv_text(np.concatenate([ORDER]), NAMES, True).splitlines()]
    names = [name for name in lines[0] if name not in ("rtype", "symbol", "ts_in_delta")]
    path = tmp_path / "day.csv"
    path.write_text("".join(",".join(line[lines[0].index(name)] for name in names[::-1]) + "\r\n" for line in lines))
    ((key, messages),) = decoded(path).items()
    assert key == ("ID7", "2024-01-02")
    assert messages.tolist() == [(OPEN, 1, 100 * TICK, 10, 2, NEW, BUY)]


def test_a_quote_swallows_no_rows(tmp_path):
    path = write(tmp_path, np.concatenate([ORDER] * 3), "raw csv")
    path.write_text(path.read_text().replace("AAPL", '"AAPL', 1))
    assert {symbol: len(messages) for (symbol, _), messages in decoded(path).items()} == {'"AAPL': 1, "AAPL": 2}


def test_folders_hold_other_files_too(tmp_path):
    """Files that are none of the feed's are told of; those that should be and cannot be read are errors."""
    feed = load_feed("databento", ZONE)
    with pytest.raises(DataError, match="no Databento files"):
        feed.find_sources([tmp_path])
    (tmp_path / "symbology.csv").write_text("raw_symbol,instrument_id,date\nAAPL,7,2024-01-02\n")
    with pytest.raises(DataError, match=r"holds no file of this feed; .*symbology\.csv is none: the vendor puts it"):
        find_sources(feed, [tmp_path])
    good = write(tmp_path, ORDER, "pretty csv")
    (tmp_path / "headless.CSV").write_text(good.read_text().partition("\n")[2])
    (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "trades.csv").write_text("ts_recv,price,size\n1,2,3\n")
    found = find_sources(feed, [tmp_path])
    assert [str(source) for source in found.readable] == [str(good), str(tmp_path / "trades.csv")]
    assert [str(source) for source, _ in found.faulty] == [str(tmp_path / "broken.csv.gz")]
    reasons = {source.files[0].name: reason for source, reason in found.foreign}
    assert reasons.keys() == {"symbology.csv", "headless.CSV"}
    assert "its first line names none of the columns ts_event, ts_recv, action" in reasons["headless.CSV"]
    with pytest.raises(DataError, match=r"trades\.csv, row 1: columns missing"):
        decoded(tmp_path / "trades.csv")


def test_names_in_capitals_are_read_alike(tmp_path):
    path = write(tmp_path, ORDER, "pretty csv")
    assert list(decoded(path.rename(tmp_path / "DAY.CSV"))) == [("AAPL", "2024-01-02")]


# Faults


@pytest.mark.parametrize("form", ["dbn 3", "raw csv", "pretty csv"])
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (mbo("X"), "unknown action"),
        (mbo("A", "Z", 100 * TICK, 1, 2), "unknown side"),
        (mbo("A", "N", 100 * TICK, 1, 2), "unknown side"),
        (mbo("A", "B", 100 * TICK, 1, 0), "no order id"),
        (mbo("A", "B", 100 * TICK, 1, 2**63), "order_id is too large"),
        (mbo("A", "B", NO_PRICE, 1, 2), "no price"),
        (mbo("A", "B", -100 * TICK, 1, 2), "price not positive"),
        (mbo("A", "B", 100 * TICK, 0, 2), "size out of range"),
        (mbo("A", "B", 100 * TICK, 2**31, 2), "size out of range"),
        (mbo("A", "B", 100 * TICK, 1, 2, flags=LAST | 16), "a price level, not an order"),
        (mbo("A", "B", 100 * TICK, 1, 2, ts_recv=START - 61 * 10**9), "a time after receipt"),
        (mbo("A", "B", 100 * TICK, 1, 2, publisher_id=3), "a second publisher"),
    ],
)
def test_a_bad_record(tmp_path, form, record, reason):
    path = write(tmp_path, np.concatenate([ORDER, record, ORDER]), form)
    row = 2 if form == "dbn 3" else 3
    with pytest.raises(DataError, match=rf"day\.\w+, row {row}: {reason}"):
        decoded(path)
    ledger = Ledger(SKIP)
    ((_, messages),) = decoded(path, ledger).items()
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(row, reason)]
    assert messages["row"].tolist() == [row - 1, row + 1]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("price", "x", "price is no number"),
        ("price", "1.0000000001", "price is finer than its unit"),
        ("size", "", "size is missing"),
        ("flags", "256", "flags out of range"),
        ("order_id", "99999999999999999999", "order_id is too large"),
        ("order_id", str(2**63), "order_id is too large"),
        ("action", "AB", "action is no letter"),
        ("ts_event", "2024-02-30T14:30:00Z", "not a time"),
        ("ts_event", "", "not a time"),
        ("ts_recv", "2024-01-02", "not a time"),
        ("symbol", "..", "bad symbol"),
    ],
)
def test_a_bad_field(tmp_path, name, value, reason):
    lines = csv_text(np.concatenate([ORDER] * 4), NAMES, True).splitlines()
    fields = lines[2].split(",")
    fields[COLUMNS.split(",").index(name)] = value
    path = tmp_path / "day.csv"
    path.write_text("\n".join([*lines[:2], ",".join(fields), *lines[3:], "1,2"]))
    with pytest.raises(DataError, match=rf"row (3|6): ({reason}|wrong number of columns)"):
        decoded(path)
    ledger = Ledger(SKIP)
    ((_, messages),) = decoded(path, ledger).items()
    assert {rejection.row: rejection.reason for rejection in ledger.rejections} == {
        3: reason,
        6: "wrong number of columns",
    }
    assert messages["row"].tolist() == [2, 4, 5]


def refused(path, **options):
    ledger = Ledger(SKIP)
    sessions = decoded(path, ledger, ZONE | options)
    return sum(map(len, sessions.values())), [(item.row, item.reason) for item in ledger.rejections]


def test_damaged_files(tmp_path):
    path, order = tmp_path / "day.dbn", ORDER.tobytes()
    whole = dbn_bytes(order * 3, NAMES)
    for data, wanted in {
        b"": (0, [(None, "not a DBN file")]),
        b"PK\3\4 no DBN": (0, [(None, "not a DBN file")]),
        whole[:100]: (0, [(None, "not a DBN file")]),
        whole[:-1]: (2, [(3, "the file is cut short")]),
        dbn_bytes(order + bytes(56) + order, NAMES): (1, [(2, "bad record length")]),
        dbn_bytes(order + bytes([5, 160]) + bytes(18) + order, NAMES): (2, [(2, "bad record length")]),
        dbn_bytes(bytes([10, 22]) + bytes(38) + order, NAMES): (1, [(1, "bad symbol mapping")]),
        dbn_bytes(order, NAMES, schema="trades"): (0, [(None, "another schema")]),
    }.items():
        path.write_bytes(data)
        assert refused(path) == wanted
        with pytest.raises(DataError):
            decoded(path)
    path.unlink()
    packed = tmp_path / "day.dbn.zst"
    packed.write_bytes(pa.compress(dbn_bytes(np.concatenate(record(1).records).tobytes(), NAMES), "zstd")[:20_000])
    assert refused(packed)[1] == [(None, "the file is cut short")]
    with pytest.raises(DataError, match="cut short"):
        decoded(packed)


def test_a_file_that_is_refused_is_not_asked_for_its_dataset(tmp_path):
    path = tmp_path / "day.dbn"
    for data, reason in {
        b"": "not a DBN file: it begins with b''",
        dbn_bytes(ORDER.tobytes(), NAMES).replace(b"DBN\3", b"DBN\x09"): "not a DBN file",
        dbn_bytes(ORDER.tobytes(), NAMES, schema="trades"): "another schema: it holds trades",
    }.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=reason):
            decoded(path, options={})
        ledger = Ledger(SKIP)
        assert decoded(path, ledger, {}) == {}
        assert [item.reason for item in ledger.rejections] == [reason.partition(":")[0]]


# The order of receipt


SECOND, HOUR, DAYS = 10**9, 3600 * 10**9, 86_400 * 10**9
BAD_RECEIPT = 8


def orders_at(*seconds, **more):
    """New orders, one at each second after the opening; ids count from 1."""
    records = [mbo("A", "B", 100 * TICK, 1, i + 1, START + s * SECOND, **more) for i, s in enumerate(seconds)]
    return np.concatenate(records)


def ids_and_faults(path, options=ZONE):
    ledger = Ledger(SKIP)
    kept = [order_id for records in decoded(path, ledger, options).values() for order_id in records["order_id"]]
    return sorted(kept), {item.row: item.reason for item in ledger.rejections}


@pytest.mark.parametrize("part_bytes", [56, 56 * 70, dbn.PART_BYTES])
@given(data=st.data())
def test_one_wrong_time_costs_one_record(tmp_path_factory, part_bytes, data):
    """Wherever it stands, and however far off it is: the others keep their times and their day."""
    count = data.draw(st.integers(4, 200))
    place = data.draw(st.integers(0, count - 3))
    off = data.draw(st.sampled_from([-40 * DAYS, -HOUR, HOUR, 5 * HOUR, 40 * DAYS]))
    records = orders_at(*range(count))
    if off < 0 and place == 0:
        return  # nothing before it says that it is early
    for name in ("ts_recv", "ts_event"):
        records[name][place] = int(records[name][place]) + off
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbn, "PIECE_BYTES", part_bytes)
        patch.setattr(dbn, "PART_BYTES", part_bytes)
        path = write(tmp_path_factory.mktemp("receipt"), records)
        ledger = Ledger(SKIP)
        ((key, messages),) = decoded(path, ledger).items()
    assert key == ("AAPL", "2024-01-02")
    assert [item.row for item in ledger.rejections] == [place + 1]
    right = np.delete(np.arange(count), place)
    assert messages["order_id"].tolist() == (right + 1).tolist()
    assert messages["time"].tolist() == (OPEN + right * SECOND).tolist()
    assert ledger.counts["adds"] == count - 1


@pytest.mark.parametrize(
    ("seconds", "faults"),
    [
        ([0, 2, 1, 3, 4], {3: "time goes back"}),
        ([0, 9, 1, 2, 3], {2: "time runs ahead"}),
        ([9, 1, 2, 3], {1: "time runs ahead"}),
        ([0, 9, 9, 1, 2, 3], {2: "time runs ahead", 3: "time runs ahead"}),
        ([5, 6, 0, 1, 7, 8, 9], {3: "time goes back", 4: "time goes back"}),
    ],
)
def test_most_of_the_neighbours_tell_which_time_is_wrong(tmp_path, seconds, faults):
    path = write(tmp_path, orders_at(*seconds))
    right = [i + 1 for i in range(len(seconds)) if i + 1 not in faults]
    assert ids_and_faults(path) == (right, faults)
    with pytest.raises(DataError, match=rf"row \d: {faults[min(faults)]}: ts_recv 2024-01-02T14:30:0\d"):
        decoded(path)


def test_a_shuffled_file_is_no_session(tmp_path):
    records = np.concatenate(record(seed=8).records)
    np.random.default_rng(0).shuffle(records)
    _, faults = ids_and_faults(write(tmp_path, records))
    assert len(faults) > 0.9 * len(records)
    assert set(faults.values()) == {"time goes back", "time runs ahead"}
    _, faults = ids_and_faults(write(tmp_path, by_receipt(records)[::-1]))
    assert len(faults) > 0.9 * len(records)


def test_times_beyond_what_the_metadata_promises(tmp_path):
    path = tmp_path / "day.dbn"
    end = START + 10 * SECOND
    records = orders_at(-1, 0, 5, 20, 5)
    path.write_bytes(dbn_bytes(records.tobytes(), NAMES, end=end))
    assert ids_and_faults(path) == ([2, 3, 5], {1: "time goes back", 4: "time runs ahead"})


def test_a_flagged_time_of_receipt_is_not_judged_by(tmp_path):
    """The vendor's clock was off; the exchange's own time must still be near to the times around it."""
    records = orders_at(*range(8))
    records["ts_recv"][2] = START - DAYS
    records["flags"][2:5] |= BAD_RECEIPT
    records["ts_event"][4] += HOUR
    assert ids_and_faults(write(tmp_path, records)) == ([1, 2, 3, 4, 6, 7, 8], {5: "time runs ahead"})


def test_one_publisher_is_chosen(tmp_path):
    orders = [mbo("A", "B", 100 * TICK, 1, i + 1, publisher_id=2 + i % 2) for i in range(4)]
    path = write(tmp_path, np.concatenate(orders))
    ledger = Ledger()
    ((_, messages),) = decoded(path, ledger, {"publisher": 3}).items()
    assert messages["order_id"].tolist() == [2, 4]
    assert ledger.counts["other_publishers"] == 2


def test_a_zone_must_be_known(tmp_path):
    path = write(tmp_path, ORDER, "raw csv")
    with pytest.raises(DataError, match="option zone"):
        decoded(path, options={})
    with pytest.raises(ValueError, match="no such time zone"):
        load_feed("databento", {"zone": "Mars/Base"})


@pytest.mark.parametrize("form", ["dbn 3", "raw csv"])
def test_ids_may_be_as_large_as_an_integer(tmp_path, form):
    ids = [2**62, 2**63 - 1]
    path = write(tmp_path, np.concatenate([mbo("A", "B", 100 * TICK, 1, number) for number in ids]), form)
    ((_, messages),) = decoded(path).items()
    assert messages["order_id"].tolist() == ids


def test_options_on_the_command_line_are_not_what_yaml_makes_of_them(tmp_path, capsys):
    path = str(write(tmp_path, np.concatenate(record(seed=1).records)))
    words = [word for option in ("open=09:30", "close=16:00", "publisher=2") for word in ("--option", option)]
    assert main(["databento", path, *words]) == 0
    assert main(["databento", path, "--option", "zone=5"]) == 2
    assert "zone=5: must be text or null: put it in quotes" in capsys.readouterr().err


def test_dbn_needs_its_package(tmp_path, monkeypatch):
    path = write(tmp_path, ORDER)
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    with pytest.raises(DataError, match=r"pip install 'mars-lmm\[databento\]'"):
        decoded(path)


# Any bytes


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLE = np.concatenate(record(seed=2, num_orders=25).records)


def check_any(folder, path):
    """A file of any content is an error, or is read with its bad rows listed."""
    for mode in (RAISE, SKIP):
        feed, ledger = load_feed("databento", ZONE), Ledger(mode)
        spool = folder / "any"
        try:
            for session in sessions_of(feed, [path], spool, ledger):
                flow_of(feed, session, ledger)
                feed.verify(session, ledger)
        except DataError:
            assert mode == RAISE


@pytest.mark.fuzz
@FUZZ
@given(data=st.data())
def test_any_damage_to_a_dbn_file(tmp_path, data):
    whole = bytearray(dbn_bytes(SAMPLE.tobytes(), NAMES))
    first = data.draw(st.sampled_from([0, 8, len(whole) - SAMPLE.nbytes]))
    for _ in range(data.draw(st.integers(0, 12))):
        whole[data.draw(st.integers(first, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "any.dbn"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    check_any(tmp_path, path)


@pytest.mark.fuzz
@FUZZ
@given(order=st.permutations(range(len(SAMPLE))), kept=st.integers(0, len(SAMPLE)), ids=st.integers(1, 70))
def test_any_order_of_records(tmp_path, order, kept, ids):
    records = SAMPLE[np.array(order[:kept], np.int64)]
    records["order_id"] %= ids
    check_any(tmp_path, write(tmp_path, records))


@pytest.mark.fuzz
@FUZZ
@given(data=st.data(), pretty=st.booleans())
def test_any_damage_to_a_csv_file(tmp_path, data, pretty):
    lines = csv_text(SAMPLE, NAMES, pretty).splitlines()
    texts = st.text(alphabet='0123456789-:.,TZ"AB é\n\r', max_size=25)
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(1, len(lines) - 1))
        fields = lines[row].split(",")
        fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(texts)
        lines[row] = ",".join(fields)
    path = tmp_path / "any.csv"
    path.write_bytes("\n".join(lines).encode() + data.draw(st.binary(max_size=20)))
    check_any(tmp_path, path)
