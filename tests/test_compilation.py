"""Compiled code is found again while nothing that it is made of has changed, and only then."""

import subprocess
import sys
from functools import partial

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
    """Compile or find, and call; the result, and whether it was found."""
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
    monkeypatch.setattr(compilation, "_fingerprint", lambda *_: "of other sources")
    assert call(1, np.arange(3)) == (4, False)
    assert call(1, np.arange(3)) == (4, True)
    assert len(list(folder.iterdir())) == 1
    assert not before & set(folder.iterdir())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module, deep inside, and its fingerprint at any time."""
    (tmp_path / "market" / "deep").mkdir(parents=True)
    monkeypatch.setattr(compilation, "_PACKAGE", tmp_path)
    module = tmp_path / "market" / "deep" / "module.py"
    module.write_text("a = 1\n")
    return module, lambda: compilation._fingerprint.__wrapped__(("market",), str(module))


def test_the_fingerprint_is_of_contents(package, monkeypatch):
    monkeypatch.setattr(compilation, "_STARTED", 2**62)
    module, fingerprint = package
    before = fingerprint()
    module.touch()
    assert fingerprint() == before is not None
    module.write_text("a = 2\n")
    assert fingerprint() != before


def test_sources_edited_since_the_start_are_not_what_was_imported(package, monkeypatch):
    monkeypatch.setattr(compilation, "_STARTED", package[0].stat().st_mtime_ns - 1)
    assert package[1]() is None


def test_damaged_code_is_compiled_again(folder):
    call(1, np.arange(3))
    (file,) = folder.iterdir()
    for damaged in (b"", file.read_bytes()[:-9], b"0" * 16 + b"\n" + b"x"):
        file.write_bytes(damaged)
        assert call(1, np.arange(3)) == (4, False)
        assert call(1, np.arange(3)) == (4, True)


def test_a_package_that_is_not_there():
    with pytest.raises(ValueError, match="no package 'markets'"):
        kept_njit("markets")(lambda: 0)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert call(1, np.arange(3)) == (4, False)
    assert call(1, np.arange(3)) == (4, False)


SCRIPT = """
import numpy as np
from mars_lmm.market.book import empty_books
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.lockstep import STEP

for threads in (1, 2):
    exchange = Exchange(empty_books(3, 8, 8, 100), num_threads=threads)
    reports = exchange.step(np.array([(0, 1, 104, 5, 7, 0)] * 3))
    assert reports[:, 2].tolist() == [5, 5, 5], reports
print(*(len(kernel.stats.cache_misses) for kernel in STEP))
"""


def test_the_next_process_finds_the_exchange():
    """In the package's own folder, where other tests need that code too: from nothing, it takes half a minute."""
    run = partial(subprocess.run, [sys.executable, "-c", SCRIPT], check=True, capture_output=True)
    # Another test's process may have kept one of the two kernels by now, and not yet the other.
    assert set(run().stdout.split()) <= {b"0", b"1"}
    assert run().stdout == b"0 0\n"
