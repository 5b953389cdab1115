"""How a session's time goes by for a rollout: its horizon, its close, and what falls due on the way."""

from __future__ import annotations

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.flow import Session
from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.tokenizers.cpu import OBSERVING
from mars_lmm.tokenizers.open_time import add_open_time

_pass_time = OBSERVING.pass_time


def passed(book: np.ndarray, time: int, horizon: int) -> int:
    """When so much open market has passed: 20 minutes from 11:20 on in Shanghai are over at 13:10.

    What is over as the venue shuts, is over then, and not when it opens again.

    Args:
        book: int64[N], whose schedule counts.
        time: Nanoseconds since midnight.
        horizon: Nanoseconds, above 0.

    Raises:
        ValueError: The horizon is not above 0.
    """
    if horizon < 1:
        raise ValueError(f"a rollout takes time: its horizon is {horizon} ns")
    return add_open_time(book, time, horizon - 1) + 1


def closing_time(book: np.ndarray, session: Session) -> int:
    """When a session closes, nanoseconds since midnight: at the moment that its closing auction trades.

    That is when the book's schedule shuts the venue for the last time; without such a schedule, the session tells.

    Args:
        book: int64[N].
        session: The session.
    """
    phases = sections(book).phases[0]
    last = phases[phases[:, t.PHASE_START] < t.FOREVER][-1]
    shuts = book[t.RULES + t.ENFORCED] != 0 and last[t.PHASE_MODE] == t.SHUT
    return int(last[t.PHASE_START]) if shuts else session.close_time


def pass_to(book: np.ndarray, clock: np.ndarray, time: int) -> None:
    """Let a session pass to `time`, auctions included; its trades so far are nobody's news any more.

    Args:
        book: int64[N], changed in place.
        clock: int64[NUM_CLOCK], changed in place.
        time: Nanoseconds since midnight.
    """
    _pass_to(book, clock, time, np.zeros((0, t.NUM_TRADE_COLUMNS), np.int64), np.zeros((2, t.DEPTH, 2), np.int64))
    book[[t.TRADE_ROWS, t.TRADES_DROPPED]] = 0


@kept_njit("market", "tokenizers", _nrt=False)
def _pass_to(book, clock, time, trades, snapshot):
    book[t.TRADE_ROWS] = 0
    _pass_time(book, clock, time, trades, snapshot)
