"""How the tests read LOBSTER sessions."""

from pathlib import Path

import numpy as np

from mars_lmm.data.feeds import FeedSession, Verification, load_feed
from mars_lmm.data.feeds.lobster.read import Part, read_parts
from mars_lmm.data.flow import COLUMNS, OrderFlow
from mars_lmm.data.ledger import RAISE, Ledger
from mars_lmm.data.sessions import find_sessions


def sessions_of(*paths: Path) -> list[FeedSession]:
    feed = load_feed("lobster")
    return find_sessions(feed, feed.find_sources(paths), [])


def read_flow(path: Path, on_error: str = RAISE) -> tuple[OrderFlow, Ledger]:
    """The whole flow of the one session at a path."""
    feed, ledger = load_feed("lobster"), Ledger(on_error)
    (session,) = sessions_of(path)
    parts = list(feed.order_flow(session, ledger))
    columns = {name: np.concatenate([np.empty(0, int), *(part[name] for part in parts)]) for name in COLUMNS}
    return OrderFlow(feed.describe(session), columns, dict(ledger.counts)), ledger


def verify(path: Path, on_error: str = RAISE) -> tuple[Verification, Ledger]:
    """The verification of the one session at a path."""
    feed, ledger = load_feed("lobster"), Ledger(on_error)
    (session,) = sessions_of(path)
    return feed.verify(session, ledger), ledger


def read_pair(path: Path, on_error: str = RAISE) -> tuple[Part, Ledger]:
    """The good rows of the one session at a path."""
    ledger = Ledger(on_error)
    ((source,),) = (session.sources for session in sessions_of(path))
    parts = list(read_parts(source, 100, ledger))
    messages = parts[0].messages
    for part in parts[1:]:
        messages = messages.then(part.messages)
    return Part(messages, *(np.concatenate([part[n] for part in parts]) for n in (1, 2))), ledger
