"""Biases of a model's fields given how wide the spread is, book by book, and how they are fitted to orders.

What happens at a wide spread decides whether it closes again, and a history of tight ones says little of it: biases
that know no spread take a model's rare errors there for its common ones.

Shape letters: B books, N orders, K bins of a field, C classes of the spread, G groups of orders: all for the type's
biases, one for each type for the others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mars_lmm.models.field_biases import FieldBiases

PRIOR_ORDERS = 10.0
"""Precision of the normal prior of a bias: a bin met so often moves half of the way to what the orders say."""
ROUNDS = 40
LARGEST_STEP = 1.0


@dataclass(frozen=True)
class SpreadBiases:
    """What is added to the logits of B books, by the class of the spread that the order meets.

    Attributes:
        edges: int64 [B, C - 1], ascending; a spread's class is how many of its book's edges lie below it.
        tables: Of type, price, size and interval, float32 [B, C, G, K].
    """

    edges: Tensor
    tables: tuple[Tensor, ...]

    @classmethod
    def fit(cls, logits: Sequence[Tensor], values: Sequence[Tensor], spread: Tensor) -> SpreadBiases:
        """The biases, of one book, that make its orders most probable under the prior.

        A bias is the sum of a part that all classes share and one of its own class, each of half the prior's variance:
        a class with few orders has half of what the others show. The problem is convex. At its optimum, each part has
        n = e + 2 * PRIOR_ORDERS * part: n how often the bin came in its orders, e how often the biased model expects
        it there.

        Args:
            logits: Of each field given those before it, float32 [N, K]; there may be no order.
            values: The field's bins in the orders, int64 [N].
            spread: Of the market that each order met, int64 [N].
        """
        edges = _quarters(spread)
        met = one_hot(_class_of(spread, edges), len(edges) + 1).float()
        kind = one_hot(values[0], logits[0].shape[1]).float()
        groups = torch.ones_like(kind[:, :1]), kind, kind, kind
        tables = (_fit(*field, met)[None] for field in zip(logits, values, groups, strict=True))
        return cls(edges[None], tuple(tables))

    @classmethod
    def concatenate(cls, parts: Sequence[SpreadBiases]) -> SpreadBiases:
        """The biases of the books of several."""
        tables = zip(*(part.tables for part in parts), strict=True)
        return cls(torch.cat([part.edges for part in parts]), tuple(torch.cat(table) for table in tables))

    def select(self, books: Tensor) -> SpreadBiases:
        """Those of books int64 [N]; a book may be named twice."""
        return SpreadBiases(self.edges[books], tuple(table[books] for table in self.tables))

    def given(self, spread: Tensor) -> FieldBiases:
        """Those that hold while spreads are so, int64 [B]."""
        number = _class_of(spread, self.edges)
        book = torch.arange(len(number), device=number.device)
        return FieldBiases(*(table[book, number] for table in self.tables))


def _class_of(spread: Tensor, edges: Tensor) -> Tensor:
    """How many of edges [C - 1] or [N, C - 1] lie below each spread [N], int64 [N]."""
    return (spread[:, None] > edges).sum(dim=1)


def _quarters(spread: Tensor) -> Tensor:
    """The median, and the medians of what lies up to it and beyond, ascending, int64 [3].

    Where one spread is that of most orders, edges coincide, and classes between them are empty.
    """
    if not len(spread):
        return spread.new_zeros(3)
    middle = spread.median()
    below, above = spread[spread <= middle], spread[spread > middle]
    return torch.stack([below.median(), middle, above.median() if len(above) else middle])


def _fit(logits: Tensor, value: Tensor, group: Tensor, met: Tensor) -> Tensor:
    """Biases [C, G, K] of a field.

    They are found by generalised iterative scaling (Darroch and Ratcliff, Annals of Mathematical Statistics 43, 1972),
    with steps of Newton's method in place of logarithms; each order has two parts, so that steps are half as long.

    Args:
        logits: [N, K].
        value: The field's bins, int64 [N].
        group: Which group each order is of, [N, G].
        met: Which class it met, [N, C].
    """
    num_groups, num_classes = group.shape[1], met.shape[1]
    # The shared parts of all groups come first, then each class's.
    member = torch.cat([group, (met[:, :, None] * group[:, None]).flatten(1)], dim=1)
    count = member.t() @ one_hot(value, logits.shape[1]).float()
    part = torch.zeros_like(count)
    for _ in range(ROUNDS):
        expected = member.t() @ (logits + member @ part).softmax(dim=-1)
        step = (count - expected - 2 * PRIOR_ORDERS * part) / (2 * expected + 2 * PRIOR_ORDERS)
        part = part + step.clamp(-LARGEST_STEP, LARGEST_STEP)
        part = part - part.mean(dim=-1, keepdim=True)  # as at the optimum; a constant changes no probability
    shared, own = part.split((num_groups, num_groups * num_classes))
    return shared + own.unflatten(0, (num_classes, num_groups))
