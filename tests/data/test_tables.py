"""Tables read part by part, against Python's own reader; whatever is wrong with a row is said of that row."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.columns import delimited
from mars_lmm.data.feeds.common.columns.delimited import CsvForm, csv_header, read_lines
from mars_lmm.data.feeds.common.columns.tables import read_table
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.level2.layouts import Layout, detect
from mars_lmm.data.ledger import SKIP, Ledger

LAYOUT = Layout("things", ("Price",), {"price": ("Price", "Px"), "name": ("Name",)}, frozenset({"name"}))


def rows_of(path, wanted, form=None):
    """The rows by number, and the ledger."""
    ledger, found = Ledger(SKIP), {}
    for fields in read_table(RawFile(path), wanted, ledger, form):
        columns = [fields[name].arrow().to_pylist() for name in wanted]
        found |= dict(zip(fields.rows.tolist(), zip(*columns, strict=True), strict=True))
    return found, ledger


def rows_of_any(path, wanted):
    """The same of a file whose columns may be kept in any way, as words."""
    ledger, found = Ledger(SKIP), {}
    for fields in read_table(RawFile(path), wanted, ledger):
        words = [[texts[number] for number in numbers] for numbers, texts in map(fields.words, wanted)]
        found |= dict(zip(fields.rows.tolist(), zip(*words, strict=True), strict=True))
    return found, ledger


@given(st.binary(max_size=80), st.integers(1, 90))
def test_lines_in_blocks_of_any_size(content, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        parts = list(read_lines(io.BytesIO(content), RawFile(Path("x")), 1, Ledger()))
    assert b"".join(text for _, text in parts).removesuffix(b"\n") == content.removesuffix(b"\n")
    assert [row for row, _ in parts] == [1 + sum(text.count(b"\n") for _, text in parts[:i]) for i in range(len(parts))]


def test_a_line_without_end(monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 10)
    monkeypatch.setattr(delimited, "MAX_LINE", 20)
    ledger = Ledger(SKIP)
    parts = list(read_lines(io.BytesIO(b"a\n" + b"b" * 1000), RawFile(Path("x")), 1, ledger))
    assert parts == [(1, b"a\n")]
    assert ledger.reasons == {"no text lines": 1}


VALUES = st.text(st.characters(blacklist_characters='"\r\n\0', blacklist_categories=["Cs"]), max_size=6).map(str.strip)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12), st.integers(1, 60), st.sampled_from(",;\t|"))
@example([("a,b", "", "c")], 5, ",")
def test_what_pythons_own_writer_writes(tmp_path_factory, rows, block, delimiter):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("x", "y", "z"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        found, ledger = rows_of(path, ["z", "x"], CsvForm(delimiter))
    assert found == {i: (row[2].encode(), row[0].encode()) for i, row in enumerate(rows, start=2)}
    assert not ledger.rejections


def test_bad_rows_are_refused_one_by_one_whatever_their_bytes(tmp_path):
    path = tmp_path / "x.csv"
    lines = [b"a,b", b"1,2", b"\xff\xfe,\xff,3", b"\xe9,4", b'"5', b"6,7,8", b"", b'9,"1"0"', b"11,12"]
    path.write_bytes(b"\n".join(lines))
    found, ledger = rows_of(path, ["a", "b"])
    assert found == {2: (b"1", b"2"), 4: (b"\xe9", b"4"), 8: (b"9", b'1"0'), 9: (b"11", b"12")}
    assert [(r.row, r.reason) for r in ledger.rejections] == [(row, "wrong number of columns") for row in (3, 5, 6, 7)]
    with pytest.raises(DataError, match="row 3: wrong number of columns: 3 columns instead of 2"):
        list(read_table(RawFile(path), ["a"], Ledger()))


LINES = st.lists(st.sampled_from([b"1,2", b"", b" \t", b"\r"]), max_size=30)


@given(LINES, st.integers(1, 40), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
@example([b"1,2", b"", b"", b"1,2", b""], 3, b"\n", True)
def test_blank_lines_are_bad_rows_unless_the_file_ends_with_them(tmp_path_factory, lines, block, end, ends):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(b"a,b" + end + end.join(lines) + end * ends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        found, ledger = rows_of(path, ["a", "b"])
    rows = {row: line.strip() for row, line in enumerate(lines, start=2)}
    good = [row for row, line in rows.items() if line]
    assert found == dict.fromkeys(good, (b"1", b"2"))
    blank = [row for row in range(2, max(good, default=0)) if not rows[row]]
    assert [(item.row, item.reason) for item in ledger.rejections] == [
        (row, "wrong number of columns") for row in blank
    ]


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.csv: empty file: it has not even a header"):
        list(read_table(RawFile(path), ["a"], Ledger()))


def test_parquet_columns_of_any_kind(tmp_path):
    """The first of two columns of a name counts; a column without a value is empty; text is text however it is kept."""
    path = tmp_path / "X.PARQUET"
    columns = {
        "a": pa.array([1, 2]),
        "b": pa.nulls(2),
        "c": pa.array(["x", None], pa.string_view()),
        "d": pa.array([b"y", b""], pa.binary_view()),
    }
    pq.write_table(pa.Table.from_arrays([*columns.values(), pa.array([3, 4])], names=[*columns, "a"]), path)
    found, ledger = rows_of_any(path, ["a", "b", "c", "d"])
    assert found == {1: ("1", "", "x", "y"), 2: ("2", "", "", "")}
    assert not ledger.rejections


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_a_byte_order_mark_and_line_ends_of_windows_mean_nothing(tmp_path, names):
    path = tmp_path / "x.csv"
    header = b"" if names else b"a , b\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + header + b"1, 2 \r\n3,4\r\n")
    assert list(rows_of(path, ["a", "b"], CsvForm(names=names))[0].values()) == [(b"1", b"2"), (b"3", b"4")]


def test_a_column_that_is_missing(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    found, ledger = rows_of(path, ["a", "c", "d"])
    assert not found
    assert [(r.row, r.reason, r.detail) for r in ledger.rejections] == [(1, "columns missing", "the header lacks c, d")]


def test_a_file_that_ends_too_early_keeps_what_came_before(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 1000)
    path = tmp_path / "x.csv.gz"
    numbers = np.random.default_rng(0).integers(0, 10**9, 10_000).tolist()
    path.write_bytes(gzip.compress(b"a\n" + b"".join(b"%d\n" % number for number in numbers))[:-10_000])
    found, ledger = rows_of(path, ["a"])
    assert 0 < len(found) < len(numbers)
    assert [int(value) for (value,) in found.values()] == numbers[: len(found)]
    assert [(r.row, r.reason) for r in ledger.rejections] == [(None, "unreadable file")]


def test_columns_by_any_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfother, PX ,\r\n1,2.50,3\r\n4,5.25\r\n7,8.00,9")
    assert detect(path.read_bytes(), [LAYOUT]) is None
    ledger = Ledger(SKIP)
    columns = LAYOUT.find(csv_header(RawFile(path)), path, ledger)
    assert columns == {"price": "PX"}
    parts = [part.named(columns) for part in read_table(RawFile(path), ["PX"], ledger)]
    assert [price for part in parts for price in part.numbers("price", 100).tolist()] == [250, 800]
    assert [(r.row, r.reason) for r in ledger.rejections] == [(3, "wrong number of columns")]
