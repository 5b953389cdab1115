"""Windows: stretches of equal length of sequences, and what they look like to the two-sample tests.

A message is seen by what it changed in the book, so every window needs the book before its first message: the first
message of a sequence is left out.
"""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.resampling import FEWEST_UNITS
from mars_lmm.evaluation.sequences.sequences import (
    ASK_PRICE,
    ASK_SIZE,
    BID_PRICE,
    BID_SIZE,
    BUY,
    EXECUTION,
    NEW,
    Sequences,
)

_FAR = np.iinfo(np.int64).max  # beyond every price: a level that is not there


def cut(sequences: Sequences, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Complete windows, end to end in each sequence.

    Args:
        sequences: S sequences.
        length: Messages in a window, K.

    Returns:
        The messages of each window, int64[W, K], and the sequence of each window, int64[W].
    """
    counts = np.maximum(np.diff(sequences.offsets) - 1, 0) // length
    sequence = np.repeat(np.arange(len(sequences)), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = sequences.offsets[sequence] + 1 + length * number
    return first[:, None] + np.arange(length), sequence


def too_few(num_starts: int, num_groups: int, length: int) -> str | None:
    """Why nothing can be said from so many starts that have windows in both samples; None where it can."""
    if num_groups >= FEWEST_UNITS:
        return None
    joined = f", and overlap in time so that {num_groups} are independent" if num_groups < num_starts else ""
    return (
        f"{num_starts} starts have a real and a generated sequence of more than {length} messages{joined}; "
        f"at least {FEWEST_UNITS} are needed"
    )


def changes(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """What messages changed in the book, as LOB-Bench's discriminator sees them.

    Args:
        sequences: The sequences.
        rows: Messages, none of them the first of its sequence, int64[...].

    Returns:
        float32[..., 3]: the change of the mid-price in ticks (0 where either mid is missing); the first level that
        changed, counted from 1 and negative for a bid, 0 where none did; and the change of size there. The first and
        the last are on a signed log scale, sign(x) ln(1 + |x|), since both have heavy tails.
    """
    before, after = sequences.book[rows - 1], sequences.book[rows]
    ask_level, ask_change = _first_change(before, after, ASK_PRICE, ASK_SIZE, 1)
    bid_level, bid_change = _first_change(before, after, BID_PRICE, BID_SIZE, -1)
    on_ask = (ask_level > 0) & ((bid_level == 0) | (ask_level <= bid_level))
    mid_change = np.nan_to_num(mid_price(after) - mid_price(before)) / sequences.tick
    level = np.where(on_ask, ask_level, -bid_level)
    size_change = np.where(on_ask, ask_change, bid_change)
    return np.stack([_signed_log(mid_change), level, _signed_log(size_change)], axis=-1).astype(np.float32)


def features(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """Summary of each window: eleven numbers on scales on which differences mean something.

    Args:
        sequences: The sequences.
        rows: Messages of each window, none of them the first of its sequence, int64[W, K].

    Returns:
        float64[W, 11]: change of the mid and its path length (ticks, signed log), log of the mean spread in ticks,
        mean imbalance at the touch, log of the mean total size on the ask and on the bid, shares of new orders, of
        executions and of the buy side, mean log size of a message, log of the mean waiting time in nanoseconds. NaN
        where a book has an empty side.
    """
    book = sequences.book[rows]
    mid = mid_price(np.concatenate([sequences.book[rows[:, :1] - 1], book], axis=1)) / sequences.tick
    touch = book[:, :, 0]
    ask, bid = touch[..., ASK_SIZE], touch[..., BID_SIZE]
    spread = (touch[..., ASK_PRICE] - touch[..., BID_PRICE]) / sequences.tick
    kind = sequences.type[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = (
            _signed_log(mid[:, -1] - mid[:, 0]),
            _signed_log(np.abs(np.diff(mid, axis=1)).sum(axis=1)),
            np.log(spread.mean(axis=1)),
            ((bid - ask) / (bid + ask)).mean(axis=1),
            np.log(book[..., ASK_SIZE].sum(axis=2).mean(axis=1)),
            np.log(book[..., BID_SIZE].sum(axis=2).mean(axis=1)),
            (kind == NEW).mean(axis=1),
            (kind == EXECUTION).mean(axis=1),
            (sequences.direction[rows] == BUY).mean(axis=1),
            np.log(np.maximum(sequences.size[rows], 1)).mean(axis=1),
            np.log(np.maximum(sequences.time[rows[:, -1]] - sequences.time[rows[:, 0] - 1], 1) / rows.shape[1]),
        )
    return np.stack(columns, axis=1)


def mid_price(book: np.ndarray) -> np.ndarray:
    """Mid-price in price units of books int64[..., L, 4]; NaN where a side is empty."""
    touch = book[..., 0, :]
    quoted = (touch[..., ASK_SIZE] > 0) & (touch[..., BID_SIZE] > 0)
    return np.where(quoted, (touch[..., ASK_PRICE] + touch[..., BID_PRICE]) / 2, np.nan)


def _first_change(before: np.ndarray, after: np.ndarray, price: int, size: int, sign: int):
    """First level of one side that changed, from 1, or 0; and by how much its size did.

    A level that came in counts with its whole size, one that went with the loss of its size.
    """
    old_size, new_size = before[..., size], after[..., size]
    old_price = np.where(old_size > 0, sign * before[..., price], _FAR)
    new_price = np.where(new_size > 0, sign * after[..., price], _FAR)
    changed = (old_price != new_price) | (old_size != new_size)
    level = changed.argmax(axis=-1)[..., None]
    old_price, new_price, old_size, new_size = (
        np.take_along_axis(column, level, axis=-1)[..., 0] for column in (old_price, new_price, old_size, new_size)
    )
    change = np.where(new_price <= old_price, new_size, 0) - np.where(old_price <= new_price, old_size, 0)
    return np.where(changed.any(axis=-1), level[..., 0] + 1, 0), change


def _signed_log(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.log1p(np.abs(x))
