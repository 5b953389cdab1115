"""Biases of a model's fields, book by book.

A bias is added to the logits of one field given the fields before it, so that each field's distribution is tilted and
the others' stay what they were. Those of price, size and interval are told by the order's type.

Shape letters: B books, K bins of a field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FieldBiases:
    """What is added to the logits of B books.

    Attributes:
        type: float32 [B, 1, types].
        price: float32 [B, types, prices].
        size: float32 [B, types, sizes].
        interval: float32 [B, types, intervals].
    """

    type: Tensor
    price: Tensor
    size: Tensor
    interval: Tensor

    def of(self, field: str, kind: Tensor | None = None) -> Tensor:
        """A field's [B, K], given the order's type int64 [B]; the type's own needs none."""
        table = getattr(self, field)
        if kind is None:
            return table[:, 0]
        return table[torch.arange(len(table), device=table.device), kind]

    def tilt_pairs(self, logits: Tensor, temperature: float) -> Tensor:
        """Tilt one softmax over types and prices, [B, types * prices]."""
        pairs = logits.unflatten(-1, self.price.shape[1:])
        return _tilt(pairs, self.type[:, 0] / temperature, self.price / temperature).flatten(-2)

    def tilt_members(self, logits: Tensor, kind: Tensor, temperature: float) -> Tensor:
        """Tilt one softmax over sizes and intervals, [B, sizes * intervals], given the order's type int64 [B]."""
        sizes, intervals = self.of("size", kind) / temperature, self.of("interval", kind) / temperature
        members = logits.unflatten(-1, (sizes.shape[-1], intervals.shape[-1]))
        return _tilt(members, sizes, intervals[:, None]).flatten(-2)


def _tilt(logits: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """Bias the marginal of the outer field of logits [B, n, m] by [B, n], and the inner given it by [B, 1 or n, m].

    What has no probability keeps none.
    """
    tilted = logits + inner
    tilted = tilted + (logits.logsumexp(dim=-1) - tilted.logsumexp(dim=-1) + outer).unsqueeze(-1)
    return torch.where(logits.isneginf(), logits, tilted)
