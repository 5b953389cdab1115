"""Halts within a session: orders are collected in them and reopen with an auction, which an order flow cannot tell.

The schedule of a session's rules has the auctions of every day, and no others; so a replay would let the collected
orders trade at once.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from mars_lmm.data.feeds import FeedSession
from mars_lmm.data.feeds.common.level2.messages import SECOND, SUSPENSION, TRADE, Messages, phases
from mars_lmm.data.feeds.common.level2.records import read_all
from mars_lmm.data.feeds.sse.book import rebuild
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

ADVICE = "a replay cannot tell what a halt collects; leave the stock-day out"


def is_halted(session: FeedSession, messages: Messages, schedule: np.ndarray, ledger: Ledger) -> bool:
    """Whether trading stopped, or reopened with an auction, within the hours of continuous trading; such are refused.

    Args:
        session: The session.
        messages: Its messages.
        schedule: int64[K, NUM_PHASE_COLUMNS], its phases.
        ledger: Takes the refusal.

    Raises:
        DataError: It did, and the ledger says that this is an error.
    """
    called = (messages.kind == TRADE) & (messages.side == t.NO_SIDE) & _is_continuous(messages.time, schedule)
    if called.any():
        called &= rebuild(messages).fits  # a trade whose flag alone is wrong is no auction's
    if called.any():
        i = int(np.argmax(called))
        detail = f"an auction at {_clock(messages.time[i])}, within continuous trading: {ADVICE}"
        ledger.refuse(session.sources[messages.source[i]], int(messages.row[i]), "trading was halted", detail)
        return True
    records, source = read_all(session)
    stops = (records["kind"] == SUSPENSION) & _is_continuous(records["time"], schedule)
    stops &= records["time"] < messages.time[-1]
    if stops.any():
        i = int(np.argmax(stops))
        detail = f"trading stops at {_clock(records['time'][i])}, and messages follow: {ADVICE}"
        ledger.refuse(session.sources[source[i]], int(records["row"][i]), "trading was halted", detail)
        return True
    return False


def _is_continuous(times: np.ndarray, schedule: np.ndarray) -> np.ndarray:
    return schedule[phases(times, schedule), t.PHASE_MODE] == t.CONTINUOUS


def _clock(time: int) -> str:
    return str(timedelta(seconds=int(time) // SECOND))
