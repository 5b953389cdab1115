"""Starts: market states in the held-out part of a prepared set, made by replaying each session's prefix."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import OrderFlow
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.replay import MarketState, is_order, opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.simulation.coding import Coding


@dataclass
class Start:
    """A moment of a session from which rollouts begin, and what really came after.

    Attributes:
        flow: The session.
        time: Nanoseconds since midnight.
        state: The market after the last order at or before `time`.
        token: int[H], the last orders before the start.
        market: int16[H, F], the market after each.
        touch: The last tape row before the start.
        continuation: int64[N, NUM_TAPE], the tape of the real continuation up to the horizon.
        stream: int64[S], what the model's coding remembers of the session.
    """

    flow: OrderFlow
    time: int
    state: MarketState
    token: np.ndarray
    market: np.ndarray
    touch: np.ndarray
    continuation: np.ndarray
    stream: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def held_out_starts(prepared: PreparedSet, coding: Coding, count: int, horizon: int, history: int) -> list[Start]:
    """Evenly spaced starts over the held-out sessions or hours.

    Args:
        prepared: The prepared set.
        coding: Codes the histories.
        count: How many starts to make, shared out over the sessions in turn.
        horizon: Nanoseconds of continuation that must lie inside the session.
        history: Orders of history to keep, at least 1.

    Raises:
        DataError: No held-out session is longer than the horizon.
    """
    windows = []
    for index, session in enumerate(prepared.sessions):
        if session["held_out_from"] >= session["close_time"]:
            continue
        flow = prepared.flow(index)
        # The first start leaves room for a history, also on a day that is held out from its beginning.
        orders = np.flatnonzero(is_order(flow.session, flow.columns))
        warmed_up = int(flow.time[orders[min(history, len(orders) - 1)]])
        earliest = max(session["held_out_from"], warmed_up)
        latest = flow.session.close_time - horizon
        if latest >= earliest:
            windows.append((flow, earliest, latest))
    if not windows:
        raise DataError(
            prepared.path,
            f"no held-out session has {horizon / 60e9:g} minutes after a history of {history} orders; simulate fewer "
            "minutes",
        )
    starts = []
    for index, (flow, earliest, latest) in enumerate(windows):
        share = len(range(index, count, len(windows)))
        times = np.linspace(earliest, latest, share).astype(np.int64)
        starts += _session_starts(flow, coding, times, horizon, history)
    return starts


def _session_starts(flow: OrderFlow, coding: Coding, times: np.ndarray, horizon: int, history: int) -> list[Start]:
    """Replay a session once, stopping at each time for a copy of the market."""
    state = opening_state(flow)
    rows = np.searchsorted(flow.time, times, side="right")
    parts, states = [], []
    for first, last in zip([0, *rows[:-1]], rows, strict=True):
        parts.append(replay(flow, state, int(first), int(last)))
        states.append(_copy(state))
    parts.append(replay(flow, state, int(rows[-1]), len(flow)))
    observed = np.concatenate([part.observed for part in parts])
    tape = np.concatenate([part.tape for part in parts])
    starts = []
    for time, copied in zip(times.tolist(), states, strict=True):
        here = int(np.searchsorted(tape[:, 0], time, side="right"))
        end = int(np.searchsorted(tape[:, 0], time + horizon, side="right"))
        open_price = int(copied.book[0, t.OPEN_PRICE])
        token, market, stream = coding.history(observed[:here], tape[:here], open_price, history)
        starts.append(Start(flow, time, copied, token, market, tape[here - 1], tape[here:end], stream))
    return starts


def _copy(state: MarketState) -> MarketState:
    return MarketState(state.book.copy(), state.clock.copy())
