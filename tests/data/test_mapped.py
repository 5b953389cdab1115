"""Tables of one's own: through any spelling of them the same orders come back, and nothing bad passes unseen."""

import datetime
import json
import zipfile
from dataclasses import asdict
from decimal import Decimal

import mapped_writer as writer
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sorted_feeds import Reading

from mars_lmm.data.config import DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.common.by_order import session_records
from mars_lmm.data.feeds.mapped.mapping import load_mapping
from mars_lmm.data.flow import ANONYMOUS, HIDDEN
from mars_lmm.data.ledger import RAISE, SKIP
from mars_lmm.data.preparation.card import command_line
from mars_lmm.data.prepare import prepare
from mars_lmm.data.sessions import find_sources
from mars_lmm.data.verify import main
from mars_lmm.market import types as t

HEADER = "at,type,bs,px,qty,id,stock,who"
ORDER_COLUMNS = ("kind", "side", "price", "size", "order_id", "owner")
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path, mapping, on_error=RAISE, **options):
    return Reading("mapped", [path], {"mapping": mapping, **options}, on_error)


def rows_of(flow, names):
    return [tuple(row) for row in np.stack([flow[name].astype(np.int64) for name in names], 1).tolist()]


def submitted(flow):
    return rows_of(flow, ORDER_COLUMNS)


def without_mismatches(reading, number=0):
    counts = reading.verify(number).counts
    assert counts["rows"] > 0
    return not any(count for name, count in counts.items() if name.endswith("mismatches"))


def orders_csv(rows, delimiter=","):
    return "\n".join([HEADER.replace(",", delimiter), *(delimiter.join(row) for row in rows)]) + "\n"


@pytest.fixture(scope="module")
def orders():
    return writer.random_orders(seed=1)


def test_messages_of_lobster_come_back_as_submitted(tmp_path):
    recording = writer.recording(seed=3)
    file = tmp_path / "TEST_2024-01-02_34200000_57600000_message_10.csv"
    file.write_text("".join(line + "\n" for line in recording.message_lines()))
    reading = read(file, writer.LOBSTER)
    assert [(session.symbol, session.date) for session in reading.sessions] == [("TEST", "2024-01-02")]
    flow = reading.flow()
    told = np.array([order[4] is not None for order in recording.submitted])
    expected = [tuple(0 if value is None else value for value in order) for order in recording.submitted]
    flow["order_id"] = np.where(told, flow["order_id"], 0)
    assert rows_of(flow, ("kind", "side", "price", "size", "order_id", "flags", "source_row")) == expected
    assert without_mismatches(reading)


def test_rows_that_leave_out_side_price_and_size_say_the_same(tmp_path):
    recording = writer.recording(seed=4)
    full = tmp_path / "TEST_2024-01-02_message.csv"
    full.write_text("".join(line + "\n" for line in recording.message_lines()))
    bare = writer.write_text(tmp_path / "20240102.csv.gz", writer.tradingphysics(recording.messages))
    names = ("kind", "side", "price", "size", "flags")
    reading = read(bare, writer.TRADINGPHYSICS)
    ours, expected = (
        [row for row in rows_of(flow, names) if not row[-1] & HIDDEN]
        for flow in (reading.flow(), read(full, writer.LOBSTER).flow())
    )
    assert ours == expected
    assert without_mismatches(reading)


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz", "orders.zip"])
def test_orders_come_back(tmp_path, orders, name):
    log, accepted, volume = orders
    reading = read(writer.write_text(tmp_path / name, orders_csv(writer.order_rows(log))), writer.ORDERS)
    (session,) = reading.sessions
    assert (session.symbol, session.date) == ("ABC", "2024-07-02")
    flow = reading.flow()
    assert submitted(flow) == accepted
    opening = 34_200 * 10**9  # 13:30 UTC is 09:30 in New York in summer; a millisecond and a row each order
    assert (flow["time"] == opening + (flow["source_row"] - 2) * 10**6).all()
    verification = reading.verify()
    assert verification.counts["volume"] == volume
    assert verification.counts["rejected_orders"] == len(log) - len(accepted)
    assert verification.counts["mismatches"] == 0


@pytest.mark.parametrize("chunk", [session_records.CHUNK, 37])
def test_what_comes_too_late_is_an_ordinary_rejection(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(session_records, "CHUNK", chunk)
    log, accepted, volume = writer.random_orders(seed=7, late=0.5)
    reading = read(writer.write_text(tmp_path / "orders.csv", orders_csv(writer.order_rows(log))), writer.ORDERS)
    assert submitted(reading.flow()) == accepted
    counts = reading.verify().counts
    assert (counts["rejected_orders"], counts["volume"]) == (len(log) - len(accepted), volume)
    assert counts["mismatches"] == 0


def test_an_id_that_no_row_before_it_sends_is_a_bad_row(tmp_path):
    rows = [GOOD, with_(type="C", id="2"), with_(id="2"), with_(type="R", id="3", bs="", px="9.00", qty="4")]
    reading = read(writer.write_text(tmp_path / "t.csv", orders_csv(rows)), writer.ORDERS, SKIP)
    assert reading.flow()["order_id"].tolist() == [1, 2]
    assert [(item.row, item.reason, item.detail) for item in reading.ledger.rejections] == [
        (
            row,
            "our book rejects the order (unknown_id)",
            f"{what}: no row before it sends an order of this id; is the log whole?",
        )
        for row, what in ((3, "cancel, id 2"), (5, "replace of 4 at 900 ticks, id 3"))
    ]


def test_ids_may_be_as_large_as_an_integer(tmp_path):
    rows = [with_(id=str(2**63 - 1)), with_(id=str(2**62)), with_(id=str(2**63))]
    for name in ("t.csv", "t.parquet"):
        file = tmp_path / name
        if name == "t.csv":
            writer.write_text(file, orders_csv(rows))
        else:
            columns = dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True))
            pq.write_table(pa.table(columns | {"id": pa.array([int(row[5]) for row in rows], pa.uint64())}), file)
        reading = read(file, writer.ORDERS, SKIP)
        assert reading.flow()["order_id"].tolist() == [2**63 - 1, 2**62]
        assert reading.ledger.reasons == {"order_id is too large": 1}


def test_files_without_rows_say_so(tmp_path, capsys):
    file = writer.write_text(tmp_path / "t.csv", HEADER + "\n")
    assert main(["mapped", str(file), "--option", f"mapping={json.dumps(json.dumps(writer.ORDERS))}"]) == 2
    assert f"{file}: no row to verify; left out: nothing" in capsys.readouterr().err


def test_a_damaged_archive_is_told_of(tmp_path, orders):
    writer.write_text(tmp_path / "good.csv", orders_csv(writer.order_rows(orders[0])))
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    found = find_sources(load_feed("mapped", {"mapping": writer.ORDERS}), [tmp_path])
    assert [str(source) for source in found.readable] == [str(tmp_path / "good.csv")]
    ((source, reason),) = found.faulty
    assert (str(source), reason[:14]) == (str(tmp_path / "broken.zip"), "cannot be read")


def test_a_date_of_the_path_that_is_none(tmp_path):
    mapping = writer.ORDERS | {"path_pattern": "day=(?P<date>[^/]+)"}
    (tmp_path / "day=monday").mkdir()
    writer.write_text(tmp_path / "day=monday" / "t.csv", orders_csv([GOOD]))
    with pytest.raises(DataError, match="not a date: the path tells the date 'monday'"):
        read(tmp_path, mapping)


def test_a_parquet_of_any_types_says_the_same(tmp_path, orders):
    log, accepted, _ = orders
    rows = writer.order_rows(log)
    texts = dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True))
    stamps = [datetime.datetime.fromisoformat(text) for text in texts["at"]]
    prices = [Decimal(text) for text in texts["px"]]
    variants = {
        "at": [pa.array(stamps, pa.timestamp("us", "UTC")), pa.array(stamps, pa.timestamp("ns", "Asia/Tokyo"))],
        "px": [pa.array(prices, pa.decimal128(12, 4)), pa.array(map(float, prices), pa.float64())],
        "qty": [pa.array(map(int, texts["qty"]), pa.int32()), pa.array(map(float, texts["qty"]), pa.float32())],
        "id": [pa.array(map(int, texts["id"]), pa.uint64()), pa.array(texts["id"], pa.large_string())],
        "type": [pa.array(texts["type"]).dictionary_encode(), pa.array(texts["type"], pa.large_string())],
        "bs": [pa.array([text or None for text in texts["bs"]])] * 2,
        "stock": [pa.array(texts["stock"]).dictionary_encode()] * 2,
        "who": [pa.array(map(int, texts["who"]), pa.int8()), pa.array(map(int, texts["who"]), pa.uint16())],
    }
    for number in range(2):
        file = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({name: columns[number] for name, columns in variants.items()}), file, row_group_size=99)
        flow = read(file, writer.ORDERS).flow()
        assert submitted(flow) == accepted
        assert (flow["time"] == 34_200 * 10**9 + (flow["source_row"] - 1) * 10**6).all()


def test_times_may_be_written_in_many_ways(tmp_path):
    """One time in every format: 2024-07-02 09:30:00.123 in New York."""
    epoch = 1_719_927_000_123
    spellings = {
        "seconds": "34200.123",
        "milliseconds": "34200123",
        "microseconds": "34200123000",
        "nanoseconds": "34200123000000",
        "epoch_seconds": "1719927000.123",
        "epoch_milliseconds": str(epoch),
        "epoch_microseconds": f"{epoch}000",
        "epoch_nanoseconds": f"{epoch}000000",
        "hhmmssmmm": "93000123",
        "iso": "2024-07-02T09:30:00.123",
    }
    for style, text in spellings.items():
        mapping = writer.ORDERS | {"time": {"format": style, "zone": "America/New_York"}}
        if "epoch" not in style and style != "iso":
            mapping["date"] = "20240702"
        file = writer.write_text(tmp_path / "t.csv", orders_csv([[text, "L", "b", "1", "1", "1", "X", "1"]]))
        reading = read(file, mapping)
        assert reading.sessions[0].date == "2024-07-02", style
        assert reading.flow()["time"].tolist() == [34_200_123_000_000], style
    for text in (
        "09:30:00.123",
        "2024-07-02 13:30:00.123Z",
        "2024-07-02T15:30:00.123+02:00",
        "2024-07-02T22:30:00.123+0900",
    ):
        mapping = writer.ORDERS | {"date": "2024-07-02"}
        file = writer.write_text(tmp_path / "t.csv", orders_csv([[text, "L", "b", "1", "1", "1", "X", "1"]]))
        assert read(file, mapping).flow()["time"].tolist() == [34_200_123_000_000], text


def test_sessions_are_told_apart_by_columns_and_by_paths(tmp_path):
    def row(number, stock, day):
        return [f"09:30:0{number}", "L", "b", "1.00", "1", str(number + 1), stock, "1", day]

    table = [row(0, "A", "20240102"), row(1, "B/C", "2024-01-02"), row(2, "A", "2024-01-03"), row(3, "A", "20240103")]
    file = writer.write_text(tmp_path / "t.csv", f"{HEADER},day\n" + "\n".join(map(",".join, table)))
    mapping = writer.ORDERS | {"columns": writer.ORDERS["columns"] | {"date": "day"}}
    reading = read(file, mapping)
    sizes = [len(reading.flow(number)["time"]) for number in range(len(reading.sessions))]
    names = [(session.date, session.symbol) for session in reading.sessions]
    assert list(zip(names, sizes, strict=True)) == [
        (("2024-01-02", "A"), 1),
        (("2024-01-02", "B/C"), 1),
        (("2024-01-03", "A"), 2),
    ]
    # Partitions of a folder.
    columns = {key: name for key, name in writer.ORDERS["columns"].items() if key != "symbol"}
    pattern = r"symbol=(?P<symbol>[^/]+)/date=(?P<date>[^/]+)/"
    mapping = writer.ORDERS | {"columns": columns, "path_pattern": pattern}
    for stock, day in (("A", "2024-01-02"), ("B", "2024-01-03")):
        folder = tmp_path / "parts" / f"symbol={stock}" / f"date={day}"
        folder.mkdir(parents=True)
        writer.write_text(folder / "part-0.csv", orders_csv([row(0, "-", "")[:-1]]))
    reading = read(tmp_path / "parts", mapping)
    assert [(source.symbol, source.date) for source in reading.sources] == [("A", "2024-01-02"), ("B", "2024-01-03")]
    assert [(session.symbol, session.date) for session in reading.sessions] == [
        ("A", "2024-01-02"),
        ("B", "2024-01-03"),
    ]


GOOD = ["2024-07-02T13:30:00Z", "L", "b", "10.00", "5", "1", "ABC", "1"]


def with_(**values):
    row = dict(zip(HEADER.split(","), GOOD, strict=True)) | {"id": "2"} | values
    return list(row.values())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (with_()[:-1], "wrong number of columns"),
        (with_(type="Z"), "unknown kind"),
        (with_(bs="x"), "unknown side"),
        (with_(bs=""), "order without a side"),
        (with_(px="ten"), "price is no number"),
        (with_(px="10.005"), "price off the tick"),
        (with_(px="10.0000001"), "price is finer than its unit"),
        (with_(px="-1"), "price is negative"),
        (with_(px="0"), "bad price"),
        (with_(px="9e99"), "price is too large"),
        (with_(px="30000.00"), "price far from all others"),
        (with_(qty="0"), "our book rejects the order (bad_size)"),
        (with_(qty="-5"), "size is negative"),
        (with_(qty="99999999999"), "bad size"),
        (with_(id="0"), "bad order id"),
        (with_(id="1"), "our book rejects the order (duplicate_id)"),
        (with_(type="C"), "our book rejects the order (unknown_id)"),
        (with_(at="13:30"), "no date"),
        (with_(at="noon"), "not a time"),
        (with_(at="2024-07-02T13:29:59Z"), "time goes back"),
        (with_(stock=".."), "bad symbol"),
        (with_(who="-1"), "owner out of range"),
    ],
)
def test_a_bad_row_is_an_error_or_a_rejection_with_its_row(tmp_path, bad, reason):
    rows = [GOOD, bad, with_(id="3", type="L")]
    file = writer.write_text(tmp_path / "t.csv", orders_csv(rows))
    mapping = dict(writer.ORDERS)
    with pytest.raises(DataError) as caught:
        read(file, mapping).verify()
    assert (caught.value.row, caught.value.reason.partition(":")[0]) == (3, reason)
    reading = read(file, mapping, SKIP)
    assert reading.flow()["order_id"].tolist() == [1, 3]
    assert [(r.row, r.reason, r.source) for r in reading.ledger.rejections] == [(3, reason, str(file))]


def test_rows_out_of_a_stated_order_are_refused(tmp_path):
    mapping = writer.ORDERS | {"sorted_by": "id"}
    rows = [with_(id="5"), with_(id="4"), with_(id="6")]
    reading = read(writer.write_text(tmp_path / "t.csv", orders_csv(rows)), mapping, SKIP)
    assert reading.flow()["order_id"].tolist() == [5, 6]
    assert reading.ledger.reasons == {"row out of order": 1}


def test_floats_count_if_they_are_a_tick_within_a_millionth_of_it(tmp_path):
    prices = [0.1 + 0.2, 10.000_000_001, 10.001, float("nan")]
    file = tmp_path / "t.parquet"
    rows = [with_(id=str(i + 1)) for i in range(len(prices))]
    texts = dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(texts | {"px": prices}), file)
    reading = read(file, writer.ORDERS, SKIP)
    assert reading.flow()["price"].tolist() == [30, 1000]
    assert reading.ledger.reasons == {"bad price": 1, "price off the tick": 1}


def test_ignored_rows_are_counted(tmp_path):
    mapping = writer.ORDERS | {"kinds": writer.ORDERS["kinds"] | {"Z": "ignore"}}
    rows = [GOOD, with_(type="Z", px="whatever"), with_()]
    reading = read(writer.write_text(tmp_path / "t.csv", orders_csv(rows)), mapping)
    assert reading.flow()["source_row"].tolist() == [2, 4]
    assert reading.ledger.counts["ignored"] == 1


def test_a_planted_fault_is_found(tmp_path):
    recording = writer.recording(seed=5)
    index = next(i for i, message in enumerate(recording.messages) if message[1] == 4)
    del recording.messages[index]
    file = tmp_path / "TEST_2024-01-02_message.csv"
    file.write_text("".join(line + "\n" for line in recording.message_lines()))
    reading = read(file, writer.LOBSTER, SKIP)
    counts = reading.verify().counts
    flagged = np.count_nonzero(reading.flow()["flags"] & ANONYMOUS)
    assert counts["mismatches"] + counts["out_of_priority"] + counts["crossing"] + flagged > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": "book"}, "view='book'"),
        ({"colums": {}}, "colums"),
        ({"columns": {"time": "at"}}, "columns.kind"),
        ({"kinds": {"L": "limits"}}, "kinds.L='limits'"),
        ({"kinds": {True: "limit"}}, "kinds: YAML takes a code"),
        ({"kinds": None}, "kinds: say what"),
        ({"sides": {"b": "bid"}}, "sides.b='bid'"),
        ({"time": {"format": "fortnights"}}, "time.format='fortnights'"),
        ({"time": {"zone": "Mars/Olympus"}}, "time.zone='Mars/Olympus'"),
        ({"price_unit": "-1"}, "price_unit=-1"),
        ({"size_unit": "x"}, "size_unit='x'"),
        ({"delimiter": ""}, "delimiter=''"),
        ({"path_pattern": "("}, "path_pattern='('"),
        ({"date": "tomorrow"}, "date='tomorrow'"),
        ({"view": "messages", "kinds": {"L": "new"}}, "columns.owner"),
        ({"symbol": 1}, "symbol=1: must be text or null: put it in quotes"),
        ({"symbol": False}, "symbol=False: must be text or null: put it in quotes"),
        ({"date": 20240702}, "date=20240702: must be text or null: put it in quotes"),
        ({"columns": writer.ORDERS["columns"] | {"price": 3}}, "columns.price=3: must be text: put it in quotes"),
        ({"time": {"zone": 5}}, "time.zone=5: must be text: put it in quotes"),
        ({"kinds": {"L": 1}}, "kinds.L=1: must be text: put it in quotes"),
        ({"names": ["a", 2]}, "names.1=2: must be text: put it in quotes"),
        ({"price_unit": True}, "price_unit=True: must be text"),
        ({"delimiter": '"'}, "delimiter="),
    ],
)
def test_a_wrong_mapping_names_its_key(change, message):
    with pytest.raises(ValueError, match=f"mapping.*{message.replace('(', '[(]')}"):
        load_feed("mapped", {"mapping": writer.ORDERS | change})


@pytest.mark.parametrize("value", ["000001", "0700", "1.10", "NO", "on", "12:30"])
def test_yaml_rewrites_no_symbol(tmp_path, value):
    text = yaml.safe_dump(writer.ORDERS)
    plain = writer.write_text(tmp_path / "plain.yaml", f"{text}symbol: {value}\n")
    with pytest.raises(ValueError, match=r"plain\.yaml: symbol=.*: must be text or null: put it in quotes"):
        load_feed("mapped", {"mapping": str(plain)})
    quoted = writer.write_text(tmp_path / "quoted.yaml", f"{text}symbol: '{value}'\n")
    assert load_feed("mapped", {"mapping": str(quoted)}).mapping.symbol == value


def test_mappings_of_the_package_go_by_name():
    assert load_feed("mapped", {"mapping": "lobster"}).mapping == load_mapping(writer.LOBSTER)
    with pytest.raises(ValueError, match="lobstr: no such file, nor a mapping of that name; there are lobster, trad"):
        load_feed("mapped", {"mapping": "lobstr"})


@pytest.mark.parametrize("mapping", [writer.LOBSTER, writer.TRADINGPHYSICS, writer.ORDERS])
def test_the_cards_command_has_the_mapping(mapping):
    """What it means, in words that Hydra reads; codes may be empty, and patterns hold backslashes and quotes."""
    pattern = {"path_pattern": r'(?P<symbol>\w+)["\\](?P<date>\d{8})\\'}
    feed = load_feed("mapped", {"mapping": asdict(load_mapping(mapping)) | pattern, "tick": 0.05})
    recipe = feed.recipe()
    assert recipe["options"]["mapping"]["view"] == feed.mapping.view
    words = command_line({"feeds": [{"feed": "mapped", "symbols": [], **recipe}]})
    (options,) = [word for word in words if word.startswith("+data.options=")]
    again = load_feed("mapped", OverridesParser.create().parse_override(options).value())
    assert again.mapping == feed.mapping
    assert again.recipe() == recipe


def test_another_mapping_or_another_path_makes_another_set(tmp_path):
    text = orders_csv(writer.order_rows(writer.random_orders(seed=1)[0]))
    columns = {key: name for key, name in writer.ORDERS["columns"].items() if key != "symbol"}
    mapping = writer.ORDERS | {"columns": columns, "path_pattern": "stock=(?P<symbol>[A-Z]+)"}
    file = tmp_path / "mapping.yaml"

    def prepared(folder, mapping):
        file.write_text(yaml.safe_dump(mapping))
        for day in ("2024-07-02", "2024-07-03"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{day}.csv").write_text(text.replace("2024-07-02", day))
        options = {"mapping": str(file)}
        where = {"path": str(tmp_path / folder), "root": str(tmp_path / "prepared")}
        rows = {"cutoff": "2024-07-03", "row_length": 16, "context": 8, "workers": 1}
        return prepare(DataConfig(feed="mapped", options=options, **where, **rows))

    first = prepared("stock=ABC", mapping)
    assert prepared("stock=ABC", mapping).path == first.path
    edited = prepared("stock=ABC", mapping | {"kinds": mapping["kinds"] | {"I": "limit"}})
    moved = prepared("stock=XYZ", mapping)
    assert len({first.path, edited.path, moved.path}) == 3
    symbols = [{session["symbol"] for session in found.sessions} for found in (first, edited, moved)]
    assert symbols == [{"ABC"}, {"ABC"}, {"XYZ"}]


def test_a_mapping_must_be_given_and_readable(tmp_path):
    with pytest.raises(ValueError, match="mapping: say what"):
        load_feed("mapped")
    with pytest.raises(ValueError, match=r"missing\.yaml"):
        load_feed("mapped", {"mapping": str(tmp_path / "missing.yaml")})
    broken = writer.write_text(tmp_path / "broken.yaml", "a: [")
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        load_feed("mapped", {"mapping": str(broken)})
    whole = writer.write_text(tmp_path / "whole.yaml", yaml.safe_dump(writer.ORDERS))
    assert load_feed("mapped", {"mapping": str(whole)}).mapping.view == "orders"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.zip"])
def test_a_file_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\xff nothing of the kind, \xfe\n" * 3)
    with pytest.raises(DataError):
        read(tmp_path / name, writer.ORDERS)


FIELDS = {
    "at": st.sampled_from(["2024-07-02T13:30:00Z", "2024-07-02T13:30:01Z", "13:30", "x", "9999-99-99T99:99"]),
    "type": st.sampled_from("LMCIFPR"),
    "bs": st.sampled_from(["b", "s", ""]),
    "px": st.sampled_from(["10.00", "10.01", "9.99", "10.001", "", "-3", "1e5", "1e-20", "nan", "9" * 40]),
    "qty": st.sampled_from(["0", "1", "7", "-1", "2147483647", "2147483648", "1.5", "99999999999999999999"]),
    "id": st.sampled_from(["1", "2", "3", "0", "-1", "x", "9223372036854775807"]),
    "stock": st.sampled_from(["A", "B", "", "..", "a" * 300]),
    "who": st.sampled_from(["0", "1", "2", "-1"]),
}
ROWS = st.lists(st.tuples(*FIELDS.values()).map(",".join) | st.text("L,b\"0.\n\r'", max_size=12), max_size=30)


def drain(reading):
    for number in range(len(reading.sessions)):
        reading.flow(number)
        reading.verify(number)


def drain_both_ways(file, mapping):
    """With skip, whatever is wrong is listed; else the first of it is an error that names the file."""
    skipping = read(file, mapping, SKIP)
    drain(skipping)
    error = ""
    try:
        drain(read(file, mapping))
    except DataError as caught:
        error = str(caught)
    assert bool(error) == bool(skipping.ledger.rejections)
    assert not error or str(file) in error


@pytest.mark.fuzz
@ANY
@given(rows=ROWS)
def test_no_table_of_orders_breaks_the_reader(tmp_path, rows):
    file = writer.write_text(tmp_path / "t.csv", "\n".join([HEADER, *rows]))
    drain_both_ways(file, writer.ORDERS)


@pytest.mark.fuzz
@ANY
@given(cut=st.integers(0, 4000), at=st.integers(0, 4000), garbage=st.binary(max_size=8), swap=st.booleans())
def test_no_table_of_messages_breaks_the_reader(tmp_path, cut, at, garbage, swap):
    text = writer.tradingphysics(writer.recording(seed=6, num_orders=40).messages).encode()
    if swap:
        lines = text.splitlines(keepends=True)
        first, second = 1 + at % (len(lines) - 1), 1 + cut % (len(lines) - 1)
        lines[first], lines[second] = lines[second], lines[first]
        text = b"".join(lines)
    else:
        text = text[: at % len(text)] + garbage + text[at % len(text) : len(text) - cut % 400]
    file = tmp_path / "20240102.csv"
    file.write_bytes(text)
    drain_both_ways(file, writer.TRADINGPHYSICS)


@pytest.mark.fuzz
@ANY
@given(at=st.integers(0, 10**6), garbage=st.binary(min_size=1, max_size=30))
def test_no_damaged_parquet_breaks_the_reader(tmp_path, at, garbage):
    rows = writer.order_rows(writer.random_orders(seed=2, num_orders=30)[0])
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table(dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True))), file)
    data = file.read_bytes()
    at %= len(data)
    file.write_bytes(data[:at] + garbage + data[at + len(garbage) :])
    drain_both_ways(file, writer.ORDERS)


def test_a_real_message_file(tmp_path, lobster_zip):
    """AMZN by its messages alone: an unknown id was live before, or entered outside the vendor's window."""
    with zipfile.ZipFile(lobster_zip("AMZN", 5)) as archive:
        (member,) = [name for name in archive.namelist() if "message" in name]
        archive.extract(member, tmp_path)
    reading = read(tmp_path / member, writer.LOBSTER, SKIP)
    counts = reading.verify().counts
    assert counts["rows"] == 155_935
    messages = [line.split(",") for line in (tmp_path / member).read_text().splitlines()]
    announced = {values[2] for values in messages if values[1] == "1"}
    assert counts["unknown_ids"] == sum(values[1] in "234" and values[2] not in announced for values in messages)
    assert counts["flow_mismatches"] == counts["trade_mismatches"] == 0


def test_ids_of_hidden_orders_and_kinds_of_the_venue_are_no_orders(tmp_path):
    lines = ["34200,7,0,0,-1,-1", "34200.1,1,7,5,100000,1", "34200.2,5,0,3,100050,-1", "34200.3,6,-1,9,100000,-1"]
    file = tmp_path / "X_2024-01-02_message.csv"
    file.write_text("\n".join(lines) + "\n")
    reading = read(file, writer.LOBSTER)
    assert rows_of(reading.flow(), ("kind", "side", "price", "size")) == [
        (t.LIMIT, t.BUY, 1000, 5),
        (t.LIMIT, t.BUY, 1001, 3),
    ]
    assert reading.ledger.counts["halts"] == reading.ledger.counts["crosses"] == 1
