"""Pairs of LOBSTER files as sequences, and back."""

from dataclasses import fields, replace

import numpy as np
import pytest
from made_sequences import made_sequences

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.sequences.lobster_files import read_folder, read_pair, write_folder

MESSAGES = "34200.000000001,1,5,100,1000000,1\n34200.1,3,5,100,1000000,1\n"
BOOKS = "1000100,100,1000000,100\n1000100,100,999900,20\n"


def pair(folder, messages=MESSAGES, books=BOOKS):
    path = folder / "X_2024-01-01_message_real_id_3.csv"
    path.write_text(messages)
    if books is not None:
        (folder / "X_2024-01-01_orderbook_real_id_3.csv").write_text(books)
    return path


@pytest.mark.parametrize("levels", [1, 4])
def test_what_is_written_is_read_again(tmp_path, levels):
    made = made_sequences(levels=levels, empty=0.1)
    write_folder(tmp_path, made, generated=True)
    found = read_folder(tmp_path)
    for field in fields(made):
        if field.name != "book":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(made, field.name))
    there = made.book[..., [1, 3]] > 0
    assert not there.all()
    np.testing.assert_array_equal(found.book[..., [1, 3]], made.book[..., [1, 3]])
    np.testing.assert_array_equal(found.book[..., [0, 2]][there], made.book[..., [0, 2]][there])


def test_all_rollouts_of_a_start_are_read_in_the_order_of_their_numbers(tmp_path):
    made = made_sequences(num_sequences=12, starts=1, length=20)
    write_folder(tmp_path, made, generated=True)
    found = read_folder(tmp_path)
    assert len(found) == 12
    np.testing.assert_array_equal(found.time, made.time)


def test_times_are_exact(tmp_path):
    messages = "".join(
        f"{text},1,5,100,1000000,1\n"
        for text in (
            "0",
            "34200.1",
            "57599.999999999",
            "86399.123456789",
            "34200.0000000019999",
            "3.000000000000000001",
        )
    )
    found = read_pair(pair(tmp_path, messages, BOOKS.splitlines(keepends=True)[0] * 6))
    expected = [0, 34200_100_000_000, 57599_999_999_999, 86399_123_456_789, 34200_000_000_001, 3_000_000_000]
    assert found.time.tolist() == expected


def test_levels_that_are_not_there_have_size_0(tmp_path):
    books = "9999999999,0,-9999999999,7\n-1,5,1000000,-1\n"
    found = read_pair(pair(tmp_path, books=books))
    assert found.book[:, 0, [1, 3]].tolist() == [[0, 0], [0, 0]]


def test_a_column_of_participants_is_left_out(tmp_path):
    path = pair(tmp_path, MESSAGES.replace("1\n", "1,MPID\n"))
    assert read_pair(path).direction.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("messages", "books", "reason"),
    [
        (MESSAGES, None, "orderbook_real_id_3.csv: not found"),
        (MESSAGES, BOOKS.splitlines(keepends=True)[0], "has 1 rows"),
        (MESSAGES, BOOKS.replace(",20", "").replace(",100\n", "\n"), "has 3 columns"),
        ("time,type,id,size,price,direction\n" + MESSAGES, BOOKS, "has no header"),
        (MESSAGES.replace(",1\n", "\n"), BOOKS, "5 columns"),
        (MESSAGES.replace(".1,3", ".1,9"), BOOKS, "row 2: type 9"),
        (MESSAGES.replace(",1\n", ",0\n"), BOOKS, "row 1: direction 0"),
        (MESSAGES, "a,b,c,d\n" + BOOKS, "column 1 does not hold whole numbers"),
        (MESSAGES, BOOKS.replace(",20", ",2.5"), "column 4 does not hold whole numbers"),
        ("", "", "not a LOBSTER file"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, messages, books, reason):
    path = pair(tmp_path, messages, books)
    with pytest.raises(DataError, match=reason):
        read_pair(path)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        read_folder(tmp_path)
    made = made_sequences(num_sequences=2, starts=2, length=20)
    write_folder(tmp_path, made, generated=False, name="A")
    write_folder(tmp_path, made.select(np.array([1])), generated=False, name="B")
    with pytest.raises(DataError, match="has the numbers of A_message_real_id_1"):
        read_folder(tmp_path)
    write_folder(tmp_path / "levels", replace(made, book=made.book[:, :1]).select(np.array([0])), generated=False)
    write_folder(tmp_path / "levels", made.select(np.array([1])), generated=False)
    with pytest.raises(DataError, match=r"\[1, 4\] levels"):
        read_folder(tmp_path / "levels")
    with pytest.raises(ValueError, match="two real sequences continue start 0"):
        write_folder(tmp_path / "real", made_sequences(num_sequences=2, starts=1, length=20), generated=False)
    with pytest.raises(ValueError, match="start 0 has no messages"):
        write_folder(tmp_path / "empty", replace(made, offsets=np.array([0, 0, made.offsets[1]])), generated=True)
