"""A session that is observed, coded and decoded in one compiled function, for any compiler."""

from typing import NamedTuple

import numpy as np
from numba import cuda

from mars_lmm.market import types as t
from mars_lmm.market.resolve import make_resolving
from mars_lmm.market.venue import make_venue
from mars_lmm.simulation.engine.random import make_uniforms
from mars_lmm.tokenizers import mars_coding as m
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_DECODE_DRAWS, NUM_MARKET_FEATURES, make_coding
from mars_lmm.tokenizers.mars_coding import make_mars_coding
from mars_lmm.tokenizers.observation import make_observing

OURS, MARS = range(2)


class Made(NamedTuple):
    """What a session of N orders in each of B books leaves behind."""

    books: np.ndarray
    clocks: np.ndarray
    streams: np.ndarray
    reports: np.ndarray
    trades: np.ndarray
    snapshots: np.ndarray
    observed: np.ndarray
    tapes: np.ndarray
    tokens: np.ndarray
    market: np.ndarray
    mars_market: np.ndarray
    draws: np.ndarray
    waits: np.ndarray
    due: np.ndarray
    orders: np.ndarray


def blank(books, begin, num):
    """Memory for a session, the books as they are and their clocks at `begin`."""
    count = len(books)

    def zeros(*shape, dtype=np.int64):
        return np.zeros((count, *shape), dtype=dtype)

    clocks = zeros(o.NUM_CLOCK)
    clocks[:, [o.LAST_TIME, o.OPEN_TIME]] = begin
    clocks[:, [o.MID, o.BID, o.ASK]] = t.NO_PRICE
    return Made(
        books=books.copy(),
        clocks=clocks,
        streams=m.new_streams(count),
        reports=zeros(t.NUM_REPORT_COLUMNS),
        trades=zeros(8, t.NUM_TRADE_COLUMNS),
        snapshots=zeros(2, t.DEPTH, 2),
        observed=zeros(num, o.NUM_OBSERVED),
        tapes=zeros(num, o.NUM_TAPE),
        tokens=zeros(num, 2),
        market=zeros(num, NUM_MARKET_FEATURES, dtype=np.int16),
        mars_market=zeros(num, m.NUM_MARS_FEATURES, dtype=np.int16),
        draws=zeros(num, NUM_DECODE_DRAWS, dtype=np.float64),
        waits=zeros(num, 2),
        due=zeros(num),
        orders=zeros(num, 2, t.NUM_ORDER_COLUMNS),
    )


def make_session(jit, observing, coding, mars_coding):
    """Compile `session(b, orders, times, seeds, tables, mars_tables, made)`: one book's orders, one by one."""
    step, after = observing.step, observing.after
    encode, waiting_time, decode = coding
    mars_encode, mars_waiting_time, mars_decode = mars_coding
    uniforms = make_uniforms(jit)

    @jit
    def session(b, orders, times, seeds, tables, mars_tables, made):
        book, clock, stream = made.books[b], made.clocks[b], made.streams[b]
        for i in range(orders.shape[1]):
            seen, tape, token = made.observed[b, i], made.tapes[b, i], made.tokens[b, i]
            snapshot, report, trades = made.snapshots[b], made.reports[b], made.trades[b]
            time = times[b, i]
            if not step(book, clock, orders[b, i], time, False, t.OLDEST_FIRST, report, trades, snapshot, seen, tape):
                continue
            token[OURS] = encode(tables, seen, made.market[b, i])
            token[MARS] = mars_encode(mars_tables, stream, seen, tape, book[t.OPEN_PRICE], made.mars_market[b, i])
            draws = made.draws[b, i]
            uniforms(seeds[b], b, i, draws)
            made.waits[b, i, OURS] = waiting_time(tables, token[OURS], draws)
            made.due[b, i] = after(book, clock[o.LAST_TIME], made.waits[b, i, OURS])
            decode(tables, token[OURS], book, clock, draws, made.orders[b, i, OURS])
            if token[MARS] >= 0:
                made.waits[b, i, MARS] = mars_waiting_time(mars_tables, token[MARS], draws)
                mars_decode(mars_tables, token[MARS], stream, draws, made.orders[b, i, MARS])

    return session


def device_kernel():
    """The session as a kernel, one thread a book."""
    jit = cuda.jit(device=True)
    venue = make_venue(jit)
    observing = make_observing(jit, venue, make_resolving(jit, venue).apply)
    session = make_session(jit, observing, make_coding(jit, venue.trading.nth_price), make_mars_coding(jit))

    @cuda.jit
    def kernel(orders, times, seeds, tables, mars_tables, made):
        b = cuda.grid(1)
        if b < orders.shape[0]:
            session(b, orders, times, seeds, tables, mars_tables, made)

    return kernel
