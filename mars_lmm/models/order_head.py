"""What the heads have in common: a distribution over the next order, and its nats field by field.

Shape letters: B books, D width, V tokens = types * prices * sizes * intervals.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

FIELDS = ("type", "price", "size", "interval")
"""The fields of an order, in the order in which each is conditioned on those before it."""


class OrderHead(nn.Module, ABC):
    """A distribution over all tokens, given a hidden state.

    All heads are exact distributions over the same tokens, so their nats per order compare, as do those per field.
    """

    tied_tables: tuple[nn.Embedding, ...] = ()
    """Tables of the embedding that this head multiplies with; in a tuple they are no submodules of it."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits or log-probabilities [..., V] given hidden [..., D]."""

    @abstractmethod
    def sample(self, hidden: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Draw tokens int64 [B] given hidden [B, D], by uniform numbers [B, 4]."""

    @abstractmethod
    def chunk_size(self, positions: int) -> int:
        """Positions whose nats are computed at a time."""

    @abstractmethod
    def chunk_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [n, 4] as in `field_nll`, of a chunk: hidden [n, D], target int64 [n]."""

    def field_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [..., 4] of the type, price, size and interval of target, each given those before it.

        Chunk by chunk; what a chunk's backward pass needs is recomputed there instead of kept.

        Args:
            hidden: [..., D].
            target: int64 [...].
        """
        flat_hidden, flat_target = hidden.reshape(-1, hidden.shape[-1]), target.reshape(-1)
        size = self.chunk_size(len(flat_target))
        chunks = list(zip(flat_hidden.split(size), flat_target.split(size), strict=True))
        if len(chunks) == 1 or not torch.is_grad_enabled():
            nats = [self.chunk_nll(*chunk) for chunk in chunks]
        else:
            nats = [
                checkpoint(self.chunk_nll, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks
            ]
        return torch.cat(nats).view(*target.shape, len(FIELDS))

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [...] of target int64 [...] given hidden [..., D]."""
        return self.field_nll(hidden, target).sum(dim=-1)

    def loss(self, hidden: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Sum of weight * nats over all positions; all arguments but hidden [..., D] have shape [...]."""
        return (self.nll(hidden, target) * weight).sum()


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
