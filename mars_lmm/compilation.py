"""Compiled code kept on disk, so that a process need not compile what an earlier one did.

numba's own cache (`cache=True`) judges by the one file that holds a function: an edit in what the function calls would
leave stale code behind, and functions that a factory made are never found again. Here the judge is the source of whole
packages.
"""

import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult

_PACKAGE = Path(__file__).resolve().parent
_STARTED = time.time_ns()
_VERSIONS = (sys.version, np.__version__, numba.__version__, llvmlite.__version__)
_OPTIONS = (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT)


def kept_njit(*packages: str, name: str = "", **options: Any) -> Callable[[Callable], Callable]:
    """Compile a function with `numba.njit(nogil=True)` and keep its machine code on disk.

    The code is found again while the source of `packages` and of the function's file, the versions of Python, NumPy and
    numba, and the CPU are the same. It lies in `NUMBA_CACHE_DIR` if that is set, else with Python's own compiled files
    in `__pycache__`; where that cannot be written, or the source not be read, nothing is kept. It pays for what Python
    calls; functions that these call become part of them.

    Args:
        packages: the packages of `mars_lmm` that hold what the function calls.
        name: tells functions apart that one factory made.
        options: further options of `numba.njit`.

    Raises:
        ValueError: there is no such package.
    """

    def decorate(function: Callable) -> Callable:
        dispatcher = numba.njit(nogil=True, **options)(function)
        sources = _fingerprint(packages, function.__code__.co_filename)
        if sources:
            title = f"{function.__module__}.{function.__qualname__}.{name}".replace("<locals>.", "").rstrip(".")
            dispatcher._cache = _DiskCache(title, sources, options)
        return dispatcher

    return decorate


class _DiskCache(NullCache):
    """What numba asks for compiled code, one file a signature.

    Args:
        title: names the function.
        sources: a hash of the sources that it is made of.
        options: of `numba.njit`.
    """

    def __init__(self, title: str, sources: str, options: dict):
        folder = os.environ.get("NUMBA_CACHE_DIR")
        self._folder = Path(folder) if folder else _PACKAGE / "__pycache__"
        self._title, self._sources, self._options = title, sources, sorted(options.items())

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        try:
            checksum, code = self._path(sig, target_context.codegen()).read_bytes().split(b"\n", 1)
        except (OSError, ValueError):
            return None
        if checksum != _digest(code).encode():
            return None
        target_context.refresh()
        return CompileResult._rebuild(target_context, *pickle.loads(code))

    def save_overload(self, sig: Any, cres: CompileResult) -> None:
        if cres.library.has_dynamic_globals:  # an address that the next process could not use
            return
        path = self._path(sig, cres.library.codegen)
        code = pickle.dumps(cres._reduce())
        # Other processes see the whole file or none.
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(_digest(code).encode() + b"\n" + code)
            unfinished.replace(path)
            for stale in path.parent.glob(f"{self._title}-*.code"):
                if not stale.name.startswith(f"{self._title}-{self._sources}-"):
                    stale.unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()

    def _path(self, sig: Any, codegen: Any) -> Path:
        made_for = (sig, self._options, codegen.magic_tuple(), _VERSIONS, _OPTIONS)
        return self._folder / f"{self._title}-{self._sources}-{_digest(repr(made_for).encode())}.code"


@cache
def _fingerprint(packages: tuple[str, ...], file: str) -> str | None:
    """A hash of all sources; None if they cannot be read, or are not what this process has imported."""
    folders = [_PACKAGE / package for package in packages]
    files = [Path(__file__), Path(file), *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
    for package, folder in zip(packages, folders, strict=True):
        if _PACKAGE.is_dir() and not folder.is_dir():
            raise ValueError(f"mars_lmm has no package {package!r}")
    try:
        if max(path.stat().st_mtime_ns for path in files) > _STARTED:
            return None
        return _digest(*(part for path in files for part in (path.name.encode(), path.read_bytes())))
    except OSError:
        return None


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]
