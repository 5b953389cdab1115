"""Biases of a model's fields given how wide the spread is, book by book.

What happens at a wide spread decides whether it closes again, and a history of tight ones says little of it: biases
that know no spread take a model's rare errors there for its common ones.

Shape letters: B books, N orders, C classes of the spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mars_lmm.models.field_biases import FieldBiases


@dataclass(frozen=True)
class SpreadBiases:
    """What is added to the logits of B books, by the class of the spread that the order meets.

    Attributes:
        edges: int64 [B, C - 1], ascending; a class holds what lies above as many of its book's edges as its number.
        classes: As in `FieldBiases`, with a dimension of C after that of the books.
    """

    edges: Tensor
    classes: FieldBiases

    @classmethod
    def fit(cls, logits: Sequence[Tensor], values: Sequence[Tensor], spread: Tensor) -> SpreadBiases:
        """The biases of one book: those of all its orders, and on top of them what each class wants beside.

        So a class with few orders has what all have.

        Args:
            logits: Of each field given those before it, float32 [N, K]; there may be no order.
            values: The field's bins in the orders, int64 [N].
            spread: Of the market that the order met, int64 [N].
        """
        edges = _quarters(spread)
        number = (spread[:, None] > edges).sum(dim=1)
        shared = FieldBiases.fit(logits, values)
        left = shared.added_to(logits, values[0])
        classes = []
        for place in range(len(edges) + 1):
            met = number == place
            classes.append(shared + FieldBiases.fit([z[met] for z in left], [value[met] for value in values]))
        tables = zip(*(biases.tables() for biases in classes), strict=True)
        return cls(edges[None], FieldBiases(*(torch.stack(parts, dim=1) for parts in tables)))

    @classmethod
    def concatenate(cls, parts: Sequence[SpreadBiases]) -> SpreadBiases:
        """The biases of the books of several."""
        edges = torch.cat([part.edges for part in parts])
        return cls(edges, FieldBiases.concatenate([part.classes for part in parts]))

    def select(self, books: Tensor) -> SpreadBiases:
        """Those of books int64 [N]; a book may be named twice."""
        return SpreadBiases(self.edges[books], self.classes.select(books))

    def given(self, spread: Tensor) -> FieldBiases:
        """Those that hold while spreads are so, int [B]."""
        number = (spread[:, None] > self.edges).sum(dim=1)
        book = torch.arange(len(number), device=number.device)
        return FieldBiases(*(table[book, number] for table in self.classes.tables()))


def _quarters(spread: Tensor) -> Tensor:
    """The median, and the medians of what lies up to it and beyond, ascending, int64 [3]."""
    if not len(spread):
        return spread.new_zeros(3)
    middle = spread.median()
    below, above = spread[spread <= middle], spread[spread > middle]
    return torch.stack([below.median(), middle, above.median() if len(above) else middle])
