"""How the released MarS order models embed an order and the market after it.

Their features are those of `mars_lmm.tokenizers.mars_coding`.
"""

from torch import Tensor, nn

from mars_lmm.models.embedding import MAX_CHANGE, split_token
from mars_lmm.tokenizers import mars_coding as m

SECONDS_PER_ROW = 5
NUM_SHARES = 11
"""Rows of the tables of shares; the features, 0 to 9, are their indices."""


class MarsEmbedding(nn.Module):
    """Sum of the embeddings of an order's four fields, of the move and the time since the open, and of the book.

    Args:
        width: Channels.
        bins: Numbers of types, prices, sizes and intervals.
        shares: Embed the order's share in the volume at its price, and how much of it traded, too.
    """

    def __init__(self, width: int, bins: tuple[int, int, int, int], shares: bool):
        super().__init__()
        types, self.prices, self.sizes, self.intervals = bins
        self.kind = nn.Embedding(types, width)
        self.price = nn.Embedding(self.prices, width)
        self.size = nn.Embedding(self.sizes, width)
        self.interval = nn.Embedding(self.intervals, width)
        self.change = nn.Embedding(2 * MAX_CHANGE + 1, width)
        self.time = nn.Embedding(m.MAX_SECONDS // SECONDS_PER_ROW + 1, width)
        self.book = nn.Linear(m.NUM_BOOK_PRICES, width)
        self.book_norm = nn.LayerNorm(width)
        self.shares = shares
        if shares:
            self.size_share = nn.Embedding(NUM_SHARES, width)
            self.filled_share = nn.Embedding(NUM_SHARES, width)

    def forward(self, token: Tensor, market: Tensor) -> Tensor:
        """Token int64 [...] and market int [..., NUM_MARS_FEATURES] -> [..., D]."""
        price, size, interval = split_token(token, self.sizes, self.intervals)
        x = self.kind(price // self.prices) + self.price(price % self.prices) + self.size(size)
        x = x + self.interval(interval)
        scalars = market[..., : m.BOOK_FEATURES].long()
        change = scalars[..., m.MARS_CHANGE_FEATURE].clamp(-MAX_CHANGE, MAX_CHANGE)
        x = x + self.change(change + MAX_CHANGE) + self.time(scalars[..., m.SECONDS_FEATURE] // SECONDS_PER_ROW)
        x = x + self.book_norm(self.book(market[..., m.BOOK_FEATURES :].to(self.book.weight.dtype)))
        if self.shares:
            x = x + self.size_share(scalars[..., m.SIZE_SHARE_FEATURE])
            x = x + self.filled_share(scalars[..., m.FILLED_SHARE_FEATURE])
        return x
