"""A prepared set: a folder of training rows, the tokenizer that made them, the order flow, and a manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import OrderFlow
from mars_lmm.tokenizers.orders import OrderTokenizer

SCHEMA_VERSION = 1
MANIFEST = "prepared.json"
TOKENIZER = "tokenizer.json"
TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class PreparedSet:
    """The manifest of a prepared set; its fields are the keys of `prepared.json`.

    Attributes:
        path: The folder.
        recipe: All that decides the content: configuration, source checksums, versions.
        fingerprint: Hash of the rows; two sets with one fingerprint train alike.
        tokenizer_checksum: Identity of the bins.
        row_length: T; a row holds T + 1 orders.
        num_market_features: F.
        splits: By split: `rows`, `orders` (scored targets).
        cutoff: What separates training from validation.
        sessions: One entry a session: its fields, the flow file, how many of its orders train, from when on it is
            held out, the feed's counts.
        dropped: Sessions or parts without rows, and why.
    """

    path: Path
    recipe: dict[str, Any]
    fingerprint: str
    tokenizer_checksum: str
    row_length: int
    num_market_features: int
    splits: dict[str, dict[str, int]]
    cutoff: dict[str, str]
    sessions: list[dict[str, Any]]
    dropped: list[dict[str, str]]
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, path: Path | str) -> PreparedSet:
        """Read the manifest.

        Raises:
            DataError: The folder holds no readable set, or one of another schema version.
        """
        path = Path(path)
        manifest = path / MANIFEST
        try:
            fields = json.loads(manifest.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(manifest, f"not a prepared set ({error}); prepare the data first") from error
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                manifest,
                f"prepared-set schema version {fields.get('schema_version')}, this program reads {SCHEMA_VERSION}; "
                "prepare the data again",
            )
        return cls(path=path, **fields)

    def save(self) -> None:
        """Write the manifest; it is the last file of a set to be written."""
        fields = {name: value for name, value in vars(self).items() if name != "path"}
        (self.path / MANIFEST).write_text(json.dumps(fields, indent=1))

    def split_file(self, split: str) -> Path:
        """The parquet file of a split's rows."""
        return self.path / f"{split}.parquet"

    def tokenizer(self) -> OrderTokenizer:
        """The tokenizer that made the rows."""
        return OrderTokenizer.load(self.path / TOKENIZER)

    def flow(self, session: int) -> OrderFlow:
        """The order flow of a session, by its place in `sessions`."""
        return OrderFlow.read(self.path / self.sessions[session]["flow"])
