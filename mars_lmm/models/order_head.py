"""What the heads have in common: a distribution over the next order, and its nats field by field.

Shape letters: B books, D width, V tokens = types * prices * sizes * intervals.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mars_lmm.models.embedding import FIELDS
from mars_lmm.models.sampling import Sampling


class OrderHead(nn.Module, ABC):
    """A distribution over all tokens, given a hidden state.

    All heads are exact distributions over the same tokens, so their nats per order compare, as do those per field.
    """

    tied_tables: tuple[nn.Embedding, ...] = ()
    """Tables of the embedding that this head multiplies with; in a tuple they are no submodules of it."""

    def __init__(self, bins: tuple[int, int, int, int]):
        super().__init__()
        self.bins = bins

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits or log-probabilities [..., V] given hidden [..., D]."""

    @abstractmethod
    def sample(self, hidden: Tensor, uniform: Tensor, sampling: Sampling, types: Tensor | None = None) -> Tensor:
        """Draw tokens int64 [B] given hidden [B, D], by uniform numbers [B, 4], of the types bool [B, types] only."""

    @abstractmethod
    def chunk_size(self, positions: int) -> int:
        """Positions whose nats are computed at a time."""

    @abstractmethod
    def field_logits(self, hidden: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Logits of each field, given those of the target before it, of a chunk: hidden [n, D], target int64 [n].

        Yields:
            Float32 [n, types], [n, prices], [n, sizes] and [n, intervals], each before the next is computed.
        """

    def chunk_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [n, 4] as in `field_nll`, of a chunk: hidden [n, D], target int64 [n]."""
        fields = zip(self.field_logits(hidden, target), torch.unravel_index(target, self.bins), strict=True)
        return torch.stack([F.cross_entropy(logits, value, reduction="none") for logits, value in fields], dim=-1)

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
