"""Orders and the market around them as vectors.

Market features of an order, int [42], taken after it matched: [0] mid change since the open in basis points,
[1] minute of the session, then ten levels each of ask distance bins, ask size bins, bid distance bins and bid
size bins.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mars_lmm.models.transformer import NORM_EPS

FIELDS = ("type", "price", "size", "interval")
"""The fields of an order, in the order in which each is conditioned on those before it."""
MAX_CHANGE = 2000
"""Largest mid change since the open, basis points."""
NUM_MINUTES = 1440
NUM_SCALARS = 2
"""Market features before the book bins."""
NUM_BOOK_BINS = 33
"""Bins of the spread, or of a level's gap or size, one of them for a level that is not there."""
BOOK_CHANNELS = 4
"""Numbers that a bin is told in."""


class BookEncoder(nn.Module):
    """The bins of the best levels through a small MLP.

    Each bin is told in a few numbers, the same at every level. They start as cosines of the bin's place, of which the
    first is nearly a ramp: neighbours mean nearly the same until training says otherwise.
    """

    def __init__(self, num_features: int, width: int):
        super().__init__()
        self.num_features = num_features
        self.spread = nn.Embedding(NUM_BOOK_BINS, BOOK_CHANNELS)
        self.gap = nn.Embedding(NUM_BOOK_BINS, BOOK_CHANNELS)
        self.size = nn.Embedding(NUM_BOOK_BINS, BOOK_CHANNELS)
        self.proj = nn.Linear(num_features * BOOK_CHANNELS, width, bias=False)
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.out = nn.Linear(width, width, bias=False)

    def init_tables(self) -> None:
        """Cosines of half a turn to `BOOK_CHANNELS` half turns over the bins."""
        place = (torch.arange(NUM_BOOK_BINS) + 0.5) / NUM_BOOK_BINS
        cosines = torch.cos(math.pi * place[:, None] * torch.arange(1, BOOK_CHANNELS + 1))
        for table in (self.spread, self.gap, self.size):
            with torch.no_grad():
                table.weight.copy_(cosines)

    def forward(self, book: Tensor) -> Tensor:
        """Bins, int [..., 2 sides * (levels gaps, levels sizes)] -> [..., D]."""
        gap, size = book.unflatten(-1, (2, 2, -1)).long().unbind(dim=-2)
        gap = torch.cat((self.spread(gap[..., :1]), self.gap(gap[..., 1:])), dim=-2)
        told = torch.stack((gap, self.size(size)), dim=-3)
        return self.out(F.silu(self.norm(self.proj(told.flatten(-4)))))


class OrderEmbedding(nn.Module):
    """Sum of the embeddings of an order's fields and of the market after it.

    Args:
        width: Channels.
        bins: Numbers of types, prices, sizes and intervals.
        num_market: Market features of an order.
        session: Embed the move since the open and the minute too.
    """

    def __init__(self, width: int, bins: tuple[int, int, int, int], num_market: int, session: bool):
        super().__init__()
        types, prices, sizes, intervals = bins
        self.sizes, self.intervals = sizes, intervals
        # One table for (type, price) together: a price bin is a place in the queue for an order and tells a
        # cancel's side too, which a sum of two tables cannot say.
        self.price = nn.Embedding(types * prices, width)
        self.size = nn.Embedding(sizes, width)
        self.interval = nn.Embedding(intervals, width)
        self.session = session
        if session:
            self.change = nn.Embedding(2 * MAX_CHANGE + 1, width)
            self.minute = nn.Embedding(NUM_MINUTES, width)
        self.book = BookEncoder(num_market - NUM_SCALARS, width)

    def forward(self, token: Tensor, market: Tensor) -> Tensor:
        """Token int64 [...] and market int [..., F] -> [..., D]."""
        price, size, interval = split_token(token, self.sizes, self.intervals)
        x = self.price(price) + self.size(size) + self.interval(interval) + self.book(market[..., NUM_SCALARS:])
        if self.session:
            change, minute = market[..., 0].long(), market[..., 1].long()
            x = x + self.change(change + MAX_CHANGE) + self.minute(minute)
        return x


def split_token(token: Tensor, sizes: int, intervals: int) -> tuple[Tensor, Tensor, Tensor]:
    """Take a token ((type * prices + price) * sizes + size) * intervals + interval apart.

    Returns:
        type * prices + price, size, interval: int64 [...] each.
    """
    return token // (sizes * intervals), token // intervals % sizes, token % intervals
