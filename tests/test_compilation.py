"""Compiled code is found again while nothing that it is made of has changed, and only then."""

import numpy as np
import pytest

from mars_lmm import compilation
from mars_lmm.compilation import kept_njit


def make_adder(amount):
    """A function with something in its closure: numba's own cache would not tell the amounts apart."""

    @kept_njit("market", name=str(amount))
    def add(numbers):
        return numbers.sum() + amount

    return add


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def call(amount, numbers):
    """What a new process would do: compile or find, and call; whether it was found."""
    add = make_adder(amount)
    result = add(numbers)
    return result, sum(add.stats.cache_hits.values()) == 1


def test_code_is_kept_for_each_signature_and_name(folder):
    whole, halves = np.arange(3), np.arange(3) / 2
    assert [call(1, whole), call(1, halves), call(2, whole)] == [(4, False), (2.5, False), (5, False)]
    assert [call(1, whole), call(1, halves), call(2, whole)] == [(4, True), (2.5, True), (5, True)]
    assert len(list(folder.iterdir())) == 3


def test_other_sources_replace_it(folder, monkeypatch):
    call(1, np.arange(3))
    before = set(folder.iterdir())
    monkeypatch.setattr(compilation, "_fingerprint", lambda packages: "of other sources")
    assert call(1, np.arange(3)) == (4, False)
    assert call(1, np.arange(3)) == (4, True)
    assert len(list(folder.iterdir())) == 1
    assert not before & set(folder.iterdir())


def test_the_fingerprint_is_of_contents(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_PACKAGE", tmp_path)
    (tmp_path / "market" / "deep").mkdir(parents=True)
    seen = set()
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "market" / "deep" / "module.py").write_text(text)
        seen.add(compilation._fingerprint.__wrapped__(("market",)))
    assert len(seen) == 2


def test_a_package_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no package 'markets'"):
        kept_njit("markets")(lambda: 0)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert call(1, np.arange(3)) == (4, False)
    assert call(1, np.arange(3)) == (4, False)
