"""Damaged LOBSTER files end in an error that names file and row, or in a flow that is what its good rows tell."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lobster_reading import read_flow, sessions_of, verify
from lobster_writer import NAME, Recording, record
from mutations import damaged_bytes, damaged_lines

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.ledger import SKIP, Ledger
from mars_lmm.data.replay import Replayer

pytestmark = pytest.mark.fuzz

RECORDINGS = st.sampled_from([(1, 1), (2, 2), (3, 5)])


@cache
def recorded(seed: int, levels: int) -> Recording:
    return record(seed, levels, num_orders=80)


def text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


@st.composite
def damaged_pairs(draw, damage_text):
    """Levels, and the bytes of both files, one or both of them damaged."""
    recording = recorded(*draw(RECORDINGS))
    files = [recording.message_lines(), recording.book_lines()]
    damaged = draw(st.sampled_from([(0,), (1,), (0, 1)]))
    return recording.levels, [draw(damage_text(file)) if n in damaged else text(file) for n, file in enumerate(files)]


@st.composite
def damaged_alike(draw):
    """Levels, and the bytes of both files, whose rows were left out, repeated and shuffled together."""
    recording = recorded(*draw(RECORDINGS))
    pairs = [f"{m}|{b}" for m, b in zip(recording.message_lines(), recording.book_lines(), strict=True)]
    rows = [line.split("|", 1) for line in draw(damaged_lines(pairs, separator="|")) if line.count("|") == 1]
    messages, books = zip(*rows, strict=True) if rows else ((), ())
    return recording.levels, [text(list(messages)), text(list(books))]


by_bytes = damaged_pairs(lambda lines: damaged_bytes(text(lines)))
by_lines = damaged_pairs(lambda lines: damaged_lines(lines).map(text))


def write(folder: Path, levels: int, files: list[bytes]) -> Path:
    for content, data in zip(("message", "orderbook"), files, strict=True):
        (folder / NAME.format(content, levels)).write_bytes(data)
    return folder


@given(st.one_of(by_bytes, by_lines, damaged_alike()))
def test_damage_is_an_error_that_names_file_and_row(damaged):
    with TemporaryDirectory() as folder:
        path = write(Path(folder), *damaged)
        flow, error = caught(read_flow, path)
        if error:
            assert error.source.startswith(str(path))
            assert error.row is None or 1 <= error.row <= max(map(num_rows, damaged[1]))
        else:
            assert flow[0].counts["messages"] == num_rows(damaged[1][0]) == num_rows(damaged[1][1])


@given(st.one_of(by_bytes, by_lines, damaged_alike()))
def test_every_row_is_kept_or_listed(damaged):
    with TemporaryDirectory() as folder:
        path = write(Path(folder), *damaged)
        flow, ledger = read_flow(path, SKIP)
        refused = {rejection.row for rejection in ledger.rejections}
        assert flow.counts["messages"] + len(refused) == max(map(num_rows, damaged[1]))
        assert {rejection.source for rejection in ledger.rejections} <= {str(file) for file in path.iterdir()}
        assert sum(ledger.reasons.values()) == len(ledger.rejections)


@given(st.one_of(by_bytes, by_lines, damaged_alike()))
def test_what_is_kept_replays_to_the_vendors_books(damaged):
    with TemporaryDirectory() as folder:
        path = write(Path(folder), *damaged)
        feed, (session,) = load_feed("lobster"), sessions_of(path)
        replayer = Replayer(feed.describe(session))
        for columns in feed.order_flow(session, Ledger(SKIP)):
            replayer.put(columns, Ledger())
        verified, error = caught(verify, path, SKIP)
        if error:
            assert error.reason.startswith("holds no good row")
        else:
            verification, _ = verified
            assert verification.counts["flow_mismatches"] == 0, verification.notes
            assert verification.counts["trade_mismatches"] == 0, verification.notes


def caught(function, *arguments):
    """What a function returns, or its DataError; anything else gets through."""
    try:
        return function(*arguments), None
    except DataError as error:
        return None, error


def num_rows(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and data.removeprefix(b"\xef\xbb\xbf") != b"")
