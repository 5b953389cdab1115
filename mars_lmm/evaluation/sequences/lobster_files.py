"""Sequences as pairs of LOBSTER files, in the folders that LOB-Bench reads.

A folder holds one pair a sequence, `NAME_message_real_id_R.csv` and `NAME_orderbook_real_id_R.csv`; generated ones end
in `_gen_id_G.csv`, G counting the rollouts of start R. `data_real` holds what really followed the starts, `data_gen`
what a model made of them, and `data_cond`, which no score needs, what came before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.sequences.sequences import (
    ASK_PRICE,
    ASK_SIZE,
    BID_PRICE,
    BID_SIZE,
    BUY,
    HALT,
    NEW,
    NUM_LEVEL_COLUMNS,
    SELL,
    Sequences,
)

REAL, GENERATED = "data_real", "data_gen"
LOBSTER_TICK = 100  # one cent

MISSING_PRICE = 9_999_999_999  # of an ask level that is not there; negative for a bid level
_UNKNOWN_PRICE = -1  # the same in other programs' files
_NAME = re.compile(r".*message.*real_id_(?P<real>\d+)(?:_gen_id_(?P<gen>\d+))?\.csv")
_NUM_MESSAGE_COLUMNS = 6
_PRICES, _SIZES = [ASK_PRICE, BID_PRICE], [ASK_SIZE, BID_SIZE]
_SECOND_NS = 10**9
_SECONDS = pa.decimal128(38, 18)  # as written, however finely
_NANOSECONDS = pa.decimal128(29, 9)


def read_folder(folder: Path | str, tick: int = LOBSTER_TICK) -> Sequences:
    """Read all sequences of a folder, every rollout of every start.

    Args:
        folder: `data_real` or `data_gen` of a benchmark.
        tick: Price units per tick, which files do not tell.

    Returns:
        Sequences by start (R) and rollout (G).

    Raises:
        DataError: There is no pair of files, or one cannot be used.
    """
    folder = Path(folder)
    named = sorted((int(name["real"]), int(name["gen"] or 0), path) for path, name in _message_files(folder))
    if not named:
        raise DataError(folder, "holds no *message*real_id_R.csv; give a folder of LOBSTER pairs")
    for (*one, path), (*other, again) in pairwise(named):
        if one == other:
            raise DataError(again, f"has the numbers of {path.name}; give each start a real_id of its own")
    pairs = [read_pair(path, tick) for _, _, path in named]
    levels = {pair.book.shape[1] for pair in pairs}
    if len(levels) > 1:
        raise DataError(folder, f"books have {sorted(levels)} levels; write all with the same number")
    joined = {
        name: np.concatenate([getattr(pair, name) for pair in pairs])
        for name in ("time", "type", "order_id", "size", "price", "direction", "book")
    }
    offsets = np.concatenate([[0], np.cumsum([len(pair.time) for pair in pairs])]).astype(np.int64)
    return Sequences(offsets, np.array([real for real, _, _ in named]), **joined, tick=tick)


def read_pair(message_file: Path | str, tick: int = LOBSTER_TICK) -> Sequences:
    """Read one sequence.

    Args:
        message_file: The path of the messages; the books lie beside it, under the same name with `orderbook`.
        tick: Price units per tick.

    Raises:
        DataError: A file is missing or damaged, or the two do not fit.
    """
    message_file = Path(message_file)
    head, _, tail = message_file.name.rpartition("message")
    book_file = message_file.with_name(f"{head}orderbook{tail}")
    messages = _read_messages(message_file)
    book = _read_books(book_file)
    if len(messages) != len(book):
        raise DataError(
            book_file,
            f"has {len(book)} rows, {message_file.name} has {len(messages)}; row i has to be the book after message i",
        )
    type_, order_id, size, price, direction = (column.to_numpy() for column in messages.columns[1:])
    _check(message_file, "type", type_, range(NEW, HALT + 1))
    _check(message_file, "direction", direction, (BUY, SELL))
    return Sequences(
        offsets=np.array([0, len(messages)]),
        start=np.zeros(1, np.int64),
        time=_nanoseconds(messages.column(0)),
        type=type_.astype(np.int8),
        order_id=order_id,
        size=size,
        price=price,
        direction=direction.astype(np.int8),
        book=book,
        tick=tick,
    )


def write_folder(folder: Path | str, sequences: Sequences, generated: bool, name: str = "SIM_1970-01-01") -> None:
    """Write sequences as pairs of files.

    Args:
        folder: Where to; it is made, and should be empty.
        sequences: The sequences; a file's R is its sequence's start, G counts the sequences of a start.
        generated: Whether several sequences may continue a start, and files are named by G too.
        name: Instrument and date, as the files' names begin.

    Raises:
        ValueError: Real sequences share a start, or a sequence has no messages.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[int, int] = {}
    for sequence, start in enumerate(sequences.start.tolist()):
        rollout = written[start] = written.get(start, -1) + 1
        if rollout and not generated:
            raise ValueError(f"two real sequences continue start {start}; number the starts apart")
        ending = f"real_id_{start}_gen_id_{rollout}.csv" if generated else f"real_id_{start}.csv"
        one = sequences.select(np.array([sequence]))
        if not len(one.time):
            raise ValueError(f"a sequence of start {start} has no messages, which no file can tell; leave it out")
        columns = [one.type, one.order_id, one.size, one.price, one.direction]
        _write(folder / f"{name}_message_{ending}", [_seconds(one.time), *columns])
        _write(folder / f"{name}_orderbook_{ending}", list(_with_missing(one.book).T))


def _message_files(folder: Path) -> Iterator[tuple[Path, re.Match]]:
    for path in folder.glob("*.csv"):
        if name := _NAME.fullmatch(path.name):
            yield path, name


def _read_messages(path: Path) -> pa.Table:
    """Time in decimal seconds, and five whole numbers; what newer files have behind them is left out."""
    messages = _read(path, {"f0": _SECONDS} | {f"f{column}": pa.int64() for column in range(1, _NUM_MESSAGE_COLUMNS)})
    if messages.num_columns < _NUM_MESSAGE_COLUMNS:
        raise DataError(path, f"has {messages.num_columns} columns; time, type, id, size, price, direction are needed")
    return messages.select(range(_NUM_MESSAGE_COLUMNS))


def _read_books(path: Path) -> np.ndarray:
    """Levels of all books, int64[N, L, 4]."""
    books = _read(path, {})
    for at, column in enumerate(books.columns):
        if column.type != pa.int64():
            raise DataError(path, f"column {at + 1} does not hold whole numbers alone; there must be no header either")
    if books.num_columns % NUM_LEVEL_COLUMNS:
        raise DataError(path, f"has {books.num_columns} columns; a level has four: ask, size, bid, size")
    levels = np.stack([column.to_numpy() for column in books.columns], axis=1)
    return _without_missing(levels.reshape(len(books), -1, NUM_LEVEL_COLUMNS))


def _read(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    if not path.is_file():
        raise DataError(path, "not found; messages and orderbook come in pairs")
    try:
        return csv.read_csv(
            path,
            csv.ReadOptions(use_threads=False, autogenerate_column_names=True),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"not a LOBSTER file, which has no header and holds numbers alone ({error})") from error


def _check(path: Path, name: str, column: np.ndarray, allowed: Sequence[int]) -> None:
    wrong = np.flatnonzero(~np.isin(column, allowed))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(path, f"{name} {column[row]} is not one of {', '.join(map(str, allowed))}", row=row + 1)


def _nanoseconds(seconds: pa.ChunkedArray) -> np.ndarray:
    """Whole nanoseconds of decimal seconds, int64[N]; what is finer is cut off."""
    return np.concatenate(
        [
            # A decimal is an integer of 16 bytes, the lower half first, and a day's nanoseconds fit into that.
            np.frombuffer(chunk.buffers()[1], np.int64)[::2][chunk.offset : chunk.offset + len(chunk)]
            for chunk in pc.cast(seconds, _NANOSECONDS, safe=False).chunks
        ]
    )


def _seconds(time: np.ndarray) -> pa.Array:
    """Nanoseconds as text, seconds with nine decimals."""
    nanoseconds = pc.utf8_lpad(pc.cast(pa.array(time % _SECOND_NS), pa.string()), 9, "0")
    return pc.binary_join_element_wise(pc.cast(pa.array(time // _SECOND_NS), pa.string()), nanoseconds, ".")


def _without_missing(book: np.ndarray) -> np.ndarray:
    """Levels that are not there get size 0; the book is changed in place."""
    price, size = book[..., _PRICES], book[..., _SIZES]
    size[(np.abs(price) == MISSING_PRICE) | (price == _UNKNOWN_PRICE) | (size < 0)] = 0
    book[..., _SIZES] = size
    return book


def _with_missing(book: np.ndarray) -> np.ndarray:
    """Rows of an orderbook file, int64[N, 4 L]."""
    price = np.where(book[..., _SIZES] > 0, book[..., _PRICES], [MISSING_PRICE, -MISSING_PRICE])
    size = np.maximum(book[..., _SIZES], 0)
    return np.stack([price, size], axis=-1).reshape(len(book), -1)


def _write(path: Path, columns: list) -> None:
    table = pa.table([pa.array(column) for column in columns], names=[f"f{at}" for at in range(len(columns))])
    csv.write_csv(table, path, csv.WriteOptions(include_header=False, quoting_style="none"))
