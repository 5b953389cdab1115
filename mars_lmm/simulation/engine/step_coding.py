"""The tokenizers' functions over the arrays of a batch, in one shape for every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market import types as t
from mars_lmm.market.venue import Venue
from mars_lmm.tokenizers import mars_coding
from mars_lmm.tokenizers.coding import make_coding
from mars_lmm.tokenizers.mars_coding import make_mars_coding


class StepCoding(NamedTuple):
    """Compiled functions of a coding; `m` is a `MarketArrays` and `b` a book."""

    waiting_time: Callable  # (tables, token, draws) -> nanoseconds of open market before the order
    decode: Callable  # (tables, m, b, token, draws, order): write kind, side, price and size
    encode: Callable  # (tables, m, b): code the order that was accepted last


def make_orders_step(jit: Callable, venue: Venue) -> StepCoding:
    """The coding of our models, compiled with `jit`."""
    encode_order, waiting_time, decode_order = make_coding(jit, venue.trading.nth_price)

    @jit
    def decode(tables, m, b, token, draws, order):
        decode_order(tables, token, m.books[b], m.clock[b], draws, order)

    @jit
    def encode(tables, m, b):
        m.token[b] = encode_order(tables, m.observed[b], m.market[b])

    return StepCoding(waiting_time, decode, encode)


def make_mars_step(jit: Callable, venue: Venue) -> StepCoding:
    """The coding of imported MarS models, compiled with `jit`."""
    encode_order, waiting_time, decode_order = make_mars_coding(jit)

    @jit
    def decode(tables, m, b, token, draws, order):
        decode_order(tables, token, m.stream[b], draws, order)

    @jit
    def encode(tables, m, b):
        stream = m.stream[b]
        m.token[b] = encode_order(tables, stream, m.observed[b], m.tape[b], m.books[b, t.OPEN_PRICE], m.market[b])
        m.replaced[b] = stream[mars_coding.MERGED] != 0

    return StepCoding(waiting_time, decode, encode)


STEPS = {"orders": make_orders_step, "mars": make_mars_step}
