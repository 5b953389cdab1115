"""The 21 unconditional scores: what each takes from a message and the book after it.

Names and definitions are those of LOB-Bench (Nagy et al. 2025); `docs/lob_bench.md` has them in one table. Rows whose
book lacks a side that a score needs give it no value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from mars_lmm.evaluation.lob_bench.binning import DISCRETE, FREEDMAN_DIACONIS
from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.sequences.sequences import (
    ASK_PRICE,
    ASK_SIZE,
    BID_PRICE,
    BID_SIZE,
    DELETE,
    EXECUTION,
    NEW,
    PARTIAL_CANCEL,
)

OFI_WINDOW = 100  # messages
_INSTANT = 1e-9  # stands for a waiting time of 0, whose logarithm there is not
_ASK, _BID = ASK_PRICE, BID_PRICE  # the sides, by the first of their columns
_SECOND_NS = 10**9
_SECOND_US = 10**6

_Values = tuple[np.ndarray, np.ndarray]  # float[K], and the row of the message that each belongs to, int64[K]


class Sample(NamedTuple):
    """The values of one score, in ascending order.

    Attributes:
        values: float64[K].
        sequence: The sequence that each comes from, int64[K].
        row: The message that each belongs to, int64[K].
    """

    values: np.ndarray
    sequence: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Score:
    """How one score is taken and binned."""

    values: Callable[[Columns], _Values]
    bins: str = FREEDMAN_DIACONIS

    def sample(self, columns: Columns) -> Sample:
        """Its values over all sequences."""
        values, row = self.values(columns)
        order = np.argsort(values, kind="stable")
        row = row[order]
        return Sample(values[order].astype(np.float64), columns.sequence[row], row)


def _known(values: np.ndarray) -> _Values:
    """The values, one a message, that are numbers."""
    row = np.flatnonzero(np.isfinite(values))
    return values[row], row


def _spread(columns: Columns) -> _Values:
    return _known(columns.spread)


def _imbalance(columns: Columns) -> _Values:
    row = np.flatnonzero(columns.two_sided)
    ask, bid = columns.touch[ASK_SIZE, row], columns.touch[BID_SIZE, row]
    return (bid - ask) / (bid + ask), row


def _log_inter_arrival_time(columns: Columns) -> _Values:
    """In milliseconds."""
    row = np.flatnonzero(columns.place > 0)
    gap = (columns.time[row] - columns.time[row - 1]) / _SECOND_NS
    return np.log(np.where(gap > 0, 1000 * gap, _INSTANT)), row


def _log_time_to_cancel(columns: Columns) -> _Values:
    """In seconds, from an order's first message to its second, executions left out."""
    row = np.flatnonzero(np.isin(columns.type, (NEW, PARTIAL_CANCEL, DELETE)))
    order_id, sequence = columns.sequences.order_id[row], columns.sequence[row]
    row = row[np.lexsort((order_id, sequence))]  # stable: an order's messages stay in order
    if not len(row):
        return np.empty(0), row
    order_id, sequence = columns.sequences.order_id[row], columns.sequence[row]
    first = np.flatnonzero((np.diff(sequence, prepend=-1) != 0) | (np.diff(order_id, prepend=0) != 0))
    messages = np.diff(first, append=len(row))
    placed = np.logical_or.reduceat(columns.type[row] == NEW, first)
    first = first[placed & (messages > 1)]
    waited = (columns.time[row[first + 1]] - columns.time[row[first]]) / _SECOND_NS
    return np.log(np.where(waited > 0, waited, _INSTANT)), row[first + 1]


def _touch_volume(columns: Columns, side: int) -> _Values:
    row = np.flatnonzero(columns.touch[side + 1] > 0)
    return columns.touch[side + 1, row], row


def _volume(columns: Columns, side: int) -> _Values:
    row = np.flatnonzero(columns.touch[side + 1] > 0)
    return columns.book[:, :, side + 1].sum(axis=1)[row], row


def _depth(columns: Columns, side: int, types: tuple[int, ...]) -> _Values:
    """How far from the mid an order stands; the side is that on which its price lies."""
    row = np.flatnonzero(np.isin(columns.type, types) & columns.two_sided)
    depth = columns.price[row] - columns.mid[row]
    if side == _BID:
        depth = -depth
    return depth[depth > 0], row[depth > 0]


def _order_levels(columns: Columns, side: int) -> _Values:
    """The level at which a new order stands in the book after it."""
    row = np.flatnonzero(columns.type == NEW)
    return _levels(columns, side, row, row)


def _cancellation_levels(columns: Columns, side: int) -> _Values:
    """The level at which a cancelled order stood in the book before."""
    row = np.flatnonzero(np.isin(columns.type, (PARTIAL_CANCEL, DELETE)) & (columns.place > 0))
    return _levels(columns, side, row, row - 1)


def _levels(columns: Columns, side: int, row: np.ndarray, book_row: np.ndarray) -> _Values:
    book = columns.book[book_row]
    found = (book[:, :, side] == columns.price[row, None]) & (book[:, :, side + 1] > 0)
    shown = found.any(axis=1)
    return found[shown].argmax(axis=1) + 1, row[shown]


def _volume_per_minute(columns: Columns) -> _Values:
    """Executed size of each clock second that has a trade, times 60.

    What the first and the last second of a sequence lack is made up for as the reference does it: the first second
    counts only if trades began in its last tenth, and is then scaled up; the last is scaled up unless they ended in its
    first tenth.
    """
    row = np.flatnonzero(columns.type == EXECUTION)
    if not len(row):
        return np.empty(0), row
    time, sequence = columns.time[row], columns.sequence[row]
    second = np.flatnonzero((np.diff(sequence, prepend=-1) != 0) | (np.diff(time // _SECOND_NS, prepend=0) != 0))
    volume = 60.0 * np.add.reduceat(columns.sequences.size[row], second)
    first = np.flatnonzero(np.diff(sequence[second], prepend=-1))  # seconds that begin a sequence
    last = np.append(first[1:], len(second)) - 1
    began = time[second[first]]
    ended = time[np.append(second[1:], len(row))[last] - 1]
    began_us, ended_us = began // 1000 % _SECOND_US, ended // 1000 % _SECOND_US
    scale, many = np.ones(len(second)), last > first
    with np.errstate(divide="ignore"):
        scale[first[many]] = np.where(began_us < 900_000, np.nan, 1 / (1 - began_us / _SECOND_US))[many]
        scale[last[many]] = np.where(ended_us < 100_000, np.nan, _SECOND_US / ended_us)[many]
        gap = ended_us - began_us
        alone = np.where(gap < 100_000, np.nan, _SECOND_US / gap)
    scale[first[~many]] = np.where(ended > began, alone, 1.0)[~many]
    kept = np.isfinite(scale)
    return (volume * scale)[kept], row[second][kept]


def order_flow_imbalance(columns: Columns) -> np.ndarray:
    """Mean order flow imbalance of the last `OFI_WINDOW` messages at the best prices (Cont, Kukanov and Stoikov 2014).

    Returns:
        float64[N]; NaN where the sequence has not had as many changes yet, or a side of a book among them was empty.
    """
    ask, ask_size, bid, bid_size = columns.touch
    flow = np.zeros(len(columns), np.int64)
    flow[1:] = (
        (bid[1:] >= bid[:-1]) * bid_size[1:]
        - (bid[1:] <= bid[:-1]) * bid_size[:-1]
        - (ask[1:] <= ask[:-1]) * ask_size[1:]
        + (ask[1:] >= ask[:-1]) * ask_size[:-1]
    )
    means = np.full(len(columns), np.nan)
    if len(columns) > OFI_WINDOW:
        total, one_sided = np.cumsum(flow), np.cumsum(~columns.two_sided)
        one_sided_before = np.concatenate([[0], one_sided[: -OFI_WINDOW - 1]])
        whole = (columns.place[OFI_WINDOW:] >= OFI_WINDOW) & (one_sided[OFI_WINDOW:] == one_sided_before)
        means[OFI_WINDOW:][whole] = (total[OFI_WINDOW:] - total[:-OFI_WINDOW])[whole] / OFI_WINDOW
    return means


def _ofi(columns: Columns) -> _Values:
    return _known(order_flow_imbalance(columns))


def _ofi_before(columns: Columns, direction: int) -> _Values:
    """The imbalance before each message that moves the mid in one direction, or, for 0, not at all."""
    imbalance, row = _known(order_flow_imbalance(columns)[:-1])
    row = row + 1
    follows = (columns.place[row] > 0) & (np.sign(columns.mid[row] - columns.mid[row - 1]) == direction)
    return imbalance[follows], row[follows]


OFI_SCORES = ("ofi", "ofi_up", "ofi_stay", "ofi_down")

SCORES = {
    "spread": Score(_spread, DISCRETE),
    "orderbook_imbalance": Score(_imbalance),
    "log_inter_arrival_time": Score(_log_inter_arrival_time),
    "log_time_to_cancel": Score(_log_time_to_cancel),
    "ask_volume_touch": Score(partial(_touch_volume, side=_ASK)),
    "bid_volume_touch": Score(partial(_touch_volume, side=_BID)),
    "ask_volume": Score(partial(_volume, side=_ASK)),
    "bid_volume": Score(partial(_volume, side=_BID)),
    "limit_ask_order_depth": Score(partial(_depth, side=_ASK, types=(NEW,))),
    "limit_bid_order_depth": Score(partial(_depth, side=_BID, types=(NEW,))),
    "ask_cancellation_depth": Score(partial(_depth, side=_ASK, types=(PARTIAL_CANCEL, DELETE))),
    "bid_cancellation_depth": Score(partial(_depth, side=_BID, types=(PARTIAL_CANCEL, DELETE))),
    "limit_ask_order_levels": Score(partial(_order_levels, side=_ASK), DISCRETE),
    "limit_bid_order_levels": Score(partial(_order_levels, side=_BID), DISCRETE),
    "ask_cancellation_levels": Score(partial(_cancellation_levels, side=_ASK), DISCRETE),
    "bid_cancellation_levels": Score(partial(_cancellation_levels, side=_BID), DISCRETE),
    "vol_per_min": Score(_volume_per_minute),
    "ofi": Score(_ofi),
    "ofi_up": Score(partial(_ofi_before, direction=1)),
    "ofi_stay": Score(partial(_ofi_before, direction=0)),
    "ofi_down": Score(partial(_ofi_before, direction=-1)),
}
