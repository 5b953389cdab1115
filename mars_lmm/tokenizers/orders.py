"""The order tokenizer: an order is one of 3 * 32 * 32 * 16 = 49,152 tokens, with the market it left behind.

The fields are type (sell, buy, cancel), price, size and interval (waiting time since the previous order), as in the
MarS paper and its released code. An order's price is told from the touch, not from the mid, and a cancel's by its side
and how many better prices it leaves alone: see `observation.place_of` and `place_of_cancel`. Tokens and market features
are symmetric: where buys and sells are exchanged, types, halves of the cancels' price bins and sides of the book are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES, NUM_TABLED, NUM_TYPES, CodingTables
from mars_lmm.tokenizers.cpu import encode_observations
from mars_lmm.whole_files import write_text

VERSION = 3
NUM_PRICE_BINS, NUM_SIZE_BINS, NUM_INTERVAL_BINS = 32, 32, 16
NUM_CANCEL_BINS = NUM_PRICE_BINS // 2  # for each side
NUM_BOOK_BINS = 32


@dataclass(frozen=True)
class OrderTokenizer:
    """Bins for the fields of an order and for the levels of a book.

    Attributes:
        price: Places of orders (`observation.place_of`). No bin holds places behind the touch and inside the spread,
            nor prices that cross and prices that do not.
        cancel: How many better prices a cancel leaves alone. Bids have the price field's lower half, asks the upper.
        size: Units.
        interval: Nanoseconds since the previous order.
        takers_rest: Whether an order that crosses leaves its remainder in the book. Where a feed shows only what such
            orders filled, a size drawn for another book would rest by mistake; they are immediate-or-cancel then.
        spread: Ticks between the best prices, told as the gap of both; 0 where one is missing.
        level_gap: Ticks between a book level and the better one before it.
        level_size: Units at a book level, for the levels that exist.
    """

    price: QuantileBins
    cancel: QuantileBins
    size: QuantileBins
    interval: QuantileBins
    takers_rest: bool
    spread: QuantileBins
    level_gap: QuantileBins
    level_size: QuantileBins

    @classmethod
    def fit(cls, observed: np.ndarray, takers_rest: bool) -> OrderTokenizer:
        """Fit all bins.

        Args:
            observed: int64[N, NUM_OBSERVED], the orders of the training split and nothing else.
            takers_rest: Whether orders that cross leave their remainder in the book.

        Raises:
            ValueError: The training split is empty.
        """
        levels = observed[:, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
        distances = levels[:, :, 0]
        there = distances >= 0
        spread = np.where(there[:, :, 0].all(axis=1), distances[:, :, 0].sum(axis=1), 0)
        gaps = np.abs(np.diff(distances, axis=-1))[there[:, :, 1:]]
        cancels = observed[:, o.TYPE] == o.CANCEL_TYPE
        better = o.better_prices(observed[cancels, o.PLACE])
        return cls(
            price=QuantileBins.fit(observed[~cancels, o.PLACE], NUM_PRICE_BINS, cuts=(0, o.CROSSING - 1)),
            cancel=QuantileBins.fit(better if len(better) else np.zeros(1), NUM_CANCEL_BINS),
            size=QuantileBins.fit(observed[:, o.SIZE], NUM_SIZE_BINS, by_amount=True),
            interval=QuantileBins.fit(observed[:, o.INTERVAL], NUM_INTERVAL_BINS, by_amount=True),
            takers_rest=takers_rest,
            spread=QuantileBins.fit(spread, NUM_BOOK_BINS),
            level_gap=QuantileBins.fit(gaps if len(gaps) else np.zeros(1), NUM_BOOK_BINS),
            level_size=QuantileBins.fit(levels[:, :, 1][there], NUM_BOOK_BINS - 1, by_amount=True),
        )

    @property
    def bins(self) -> tuple[int, int, int, int]:
        """Numbers of types, price bins, size bins and interval bins."""
        return NUM_TYPES, self.price.num_bins, self.size.num_bins, self.interval.num_bins

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return int(np.prod(self.bins))

    def tables(self) -> CodingTables:
        """The bins as arrays for compiled code."""
        fields = (self.price, self.cancel, self.size, self.interval)
        return CodingTables(
            *(bins.edges for bins in fields),
            self.spread.edges,
            self.level_gap.edges,
            self.level_size.edges,
            *(
                bins.encode(np.arange(NUM_TABLED)).astype(np.int16)
                for bins in (self.spread, self.level_gap, self.level_size)
            ),
            *(bins.values for bins in fields),
            *(bins.cumulative for bins in fields),
            self.takers_rest,
        )

    def encode(self, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and market features of observed orders.

        Args:
            observed: int64[N, NUM_OBSERVED].

        Returns:
            uint16[N] tokens and int16[N, NUM_MARKET_FEATURES] features of the market after each order.
        """
        token = np.empty(len(observed), dtype=np.uint16)
        market = np.empty((len(observed), NUM_MARKET_FEATURES), dtype=np.int16)
        encode_observations(self.tables(), observed, token, market)
        return token, market

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        bins = {name: value.to_dict() for name, value in vars(self).items() if isinstance(value, QuantileBins)}
        return {"version": VERSION, "takers_rest": self.takers_rest, **bins}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OrderTokenizer:
        """The tokenizer that `to_dict` described.

        Raises:
            ValueError: It was written by another version.
        """
        if data.get("version") != VERSION:
            raise ValueError(
                f"tokenizer version {data.get('version')}, this program reads {VERSION}; prepare the data again, and "
                "train on them"
            )
        bins = {name: QuantileBins.from_dict(data[name]) for name in data if name not in ("version", "takers_rest")}
        return cls(takers_rest=data["takers_rest"], **bins)

    @cached_property
    def checksum(self) -> str:
        """Identity of the bins: two tokenizers with one checksum code every order alike."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write JSON; the file appears whole or not at all."""
        write_text(path, json.dumps(self.to_dict()))

    @classmethod
    def load(cls, path: Path) -> OrderTokenizer:
        """Read what `save` wrote."""
        return cls.from_dict(json.loads(path.read_text()))
