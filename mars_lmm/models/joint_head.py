"""One softmax over all tokens.

Shape letters: n positions, D width, V tokens = types * prices * sizes * intervals.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mars_lmm.models.linear_cross_entropy import MIN_CHUNK, linear_cross_entropy
from mars_lmm.models.order_head import OrderHead
from mars_lmm.models.sampling import Sampling


class JointHead(OrderHead):
    """One linear layer over all tokens."""

    def __init__(self, width: int, bins: tuple[int, int, int, int]):
        super().__init__(bins)
        types, prices, sizes, intervals = bins
        self.prices, self.groups, self.members = prices, types * prices, sizes * intervals
        self.proj = nn.Linear(width, self.groups * self.members, bias=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] given hidden [..., D]."""
        return self.proj(hidden)

    def loss(self, hidden: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Sum of weight * nats over all positions, differentiable once; the logits are computed once."""
        if not torch.is_grad_enabled():
            return super().loss(hidden, target, weight)
        return linear_cross_entropy(hidden.flatten(0, -2), self.proj.weight, target.flatten(), weight.flatten())

    def chunk_size(self, positions: int) -> int:
        """Few: float32 copies of the logits lie beside them."""
        return MIN_CHUNK

    def field_logits(self, hidden: Tensor, target: Tensor) -> Iterator[Tensor]:
        """All logits, marginalised over the fields that follow."""
        logits = self.logits(hidden).float().view(-1, *self.bins)
        kind, price, size, _ = torch.unravel_index(target, self.bins)
        row = torch.arange(len(target), device=target.device)
        # The only pass over all logits; the rest is on the target's own path down the tree of fields.
        prices = logits.flatten(3).logsumexp(dim=-1)
        chosen = logits[row, kind, price]
        yield from (prices.logsumexp(dim=-1), prices[row, kind], chosen.logsumexp(dim=-1), chosen[row, size])

    def sample(self, hidden: Tensor, uniform: Tensor, sampling: Sampling, types: Tensor | None = None) -> Tensor:
        """Draw tokens int64 [B]: type and price by uniform[:, 0], then size and interval by uniform[:, 1].

        Two short cumulative sums instead of one over all tokens keep rare orders from drowning in rounding. Forbidden
        bins leave the model's distribution given all that is allowed: a type and price counts by its allowed sizes and
        intervals. Top-p keeps types and prices first, then sizes and intervals given those that were drawn.
        """
        # [groups, B, members], a product for each (type, price): one product of a few rows with a tall matrix
        # leaves CPU cores idle.
        weight = self.proj.weight.view(self.groups, self.members, -1).transpose(1, 2)
        logits = torch.matmul(hidden / sampling.temperature, weight).float()
        if sampling.size_and_interval is not None:
            logits.masked_fill_(sampling.size_and_interval, -torch.inf)
        forbidden = sampling.forbidden_types_and_prices(types, self.prices)
        group = sampling.draw(sampling.biased_pairs(logits.logsumexp(dim=-1).t()), uniform[:, 0], forbidden)
        book = torch.arange(len(group), device=group.device)
        members = sampling.biased_members(logits[group, book], group // self.prices)
        return group * self.members + sampling.draw(members, uniform[:, 1])
