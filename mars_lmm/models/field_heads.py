"""Heads that predict an order field by field, each field conditioned on those before it.

Shape letters: B books, n positions, D width, V tokens = types * prices * sizes * intervals.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mars_lmm.models.embedding import OrderEmbedding, split_token
from mars_lmm.models.order_head import OrderHead
from mars_lmm.models.sampling import Sampling
from mars_lmm.models.transformer import NORM_EPS

FIELD_CHUNK = 4096
"""Positions whose activations are kept for the backward pass at a time, where there are more."""


class FieldState(nn.Module):
    """The state that one field is read from, given the hidden state and what is known of the order."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.proj = nn.Linear(width, width, bias=False)

    def forward(self, context: Tensor) -> Tensor:
        """Context [..., D] -> [..., D]."""
        return F.silu(self.proj(self.norm(context)))


class FieldLogits(FieldState):
    """The logits of one field, given the hidden state and what is known of the order."""

    def __init__(self, width: int, num_bins: int):
        super().__init__(width)
        self.out = nn.Linear(width, num_bins, bias=False)

    def forward(self, context: Tensor) -> Tensor:
        """Context [..., D] -> float32 [..., num_bins]."""
        return self.out(super().forward(context)).float()


class FieldHead(OrderHead):
    """Type, then price given type, size given both, interval given all three."""

    def __init__(self, width: int, bins: tuple[int, int, int, int]):
        super().__init__(bins)
        types, prices, sizes, intervals = bins
        self.prices, self.sizes, self.intervals = prices, sizes, intervals
        self.fields = nn.ModuleList(FieldLogits(width, num_bins) for num_bins in bins)
        self.kind = nn.Embedding(types, width)
        self.price = nn.Embedding(types * prices, width)  # with the type, as in the order's embedding
        self.size = nn.Embedding(sizes, width)

    def logits(self, hidden: Tensor) -> Tensor:
        """Joint log-probabilities [..., V] given hidden [..., D].

        Runs the chain for every token: for tests and evaluation, a few positions at a time.
        """
        type_field, price_field, size_field, interval_field = self.fields
        hidden = hidden.unsqueeze(-2)
        log_p = type_field(hidden).log_softmax(dim=-1)
        log_p = log_p.transpose(-1, -2) + price_field(hidden + self.kind.weight).log_softmax(dim=-1)
        known = hidden + self.price.weight
        log_p = log_p.flatten(-2).unsqueeze(-1) + size_field(known).log_softmax(dim=-1)
        known = known.unsqueeze(-2) + self.size.weight
        log_p = log_p.unsqueeze(-1) + interval_field(known).log_softmax(dim=-1)
        return log_p.flatten(-3)

    def chunk_size(self, positions: int) -> int:
        """No more than `FIELD_CHUNK`."""
        return min(positions, FIELD_CHUNK)

    def field_logits(self, hidden: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Each field's own."""
        price, size, _ = split_token(target, self.sizes, self.intervals)
        known = hidden + self.price(price)
        contexts = (hidden, hidden + self.kind(price // self.prices), known, known + self.size(size))
        return (field(context) for field, context in zip(self.fields, contexts, strict=True))

    def sample(self, hidden: Tensor, uniform: Tensor, sampling: Sampling, types: Tensor | None = None) -> Tensor:
        """Draw tokens int64 [B], one uniform a field.

        Temperature, top-p and forbidden bins act on each field in turn: what is forbidden of a later field does not
        count against the earlier ones.
        """
        biased, draw = sampling.biased, sampling.draw
        type_field, price_field, size_field, interval_field = self.fields
        kind = draw(biased("type", type_field(hidden)), uniform[:, 0], sampling.forbidden_types(types))
        price = draw(biased("price", price_field(hidden + self.kind(kind)), kind), uniform[:, 1], sampling.price)
        price = kind * self.prices + price
        known = hidden + self.price(price)
        size = draw(biased("size", size_field(known), kind), uniform[:, 2], sampling.size)
        known = known + self.size(size)
        interval = draw(biased("interval", interval_field(known), kind), uniform[:, 3], sampling.interval)
        return (price * self.sizes + size) * self.intervals + interval


class TiedHead(OrderHead):
    """Type and price in one softmax, size given both, interval given all, over the rows of the embedding's tables.

    The rows that an order is read by are those that the next one is predicted by: as output matrices, and as what
    is known of the order. The head has no tables of its own, and the embedding keeps the shared ones.
    """

    def __init__(self, width: int, bins: tuple[int, int, int, int], embedding: OrderEmbedding):
        super().__init__(bins)
        _, self.prices, self.sizes, self.intervals = bins
        self.tied_tables = embedding.price, embedding.size, embedding.interval
        self.fields = nn.ModuleList(FieldState(width) for _ in self.tied_tables)
        # Rows start far smaller than hidden states, and would not be heard beside them.
        self.price_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.size_norm = nn.RMSNorm(width, eps=NORM_EPS)

    def _field_logits(self, field: int, context: Tensor) -> Tensor:
        return F.linear(self.fields[field](context), self.tied_tables[field].weight).float()

    def _price_row(self, price: Tensor) -> Tensor:
        return self.price_norm(self.tied_tables[0](price))

    def _size_row(self, size: Tensor) -> Tensor:
        return self.size_norm(self.tied_tables[1](size))

    def logits(self, hidden: Tensor) -> Tensor:
        """Joint log-probabilities [..., V] given hidden [..., D].

        Runs the chain for every token: for tests and evaluation, a few positions at a time.
        """
        log_p = self._field_logits(0, hidden).log_softmax(dim=-1)
        known = hidden.unsqueeze(-2) + self.price_norm(self.tied_tables[0].weight)
        log_p = log_p.unsqueeze(-1) + self._field_logits(1, known).log_softmax(dim=-1)
        known = known.unsqueeze(-2) + self.size_norm(self.tied_tables[1].weight)
        log_p = log_p.unsqueeze(-1) + self._field_logits(2, known).log_softmax(dim=-1)
        return log_p.flatten(-3)

    def chunk_size(self, positions: int) -> int:
        """No more than `FIELD_CHUNK`."""
        return min(positions, FIELD_CHUNK)

    def field_logits(self, hidden: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Type and price come apart by marginalising over the type's prices."""
        price, size, _ = split_token(target, self.sizes, self.intervals)
        pairs = self._field_logits(0, hidden).unflatten(-1, (-1, self.prices))
        yield pairs.logsumexp(dim=-1)
        yield pairs[torch.arange(len(target), device=target.device), price // self.prices]
        known = hidden + self._price_row(price)
        yield self._field_logits(1, known)
        yield self._field_logits(2, known + self._size_row(size))

    def sample(self, hidden: Tensor, uniform: Tensor, sampling: Sampling, types: Tensor | None = None) -> Tensor:
        """Draw tokens int64 [B], one uniform a softmax.

        Temperature, top-p and forbidden bins act on each softmax in turn: what is forbidden of a later field does not
        count against the earlier ones.
        """
        biased, draw = sampling.biased, sampling.draw
        forbidden = sampling.forbidden_types_and_prices(types, self.prices)
        pairs = sampling.biased_pairs(self._field_logits(0, hidden) / sampling.temperature)
        price = draw(pairs, uniform[:, 0], forbidden)
        kind = price // self.prices
        known = hidden + self._price_row(price)
        size = draw(biased("size", self._field_logits(1, known), kind), uniform[:, 1], sampling.size)
        known = known + self._size_row(size)
        interval = draw(biased("interval", self._field_logits(2, known), kind), uniform[:, 2], sampling.interval)
        return (price * self.sizes + size) * self.intervals + interval
