"""Compiled code kept on disk, so that a process need not compile what an earlier one did.

numba's own cache (`cache=True`) judges by the one file that holds a function: an edit in what the function calls would
leave stale code behind, and functions that a factory made are never found again. Here the judge is the source of whole
packages.
"""

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult

_PACKAGE = Path(__file__).resolve().parent


def kept_njit(*packages: str, name: str = "", **options: Any) -> Callable[[Callable], Callable]:
    """Compile a function with `numba.njit(nogil=True)` and keep its machine code on disk.

    The code is found again while the source of `packages`, the versions of Python and numba, and the CPU are the same.
    It lies in `NUMBA_CACHE_DIR`, or else with Python's own compiled files in `__pycache__`; where neither can be
    written, nothing is kept. It pays for what Python calls; functions that these call become part of them.

    Args:
        packages: the packages of `mars_lmm` that hold the function and all that it calls.
        name: tells functions apart that one factory made.
        options: further options of `numba.njit`.

    Raises:
        ValueError: there is no such package.
    """

    def decorate(function: Callable) -> Callable:
        dispatcher = numba.njit(nogil=True, **options)(function)
        title = f"{function.__module__}.{function.__qualname__}.{name}".replace("<locals>.", "").rstrip(".")
        dispatcher._cache = _DiskCache(title, _fingerprint(packages))
        return dispatcher

    return decorate


class _DiskCache(NullCache):
    """What numba asks for compiled code, one file a signature.

    Args:
        title: names the function.
        sources: a hash of the sources that it is made of.
    """

    def __init__(self, title: str, sources: str):
        folder = os.environ.get("NUMBA_CACHE_DIR")
        self._folder = Path(folder) if folder else _PACKAGE / "__pycache__"
        self._title, self._sources = title, sources

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        try:
            code = self._path(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        target_context.refresh()
        return CompileResult._rebuild(target_context, *pickle.loads(code))

    def save_overload(self, sig: Any, cres: CompileResult) -> None:
        if cres.library.has_dynamic_globals:
            raise ValueError(f"{self._title} holds an address, which the next process cannot use")
        path = self._path(sig, cres.library.codegen)
        code = pickle.dumps(cres._reduce())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Other processes see the whole file or none.
            with NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(code)
            os.replace(file.name, path)
            for stale in path.parent.glob(f"{self._title}-*.code"):
                if not stale.name.startswith(f"{self._title}-{self._sources}-"):
                    stale.unlink(missing_ok=True)
        except OSError:
            pass  # compiled it is, if not kept

    def _path(self, sig: Any, codegen: Any) -> Path:
        made_for = (sig, codegen.magic_tuple(), sys.version, numba.__version__, llvmlite.__version__)
        return self._folder / f"{self._title}-{self._sources}-{_digest(repr(made_for).encode())}.code"


@cache
def _fingerprint(packages: tuple[str, ...]) -> str:
    for package in packages:
        if not (_PACKAGE / package).is_dir():
            raise ValueError(f"mars_lmm has no package {package!r}")
    files = sorted(path for package in packages for path in (_PACKAGE / package).rglob("*.py"))
    return _digest(*(part for path in files for part in (str(path).encode(), path.read_bytes())))


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]
