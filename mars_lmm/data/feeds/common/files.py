"""Raw files: on disk or in a zip archive, plain or compressed (gzip, Zstandard), read whole or as a stream."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
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
GZIP_SUFFIX, ZSTD_SUFFIX, ZIP_SUFFIX = ".gz", ".zst", ".zip"
NOT_READ = (".bz2", ".xz", ".lz4")  # ways of packing
DAMAGED = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

_bytes_done = 0  # of files that were closed
_open_files: dict[int, tuple[BinaryIO, float]] = {}  # and the bytes on disk that one of theirs stands for


@dataclass(frozen=True)
class RawFile:
    """A file on disk, or a member of a zip archive. A name that ends in .gz or .zst is unpacked on the way.

    Attributes:
        path: The file, or the archive that holds it.
        member: Its name in the archive; "" where the archive cannot be read.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The file's own name, without its folder, archive and what .gz and its like add."""
        return _unpacked_name(Path(self.member or self.path).name)

    @property
    def place(self) -> tuple[Path, str]:
        """Where the file lies: files that belong together share it."""
        return (self.path.parent, "") if self.member is None else (self.path, str(Path(self.member).parent))

    @property
    def num_bytes(self) -> int:
        """Bytes on disk; of a member, of its archive's part that holds it."""
        if not self.member:
            return self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).compress_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The unpacked content as a stream.

        Raises:
            DataError: The file cannot be read, or its archive is damaged or encrypted; also while it is read.
        """
        suffix = Path(self.member or self.path).suffix.lower()
        if suffix in NOT_READ:
            raise DataError(str(self), f"{suffix} is not unpacked here; unpack it, or pack it as .gz or .zst")
        try:
            with self._open_packed() as packed:
                if suffix == GZIP_SUFFIX:
                    with gzip.open(packed) as stream:
                        yield stream
                elif suffix == ZSTD_SUFFIX:
                    with io.BufferedReader(pa.CompressedInputStream(packed, "zstd")) as stream:
                        yield stream
                else:
                    yield packed
        except DAMAGED as error:
            raise self._damaged(error) from error

    @contextmanager
    def _open_packed(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with self.path.open("rb") as stream, _counted(stream, 1.0):
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                info = archive.getinfo(self.member)
                with _counted(stream, info.compress_size / max(info.file_size, 1)):
                    yield stream

    def _damaged(self, error: Exception) -> Exception:
        """What to raise: what the system refuses, such as a disk that is away, is no fault of the file's."""
        # A damaged archive may send the reader to a place before its beginning (EINVAL).
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            return OSError(error.errno, error.strerror, str(self))
        return DataError(str(self), f"cannot be read ({error}); get the file again")

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
            raise self._damaged(error) from error


@contextmanager
def _counted(stream: BinaryIO, scale: float) -> Iterator[None]:
    global _bytes_done
    _open_files[id(stream)] = stream, scale
    try:
        yield
    finally:
        del _open_files[id(stream)]
        _bytes_done += _num_read(stream, scale)


def bytes_read() -> int:
    """Bytes on disk of all raw files that this process has read so far."""
    return _bytes_done + sum(_num_read(stream, scale) for stream, scale in _open_files.values())


def _num_read(stream: BinaryIO, scale: float) -> int:
    return 0 if stream.closed else int(stream.tell() * scale)  # some unpackers close what they read


def list_files(path: Path | str, suffixes: Sequence[str]) -> list[RawFile]:
    """The files that a path stands for.

    Args:
        path: A folder (searched with its subfolders and zip archives), a zip archive, or a file.
        suffixes: Endings of the names to list in folders and archives, in any case, without .gz and its like: ".csv".
            A file that is named itself needs none.

    Returns:
        Files by name, then members of archives. Hidden files are left out; an archive that cannot be read stands for
        itself, and raises its error where it is opened.

    Raises:
        DataError: There is no such path.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.name))
        plain = [RawFile(file) for file in inside if _ends(file.name, suffixes)]
        return plain + [member for file in inside if _is_archive(file) for member in _members(file, suffixes)]
    if not path.is_file():
        raise DataError(path, "no such file or folder")
    return _members(path, suffixes) if _is_archive(path) else [RawFile(path)]


def _is_hidden(name: str) -> bool:
    """Whether a file is one that systems keep beside the user's own, as ._orders.csv is in archives from a Mac."""
    return name.startswith(".")


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ZIP_SUFFIX


def _members(archive: Path, suffixes: Sequence[str]) -> list[RawFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            names = sorted(name for name in opened.namelist() if not _is_hidden(Path(name).name))
    except DAMAGED:
        return [RawFile(archive, "")]
    return [RawFile(archive, name) for name in names if _ends(name, suffixes)]


def _ends(name: str, suffixes: Sequence[str]) -> bool:
    return _unpacked_name(name).lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def _unpacked_name(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in (GZIP_SUFFIX, ZSTD_SUFFIX, *NOT_READ) else name
