"""Shanghai level 2."""

from mars_lmm.data.feeds.sse.feed import SseFeed

FEED = SseFeed
