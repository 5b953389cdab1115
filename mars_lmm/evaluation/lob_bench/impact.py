"""How the mid responds to six types of events (Eisler, Bouchaud and Kockelkoren 2012), and the impact score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.distances import Draws, band, estimate
from mars_lmm.evaluation.sequences.sequences import ASK_PRICE, BID_PRICE, DELETE, EXECUTION, NEW, PARTIAL_CANCEL

# Executions, new orders and cancels that leave the best prices as they are (0) or change them (1).
EVENTS = ("MO_0", "MO_1", "LO_0", "LO_1", "CA_0", "CA_1")
LAGS = (10 ** np.arange(0.3, 2.4, 0.1)).astype(int)  # events; 3 stands twice, as in the reference

_FAMILY = np.zeros(8, np.int64)  # of each type of message, as a place in EVENTS
_FAMILY[[EXECUTION, NEW, PARTIAL_CANCEL, DELETE]] = 0, 2, 4, 4
_MERGE_NS = 1000


class Events(NamedTuple):
    """What changed the best prices or their sizes, M events.

    Attributes:
        kind: Place in `EVENTS`, int64[M].
        sign: 1 for pressure upwards, -1 downwards, int64[M].
        mid: After the event, whole price units, int64[M].
        sequence: int64[M].
    """

    kind: np.ndarray
    sign: np.ndarray
    mid: np.ndarray
    sequence: np.ndarray


def events(columns: Columns) -> Events:
    """Events of the sequences; executions that one order caused are one event, which takes its last one's place."""
    changed = (np.diff(columns.touch, axis=1, prepend=0) != 0).any(axis=0) | (columns.place == 0)
    counts = np.isin(columns.type, (NEW, PARTIAL_CANCEL, DELETE, EXECUTION))
    row = np.flatnonzero(changed & counts & columns.two_sided)
    type_, sequence, price = columns.type[row], columns.sequence[row], columns.price[row]
    direction, ask, bid = columns.sequences.direction[row], columns.touch[ASK_PRICE, row], columns.touch[BID_PRICE, row]
    moves = (np.diff(ask, prepend=0) != 0) | (np.diff(bid, prepend=0) != 0) | (np.diff(sequence, prepend=-1) != 0)
    goes_on = (
        (type_[1:] == EXECUTION)
        & (np.diff(sequence) == 0)
        & (np.diff(columns.time[row]) <= _MERGE_NS)
        & (direction[1:] == direction[:-1])
        & (price[1:] == price[:-1])
    )
    last = np.append(~goes_on, True)[: len(row)]
    sign = np.where(type_ == NEW, direction, -direction).astype(np.int64)
    return Events((_FAMILY[type_] + moves)[last], sign[last], ((ask + bid) // 2)[last], sequence[last])


class ResponseSums(NamedTuple):
    """Signed changes of the mid after events, added up for each sequence.

    Attributes:
        total: In ticks, float64[S, events, lags].
        number: float64[S, events, lags].
    """

    total: np.ndarray
    number: np.ndarray

    def response(self, weights: np.ndarray) -> np.ndarray:
        """Mean response for weights [R, S] of the sequences, float64[R, events, lags]; NaN where nothing responds."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.tensordot(weights, self.total, 1) / np.tensordot(weights, self.number, 1)


def response_sums(columns: Columns) -> ResponseSums:
    """Mid l - 1 events after an event less the mid before it, along the event's sign, for l in `LAGS`."""
    found = events(columns)
    num_sequences, num_events = len(columns.sequences), len(found.mid)
    shape = (num_sequences, len(EVENTS), len(LAGS))
    total, number = np.zeros(shape), np.zeros(shape)
    for at, lag in enumerate(LAGS):
        before = np.arange(max(num_events - lag, 0))
        before = before[found.sequence[before] == found.sequence[before + lag]]
        event = before + 1
        moved = (found.mid[before + lag] - found.mid[before]) * found.sign[event]
        cell = found.sequence[event] * len(EVENTS) + found.kind[event]
        size = num_sequences * len(EVENTS)
        total[:, :, at] = np.bincount(cell, moved, size).reshape(shape[:2]) / columns.sequences.tick
        number[:, :, at] = np.bincount(cell, minlength=size).reshape(shape[:2])
    return ResponseSums(total, number)


def impact(real: ResponseSums, generated: ResponseSums, draws: Draws) -> dict:
    """Compare response functions.

    Returns:
        `score`: the mean over events of `sum_abs_difference`, the sum over lags of the distance of the two responses in
        ticks; lower is closer. A response that one side alone lacks counts as none, 0. `lags`, and by event and side
        the `response` and the `low` and `high` ends of its `response_band`.
    """
    responses = {"real": real.response(draws.real), "generated": generated.response(draws.generated)}
    difference = np.abs(np.nan_to_num(responses["real"]) - np.nan_to_num(responses["generated"])).sum(axis=2)
    return {
        **estimate("score", difference.mean(axis=1)),
        "sum_abs_difference": dict(zip(EVENTS, difference[0].tolist(), strict=True)),
        "lags": LAGS.tolist(),
        "response": {
            event: {side: response[0, at].tolist() for side, response in responses.items()}
            for at, event in enumerate(EVENTS)
        },
        "response_band": {
            event: {side: band(response[:, at]) for side, response in responses.items()}
            for at, event in enumerate(EVENTS)
        },
    }
