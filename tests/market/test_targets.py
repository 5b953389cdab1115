"""One source, several compilers: plain Python and the CUDA simulator give what the CPU gives."""

import os
import subprocess
import sys

import numpy as np
import pytest
from market_books import pair, random_stream

from mars_lmm.market.book import empty_books, make_matching
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.types import (
    BUY,
    DEPTH,
    LIMIT,
    NO_PRICE,
    NUM_FILLS,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    NUM_TRADES,
    OLDEST_FIRST,
    SELL,
    TRADES_DROPPED,
    VOLUME,
)

PLAIN = make_matching(lambda function: function)


def test_plain_python_gives_what_the_cpu_gives():
    orders = random_stream(5, 3000, 70, 200)
    exchange, _ = pair(50, 70, 200)
    stream = exchange.run(orders, snapshots=True)
    books = empty_books(1, 50, 70, 200)
    book = PLAIN.view(books, 0)
    report = np.empty(NUM_REPORT_COLUMNS, np.int64)
    trades = np.empty((50, NUM_TRADE_COLUMNS), np.int64)
    out = np.empty((2, DEPTH, 2), np.int64)
    made = []
    for i, order in enumerate(orders):
        PLAIN.execute(book, *order, OLDEST_FIRST, report, trades)
        PLAIN.snapshot(book, out)
        made += trades[: report[NUM_FILLS]].tolist()
        np.testing.assert_array_equal(report, stream.reports[i])
        np.testing.assert_array_equal(out, stream.snapshots[i])
    assert made == stream.trades.tolist()
    for plain, compiled in zip(books, exchange.state, strict=True):
        np.testing.assert_array_equal(plain, compiled)


@pytest.mark.parametrize("matching", [MATCHING, PLAIN], ids=["compiled", "plain"])
def test_questions_to_a_book(matching):
    exchange, _ = pair(10, 100, 200)
    exchange.run(np.array([(LIMIT, side, price, 3, price, 0) for side, price in
                           ((SELL, 250), (SELL, 299), (BUY, 240), (BUY, 239), (BUY, 200))]))  # fmt: skip
    book = matching.view(exchange.state, 0)
    assert [matching.best(book, side) for side in (SELL, BUY)] == [250, 240]
    assert [matching.next_price(book, SELL, p) for p in (NO_PRICE, 249, 250, 299, 10**6)] == [
        250, 250, 299, NO_PRICE, NO_PRICE]  # fmt: skip
    assert [matching.next_price(book, BUY, p) for p in (10**6, 241, 240, 239, 200, NO_PRICE)] == [
        240, 240, 239, 200, NO_PRICE, NO_PRICE]  # fmt: skip
    assert [matching.level_size(book, SELL, p) for p in (250, 251, 199, 300, NO_PRICE)] == [3, 0, 0, 0, 0]
    assert matching.find(book, 251) == -1
    assert book.orders[matching.find(book, 299), :6].tolist() == [LIMIT, SELL, 299, 3, 299, 0]


@pytest.mark.parametrize("matching", [MATCHING, PLAIN], ids=["compiled", "plain"])
def test_trades_without_a_row_happen_and_are_counted(matching):
    exchange, _ = pair(10, 10, 0)
    exchange.run(np.array([(LIMIT, SELL, 5, 2, i, 0) for i in range(5)]))
    book = matching.view(exchange.state, 0)
    report = np.empty(NUM_REPORT_COLUMNS, np.int64)
    trades = np.full((2, NUM_TRADE_COLUMNS), -7, np.int64)
    matching.execute(book, LIMIT, BUY, 5, 9, 9, 0, OLDEST_FIRST, report, trades)
    assert report[NUM_FILLS] == 5
    assert trades[:, 2].tolist() == [0, 1]
    assert book.header[[NUM_TRADES, TRADES_DROPPED, VOLUME]].tolist() == [5, 3, 9]


# One thread a book; the arrays are passed one by one, as kernels take no named tuples of arrays.
CUDA_SCRIPT = """
import sys

import numpy as np
from numba import cuda

from mars_lmm.market.book import BookState, empty_books, make_matching

matching = make_matching(cuda.jit(device=True))
execute, snapshot, view = matching.execute, matching.snapshot, matching.view


@cuda.jit
def run(header, orders, levels, occupied, index, rows, reports, trades, snapshots):
    b = cuda.grid(1)
    if b < rows.shape[0]:
        book = view(BookState(header, orders, levels, occupied, index), b)
        for i in range(rows.shape[1]):
            row = rows[b, i]
            execute(book, row[0], row[1], row[2], row[3], row[4], row[5], 0, reports[b, i], trades[b, i])
            snapshot(book, snapshots[b, i])


rows = np.load(sys.argv[1])
B, N = rows.shape[:2]
books = [cuda.to_device(array) for array in empty_books(B, 12, 40, 100)]
results = [np.zeros((B, N, *shape), np.int64) for shape in ((7,), (12, 7), (2, 10, 2))]
results = [cuda.to_device(array) for array in results]
run[1, 4](*books, cuda.to_device(rows), *results)
np.savez(sys.argv[2], *(array.copy_to_host() for array in [*books, *results]))
"""


def test_the_cuda_simulator_gives_what_the_cpu_gives(tmp_path):
    streams = np.stack([random_stream(seed, 80, 40, 100, 30) for seed in range(3)])
    np.save(tmp_path / "rows.npy", streams)
    command = [sys.executable, "-c", CUDA_SCRIPT, tmp_path / "rows.npy", tmp_path / "results.npz"]
    subprocess.run(command, check=True, env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}, timeout=60)
    *state, reports, trades, snapshots = np.load(tmp_path / "results.npz").values()
    exchange = Exchange(empty_books(3, 12, 40, 100), on_reject="count")
    for b, orders in enumerate(streams):
        stream = exchange.run(orders, b, snapshots=True)
        np.testing.assert_array_equal(reports[b], stream.reports)
        np.testing.assert_array_equal(snapshots[b], stream.snapshots)
        fills = stream.reports[:, NUM_FILLS]
        assert fills.sum() > 10
        made = np.concatenate([rows[:n] for rows, n in zip(trades[b], fills, strict=True)])
        np.testing.assert_array_equal(made, stream.trades)
    for device, cpu in zip(state, exchange.state, strict=True):
        np.testing.assert_array_equal(device, cpu)
