"""What a model's tokens are to the engine: orders from tokens, tokens and market features from what happened.

A checkpoint's tokenizer decides: our models code orders in one way, imported MarS models in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.market import types as t
from mars_lmm.simulation.markets import NUM_SAMPLE_DRAWS, Markets
from mars_lmm.tokenizers import mars_coding as m
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.cpu import CODING, MARS_CODING, OBSERVING
from mars_lmm.tokenizers.mars import MarsTokenizer
from mars_lmm.tokenizers.orders import OrderTokenizer

# Simulated orders get ids from here on; no venue's ids come near.
FIRST_SIMULATED_ID = 1 << 48

_jit = kept_njit("market", "tokenizers", "simulation")
_after = OBSERVING.after
_encode, _decode = CODING.encode, CODING.decode
_mars_encode, _mars_decode = MARS_CODING.encode, MARS_CODING.decode


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
        num_features: F, market features of an order.
        num_stream: S, what is remembered of a book's earlier orders.
        queue_rule: Which end of a queue the model's cancels take, unless the user says otherwise.
        attention: How its rollouts attend to their history, unless the user says otherwise: see `reading`.
        needs_window: A rollout begins with at least as many orders of history as the model's window.
    """

    num_features: int
    num_stream: int
    queue_rule: int
    attention: str
    needs_window: bool

    @abstractmethod
    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:
        """Code the last orders of a session so far.

        Args:
            observed: int64[N, NUM_OBSERVED], all of the session.
            tape: int64[N, NUM_TAPE].
            open_price: Ticks of the first trade; 0 before it.
            length: How many to keep, at most.
        """

    @abstractmethod
    def decode(
        self, markets: Markets, token: np.ndarray, draws: np.ndarray, step: int, orders: np.ndarray, times: np.ndarray
    ) -> None:
        """Turn proposed tokens int64[B] into orders int64[B, NUM_ORDER_COLUMNS] and times int64[B], by the draws."""

    @abstractmethod
    def encode(self, markets: Markets, accepted: np.ndarray) -> None:
        """Write token, market, stream and replaced of the books where an order was just accepted, bool[B]."""


class OrderCoding(Coding):
    """The coding of our models."""

    num_features, num_stream = NUM_MARKET_FEATURES, 0
    queue_rule, attention, needs_window = t.NEWEST_FIRST, "ring", False

    def __init__(self, tokenizer: OrderTokenizer):
        self._tokenizer = tokenizer
        self._tables = tokenizer.tables()

    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:  # noqa: D102
        token, market = self._tokenizer.encode(observed[max(len(observed) - length, 0) :])
        return History(token, market, np.zeros(0, dtype=np.int64))

    def decode(  # noqa: D102
        self, markets: Markets, token: np.ndarray, draws: np.ndarray, step: int, orders: np.ndarray, times: np.ndarray
    ) -> None:
        _decode_orders(self._tables, token, markets.books, markets.clock, draws, step, orders, times)

    def encode(self, markets: Markets, accepted: np.ndarray) -> None:  # noqa: D102
        _encode_orders(self._tables, markets.observed, accepted, markets.token, markets.market)


class MarsRolloutCoding(Coding):
    """The coding of imported MarS models; cancels take the oldest orders first, as in the released agent."""

    num_features, num_stream = m.NUM_MARS_FEATURES, m.NUM_STREAM
    queue_rule, attention, needs_window = t.OLDEST_FIRST, "window", True

    def __init__(self, tokenizer: MarsTokenizer):
        self._tables = tokenizer.tables()

    def history(self, observed: np.ndarray, tape: np.ndarray, open_price: int, length: int) -> History:  # noqa: D102
        # One order more: what it left behind is what the next one met.
        first = max(len(tape) - length - 1, 0)
        stream = m.new_streams(1)[0]
        stream[m.FIRST_TIME] = tape[0, 0]
        token = np.empty(len(tape) - first, dtype=np.int64)
        market = np.empty((len(tape) - first, m.NUM_MARS_FEATURES), dtype=np.int16)
        count = _code_mars_history(self._tables, stream, observed[first:], tape[first:], open_price, token, market)
        return History(token[:count], market[:count], stream)

    def decode(  # noqa: D102
        self, markets: Markets, token: np.ndarray, draws: np.ndarray, step: int, orders: np.ndarray, times: np.ndarray
    ) -> None:
        _decode_mars_orders(
            self._tables, token, markets.stream, markets.books, markets.clock, draws, step, orders, times
        )

    def encode(self, markets: Markets, accepted: np.ndarray) -> None:  # noqa: D102
        _encode_mars_orders(
            self._tables,
            markets.stream,
            markets.books,
            markets.observed,
            markets.tape,
            accepted,
            markets.token,
            markets.market,
            markets.replaced,
        )


def coding_of(tokenizer: OrderTokenizer | MarsTokenizer) -> Coding:
    """The coding that a checkpoint's tokenizer asks for.

    Raises:
        ValueError: The model was imported without converters.
    """
    return MarsRolloutCoding(tokenizer) if isinstance(tokenizer, MarsTokenizer) else OrderCoding(tokenizer)


@_jit
def _encode_orders(tables, observed, accepted, token, market):
    for b in range(observed.shape[0]):
        if accepted[b]:
            token[b] = _encode(tables, observed[b], market[b])


@_jit
def _decode_orders(tables, token, books, clock, draws, step, orders, times):
    for b in range(token.shape[0]):
        interval = _decode(tables, token[b], clock[b], draws[b, NUM_SAMPLE_DRAWS:], orders[b])
        orders[b, t.ORDER_ID] = FIRST_SIMULATED_ID + step
        orders[b, t.OWNER] = t.BACKGROUND
        times[b] = _after(books[b], clock[b, o.LAST_TIME], interval)


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


@_jit
def _encode_mars_orders(tables, stream, books, observed, tape, accepted, token, market, replaced):
    for b in range(observed.shape[0]):
        if accepted[b]:
            open_price = books[b, t.OPEN_PRICE]
            token[b] = _mars_encode(tables, stream[b], observed[b], tape[b], open_price, market[b])
            replaced[b] = stream[b, m.MERGED] != 0


@_jit
def _decode_mars_orders(tables, token, stream, books, clock, draws, step, orders, times):
    for b in range(token.shape[0]):
        interval = _mars_decode(tables, token[b], stream[b], draws[b, NUM_SAMPLE_DRAWS:], orders[b])
        orders[b, t.ORDER_ID] = FIRST_SIMULATED_ID + step
        orders[b, t.OWNER] = t.BACKGROUND
        times[b] = _after(books[b], clock[b, o.LAST_TIME], interval)
