"""Raw files: on disk or in a zip archive, plain or compressed (gzip, Zstandard), read whole or as a stream."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from mars_lmm.data.errors import DataError

BLOCK = 1 << 20
GZIP_SUFFIX, ZSTD_SUFFIX = ".gz", ".zst"
DAMAGED = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class RawFile:
    """A file on disk, or a member of a zip archive. A name that ends in .gz or .zst is unpacked on the way.

    Attributes:
        path: The file, or the archive that holds it.
        member: Its name in the archive.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def name(self) -> str:
        """The file's own name, without its folder, archive and .gz or .zst."""
        return _unpacked_name(Path(self.member or self.path).name)

    @property
    def place(self) -> tuple[Path, str]:
        """Where the file lies: files that belong together share it."""
        return (self.path.parent, "") if self.member is None else (self.path, str(Path(self.member).parent))

    @property
    def num_bytes(self) -> int:
        """Bytes on disk; of a member, of its archive's part that holds it."""
        if self.member is None:
            return self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).compress_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The unpacked content as a stream.

        Raises:
            DataError: The file cannot be read, or its archive is damaged or encrypted; also while it is read.
        """
        try:
            with self._open_packed() as packed:
                if str(self.member or self.path).endswith(GZIP_SUFFIX):
                    with gzip.open(packed) as stream:
                        yield stream
                elif str(self.member or self.path).endswith(ZSTD_SUFFIX):
                    with io.BufferedReader(pa.CompressedInputStream(packed, "zstd")) as stream:
                        yield stream
                else:
                    yield packed
        except DAMAGED as error:
            raise DataError(str(self), f"cannot be read ({error}); get the file again") from error

    @contextmanager
    def _open_packed(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with self.path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield stream

    def read(self) -> bytes:
        """The whole content.

        Raises:
            DataError: As `open`.
        """
        with self.open() as stream:
            return stream.read()

    def head(self, num_bytes: int = 1000) -> bytes:
        """How the content begins.

        Raises:
            DataError: As `open`.
        """
        with self.open() as stream:
            return stream.read(num_bytes)

    def checksum(self) -> str:
        """Identity of the content as it lies on disk, sha256.

        Raises:
            DataError: As `open`.
        """
        try:
            with self._open_packed() as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except DAMAGED as error:
            raise DataError(str(self), f"cannot be read ({error}); get the file again") from error


def list_files(path: Path | str, suffixes: Sequence[str]) -> list[RawFile]:
    """The files that a path stands for.

    Args:
        path: A folder (searched with its subfolders and zip archives), a zip archive, or a file.
        suffixes: Endings of the names to list in folders and archives, without .gz or .zst: ".csv". A file that is
            named itself needs none.

    Returns:
        Files by name, then members of archives.

    Raises:
        DataError: There is no such path, or an archive is damaged.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        plain = [RawFile(file) for file in inside if _ends(file.name, suffixes)]
        return plain + [member for file in inside if file.suffix == ".zip" for member in _members(file, suffixes)]
    if not path.is_file():
        raise DataError(path, "no such file or folder")
    return _members(path, suffixes) if path.suffix == ".zip" else [RawFile(path)]


def _members(archive: Path, suffixes: Sequence[str]) -> list[RawFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [RawFile(archive, name) for name in sorted(opened.namelist()) if _ends(name, suffixes)]
    except DAMAGED as error:
        raise DataError(archive, f"not a readable zip archive ({error}); get the file again") from error


def _ends(name: str, suffixes: Sequence[str]) -> bool:
    return _unpacked_name(name).endswith(tuple(suffixes))


def _unpacked_name(name: str) -> str:
    return name.removesuffix(GZIP_SUFFIX).removesuffix(ZSTD_SUFFIX)
