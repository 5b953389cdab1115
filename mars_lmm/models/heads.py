"""Two heads over the next order: one softmax over all tokens, or a chain over the order's fields.

Both are exact distributions over the same tokens, so their nats per order compare.

Shape letters: B books, N positions, D width, V tokens = types * prices * sizes * intervals.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mars_lmm.models.embedding import split_token
from mars_lmm.models.transformer import NORM_EPS

NLL_CHUNK = 1024
"""Positions whose logits over all tokens are in memory at a time: 200 MB in float32 with 49,152 tokens."""


def inverse_cdf(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw from softmax(logits) by the inverse of its cumulative distribution.

    Args:
        logits: [B, n].
        uniform: float32 or float64 [B] in [0, 1), or 1 where rounding to float32 made it so; probabilities are
            summed in its precision.

    Returns:
        int64 [B] in 0..n-1; never an index of probability zero, however the sums round.
    """
    cdf = logits.to(uniform.dtype).softmax(dim=-1).cumsum(dim=-1)
    total = cdf[:, -1:]
    target = torch.minimum(uniform[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return (cdf <= target).sum(dim=-1)


class JointHead(nn.Module):
    """One linear layer over all tokens."""

    def __init__(self, width: int, bins: tuple[int, int, int, int]):
        super().__init__()
        types, prices, sizes, intervals = bins
        self.groups, self.members = types * prices, sizes * intervals
        self.proj = nn.Linear(width, self.groups * self.members, bias=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden [..., D] -> [..., V]."""
        return self.proj(hidden)

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats of target int64 [...] given hidden [..., D].

        Logits are recomputed in the backward pass, one chunk of positions at a time, instead of kept.
        """
        chunks = zip(
            hidden.reshape(-1, hidden.shape[-1]).split(NLL_CHUNK),
            target.reshape(-1).split(NLL_CHUNK),
            strict=True,
        )
        nats = [checkpoint(self._chunk_nll, h, t, use_reentrant=False, preserve_rng_state=False) for h, t in chunks]
        return torch.cat(nats).view(target.shape)

    def _chunk_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(hidden).float(), target, reduction="none")

    def sample(self, hidden: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Draw tokens int64 [B]: type and price by uniform[:, 0], then size and interval by uniform[:, 1].

        Two short cumulative sums instead of one over all tokens keep rare orders from drowning in rounding.
        """
        # [groups, B, members], a product for each (type, price): one product of a few rows with a tall matrix
        # leaves CPU cores idle.
        weight = self.proj.weight.view(self.groups, self.members, -1).transpose(1, 2)
        logits = torch.matmul(hidden / temperature, weight).float()
        group = inverse_cdf(logits.logsumexp(dim=-1).t(), uniform[:, 0])
        book = torch.arange(len(group), device=group.device)
        return group * self.members + inverse_cdf(logits[group, book], uniform[:, 1])


class FieldLogits(nn.Module):
    """The logits of one field, given the hidden state and what is known of the order."""

    def __init__(self, width: int, num_bins: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.proj = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, num_bins, bias=False)

    def forward(self, context: Tensor) -> Tensor:
        """Context [..., D] -> float32 [..., num_bins]."""
        return self.out(F.silu(self.proj(self.norm(context)))).float()


class FieldHead(nn.Module):
    """Type, then price given type, size given both, interval given all three."""

    def __init__(self, width: int, bins: tuple[int, int, int, int]):
        super().__init__()
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

    def field_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [..., 4] of target's type, price, size and interval, each given those before it."""
        price, size, interval = split_token(target, self.sizes, self.intervals)
        kind = price // self.prices
        known = hidden + self.price(price)
        contexts = (hidden, hidden + self.kind(kind), known, known + self.size(size))
        targets = (kind, price % self.prices, size, interval)
        nats = [
            -field(context).log_softmax(dim=-1).gather(-1, value.unsqueeze(-1))
            for field, context, value in zip(self.fields, contexts, targets, strict=True)
        ]
        return torch.cat(nats, dim=-1)

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats of target int64 [...] given hidden [..., D]."""
        return self.field_nll(hidden, target).sum(dim=-1)

    def sample(self, hidden: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Draw tokens int64 [B], one uniform a field; the temperature acts on each field in turn."""
        type_field, price_field, size_field, interval_field = self.fields
        kind = inverse_cdf(type_field(hidden) / temperature, uniform[:, 0])
        price = inverse_cdf(price_field(hidden + self.kind(kind)) / temperature, uniform[:, 1])
        price = kind * self.prices + price
        known = hidden + self.price(price)
        size = inverse_cdf(size_field(known) / temperature, uniform[:, 2])
        known = known + self.size(size)
        interval = inverse_cdf(interval_field(known) / temperature, uniform[:, 3])
        return (price * self.sizes + size) * self.intervals + interval


HEADS = {"joint": JointHead, "fields": FieldHead}
