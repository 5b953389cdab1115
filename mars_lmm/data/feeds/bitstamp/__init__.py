"""Bitstamp's live orders."""

from mars_lmm.data.feeds.bitstamp.feed import BitstampFeed

FEED = BitstampFeed
