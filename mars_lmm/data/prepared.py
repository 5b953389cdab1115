"""A prepared set: a folder of training rows, the tokenizer that made them, the order flow, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np
import pyarrow as pa

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import OrderFlow, Session
from mars_lmm.os_errors import NO_ROOM
from mars_lmm.tokenizers.orders import OrderTokenizer

SCHEMA_VERSION = 3
MANIFEST = "prepared.json"
TOKENIZER = "tokenizer.json"
CARD, CARD_PAGE = "card.json", "card.html"
TRAIN, VALIDATION = "train", "validation"
NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class PreparedSet:
    """The manifest of a prepared set; its fields are the keys of `prepared.json`.

    Attributes:
        path: The folder; or, as text, its URL in an object store, as fsspec knows them ("s3://bucket/folder").
        recipe: All that decides the content: configuration, source checksums, versions.
        fingerprint: Hash of the rows; two sets with one fingerprint train alike.
        tokenizer_checksum: Identity of the bins.
        row_length: T; a row holds T + 1 orders.
        num_market_features: F.
        splits: By split: `rows`, `orders` (scored targets), and `shards`, the `file` and `rows` of each parquet file.
            The rows of a split are numbered over its shards.
        cutoff: What separates training from validation.
        sessions: One entry a session: its fields, the flow file, how many of its orders train, from when on it is
            held out, the feed's counts.
        dropped: Sessions without rows, and why.
    """

    path: Path | str
    recipe: dict[str, Any]
    fingerprint: str
    tokenizer_checksum: str
    row_length: int
    num_market_features: int
    splits: dict[str, dict[str, Any]]
    cutoff: dict[str, str]
    sessions: list[dict[str, Any]]
    dropped: list[dict[str, str]]
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, path: Path | str) -> PreparedSet:
        """Read the manifest.

        Args:
            path: The folder, or its URL.

        Raises:
            DataError: There is no readable set, or one of another schema version.
        """
        path = str(path).rstrip("/") if "://" in str(path) else Path(path)
        manifest = f"{path}/{MANIFEST}"
        try:
            with fsspec.open(manifest) as file:
                fields = json.load(file)
        except (OSError, ImportError, ValueError) as error:
            raise DataError(manifest, f"not a prepared set ({error}); prepare the data first") from error
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                manifest,
                f"prepared-set schema version {version}, this program reads {SCHEMA_VERSION}; prepare the data again",
            )
        try:
            prepared = cls(path=path, **fields)
            prepared._check()
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(
                manifest, f"does not describe a prepared set ({type(error).__name__}: {error}); prepare the data again"
            ) from error
        return prepared

    def _check(self) -> None:
        """See that the manifest tells what every reader needs; raises where it does not."""
        splits = [self.splits[split] for split in (TRAIN, VALIDATION)]
        needed = [(self.recipe, dict), (self.fingerprint, str), (self.row_length, int)]
        needed += [(split[key], int) for split in splits for key in ("rows", "orders")]
        shards = [shard for split in splits for shard in split["shards"]]
        needed += [(shard[key], kind) for shard in shards for key, kind in (("file", str), ("rows", int))]
        needed += [(entry["flow"], str) for entry in self.sessions]
        for value, kind in needed:
            if type(value) is not kind:
                raise TypeError(f"{value!r} is no {kind.__name__}")
        for number in range(len(self.sessions)):
            self.session(number)

    def to_dict(self) -> dict[str, Any]:
        """The manifest's content."""
        return {name: value for name, value in vars(self).items() if name != "path"}

    @property
    def is_remote(self) -> bool:
        """Whether the set lies in an object store."""
        return isinstance(self.path, str)

    @property
    def address(self) -> str:
        """Where the set lies, as any process finds it: its URL, or its folder from the root on."""
        return self.path if self.is_remote else str(self.path.resolve())

    @contextmanager
    def open(self, file: str) -> Iterator[BinaryIO]:
        """Open one of the set's files for reading at any place.

        Args:
            file: Its name within the set.

        Raises:
            DataError: It cannot be opened; or whoever reads it finds that it cannot be read, told under its name.
        """
        name = f"{self.path}/{file}"
        try:
            with fsspec.open(name, "rb") as stream:
                yield stream
        except DataError as error:
            raise DataError(name, error.reason, error.row) from error
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise  # for what is made of the file while it is read
            raise DataError(name, f"cannot be read: {error}; prepare the data again") from error

    def tokenizer(self) -> OrderTokenizer:
        """The tokenizer that made the rows.

        Raises:
            DataError: It cannot be read.
        """
        with self.open(TOKENIZER) as file:
            try:
                return OrderTokenizer.from_dict(json.load(file))
            except (AttributeError, TypeError) as error:
                raise DataError(TOKENIZER, "does not describe a tokenizer; prepare the data again") from error

    def session(self, number: int) -> Session:
        """A session by its place in `sessions`."""
        entry = self.sessions[number]
        return Session(**{name: entry[name] for name in Session.__dataclass_fields__})

    def flow(self, number: int) -> OrderFlow:
        """The order flow of a session, by its place in `sessions`.

        Raises:
            DataError: It cannot be read.
        """
        with self.open(self.sessions[number]["flow"]) as stream:
            return OrderFlow.read(stream)
