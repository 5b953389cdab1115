"""Where sessions come from: one entry point over all feeds and the synthetic market."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.synthetic import synthetic_session
from mars_lmm.data.flow import OrderFlow


@dataclass(frozen=True)
class SessionSource:
    """A session that can be read.

    Attributes:
        name: The session, for messages and manifests.
        checksum: Identity of what would be read.
        read: Makes the order flow.
    """

    name: str
    checksum: str
    read: Callable[[], OrderFlow]


def find_sources(config: DataConfig) -> list[SessionSource]:
    """The sessions that a configuration names.

    Raises:
        DataError: The path holds no session of the feed.
    """
    if config.feed == "synthetic":
        settings = json.dumps(asdict(config.synthetic))
        return [
            SessionSource(f"SYN_{index}", settings, lambda index=index: synthetic_session(config.synthetic, index))
            for index in range(config.synthetic.sessions)
        ]
    feed = load_feed(config.feed)
    return [
        SessionSource(session.name, session.checksum(), lambda session=session: feed.to_order_flow(session))
        for session in feed.find_sessions([Path(config.path)])
    ]
