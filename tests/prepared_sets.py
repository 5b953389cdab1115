"""Small prepared sets with planted tokens, for tests of loading and training."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.prepared import TOKENIZER, TRAIN, VALIDATION, PreparedSet
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
    """A set whose rows hold these tokens[N, T + 1]; `first_target` is that of the validation rows."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(bins).save(folder / TOKENIZER)
    digest = hashlib.sha256(train.tobytes() + validation.tobytes()).hexdigest()[:16]
    row_length = train.shape[1] - 1
    prepared = PreparedSet(
        path=folder,
        recipe={},
        fingerprint=digest,
        tokenizer_checksum=tokenizer(bins).checksum,
        row_length=row_length,
        num_market_features=NUM_MARKET_FEATURES,
        splits={
            TRAIN: {"rows": len(train), "orders": len(train) * row_length},
            VALIDATION: {"rows": len(validation), "orders": len(validation) * row_length},
        },
        cutoff={"kind": "date", "value": "2024-01-05"},
        sessions=[],
        dropped=[],
    )
    write_split(prepared, TRAIN, train, 0)
    write_split(prepared, VALIDATION, validation, first_target)
    prepared.save()
    return prepared


def write_split(prepared: PreparedSet, split: str, token: np.ndarray, first_target: np.ndarray | int) -> None:
    columns = {
        "token": _lists(token.astype(np.uint16)),
        "market": _lists(market_of(token).reshape(len(token), -1)),
        "first_target": pa.array(np.broadcast_to(first_target, len(token)), pa.int32()),
        "session": pa.array(np.zeros(len(token)), pa.int32()),
        "start": pa.array(np.arange(len(token)) * prepared.row_length, pa.int64()),
    }
    pq.write_table(pa.table(columns), prepared.split_file(split), row_group_size=8)


def market_of(token: np.ndarray) -> np.ndarray:
    """Market features int16[N, T + 1, F] that vary with the place, within their ranges."""
    place = np.arange(token.size * NUM_MARKET_FEATURES).reshape(*token.shape, NUM_MARKET_FEATURES)
    return (place * 7 % 32).astype(np.int16)


def _lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def numbered_rows(num_rows: int, row_length: int) -> np.ndarray:
    """Random tokens[N, T + 1]; the first token of a row is its number."""
    token = np.random.default_rng(num_rows).integers(0, VOCABULARY, (num_rows, row_length + 1))
    token[:, 0] = np.arange(num_rows)
    return token
