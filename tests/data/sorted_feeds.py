"""Reads the files of a feed that sorts them, as the preparation does."""

import tempfile
from pathlib import Path

import numpy as np

from mars_lmm.data.feeds import load_feed
from mars_lmm.data.flow import COLUMNS
from mars_lmm.data.ledger import RAISE, UNREADABLE, Ledger
from mars_lmm.data.sessions import find_sessions, find_sources, sort_source


class Reading:
    """The sessions at some paths; `ledger` has what was found on the way."""

    def __init__(self, name, paths, options=None, on_error=RAISE, symbols=()):
        self.feed = load_feed(name, options)
        self.ledger = Ledger(on_error)
        self._folder = tempfile.TemporaryDirectory()
        found = find_sources(self.feed, paths)
        for source, fault in found.faulty:
            self.ledger.refuse(source, None, UNREADABLE, fault)
        self.sources, self.foreign = found.readable, found.foreign
        folders = [Path(self._folder.name, str(number)) for number in range(len(self.sources))]
        for source, folder in zip(self.sources, folders, strict=True):
            sort_source(self.feed, source, folder, symbols, self.ledger)
        self.sessions = find_sessions(self.feed, self.sources, folders, symbols)

    def flow(self, number=0):
        """A session's order flow as a whole."""
        parts = list(self.feed.order_flow(self.sessions[number], self.ledger))
        return {name: np.concatenate([np.empty(0, np.int64), *(p[name] for p in parts)]) for name in COLUMNS}

    def verify(self, number=0):
        """A session's verification."""
        return self.feed.verify(self.sessions[number], self.ledger)
