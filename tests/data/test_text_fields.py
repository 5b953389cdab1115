"""Fields of text as integers, against Python's own decimals and dates; lines in blocks of any size."""

import io
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common import csv_blocks
from mars_lmm.data.feeds.common.csv_blocks import Layout, detect, read_csv, read_lines
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.text_fields import Fields
from mars_lmm.data.feeds.common.text_parsers import BAD, OTHER
from mars_lmm.data.ledger import SKIP, Ledger

LAYOUT = Layout("things", ("Price",), {"price": ("Price", "Px"), "name": ("Name",)}, frozenset({"name"}))


def fields_of(values, ledger=None):
    """One column, a line a value."""
    lines = [f"{value},".encode("latin-1", errors="replace") for value in values]
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)])[:-1]
    text = np.frombuffer(b"\n".join([*lines, b""]), np.uint8)
    return Fields("file", ledger or Ledger(SKIP), text, np.arange(1, len(lines) + 1), starts[:, None], ["value"])


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**9), 10**9, places=4), min_size=1), st.integers(0, 4))
def test_decimals_are_exact(values, decimals):
    fields = fields_of(values)
    numbers = fields.numbers("value", 1, -(10**14), 10**14, decimals)
    scaled = [value * 10**decimals for value in values]
    whole = [value == int(value) for value in scaled]
    assert fields.good.tolist() == whole
    assert numbers[fields.good].tolist() == [int(value) for value, good in zip(scaled, whole, strict=True) if good]


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**7), min_size=1))
def test_noise_of_floats_is_none(ticks):
    for step in (-1, 0, 1):
        prices = np.array(ticks) / 100
        noisy = np.nextafter(prices, prices + step)
        fields = fields_of([Decimal(float(price)).quantize(Decimal("1e-9")) for price in noisy])
        assert fields.numbers("value", 1, 1, 10**7, decimals=2).tolist() == ticks
        assert fields.good.all()


@settings(deadline=None)
@given(st.lists(st.text("0123456789.-+eE naN,", max_size=25), min_size=1))
def test_what_is_no_number_is_refused(texts):
    fields = fields_of(texts)
    numbers = fields.numbers("value", 1, -(10**18), 10**18)
    for text, number, good in zip(texts, numbers.tolist(), fields.good.tolist(), strict=True):
        if good:  # a field ends at a comma, and blanks do not matter
            assert abs(Decimal(text.split(",")[0].strip(" ").split(" ")[0]) - number) < Decimal("1e-5")


@settings(deadline=None)
@given(st.lists(st.integers(0, 24 * 60 * 60 * 1000 - 1), min_size=1))
def test_every_spelling_of_a_time(milliseconds):
    moments = [datetime(2024, 2, 29) + timedelta(milliseconds=value) for value in milliseconds]
    expected = [value * 10**6 for value in milliseconds]
    for spelling, day in (
        ("%H:%M:%S.%f", 0),
        ("%H%M%S%f", 0),
        ("%Y.%m.%dT%H:%M:%S.%f", 20240229),
        ("%Y-%m-%d %H:%M:%S.%f", 20240229),
        ("%Y%m%d %H:%M:%S.%f", 20240229),
        ("%Y%m%d%H%M%S%f", 20240229),
    ):
        fields = fields_of([moment.strftime(spelling)[:-3] for moment in moments])
        days, times = fields.moments("value")
        assert times.tolist() == expected
        assert set(days.tolist()) == {day}
    # Leading zeros may be lost, though not so many that no second is left.
    packed = [str(int(moment.strftime("%H%M%S%f")[:-3])) for moment in moments]
    days, times = fields_of(packed).moments("value")
    assert [time for time, text in zip(times.tolist(), packed, strict=True) if len(text) > 3] == [
        time for time, text in zip(expected, packed, strict=True) if len(text) > 3
    ]


@pytest.mark.parametrize("text", ["", "24:00:00", "12:60:00", "12:00", "12:00:00.", "240000000", "noon", "2024.02.29"])
def test_what_is_no_time_is_refused(text):
    fields = fields_of([text])
    assert fields.moments("value")[1].tolist() == [BAD]
    assert not fields.good.any()


def test_dates():
    fields = fields_of(["2024.02.29", "20240229", "2024/2/29", "2023-02-29", "29.02.2024"])
    days = fields.days("value")
    assert fields.iso_dates(days) == {20240229: "2024-02-29"}
    assert fields.good.tolist() == [True, True, True, False, False]


def test_symbols():
    texts = ["000001", "1", "000001.SZ", "000001.SH", "000001.SZX", "10000001", "abc", "00x001", ""]
    fields = fields_of(texts)
    symbols = fields.symbols("value", ".SZ").tolist()
    assert symbols == [1, 1, 1, OTHER, OTHER, OTHER, BAD, BAD, BAD]
    assert fields.good.tolist() == [symbol != BAD for symbol in symbols]


def test_a_row_is_refused_once():
    ledger = Ledger(SKIP)
    fields = fields_of(["x"], ledger)
    fields.numbers("value", 1, 0, 1)
    fields.days("value")
    assert [(r.row, r.reason) for r in ledger.rejections] == [(1, "not a number")]
    with pytest.raises(DataError, match="file, row 2: not a number: value is 'x'"):
        fields_of(["1", "x"], Ledger()).numbers("value", 1, 0, 1)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 90))
def test_lines_in_blocks_of_any_size(content, block):
    size, csv_blocks.BLOCK = csv_blocks.BLOCK, block
    try:
        parts = list(read_lines(io.BytesIO(content), RawFile(Path("x")), 1, Ledger()))
    finally:
        csv_blocks.BLOCK = size
    assert b"".join(text for _, text in parts).removesuffix(b"\n") == content.removesuffix(b"\n")
    assert [row for row, _ in parts] == [1 + sum(text.count(b"\n") for _, text in parts[:i]) for i in range(len(parts))]


def test_a_line_without_end(monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", 10)
    monkeypatch.setattr(csv_blocks, "MAX_LINE", 20)
    ledger = Ledger(SKIP)
    parts = list(read_lines(io.BytesIO(b"a\n" + b"b" * 1000), RawFile(Path("x")), 1, ledger))
    assert parts == [(1, b"a\n")]
    assert ledger.reasons == {"no text lines": 1}


def test_columns_by_any_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfother, PX ,\r\n1,2.50,3\r\n4,5.25\r\n7,8.00,9")
    assert detect(path.read_bytes(), [LAYOUT]) is None
    ledger = Ledger(SKIP)
    parts = list(read_csv(RawFile(path), LAYOUT, ledger))
    prices = [
        (row, price)
        for part in parts
        for row, price in zip(part.rows, part.numbers("price", 1, 1, 1000, 2), strict=True)
    ]
    assert prices == [(2, 250), (4, 800)]
    assert "name" not in parts[0]
    assert [(r.row, r.reason) for r in ledger.rejections] == [(3, "wrong number of columns")]
