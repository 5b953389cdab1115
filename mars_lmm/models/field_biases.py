"""Biases of a model's fields, book by book, and how they are fitted to orders.

A bias is added to the logits of one field given the fields before it, so that each field's distribution is tilted and
the others' stay what they were. Those of price, size and interval are told by the order's type.

Shape letters: B books, N orders, K bins of a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import one_hot

PRIOR_ORDERS = 10.0
"""Precision of the normal prior of a bias: a bin met so often moves half of the way to what the orders say."""
ROUNDS = 20
LARGEST_STEP = 1.0


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

    @classmethod
    def fit(cls, logits: Sequence[Tensor], values: Sequence[Tensor]) -> FieldBiases:
        """The biases, of one book, that make its orders most probable under the prior.

        The problem is convex, and its optimum has n = e + PRIOR_ORDERS * bias for every bin: n how often it came, e how
        often the biased model expects it. It is found by generalised iterative scaling (Darroch and Ratcliff, Annals of
        Mathematical Statistics 43, 1972), with steps of Newton's method in place of logarithms.

        Args:
            logits: Of each field given those before it, float32 [N, K]; there may be no order.
            values: The field's bins in the orders, int64 [N].
        """
        types = logits[0].shape[1]
        kind = one_hot(values[0], types).float()
        groups = torch.ones_like(kind[:, :1]), kind, kind, kind
        return cls(*(_fit(*field)[None] for field in zip(logits, values, groups, strict=True)))

    @classmethod
    def concatenate(cls, parts: Sequence[FieldBiases]) -> FieldBiases:
        """The biases of the books of several."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Those of type, price, size and interval."""
        return self.type, self.price, self.size, self.interval

    def added_to(self, logits: Sequence[Tensor], kind: Tensor) -> list[Tensor]:
        """Add those of one book to each field's logits [N, K], given the types of the orders, int64 [N]."""
        place = torch.zeros_like(kind), kind, kind, kind
        return [z + table[0, rows] for z, table, rows in zip(logits, self.tables(), place, strict=True)]

    def __add__(self, other: FieldBiases) -> FieldBiases:
        return FieldBiases(*(a + b for a, b in zip(self.tables(), other.tables(), strict=True)))

    def select(self, books: Tensor) -> FieldBiases:
        """Those of books int64 [N]; a book may be named twice."""
        return FieldBiases(*(getattr(self, field.name)[books] for field in fields(self)))

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


def _fit(logits: Tensor, value: Tensor, group: Tensor) -> Tensor:
    """Biases [G, K] of a field, given its logits [N, K], its bins int64 [N], and the group of each order, [N, G]."""
    bias = logits.new_zeros(group.shape[1], logits.shape[1])
    count = group.t() @ one_hot(value, logits.shape[1]).float()
    for _ in range(ROUNDS):
        expected = group.t() @ (logits + group @ bias).softmax(dim=-1)
        step = (count - expected - PRIOR_ORDERS * bias) / (expected + PRIOR_ORDERS)
        bias = bias + step.clamp(-LARGEST_STEP, LARGEST_STEP)
        bias = bias - bias.mean(dim=-1, keepdim=True)  # as at the optimum; a constant changes no probability
    return bias


def _tilt(logits: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """Bias the marginal of the outer field of logits [B, n, m] by [B, n], and the inner given it by [B, 1 or n, m].

    What has no probability keeps none.
    """
    tilted = logits + inner
    tilted = tilted + (logits.logsumexp(dim=-1) - tilted.logsumexp(dim=-1) + outer).unsqueeze(-1)
    return torch.where(logits.isneginf(), logits, tilted)
