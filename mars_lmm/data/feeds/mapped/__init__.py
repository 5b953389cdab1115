"""Tables of one's own, read by a mapping."""

from mars_lmm.data.feeds.mapped.feed import MappedFeed

FEED = MappedFeed
