"""How a model codes orders: what the engine has to know of its tokenizer, and the history before a start.

A checkpoint's tokenizer decides: our models code orders in one way, imported MarS models in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.market import types as t
from mars_lmm.tokenizers import mars_coding as m
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.cpu import MARS_CODING
from mars_lmm.tokenizers.mars import MarsTokenizer
from mars_lmm.tokenizers.orders import OrderTokenizer

_jit = kept_njit("market", "tokenizers")
_mars_encode = MARS_CODING.encode

WINDOWS_READ = 2
"""Of history: enough for a model to be read on from."""


class History(NamedTuple):
    """The orders before a start, as a model reads them.

    Attributes:
        token: int[H].
        market: int16[H, F], the market after each.
        stream: int64[S], what the coding remembers of them.
    """

    token: np.ndarray
    market: np.ndarray
    stream: np.ndarray


class Coding(ABC):
    """How a model codes orders.

    Attributes:
        name: Of `step_coding.STEPS`: the functions that code single orders.
        tables: The bins as arrays for those functions.
        num_features: F, market features of an order.
        num_stream: S, what is remembered of a book's earlier orders.
        queue_rule: What the model's cancels take of a queue, unless the user says otherwise.
        attention: How its rollouts attend to their history, unless the user says otherwise: see `reading`.
        recalibration: To how many orders before a start the model's fields are fitted, unless the user says otherwise.
        needs_window: A rollout begins with at least as many orders of history as the model's window.
        checksum: Identity of the tokenizer: histories coded by another one mean something else.
    """

    name: str
    tables: NamedTuple
    num_features: int
    num_stream: int
    queue_rule: int
    attention: str
    recalibration: int
    needs_window: bool
    checksum: str

    def kept_history(self, window: int, recalibration: int) -> int:
        """Orders of history that a start keeps at most, for a model of this window: to be read, and fitted to."""
        return max(WINDOWS_READ * window, window + recalibration)

    def needed_history(self, window: int) -> int:
        """Orders that a rollout begins with at least, for a model of this window: an empty history cannot be read."""
        return window if self.needs_window else 1

    @abstractmethod
    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:
        """Code the last orders of a session so far.

        Args:
            observed: int64[N, NUM_OBSERVED], all of the session; there may be none.
            tape: int64[N, NUM_TAPE].
            open_price: Ticks of the first trade; 0 before it.
            length: How many to keep, at most.
        """


class OrderCoding(Coding):
    """The coding of our models."""

    name = "orders"
    num_features, num_stream = NUM_MARKET_FEATURES, 0
    queue_rule, attention, recalibration, needs_window = t.CLOSEST_SIZE, "ring", 4096, False

    def __init__(self, tokenizer: OrderTokenizer):
        self._tokenizer = tokenizer
        self.checksum = tokenizer.checksum
        self.tables = tokenizer.tables()

    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:  # noqa: D102
        token, market = self._tokenizer.encode(observed[max(len(observed) - length, 0) :])
        return History(token, market, np.zeros(0, dtype=np.int64))


class MarsRolloutCoding(Coding):
    """The coding of imported MarS models; cancels take the oldest orders first, as in the released agent."""

    name = "mars"
    num_features, num_stream = m.NUM_MARS_FEATURES, m.NUM_STREAM
    queue_rule, attention, recalibration, needs_window = t.OLDEST_FIRST, "window", 0, True

    def __init__(self, tokenizer: MarsTokenizer):
        self.checksum = tokenizer.checksum
        self.tables = tokenizer.tables()

    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:  # noqa: D102
        # One order more: what it left behind is what the next one met.
        first = max(len(tape) - length - 1, 0)
        stream = m.new_streams(1)[0]
        if len(tape):
            stream[m.FIRST_TIME] = tape[0, 0]
        token = np.empty(len(tape) - first, dtype=np.int64)
        market = np.empty((len(tape) - first, m.NUM_MARS_FEATURES), dtype=np.int16)
        count = _code_mars_history(self.tables, stream, observed[first:], tape[first:], open_price, token, market)
        return History(token[:count], market[:count], stream)


def coding_of(tokenizer: OrderTokenizer | MarsTokenizer) -> Coding:
    """The coding that a checkpoint's tokenizer asks for.

    Raises:
        ValueError: The model was imported without converters.
    """
    return MarsRolloutCoding(tokenizer) if isinstance(tokenizer, MarsTokenizer) else OrderCoding(tokenizer)


@_jit
def _code_mars_history(tables, stream, observed, tape, open_price, token, market):
    """Code consecutive orders; return how many are left when cancels that are one are counted once."""
    features = np.empty(market.shape[1], dtype=market.dtype)
    count = 0
    for i in range(observed.shape[0]):
        code = _mars_encode(tables, stream, observed[i], tape[i], open_price, features)
        if code < 0:
            continue
        if stream[m.MERGED] == 0:
            count += 1
        token[count - 1] = code
        market[count - 1] = features
    return count
