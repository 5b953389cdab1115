"""Rows of numbers: what is read is what Python reads, and what it cannot read is refused, wherever the blocks end."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common import number_rows
from mars_lmm.data.feeds.common.number_rows import INTEGER, SECONDS, TEXT, NumberRows
from mars_lmm.data.ledger import SKIP, Ledger

COLUMNS = [SECONDS, INTEGER, TEXT]
SOUND_FIELD = st.integers(-(10**18) + 1, 10**18 - 1).map(str)
SOUND_TIME = st.tuples(st.integers(0, 99_999), st.text("0123456789", max_size=14)).map(
    lambda parts: f"{parts[0]}.{parts[1]}" if parts[1] else str(parts[0])
)
SOUND_TEXT = st.text(st.characters(codec="ascii", exclude_characters=",\n\r"), max_size=5)
SOUND_LINE = st.tuples(SOUND_TIME, SOUND_FIELD, SOUND_TEXT).map(",".join)
ANY_LINE = st.text("0123456789.-, x\r\0é", max_size=30) | SOUND_LINE


def read(data: bytes, lines: int = 1000, on_error: str = SKIP, columns=COLUMNS):
    """All rows' numbers and values, and the ledger."""
    ledger = Ledger(on_error)
    reader = NumberRows(io.BytesIO(data), "a.csv", lambda _: columns, ledger)
    rows, values = [], []
    while True:
        line = reader.line
        part = reader.read(lines)
        rows += part[0].tolist()
        values += part[1].tolist()
        if reader.line < line + lines:
            return rows, values, ledger


def expected(line: str) -> list[int] | None:
    """What a line says, by Python's own means; None if it is malformed."""
    match = re.fullmatch(r"([0-9]{1,5})(?:\.([0-9]{1,14}))?,(-?[0-9]{1,18}),[^,\n]*", line)
    if match is None:
        return None
    seconds, part, number = match.groups()
    part = (part or "").ljust(10, "0")
    return [int(seconds) * 10**9 + int(part[:9]) + (part[9] >= "5"), int(number), 0]


@pytest.mark.fuzz
@given(st.lists(ANY_LINE, max_size=20), st.integers(1, 8), st.integers(1, 40), st.booleans())
def test_reads_what_python_reads(lines, at_once, block, ends):
    data = "\n".join(lines).encode() + b"\n" * (ends and bool(lines))
    told = data.decode().split("\n")
    while told and told[-1] in ("", "\r"):
        told.pop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_rows, "BLOCK", block)
        rows, values, ledger = read(data, at_once)
    wanted = {row: expected(line) for row, line in enumerate(told, start=1)}
    assert dict(zip(rows, values, strict=True)) == {row: value for row, value in wanted.items() if value is not None}
    assert [rejection.row for rejection in ledger.rejections] == [row for row in wanted if wanted[row] is None]


DIGITS = st.integers(1, 19).flatmap(lambda number: st.text("0123456789", min_size=number, max_size=number))
FIELD = st.tuples(st.sampled_from(["", "", "-"]), DIGITS).map("".join)
ODD_FIELD = st.text("0123456789-/:;\x00\x10 \u0660\u00b0", max_size=20)  # also the neighbours of the digits
WIDTH = 40  # a line is longer than the words that it is read by


@pytest.mark.fuzz
@given(
    st.lists(st.lists(FIELD, min_size=WIDTH, max_size=WIDTH), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, WIDTH - 1), ODD_FIELD), max_size=3),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 300),
    *[st.booleans()] * 2,
)
def test_wide_rows_of_numbers_of_every_length(rows, odd, line_end, block, marked, ends):
    for row, column, field in odd:
        if row < len(rows):
            rows[row][column] = field
    text = line_end.join(map(",".join, rows)) + line_end * (ends and bool(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_rows, "BLOCK", max(block, 3))  # the mark lies in the first one
        good, values, ledger = read(marked * b"\xef\xbb\xbf" + text.encode(), columns=[INTEGER] * WIDTH)
    sound = [all(re.fullmatch("-?[0-9]{1,18}", field) for field in row) for row in rows]
    assert good == [number for number, is_sound in enumerate(sound, 1) if is_sound]
    assert values == [list(map(int, row)) for row, is_sound in zip(rows, sound, strict=True) if is_sound]
    assert [rejection.row for rejection in ledger.rejections] == [
        n for n, is_sound in enumerate(sound, 1) if not is_sound
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1,2", "2 columns instead of 3"),
        ("1,2,3,4", "4 columns instead of 3"),
        ("", "1 columns instead of 3"),
        ("-1,2,", "column 1: '-1' is not a time in seconds since midnight"),
        ("1.,2,", "column 1: '1.' is not a time"),
        ("100000,2,", "column 1: '100000' is not a time"),
        ("1.123456789012345,2,", "column 1: '1.123456789012345' is not a time"),
        ("1,+2,", "column 2: '+2' is not an integer"),
        ("1, 2,", "column 2: ' 2' is not an integer"),
        ("1,2.0,", "column 2: '2.0' is not an integer"),
        ("1,1000000000000000000,", "column 2: '1000000000000000000' is not an integer"),
        ("1,-,", "column 2: '-' is not an integer"),
        ("1,\u0664,", "column 2: '\u0664' is not an integer"),
    ],
)
def test_faults(line, fault):
    with pytest.raises(DataError, match=re.escape(f"a.csv, row 2: malformed row: {fault}")):
        read(f"1,2,\n{line}\n1,2,\n".encode(), on_error="raise")
    rows, _, ledger = read(f"1,2,\n{line}\n3,2,\n".encode())
    assert rows == [1, 3]
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(2, "malformed row")]


def test_seconds_are_rounded_to_the_nanosecond():
    _, values, _ = read(b"0.1234567894,0,\n0.1234567895,0,\n0.9999999999,0,\n0.00000000049999,0,")
    assert [value[0] for value in values] == [123456789, 123456790, 10**9, 0]


def test_the_last_line_may_lack_its_end():
    rows, values, _ = read(b"1,2,\r\n1,3,a")
    assert rows == [1, 2]
    assert [value[1] for value in values] == [2, 3]


@pytest.mark.parametrize("block", [1, 2, 3, 100])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("num_empty", [1, 2, 7])
def test_empty_lines_are_no_rows_at_the_end_alone(monkeypatch, block, line_end, num_empty):
    monkeypatch.setattr(number_rows, "BLOCK", block)
    rows, _, ledger = read(b"1,2,\n" + line_end * num_empty, lines=2)
    assert (rows, ledger.rejections) == ([1], [])
    rows, _, ledger = read(b"1,2,\n" + line_end * num_empty + b"3,4,\n", lines=2)
    assert rows == [1, num_empty + 2]
    assert [rejection.row for rejection in ledger.rejections] == list(range(2, num_empty + 2))


def test_a_cut_last_line_says_so():
    with pytest.raises(DataError, match=r"row 2: .*the last line is cut \(1 columns instead of 3\).*get it again"):
        read(b"1,2,\n1", on_error="raise")


def test_no_lines_at_all(monkeypatch):
    monkeypatch.setattr(number_rows, "BLOCK", 100)
    monkeypatch.setattr(number_rows, "MAX_LINE", 400)
    with pytest.raises(DataError, match="row 1: no end within 400 bytes: this is no CSV file"):
        read(b"7" * 1000)
    assert read(b"")[0] == []


def test_columns_follow_from_the_first_row():
    seen = []
    NumberRows(
        io.BytesIO(b"\xef\xbb\xbf1,2,3,4\n1\n"), "a.csv", lambda number: seen.append(number) or COLUMNS, Ledger()
    )
    assert seen == [4]
