"""The tokenizer of the released MarS order models: bins from the published converters, in our units.

An order is ((type * prices + price) * sizes + size) * intervals + interval, as ours is, but its price is told from the
mid, and the market features are others: see `mars_coding`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.coding import NUM_TYPES
from mars_lmm.tokenizers.mars_coding import MarsTables

KIND = "mars"
VERSION = 1


@dataclass(frozen=True)
class MarsConverters:
    """The five converters that the order models use.

    Attributes:
        price: Ticks from the mid (price-level).
        size: Units, to encode with (order-volume).
        drawn_size: Units, to draw from (pred-order-volume).
        interval: Nanoseconds since the previous order (order-interval).
        level_size: Units at a price of the book (lob-volume).
    """

    price: QuantileBins
    size: QuantileBins
    drawn_size: QuantileBins
    interval: QuantileBins
    level_size: QuantileBins


@dataclass(frozen=True)
class MarsTokenizer:
    """What the tokens of an imported model mean.

    Attributes:
        bins: Numbers of types, price bins, size bins and interval bins.
        converters: None where the model was imported without them: tokens are numbers then, and no orders.
    """

    bins: tuple[int, int, int, int]
    converters: MarsConverters | None = None

    def __post_init__(self):
        if self.converters is None:
            return
        converters = self.converters
        needed = dict(zip(("price", "drawn_size", "interval"), self.bins[1:], strict=True))
        # The model reads the size bin of an order and draws one: both converters count the same bins.
        needed["size"] = needed["drawn_size"]
        wrong = [
            f"{name} has {getattr(converters, name).num_bins} bins, the model {count}"
            for name, count in needed.items()
            if getattr(converters, name).num_bins != count
        ]
        if wrong:
            raise ValueError(f"the converters do not belong to this model: {'; '.join(wrong)}")

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return int(np.prod(self.bins))

    def tables(self) -> MarsTables:
        """The bins as arrays for compiled code.

        Raises:
            ValueError: The model was imported without converters.
        """
        if self.converters is None:
            raise ValueError(
                "the model was imported without converters, so that its tokens are not orders; import it again with "
                "--converters"
            )
        converters = self.converters
        drawn = (converters.price, converters.drawn_size, converters.interval)
        return MarsTables(
            converters.price.edges,
            converters.size.edges,
            converters.interval.edges,
            converters.level_size.edges,
            *(bins.values for bins in drawn),
            *(bins.cumulative for bins in drawn),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        converters = self.converters and {name: bins.to_dict() for name, bins in vars(self.converters).items()}
        return {"kind": KIND, "version": VERSION, "bins": list(self.bins), "converters": converters}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MarsTokenizer:
        """The tokenizer that `to_dict` described.

        Raises:
            ValueError: It was written by another version.
        """
        if data.get("version") != VERSION:
            raise ValueError(
                f"MarS tokenizer version {data.get('version')}, this program reads {VERSION}; import the model again"
            )
        converters = data["converters"]
        if converters is not None:
            converters = MarsConverters(**{name: QuantileBins.from_dict(bins) for name, bins in converters.items()})
        types, prices, sizes, intervals = data["bins"]
        if types != NUM_TYPES:
            raise ValueError(f"{types} order types; sell, buy and cancel make {NUM_TYPES}")
        return cls((types, prices, sizes, intervals), converters)

    @cached_property
    def checksum(self) -> str:
        """Identity of the bins: two tokenizers with one checksum code every order alike."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
