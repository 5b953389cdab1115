"""How orders are drawn: biases of each book, temperature, top-p, and what must not be drawn.

A head draws an order by one softmax after another, and all of this acts on each softmax in turn, in this order: biases
are added to the logits, the temperature divides them, what is forbidden is taken out, and of what remains the nucleus
is kept (top-p; Holtzman et al. 2020). What is left is renormalised, never rejected: every draw gives an order. Shapes
do not depend on values and nothing is read back, so that a draw can be captured as a CUDA graph.

Shape letters: B books, n outcomes of a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mars_lmm.models.embedding import FIELDS
from mars_lmm.models.field_biases import FieldBiases

TYPE_NAMES = ("sell", "buy", "cancel")
"""The types of orders, by their bins."""


@dataclass
class SamplingConfig:
    """How a rollout's model draws its orders."""

    temperature: float = 1.0
    """Divides the logits; 1 draws from what the model learned."""
    top_p: float = 1.0
    """Of each softmax, the most probable outcomes that together reach this probability are drawn, and no others; 1
    keeps all."""
    forbid: dict[str, list[Any]] = field(default_factory=dict)
    """Bins that are never drawn, by field: type, price, size, interval. Types also by name: sell, buy, cancel."""

    def __post_init__(self):
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature is {self.temperature}; it must be a finite number above 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1, which keeps every outcome")
        for name, bins in self.forbid.items():
            if name not in FIELDS:
                raise ValueError(f"forbid names field {name!r}; an order's fields are {', '.join(FIELDS)}")
            if isinstance(bins, str) or not isinstance(bins, Sequence):
                raise ValueError(f"forbid.{name} is {bins!r}; give a list of bins")
            for value in bins:
                _bin(name, value)


@dataclass(frozen=True)
class Sampling:
    """A `SamplingConfig` for the bins and the device of a model; see `MODEL_DISTRIBUTION` for the default.

    Attributes:
        temperature: Divides the logits.
        top_p: Probability that the outcomes which are kept reach.
        type: bool [types], true where a bin must not be drawn, or None: all may be; so are the others.
        price: bool [prices].
        size: bool [sizes].
        interval: bool [intervals].
        type_and_price: bool [types * prices], true where either of the two forbids it.
        size_and_interval: bool [sizes * intervals], likewise.
        biases: Of B books, or None: none.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    type: Tensor | None = None
    price: Tensor | None = None
    size: Tensor | None = None
    interval: Tensor | None = None
    type_and_price: Tensor | None = None
    size_and_interval: Tensor | None = None
    biases: FieldBiases | None = None

    @classmethod
    def build(
        cls, config: SamplingConfig, bins: tuple[int, int, int, int], device: torch.device | str = "cpu"
    ) -> Sampling:
        """Masks for a model.

        Args:
            config: What is wanted.
            bins: `OrderModel.bins`, the numbers of types, prices, sizes and intervals.
            device: Where the model is.

        Raises:
            ValueError: A bin does not exist, or nothing is left of a field.
        """
        masks = {
            name: _mask(name, config.forbid.get(name, ()), count) for name, count in zip(FIELDS, bins, strict=True)
        }
        types, prices, sizes, intervals = bins
        masks["type_and_price"] = _either(masks["type"], masks["price"], types, prices)
        masks["size_and_interval"] = _either(masks["size"], masks["interval"], sizes, intervals)
        on_device = {name: None if mask is None else mask.to(device) for name, mask in masks.items()}
        return cls(config.temperature, config.top_p, **on_device)

    def biased(self, field: str, logits: Tensor, kind: Tensor | None = None) -> Tensor:
        """A field's logits [B, n] with its biases, over the temperature; kind is the order's type, int64 [B]."""
        if self.biases is not None:
            logits = logits + self.biases.of(field, kind)
        return logits / self.temperature

    def biased_pairs(self, logits: Tensor) -> Tensor:
        """The same of one softmax over types and prices, [B, types * prices], whose temperature has been applied."""
        if self.biases is None:
            return logits
        return self.biases.tilt_pairs(logits, self.temperature)

    def biased_members(self, logits: Tensor, kind: Tensor) -> Tensor:
        """The same of one softmax over sizes and intervals, [B, sizes * intervals]."""
        if self.biases is None:
            return logits
        return self.biases.tilt_members(logits, kind, self.temperature)

    def forbidden_types(self, types: Tensor | None) -> Tensor | None:
        """Bool [types] or [B, types] that must not be drawn, given those that each book may draw, bool [B, types]."""
        return self.type if types is None else _union(self.type, ~types)

    def forbidden_types_and_prices(self, types: Tensor | None, prices: int) -> Tensor | None:
        """The same of type and price together: bool [types * prices] or [B, types * prices]."""
        if types is None:
            return self.type_and_price
        return _union(self.type_and_price, (~types).repeat_interleave(prices, dim=-1))

    def draw(self, logits: Tensor, uniform: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """Draw from one softmax, whose temperature has been applied.

        Args:
            logits: [B, n].
            uniform: float32 or float64 [B]; see `inverse_cdf`.
            forbidden: bool [n] or [B, n], true where nothing may be drawn.

        Returns:
            int64 [B] in 0..n-1, of a book whose logits are not all numbers too.
        """
        if forbidden is not None:
            logits = logits.masked_fill(forbidden, -torch.inf)
        if self.top_p < 1:
            logits = nucleus(logits, self.top_p, uniform.dtype)
        return inverse_cdf(logits, uniform)


MODEL_DISTRIBUTION = Sampling()
"""Draws from what the model learned."""


def nucleus(logits: Tensor, top_p: float, dtype: torch.dtype) -> Tensor:
    """Keep the smallest set of most probable outcomes whose probability reaches top_p; of equals, the first.

    Args:
        logits: [B, n].
        top_p: Above 0, so that the most probable outcome always stays.
        dtype: Of the sums.

    Returns:
        Logits [B, n], -inf where an outcome was dropped.
    """
    probability, order = logits.to(dtype).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = probability.cumsum(dim=-1).roll(1, dims=-1)
    before[:, 0] = 0
    dropped = torch.empty_like(order, dtype=torch.bool).scatter_(-1, order, before >= top_p)
    return logits.masked_fill(dropped, -torch.inf)


def inverse_cdf(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw from softmax(logits) by the inverse of its cumulative distribution.

    Args:
        logits: [B, n].
        uniform: float32 or float64 [B] in [0, 1), or 1 where rounding to float32 made it so; probabilities are
            summed in its precision.

    Returns:
        int64 [B] in 0..n-1; never an index of probability zero, however the sums round. Where softmax(logits) is not a
        number, 0.
    """
    cdf = logits.to(uniform.dtype).softmax(dim=-1).cumsum(dim=-1)
    total = cdf[:, -1:]
    target = torch.minimum(uniform[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return (cdf <= target).sum(dim=-1)


def _bin(name: str, value: Any) -> int:
    if name == "type" and value in TYPE_NAMES:
        return TYPE_NAMES.index(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        known = f", or one of {', '.join(TYPE_NAMES)}" if name == "type" else ""
        raise ValueError(f"forbid.{name} names {value!r}; a bin is a whole number from 0 on{known}")
    return value


def _mask(name: str, values: Sequence[Any], count: int) -> Tensor | None:
    bins = [_bin(name, value) for value in values]
    if not bins:
        return None
    if max(bins) >= count:
        raise ValueError(f"forbid.{name} names bin {max(bins)}; the model has bins 0 to {count - 1}")
    mask = torch.zeros(count, dtype=torch.bool)
    mask[bins] = True
    if mask.all():
        raise ValueError(f"forbid.{name} names all {count} bins; leave one that can be drawn")
    return mask


def _either(outer: Tensor | None, inner: Tensor | None, outer_count: int, inner_count: int) -> Tensor | None:
    """The mask of two fields' combinations, of which either field's mask forbids its own."""
    if outer is None and inner is None:
        return None
    combined = torch.zeros(outer_count, inner_count, dtype=torch.bool)
    if outer is not None:
        combined |= outer[:, None]
    if inner is not None:
        combined |= inner
    return combined.flatten()


def _union(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one | other
