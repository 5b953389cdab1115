"""Checksums: of the content, remembered while size and time stay."""

import hashlib
import os
import zipfile

import pytest

from mars_lmm.data.checksums import NAME, Checksums
from mars_lmm.data.feeds.common.files import RawFile


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_bytes(b"1,2\n")
    return RawFile(path)


def test_a_file_is_hashed_once(file, tmp_path, monkeypatch):
    checksums = Checksums(tmp_path / "memory")
    assert checksums.of(file) == hashlib.sha256(b"1,2\n").hexdigest()
    checksums.save()
    monkeypatch.setattr(RawFile, "checksum", lambda _: pytest.fail("hashed again"))
    assert Checksums(tmp_path / "memory").of(file) == hashlib.sha256(b"1,2\n").hexdigest()


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_hashed_again(file, tmp_path, change):
    checksums = Checksums(tmp_path)
    before = checksums.of(file)
    file.path.write_bytes(b"1,2,\n" if change == "size" else b"1,3\n")
    if change == "time":
        os.utime(file.path, ns=(1, 1))
    assert checksums.of(file) != before


@pytest.mark.parametrize("damage", ["{", "[]"])
def test_what_was_remembered_may_be_damaged(file, tmp_path, damage):
    (tmp_path / NAME).write_text(damage)
    assert Checksums(tmp_path).of(file) == hashlib.sha256(b"1,2\n").hexdigest()


def test_members_are_told_apart(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("x.csv", "1")
        opened.writestr("y.csv", "2")
    checksums = Checksums(tmp_path)
    one, two = RawFile(archive, "x.csv"), RawFile(archive, "y.csv")
    assert checksums.of(one) == hashlib.sha256(b"1").hexdigest()
    assert checksums.of(two) == hashlib.sha256(b"2").hexdigest()


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        Checksums(tmp_path).of(RawFile(tmp_path / "gone.csv"))
