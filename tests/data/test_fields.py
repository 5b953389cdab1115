"""Columns of text as exact integers, against Python's own decimals and dates; a row is refused once, by its number."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.columns.by_session import by_session
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, day_number
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.text import Text
from mars_lmm.data.feeds.common.level2.symbols import BAD, OTHER, read_symbols
from mars_lmm.data.ledger import SKIP, Ledger


def fields_of(values, ledger=None):
    """One column, a row a value."""
    column = Text.of(pa.array([str(value).encode("latin-1", errors="replace") for value in values], pa.binary()))
    return Fields("file", ledger or Ledger(SKIP), np.arange(1, len(values) + 1), {"value": column})


@given(st.lists(st.decimals(-(10**9), 10**9, places=4), min_size=1), st.integers(0, 4))
def test_decimals_are_exact(values, decimals):
    fields = fields_of(values)
    numbers = fields.numbers("value", 10**decimals)
    scaled = [value * 10**decimals for value in values]
    whole = [value == int(value) for value in scaled]
    assert fields.good.tolist() == whole
    assert numbers[fields.good].tolist() == [int(value) for value, good in zip(scaled, whole, strict=True) if good]


@given(st.lists(st.integers(1, 10**7), min_size=1))
def test_noise_of_floats_is_none(ticks):
    for step in (-1, 0, 1):
        prices = np.array(ticks) / 100
        noisy = np.nextafter(prices, prices + step)
        fields = fields_of([Decimal(float(price)).quantize(Decimal("1e-9")) for price in noisy])
        assert fields.numbers("value", 100).tolist() == ticks
        assert fields.good.all()


@given(st.lists(st.text("0123456789.-+eE naN,", max_size=25), min_size=1))
def test_what_is_no_number_is_refused(texts):
    fields = fields_of(texts)
    numbers = fields.numbers("value")
    for text, number, good in zip(texts, numbers.tolist(), fields.good.tolist(), strict=True):
        if good:
            assert abs(Decimal(text) - number) < Decimal("1e-6")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "value is missing"),
        ("x", "value is no number"),
        ("0.5", "value is finer than its unit"),
        ("9e99", "value is too large"),
        ("0", "value out of range"),
        ("11", "value out of range"),
    ],
)
def test_a_row_is_refused_once(value, reason):
    ledger = Ledger(SKIP)
    fields = fields_of(["1", value], ledger)
    fields.numbers("value", 1, 1, 10)
    fields.numbers("value", 1, 100, 1000)
    fields.dates("value")
    assert [(r.row, r.reason) for r in ledger.rejections] == [(2, reason), (1, "value out of range")]
    with pytest.raises(DataError, match=f"file, row 2: {reason}: "):
        fields_of(["1", value], Ledger()).numbers("value", 1, 1, 10)


@given(st.lists(st.integers(0, 24 * 60 * 60 * 1000 - 1), min_size=1))
def test_every_spelling_of_a_clock(milliseconds):
    moments = [datetime(2024, 2, 29) + timedelta(milliseconds=value) for value in milliseconds]
    expected = [value * 10**6 for value in milliseconds]
    for spelling, day in (
        ("%H:%M:%S.%f", NO_DAY),
        ("%H%M%S%f", NO_DAY),
        ("%Y.%m.%dT%H:%M:%S.%f", day_number("20240229")),
        ("%Y-%m-%d %H:%M:%S.%f", day_number("20240229")),
        ("%Y%m%d %H:%M:%S.%f", day_number("20240229")),
        ("%Y%m%d%H%M%S%f", day_number("20240229")),
    ):
        days, times, _ = fields_of([moment.strftime(spelling)[:-3] for moment in moments]).times("value", "clock")
        assert times.tolist() == expected
        assert set(days.tolist()) == {day}
    # Leading zeros may be lost, though not so many that no second is left.
    packed = [str(int(moment.strftime("%H%M%S%f")[:-3])) for moment in moments]
    times = fields_of(packed).times("value", "clock").nanoseconds.tolist()
    told = [len(text) > 3 for text in packed]
    assert [time for time, good in zip(times, told, strict=True) if good] == [
        time for time, good in zip(expected, told, strict=True) if good
    ]


@pytest.mark.parametrize("style", ["clock", "iso"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "24:00:00",
        "12:60:00",
        "12:00:00.",
        "12:00:00x",
        "noon",
        "2024.02.29",
        "2024-02-30T12:00:00",
        "20240230120000000",
    ],
)
def test_what_is_no_time_is_refused(style, text):
    ledger = Ledger(SKIP)
    fields_of(["12:00:00.5", text], ledger).times("value", style)
    assert [(r.row, r.reason) for r in ledger.rejections] == [(2, "not a time")]


@pytest.mark.parametrize(("style", "text"), [("clock", "12:00"), ("clock", "12:00:00Z"), ("iso", "120000000")])
def test_what_one_style_allows_another_refuses(style, text):
    fields = fields_of([text])
    fields.times("value", style, ZoneInfo("UTC"))
    assert not fields.good.any()


def test_dates():
    fields = fields_of(["2024.02.29", "20240229", "2024/2/29", "2024-02-29", "2023-02-29", "29.02.2024", "2024.02-29"])
    days = fields.dates("value")
    assert set(days[:4].tolist()) == {day_number("2024-02-29")}
    assert fields.good.tolist() == [True] * 4 + [False] * 3


@pytest.mark.parametrize("market", [("SZ", "XSHE"), ("SH", "XSHG")])
def test_symbols(market):
    own = ["000001", "1", *(f"000001.{spelt}" for suffix in market for spelt in (suffix, suffix.lower()))]
    other = [f"000001.{suffix}" for suffix in ("sz", "XSHE", "SH", "Xshg", "BJ") if suffix.upper() not in market]
    bad = ["000001.SZX", "000001.S", "000001.", "000001SH", "0000001", "10000001", "SZ000001", "abc", "00x001", ""]
    symbols = read_symbols(Text.of(pa.array([*own, *other, "00700.HK", *bad])), market).tolist()
    assert symbols == [1] * len(own) + [OTHER] * len(other) + [OTHER] + [BAD] * len(bad)


@given(st.lists(st.sampled_from(["A", "B", "", "longer than others", "é"])))
def test_words_and_codes(texts):
    column = Text.of(pa.array(texts, pa.string()))
    fields = Fields("file", Ledger(SKIP), np.arange(len(texts)), {"value": column})
    numbers, words = fields.words("value")
    assert [words[number] for number in numbers] == texts
    codes = fields.codes("value", {"A": 7, "": 9})
    assert codes[fields.good].tolist() == [{"A": 7, "": 9}[text] for text in texts if text in ("A", "")]


def test_parts_of_arrow_columns_are_their_own_text():
    column = pa.array(["a", None, "c", "d"])[1:3]
    text = Text.of(column)
    assert text.arrow().to_pylist() == [b"", b"c"]
    assert text.where(np.array([False, True])).arrow().to_pylist() == [b"c"]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=30))
def test_rows_by_session_keep_their_order(keys):
    symbols, days = np.array(keys, np.int64).reshape(-1, 2).T
    found = {(symbol, day): rows.tolist() for symbol, day, rows in by_session(symbols, days, np.arange(len(keys)))}
    assert found == {key: [i for i, other in enumerate(keys) if other == key] for key in keys}
