"""The units of work of a preparation. Each reads files, writes files that appear whole, and returns what it found.

1. `sort_files`: a source whose files hold many sessions -> a spool of them.
2. `replay_session`: a session's raw files -> order flow, replayed on the exchange; a sample of its training orders.
3. `write_session`: a session's order flow, replayed again -> coded orders -> training rows.

The exchange is fast, so the replay is repeated rather than kept: what it observes takes ten times the room of the flow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mars_lmm.data.config import DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, SortedFeed, Source, load_feed
from mars_lmm.data.flow import FlowFile, FlowWriter, Session
from mars_lmm.data.ledger import RAISE, SKIP, Ledger
from mars_lmm.data.preparation.progress import UnitProgress
from mars_lmm.data.preparation.rejected import RejectedRows
from mars_lmm.data.preparation.sample import Sample
from mars_lmm.data.preparation.statistics import FlowStatistics
from mars_lmm.data.prepared import NEVER, TOKENIZER, TRAIN, VALIDATION
from mars_lmm.data.replay import Replayer
from mars_lmm.data.rows import CODED, RowWriter, coded_orders, shard_file
from mars_lmm.data.sessions import sort_source
from mars_lmm.data.windows import PIECE, cut
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.orders import OrderTokenizer

MAX_HELD = 1 << 20  # coded orders in memory
TIME_COLUMN = o.TAPE_COLUMNS.index("time")


@dataclass(frozen=True)
class Workplace:
    """The folders of a preparation.

    Attributes:
        folder: The set that is being built.
        work: What is needed on the way and removed in the end.
    """

    folder: Path
    work: Path

    def flow(self, session: Session) -> Path:
        """A session's order flow."""
        return self.folder / "flow" / session.file

    def rejected(self, name: str) -> Path:
        """The list of rows that were left out."""
        return self.folder / "rejected" / f"{name}.parquet"

    def spool(self, source: str) -> Path:
        """A source's sessions."""
        return self.work / "spool" / source

    def sample(self, session: str) -> Path:
        """A session's share of the orders that bins are fitted to."""
        return self.work / "sample" / f"{session}.npy"

    def coded(self, session: str) -> Path:
        """A session's coded orders."""
        return self.work / "coded" / session

    @property
    def sample_limit(self) -> Path:
        """The greatest key that the sample of all sessions can still have."""
        return self.work / "sample.limit"

    def progress(self, unit: str) -> Path:
        """What a running unit tells of itself."""
        return self.work / "progress" / unit


def sort_files(config: DataConfig, feed: int, place: Workplace, name: str, source: Source) -> dict[str, Any]:
    """Sort a source's messages by session.

    Args:
        config: The data.
        feed: Which of the configuration's feeds.
        place: The folders.
        name: Names the source in files.
        source: The files.

    Returns:
        `counts` and `rejected` of the reading; `dropped`, why the source is left out, or None.
    """
    settings = config.all_feeds[feed]
    reader = load_feed(settings.feed, settings.options)
    dropped = None
    with RejectedRows(place.rejected(name), config.on_error) as ledger, UnitProgress(place.progress(name)) as progress:
        try:
            sort_source(reader, source, place.spool(name), settings.symbols, ledger, progress.tell)
        except DataError as error:
            if config.on_error == RAISE:
                raise
            dropped = str(error)
            place.spool(name).mkdir(parents=True, exist_ok=True)
    return {"counts": dict(ledger.counts), "rejected": dict(ledger.reasons), "dropped": dropped}


def replay_session(
    config: DataConfig, feed: int, place: Workplace, name: str, number: int, feed_session: FeedSession
) -> dict[str, Any]:
    """Turn a session's files into order flow, and see it through the exchange.

    Args:
        config: The data.
        feed: Which of the configuration's feeds.
        place: The folders.
        name: Names the session in files.
        number: The session's place in the set; seeds its sample.
        feed_session: The session.

    Returns:
        `session` (its fields), `messages`, `rows` of the flow, `orders` that are learned, how many of them are
        `training_orders`, `held_out_from`, `sample_seed`, `counts`, `statistics`, `rejected` by reason, and `dropped`:
        why the session is left out, or None.
    """
    settings = config.all_feeds[feed]
    reader = load_feed(settings.feed, settings.options)
    # Where the files lie is no part of the set.
    session = replace(reader.describe(feed_session), source=feed_session.file_names)
    statistics, sample = FlowStatistics(), Sample(number, o.NUM_OBSERVED)
    replayer = Replayer(session)
    record_bytes = reader.record.itemsize if isinstance(reader, SortedFeed) else None
    orders = training = rows = 0
    held_out, dropped = NEVER, None
    with (
        RejectedRows(place.rejected(name), config.on_error) as ledger,
        UnitProgress(place.progress(name), record_bytes) as progress,
    ):
        try:
            held_out = held_out_from(config, session)
            with FlowWriter(place.flow(session), session) as writer:
                for columns in reader.order_flow(feed_session, ledger):
                    part = replayer.put(columns, ledger)
                    if not part.accepted.all():
                        columns = {key: column[part.accepted] for key, column in columns.items()}
                    writer.append(columns)
                    statistics.add(columns, part.observed, part.tape)
                    first = int(np.searchsorted(part.tape[:, TIME_COLUMN], held_out))
                    sample.add(part.observed[:first])
                    training += first
                    orders += len(part.observed)
                    rows += len(columns["time"])
                    progress.tell(rows)
                writer.counts = dict(ledger.counts)
            if orders == 0:
                dropped = "no order within the session's hours"
                if ledger.reasons:
                    dropped += f"; left out were: {ledger.summary}"
        except DataError as error:
            if config.on_error == RAISE:
                raise
            dropped = str(error)
    if dropped is not None:
        place.flow(session).unlink(missing_ok=True)
        sample = Sample(number, o.NUM_OBSERVED)
    sample.save(place.sample(name), place.sample_limit)
    return {
        "session": asdict(session),
        "messages": ledger.counts.get("messages", rows),
        "rows": rows,
        "orders": orders,
        "training_orders": training,
        "held_out_from": held_out,
        "sample_seed": number,
        "counts": dict(ledger.counts),
        "statistics": statistics.to_dict(),
        "rejected": dict(ledger.reasons),
        "dropped": dropped,
    }


def write_session(
    config: DataConfig, place: Workplace, name: str, number: int, session: Session, num_orders: int, num_training: int
) -> dict[str, Any]:
    """Code a session's orders and write its training rows.

    Args:
        config: The data.
        place: The folders.
        name: Names the session in files.
        number: The session's place in the set.
        session: The session.
        num_orders: How many orders it has.
        num_training: How many of them are in the training split.

    Returns:
        By split: `shard` (file, rows, targets and digest) of a part that fills rows; or `pieces`, the fields of a
        part that is too short and has to be packed with others.
    """
    tokenizer = OrderTokenizer.load(place.folder / TOKENIZER)
    orders = _code(place.coded(name), place.flow(session), session, num_orders, tokenizer)
    found = {}
    for split, first, last, context in (
        (TRAIN, 0, num_training, 0),
        (VALIDATION, num_training, num_orders, config.context),
    ):
        pieces = cut(number, first, last, config.row_length, context)
        found[split] = {"shard": None, "pieces": []}
        if len(pieces) and pieces["length"][0] > config.row_length:
            file = shard_file(split, asdict(session))
            with RowWriter(place.folder / file, config.row_length) as writer:
                writer.write(pieces, lambda _: orders)
            found[split]["shard"] = {
                "file": file,
                "rows": writer.num_rows,
                "targets": writer.num_targets,
                "digest": writer.digest,
            }
        else:
            found[split]["pieces"] = pieces.tolist()
    if any(split["pieces"] for split in found.values()):
        if not isinstance(orders, np.memmap):  # of that file already
            orders.tofile(place.coded(name))
    else:
        place.coded(name).unlink(missing_ok=True)
    return found


def pack_rows(
    config: DataConfig, place: Workplace, file: str, pieces: np.ndarray, counts: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """Write the rows of sessions too short for rows of their own.

    Args:
        config: The data.
        place: The folders.
        file: The shard, within the set.
        pieces: PIECE[P].
        counts: int64[R], how many pieces make up each row.
        names: Of the sessions, in files.

    Returns:
        The shard's `file`, `rows`, `targets` and `digest`.
    """
    with RowWriter(place.folder / file, config.row_length) as writer:
        writer.write(pieces, lambda number: np.fromfile(place.coded(names[number]), CODED), counts)
    return {"file": file, "rows": writer.num_rows, "targets": writer.num_targets, "digest": writer.digest}


def as_pieces(fields: list[list[int]]) -> np.ndarray:
    """PIECE[P] from what `write_session` returned."""
    return np.array([tuple(field) for field in fields], PIECE)


def held_out_from(config: DataConfig, session: Session) -> int:
    """When a session's validation part begins, nanoseconds since midnight; NEVER if it has none.

    Raises:
        DataError: The split is by date and the session has none.
    """
    if not config.cutoff_is_date:
        return config.cutoff_time
    if not session.date[:1].isdigit():
        raise DataError(session.source, "the files do not tell their date, and data.cutoff is one; give options.date")
    return NEVER if session.date < config.cutoff else 0


def _code(path: Path, flow: Path, session: Session, count: int, tokenizer: OrderTokenizer) -> np.ndarray:
    """A session's coded orders, CODED[count]; many are kept in the file `path`."""
    coded = np.empty(count, CODED) if count <= MAX_HELD else np.memmap(path, CODED, "w+", shape=count)
    replayer, ledger = Replayer(session), Ledger(SKIP)
    first = 0
    for columns in FlowFile(flow).parts():
        part = replayer.put(columns, ledger)
        last = first + len(part.observed)
        coded[first:last] = coded_orders(*tokenizer.encode(part.observed))
        first = last
    assert first == count, "the flow was replayed before, without what the exchange rejected"
    return coded
