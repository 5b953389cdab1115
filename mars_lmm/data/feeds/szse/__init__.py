"""Shenzhen level 2."""

from mars_lmm.data.feeds.szse.feed import SzseFeed

FEED = SzseFeed
