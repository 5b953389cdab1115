"""A prepared set: a folder of training rows, the tokenizer that made them, the order flow, and a manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import OrderFlow, Session
from mars_lmm.tokenizers.orders import OrderTokenizer

SCHEMA_VERSION = 2
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
        path = str(path) if "://" in str(path) else Path(path)
        manifest = f"{path}/{MANIFEST}"
        try:
            with fsspec.open(manifest) as file:
                fields = json.load(file)
        except (OSError, ImportError, ValueError) as error:
            raise DataError(manifest, f"not a prepared set ({error}); prepare the data first") from error
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                manifest,
                f"prepared-set schema version {fields.get('schema_version')}, this program reads {SCHEMA_VERSION}; "
                "prepare the data again",
            )
        return cls(path=path, **fields)

    def to_dict(self) -> dict[str, Any]:
        """The manifest's content."""
        return {name: value for name, value in vars(self).items() if name != "path"}

    @property
    def is_remote(self) -> bool:
        """Whether the set lies in an object store."""
        return isinstance(self.path, str)

    def open(self, file: str) -> BinaryIO:
        """Open one of the set's files for reading at any place.

        Args:
            file: Its name within the set.
        """
        return fsspec.open(f"{self.path}/{file}", "rb").open()

    def tokenizer(self) -> OrderTokenizer:
        """The tokenizer that made the rows."""
        with self.open(TOKENIZER) as file:
            return OrderTokenizer.from_dict(json.load(file))

    def session(self, number: int) -> Session:
        """A session by its place in `sessions`."""
        entry = self.sessions[number]
        return Session(**{name: entry[name] for name in Session.__dataclass_fields__})

    def flow(self, number: int) -> OrderFlow:
        """The order flow of a session, by its place in `sessions`."""
        file = self.sessions[number]["flow"]
        if not self.is_remote:
            return OrderFlow.read(self.path / file)
        with self.open(file) as stream:
            return OrderFlow.read(stream)
