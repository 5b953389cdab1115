"""The compiled venue and the reference agree, on random days under random rules and under every rule file."""

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import pytest
from market_books import check_invariants, exchange_for, queues
from venue_streams import Day, random_day, venue_stream

from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.market.reference_venue import ReferenceVenue

PRESETS = ("bare", "crypto_spot", "nasdaq", "sse_main", "sse_star", "szse_chinext", "szse_main")


def check_same(exchange, venue):
    book, parts, volatility = exchange.books[0], sections(exchange.books), venue.volatility
    shown = {
        t.OPEN_PRICE: venue.open_price, t.LAST_PRICE: venue.last_price, t.VOLUME: venue.volume,
        t.NUM_TRADES: venue.num_trades, t.CLOCK: venue.clock, t.PHASE: venue.phase,
        t.HALTED_UNTIL: venue.halted_until, t.NUM_HALTS: volatility.num_halts,
        t.REFERENCE_PRICE: volatility.reference_price, t.WINDOW_START: volatility.window_start,
        t.WINDOW_SUM: volatility.window_sum, t.WINDOW_COUNT: volatility.window_count, t.NUM_PARKED: venue.num_parked,
    }  # fmt: skip
    assert {column: int(book[column]) for column in shown} == shown
    counts = book[t.OUTCOME_COUNTS : t.OUTCOME_COUNTS + len(t.OUTCOMES)].tolist()
    assert counts == venue.outcome_counts
    assert parts.accounts[0].tolist()[1:] == [list(account) for account in venue.accounts][1:]
    assert queues(book) == {(side, p): venue.queue(side, p) for side in (t.SELL, t.BUY) for p in venue.levels[side]}
    check_invariants(book, may_cross=True)


def compare(day, seed, num):
    venue, exchange = ReferenceVenue(*day), exchange_for(day)
    reports, trades, snapshots = [], [], []

    def watch(report, made):
        reports.append(report)
        trades.extend(made)
        snapshots.append(venue.snapshot())

    rows, times = venue_stream(venue, seed, num, watch)
    stream = exchange.run(rows, times=times, snapshots=True)
    for name, answers in (("reports", reports), ("snapshots", snapshots)):
        differ = (getattr(stream, name) != np.array(answers)).reshape(num, -1).any(1)
        i = int(differ.argmax())
        assert not differ.any(), f"seed {seed}, message {i}, {rows[i].tolist()} at {times[i]}: {name} differ"
    assert [tuple(trade) for trade in stream.trades.tolist()] == [tuple(trade) for trade in trades]
    check_same(exchange, venue)


@pytest.mark.parametrize("seed", range(60))
def test_agrees_on_random_days(seed):
    compare(random_day(seed), seed, 400)


def preset_day(name):
    """A day of a rule file: a ladder around the previous close, with some agents' accounts."""
    day = load_rules(name).day(previous_close=1000)
    lot = int(max(day.row[t.LOT], day.row[t.MIN_ORDER]))
    accounts = [[0, 0, 0]] + [[lot * 10**6, 200 * lot, 100 * lot]] * 3
    return Day(300, 600, 700, day.row.tolist(), day.schedule.tolist(), accounts, t.OLDEST_FIRST)


@pytest.mark.parametrize("name", PRESETS)
def test_agrees_under_every_rule_file(name):
    compare(preset_day(name), 1, 5000)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_soak(name):
    """Ten million messages over 1,000 books; `make soak`."""
    day = preset_day(name)
    compare(day, 0, 100)  # compiles, once for all processes
    num_books = 1000
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        for _ in pool.map(compare, repeat(day, num_books), range(num_books), repeat(10_000, num_books)):
            pass
