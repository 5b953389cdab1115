"""Small prepared sets with planted tokens, for tests of loading and training."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from mars_lmm.data.prepared import MANIFEST, TOKENIZER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.rows import RowWriter, coded_orders, packed_file, shard_file
from mars_lmm.data.windows import PIECE, cut, pack
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.observation import NUM_OBSERVED
from mars_lmm.tokenizers.orders import OrderTokenizer

VOCABULARY = 3 * 32 * 32 * 16


@cache
def tokenizer(seed: int = 0) -> OrderTokenizer:
    return OrderTokenizer.fit(np.random.default_rng(seed).integers(0, 1000, (500, NUM_OBSERVED)), takers_rest=True)


def write_prepared(
    folder: Path, train: np.ndarray, validation: np.ndarray, first_target: np.ndarray | int = 0, bins: int = 0
) -> PreparedSet:
    """A set whose rows hold these tokens[N, T + 1]; `first_target` counts the targets of the validation rows from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(bins).save(folder / TOKENIZER)
    prepared = PreparedSet(
        path=folder,
        recipe={"settings": {"feeds": [{"feed": "synthetic"}]}},
        fingerprint=hashlib.sha256(train.tobytes() + validation.tobytes()).hexdigest()[:16],
        tokenizer_checksum=tokenizer(bins).checksum,
        row_length=train.shape[1] - 1,
        num_market_features=NUM_MARKET_FEATURES,
        splits={
            TRAIN: write_split(folder, TRAIN, train),
            VALIDATION: write_split(folder, VALIDATION, validation, first_target),
        },
        cutoff={"kind": "date", "value": "2024-01-05"},
        sessions=[],
        dropped=[],
    )
    save(prepared)
    return prepared


def save(prepared: PreparedSet) -> None:
    """Write the manifest."""
    (prepared.path / MANIFEST).write_text(json.dumps(prepared.to_dict()))


def write_split(folder: Path, split: str, token: np.ndarray, first_target: np.ndarray | int = 0) -> dict:
    """Rows of their own sessions in two shards, and what the manifest says of them."""
    market = market_of(token)
    pieces = np.zeros(len(token), PIECE)
    pieces["session"] = np.arange(len(token))
    pieces["length"] = token.shape[1]
    pieces["first_target"] = np.asarray(first_target) + 1
    shards, num_targets = [], 0
    for date, part in zip(("2024-01-02", "2024-01-03"), np.array_split(pieces, 2), strict=True):
        file = shard_file(split, {"symbol": "SYN", "date": date})
        with RowWriter(folder / file, token.shape[1] - 1) as writer:
            writer.write(part, lambda row: coded_orders(token[row], market[row]))
        shards.append({"file": file, "rows": writer.num_rows})
        num_targets += writer.num_targets
    return {"rows": len(token), "orders": num_targets, "shards": shards}


def with_packed(prepared: PreparedSet, split: str, sessions: list[np.ndarray], context: int = 0) -> PreparedSet:
    """The set with these short sessions, tokens[N] each, packed into rows at the end of a split."""
    coded = [coded_orders(token, market_of(token)) for token in sessions]
    short = [cut(number, 0, len(orders), prepared.row_length, context) for number, orders in enumerate(coded)]
    pieces, counts = pack(np.concatenate(short), prepared.row_length)
    with RowWriter(prepared.path / packed_file(split), prepared.row_length) as writer:
        writer.write(pieces, coded.__getitem__, counts)
    entry = prepared.splits[split]
    changed = {
        "rows": entry["rows"] + writer.num_rows,
        "orders": entry["orders"] + writer.num_targets,
        "shards": [*entry["shards"], {"file": packed_file(split), "rows": writer.num_rows}],
    }
    changed = replace(prepared, splits=prepared.splits | {split: changed})
    save(changed)
    return changed


def market_of(token: np.ndarray) -> np.ndarray:
    """Market features int16[..., F] that vary with the place, within their ranges."""
    place = np.arange(token.size * NUM_MARKET_FEATURES).reshape(*token.shape, NUM_MARKET_FEATURES)
    return (place * 7 % 32).astype(np.int16)


def numbered_rows(num_rows: int, row_length: int) -> np.ndarray:
    """Random tokens[N, T + 1]; the first token of a row is its number."""
    token = np.random.default_rng(num_rows).integers(0, VOCABULARY, (num_rows, row_length + 1))
    token[:, 0] = np.arange(num_rows)
    return token
