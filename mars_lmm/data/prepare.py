"""Preparation: order flow -> replay on the exchange -> tokens and market features -> training rows."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mars_lmm.data.config import DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import Session
from mars_lmm.data.prepared import SCHEMA_VERSION, TOKENIZER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.data.sources import SessionSource, find_sources
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.orders import VERSION as TOKENIZER_VERSION
from mars_lmm.tokenizers.orders import OrderTokenizer

ROWS_PER_GROUP = 256
NEVER = np.iinfo(np.int64).max


def prepare(config: DataConfig) -> PreparedSet:
    """Make the prepared set that a configuration describes, or find it ready-made.

    The set is built beside its place and moved there when it is whole, so a broken run leaves nothing behind.

    Raises:
        DataError: A source cannot be read, or a split comes out empty.
    """
    sources = find_sources(config)
    recipe = _recipe(config, sources)
    # Named by its recipe, so that another setting makes another set and none is overwritten.
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    target = Path(config.root) / f"{config.name}-{digest[:8]}"
    if target.exists():
        return PreparedSet.load(target)
    building = target.with_name(target.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    try:
        _build(config, sources, recipe, building)
        os.replace(building, target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return PreparedSet.load(target)


def _recipe(config: DataConfig, sources: list[SessionSource]) -> dict:
    # Where the set is kept and how it is read later do not change what is in it.
    reading = {"name", "root", "path", "batch_size", "num_workers"}
    settings = {key: value for key, value in asdict(config).items() if key not in reading}
    if config.feed != "synthetic":
        del settings["synthetic"]
    return {
        "schema_version": SCHEMA_VERSION,
        "tokenizer_version": TOKENIZER_VERSION,
        "settings": settings,
        "sources": {source.name: source.checksum for source in sources},
    }


def _build(config: DataConfig, sources: list[SessionSource], recipe: dict, folder: Path) -> None:
    (folder / "flow").mkdir(parents=True)
    sessions, replays = [], []
    for source in tqdm(sources, desc="prepare: replaying sessions", unit="session"):
        flow = source.read()
        flow.write(folder / "flow" / f"{flow.session.name}.parquet")
        sessions.append((flow.session, flow.counts))
        replays.append(replay(flow))
    firsts = [
        int(np.searchsorted(part.tape[:, 0], _held_out_from(config, session)))
        for (session, _), part in zip(sessions, replays, strict=True)
    ]
    training = [part.observed[:first] for part, first in zip(replays, firsts, strict=True)]
    if not any(len(part) for part in training):
        raise DataError(config.path or config.feed, f"no order lies before data.cutoff={config.cutoff}: move it")
    takers_rest = not any(session.rebuilt_takers for session, _ in sessions)
    tokenizer = OrderTokenizer.fit(np.concatenate(training), takers_rest)
    tokenizer.save(folder / TOKENIZER)
    coded = [tokenizer.encode(part.observed) for part in tqdm(replays, desc="prepare: encoding", unit="session")]

    digest = hashlib.sha256(tokenizer.checksum.encode())
    splits, dropped = {}, []
    lengths = [len(part.observed) for part in replays]
    for split in (TRAIN, VALIDATION):
        windows, too_short = _cut(config, split, firsts, lengths)
        reasons = [
            {"session": sessions[index][0].name, "split": split, "reason": reason} for index, reason in too_short
        ]
        if not windows:
            raise DataError(
                config.path or config.feed,
                f"the {split} split is empty with data.cutoff={config.cutoff} and data.row_length={config.row_length}"
                + "".join(f"; {dropped['session']}: {dropped['reason']}" for dropped in reasons)
                + "; move the cut-off or shorten the rows",
            )
        dropped += reasons
        _write_rows(folder / f"{split}.parquet", windows, coded, config.row_length, digest)
        targets = sum(config.row_length - first_target for _, _, first_target in windows)
        splits[split] = {"rows": len(windows), "orders": targets}

    PreparedSet(
        path=folder,
        recipe=recipe,
        fingerprint=digest.hexdigest()[:16],
        tokenizer_checksum=tokenizer.checksum,
        row_length=config.row_length,
        num_market_features=NUM_MARKET_FEATURES,
        splits=splits,
        cutoff={"kind": "date" if config.cutoff_is_date else "time", "value": config.cutoff},
        sessions=[
            asdict(session)
            | {
                "flow": f"flow/{session.name}.parquet",
                "orders": len(part.observed),
                "training_orders": first,
                "held_out_from": _held_out_from(config, session),
                "counts": counts,
            }
            for (session, counts), part, first in zip(sessions, replays, firsts, strict=True)
        ],
        dropped=dropped,
    ).save()


def _held_out_from(config: DataConfig, session: Session) -> int:
    """When a session's validation part begins, nanoseconds since midnight; NEVER if it has none."""
    if config.cutoff_is_date:
        return NEVER if session.date < config.cutoff else 0
    return config.cutoff_time


def _cut(
    config: DataConfig, split: str, firsts: list[int], lengths: list[int]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, str]]]:
    """The rows of a split, as (session, start, first target), and the sessions too short for one, with the reason.

    Args:
        config: Row length and context.
        split: Which split.
        firsts: The first held-out order of each session.
        lengths: The number of orders of each session.
    """
    windows, too_short = [], []
    for index, (first, length) in enumerate(zip(firsts, lengths, strict=True)):
        begin, end, context = (0, first, 0) if split == TRAIN else (first, length, config.context)
        found = list(_windows(begin, end, config.row_length, context))
        windows += [(index, start, first_target) for start, first_target in found]
        if begin < end and not found:
            too_short.append((index, f"{end} orders are fewer than a row of {config.row_length + 1}"))
    return windows, too_short


def _windows(first: int, end: int, row_length: int, context: int) -> Iterator[tuple[int, int]]:
    """(start, first target) of rows that score each order of [first, end) once; a day's first has no past."""
    following = max(first, 1)
    while following < end:
        start = min(max(following - 1 - context, 0), end - 1 - row_length)
        if start < 0:
            return
        yield start, following - (start + 1)
        following = start + row_length + 1


def _write_rows(path: Path, windows: list, coded: list, row_length: int, digest) -> None:
    size = row_length + 1
    schema = pa.schema(
        {
            "token": pa.list_(pa.uint16(), size),
            "market": pa.list_(pa.int16(), size * NUM_MARKET_FEATURES),
            "first_target": pa.int32(),
            "session": pa.int32(),
            "start": pa.int64(),
        }
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in range(0, len(windows), ROWS_PER_GROUP):
            part = windows[group : group + ROWS_PER_GROUP]
            token = np.stack([coded[index][0][start : start + size] for index, start, _ in part])
            market = np.stack([coded[index][1][start : start + size] for index, start, _ in part])
            digest.update(token.tobytes())
            digest.update(market.tobytes())
            digest.update(np.array(part, dtype=np.int64).tobytes())
            columns = [
                pa.FixedSizeListArray.from_arrays(token.ravel(), size),
                pa.FixedSizeListArray.from_arrays(market.ravel(), size * NUM_MARKET_FEATURES),
                pa.array([first_target for _, _, first_target in part], pa.int32()),
                pa.array([index for index, _, _ in part], pa.int32()),
                pa.array([start for _, start, _ in part], pa.int64()),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
