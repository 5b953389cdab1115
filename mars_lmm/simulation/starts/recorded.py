"""Starts in recorded sessions of a prepared set, made by replaying each session's prefix."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import UNDATED, OrderFlow
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.replay import MarketState, empty_state, is_order, opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.starts.session_time import closing_time, pass_to, passed
from mars_lmm.simulation.starts.start import Start
from mars_lmm.simulation.starts.unseen import unseen_orders
from mars_lmm.tokenizers.open_time import add_open_time, open_time_between

_MOST_LISTED = 20  # sessions that a message names

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|" + UNDATED)


def held_out_starts(
    prepared: PreparedSet,
    coding: Coding,
    count: int,
    horizon: int,
    history: int,
    before: int | None = None,
    continuous: bool = False,
) -> list[Start]:
    """Evenly spaced starts over the held-out sessions or hours.

    Args:
        prepared: The prepared set.
        coding: Codes the histories.
        count: How many starts to make, shared out over the sessions in turn.
        horizon: Nanoseconds of open market that must lie between each start and the session's close.
        history: Orders of history to keep, at least 1.
        before: Orders of a session that come before its first start, at least; None: as many as are kept.
        continuous: Whether trading has to be continuous for the whole horizon, without a break or an auction.

    Raises:
        DataError: No held-out session is longer than the horizon.
    """
    before = history if before is None else before
    windows: list[tuple[OrderFlow, int, list[tuple[int, int]]]] = []
    for index, entry in enumerate(prepared.sessions):
        if len(windows) == count:  # further sessions would have no share
            break
        if entry["held_out_from"] >= entry["close_time"]:
            continue
        flow = prepared.flow(index)
        bounds = _bounds(flow, entry["held_out_from"], horizon, before, continuous)
        if bounds:
            windows.append((flow, entry["held_out_from"], bounds))
    if not windows:
        raise DataError(
            prepared.path,
            f"no held-out session has {horizon / 60e9:g} minutes after a history of {before} orders; simulate fewer "
            "minutes",
        )
    starts = []
    for index, (flow, held_out_from, bounds) in enumerate(windows):
        share = len(range(index, count, len(windows)))
        times = _spread(_schedule(flow), bounds, share)
        starts += _session_starts(flow, coding, times, horizon, history, held_out_from)
    return starts


def start_at(
    prepared: PreparedSet,
    coding: Coding,
    symbol: str,
    date: str | None,
    time: int | str,
    history: int,
    horizon: int | None = None,
) -> Start:
    """A start at one moment; `starts_at` tells the rest.

    Args:
        prepared: The prepared set.
        coding: Codes the history.
        symbol: The instrument.
        date: ISO date; None where the set has one session of the instrument.
        time: Nanoseconds since midnight, or HH:MM[:SS[.fff]].
        history: Orders of history to keep.
        horizon: Nanoseconds of open market for which the real continuation is kept.

    Raises:
        ValueError: The time is not written as one.
    """
    if isinstance(time, str):
        time = nanoseconds("the time of a start", time)
    (start,) = starts_at(prepared, coding, [Moment(symbol, date, time)], history, horizon)
    return start


def starts_at(
    prepared: PreparedSet, coding: Coding, moments: Sequence[Moment], history: int, horizon: int | None = None
) -> list[Start]:
    """Starts at any moments of any sessions of a prepared set, the part that is trained on included.

    Args:
        prepared: The prepared set.
        coding: Codes the histories.
        moments: When they are.
        history: Orders of history to keep, at least 1.
        horizon: Nanoseconds of open market for which the real continuation is kept; None: until the close.

    Raises:
        DataError: There is no such session, or no orders before a start; or its time is outside the session.
    """
    of_session: dict[int, list[int]] = {}
    for place, moment in enumerate(moments):
        of_session.setdefault(find_session(prepared, moment), []).append(place)
    starts: list[Start | None] = [None] * len(moments)
    for number, places in of_session.items():
        flow = prepared.flow(number)
        places.sort(key=lambda place: moments[place].time)
        times = [moments[place].time for place in places]
        open_time, close = flow.session.open_time, closing_time(_schedule(flow), flow.session)
        for time in times:
            if not open_time <= time < close:
                raise DataError(
                    flow.session.name,
                    f"a start at {_clock(time)} is outside the session: choose a time from {_clock(open_time)} on and "
                    f"before {_clock(close)}",
                )
        held_out_from = prepared.sessions[number]["held_out_from"]
        made = _session_starts(flow, coding, times, horizon, history, held_out_from)
        for place, start in zip(places, made, strict=True):
            starts[place] = start
    return starts


@dataclass(frozen=True)
class Moment:
    """A moment of a session as people write it: "GOOG 2012-06-21 13:30:00"; "GOOG 13:30" where one day will do.

    Attributes:
        symbol: The instrument.
        date: ISO date, or None.
        time: Nanoseconds since midnight.
    """

    symbol: str
    date: str | None
    time: int

    def __str__(self) -> str:
        """As `parse` reads it, to the nanosecond."""
        seconds, fraction = divmod(self.time, 10**9)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}"
        return " ".join(word for word in (self.symbol, self.date, clock) if word)

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read one.

        Raises:
            ValueError: It is not written so.
        """
        *words, time = text.split() or [""]
        date = words.pop() if len(words) > 1 and _DATE.fullmatch(words[-1]) else None
        if not words:
            raise ValueError(f"{text!r} is no moment: write it as 'SYMBOL [YYYY-MM-DD] HH:MM[:SS]'")
        return cls(" ".join(words), date, nanoseconds(f"the time of {text!r}", time))


def find_session(prepared: PreparedSet, moment: Moment) -> int:
    """The place of a moment's session in a prepared set.

    Raises:
        DataError: There is none, or the symbol has several and the moment no date.
    """
    symbol, date = moment.symbol, moment.date
    entries = list(enumerate(prepared.sessions))
    of_symbol = [(number, entry) for number, entry in entries if entry["symbol"] == symbol]
    found = [number for number, entry in of_symbol if date is None or entry["date"] == date]
    if len(found) == 1:
        return found[0]
    names = [f"{entry['symbol']} {entry['date']}" for _, entry in of_symbol or entries]
    listed = ", ".join(names[:_MOST_LISTED]) + (f" and {len(names) - _MOST_LISTED} more" * (len(names) > _MOST_LISTED))
    if found:
        raise DataError(prepared.path, f"{symbol} has {len(found)} sessions, name the date: {listed}")
    raise DataError(prepared.path, f"no session {symbol}{f' {date}' if date else ''}; it has {listed}")


def _bounds(flow: OrderFlow, held_out_from: int, horizon: int, before: int, continuous: bool) -> list[tuple[int, int]]:
    """The earliest and the latest held-out start of a session, of each of its phases where trading is continuous."""
    orders = np.flatnonzero(is_order(flow.session, flow.columns))
    if not len(orders):
        return []
    # The first start leaves room for a history, also on a day that is held out from its beginning.
    warmed_up = int(flow.time[orders[min(before, len(orders) - 1)]])
    earliest = max(held_out_from, warmed_up)
    book = _schedule(flow)
    close = closing_time(book, flow.session)
    if continuous:
        phases = sections(book).phases[0]
        ends = [*phases[1:, t.PHASE_START].tolist(), t.FOREVER]
        trading = phases[:, t.PHASE_MODE] == t.CONTINUOUS
        begins = phases[:, t.PHASE_START].tolist()
        spans = [(begin, min(end, close) - horizon) for begin, end in compress(zip(begins, ends, strict=True), trading)]
    else:
        spans = [(0, bisect_right(range(close), close, key=lambda time: passed(book, time, horizon)) - 1)]
    return [(max(begin, earliest), latest) for begin, latest in spans if latest >= max(begin, earliest)]


def _spread(book: np.ndarray, bounds: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Times within bounds, with as much open market between each two."""
    lengths = [open_time_between(book, earliest, latest) for earliest, latest in bounds]
    before = np.cumsum([0, *lengths])
    between = np.linspace(0, before[-1], count).astype(np.int64)
    place = np.searchsorted(before[1:-1], between, side="left")
    return [add_open_time(book, bounds[p][0], int(b - before[p])) for p, b in zip(place, between, strict=True)]


def _schedule(flow: OrderFlow) -> np.ndarray:
    """A book, int64[N], with the session's schedule."""
    return empty_state(flow.session, 1, 1, 0).book[0]


def _session_starts(
    flow: OrderFlow, coding: Coding, times: Sequence[int], horizon: int | None, history: int, held_out_from: int
) -> list[Start]:
    """Replay a session once, stopping at each time, in ascending order, for a copy of the market."""
    state = opening_state(flow)
    rows = np.searchsorted(flow.time, times, side="right").tolist()
    parts, states = [], []
    for first, last, time in zip([0, *rows[:-1]], rows, times, strict=True):
        parts.append(replay(flow, state, first, last))
        states.append(_at(state, time))
    close = closing_time(state.book[0], flow.session)
    ends = [close if horizon is None else min(passed(state.book[0], time, horizon), close) for time in times]
    parts.append(replay(flow, state, rows[-1], int(np.searchsorted(flow.time, max(ends), side="right"))))
    observed = np.concatenate([part.observed for part in parts])
    tape = np.concatenate([part.tape for part in parts])
    starts = []
    for time, end, at_start in zip(times, ends, states, strict=True):
        here, there = (int(place) for place in np.searchsorted(tape[:, 0], [time, end], side="right"))
        open_price = int(at_start.book[0, t.OPEN_PRICE])
        if here:
            past = coding.history(observed[:here], tape[:here], open_price, history)
        if not here or not len(past.token):
            raise DataError(flow.session.name, f"no orders come before {_clock(time)}: start later")
        starts.append(
            Start(
                flow.session,
                time,
                at_start,
                past.token,
                past.market,
                tape[here - 1].copy(),
                tape[here:there].copy(),
                past.stream,
                flow=flow,
                unseen=unseen_orders(flow.session, at_start.book[0], observed[:here], time),
                held_out=time >= held_out_from,
            )
        )
    return starts


def _at(state: MarketState, time: int) -> MarketState:
    """Copy a market and let it pass to `time`, auctions included, which is what the next order would do first."""
    book, clock = state.book.copy(), state.clock.copy()
    pass_to(book[0], clock, time)
    return MarketState(book, clock)


def _clock(time: int) -> str:
    """A time of day, HH:MM:SS; fractions are left out."""
    seconds = time // 10**9
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
