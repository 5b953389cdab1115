"""Feeds: raw files of a venue or vendor become order flow.

A feed is a module with the functions of `Feed`; a new one is a new file and a line in `FEEDS`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mars_lmm.data.flow import OrderFlow

FEEDS = {"lobster": "mars_lmm.data.feeds.lobster", "sse": "mars_lmm.data.feeds.sse"}


@dataclass
class Verification:
    """How a session's feed compares with what our own matching makes of it.

    Attributes:
        counts: `rows`, `compared`, `mismatches`, `unknown_ids` and what else the feed counts; where a name
            ends in `mismatches`, any count above 0 is a failure.
        seconds: Time that the comparison of the rows took, without reading and compiling.
        notes: The first mismatches in words.
    """

    counts: dict[str, int]
    seconds: float
    notes: list[str]


class Feed(Protocol):
    """What a feed's module offers; sessions are the feed's own description of its files."""

    def find_sessions(self, paths: list[Path | str]) -> list[Any]:
        """Find the sessions that lie at the paths."""

    def to_order_flow(self, session: Any) -> OrderFlow:
        """Turn a session into what participants submitted."""

    def verify(self, session: Any) -> Verification:
        """Compare a session with what our own matching makes of it."""


def load_feed(name: str) -> Feed:
    """Import a feed's module.

    Raises:
        ValueError: No feed has this name.
    """
    if name not in FEEDS:
        raise ValueError(f"no feed {name!r}; choose one of {', '.join(FEEDS)}")
    return importlib.import_module(FEEDS[name])
