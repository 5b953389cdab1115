"""One source, several compilers: plain Python and the CUDA simulator give what the CPU gives."""

import os
import subprocess
import sys

import numpy as np
import pytest
from market_books import exchange_for, pair, random_stream, without_notes
from venue_streams import random_day, venue_stream

from mars_lmm.market.book import empty_books
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.matching import make_matching
from mars_lmm.market.reference_venue import ReferenceVenue
from mars_lmm.market.types import (
    ACCEPTED,
    BUY,
    DEPTH,
    LIMIT,
    NO_PRICE,
    NUM_FILLS,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    NUM_TRADES,
    OLDEST_FIRST,
    OUTCOME,
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
    book = books[0]
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
    np.testing.assert_array_equal(without_notes(books), without_notes(exchange.books))


@pytest.mark.parametrize("matching", [MATCHING, PLAIN], ids=["compiled", "plain"])
def test_questions_to_a_book(matching):
    exchange, _ = pair(10, 100, 200)
    exchange.run(np.array([(LIMIT, side, price, 3, price, 0) for side, price in
                           ((SELL, 250), (SELL, 299), (BUY, 240), (BUY, 239), (BUY, 200))]))  # fmt: skip
    book = exchange.books[0]
    assert [matching.best(book, side) for side in (SELL, BUY)] == [250, 240]
    assert [matching.next_price(book, SELL, p) for p in (NO_PRICE, 249, 250, 299, 10**6)] == [
        250, 250, 299, NO_PRICE, NO_PRICE]  # fmt: skip
    assert [matching.next_price(book, BUY, p) for p in (10**6, 241, 240, 239, 200, NO_PRICE)] == [
        240, 240, 239, 200, NO_PRICE, NO_PRICE]  # fmt: skip
    assert [matching.level_size(book, SELL, p) for p in (250, 251, 199, 300, NO_PRICE)] == [3, 0, 0, 0, 0]
    assert matching.find(book, 251) == -1
    assert book[matching.find(book, 299) :][:6].tolist() == [LIMIT, SELL, 299, 3, 299, 0]


@pytest.mark.parametrize("matching", [MATCHING, PLAIN], ids=["compiled", "plain"])
def test_trades_without_a_row_happen_and_are_counted(matching):
    exchange, _ = pair(10, 10, 0)
    exchange.run(np.array([(LIMIT, SELL, 5, 2, i, 0) for i in range(5)]))
    book = exchange.books[0]
    report = np.empty(NUM_REPORT_COLUMNS, np.int64)
    trades = np.full((2, NUM_TRADE_COLUMNS), -7, np.int64)
    matching.execute(book, LIMIT, BUY, 5, 9, 9, 0, OLDEST_FIRST, report, trades)
    assert report[NUM_FILLS] == 5
    assert trades[:, 2].tolist() == [0, 1]
    assert book[[NUM_TRADES, TRADES_DROPPED, VOLUME]].tolist() == [5, 3, 9]


# Random days under random rules: steps in lockstep, a stream in each book, and forks, all on "the device".
CUDA_SCRIPT = """
import sys

import numpy as np
import torch

from mars_lmm.market.cuda import CudaExchange

given = np.load(sys.argv[1])
orders, times = torch.from_numpy(given["orders"]), torch.from_numpy(given["times"])
stepped = CudaExchange(given["books"], trade_rows=given["books"].shape[1])
reports, snapshots, trades = [], [], []
for i in range(orders.shape[1]):
    reports.append(stepped.step(orders[:, i].contiguous(), times[:, i].contiguous()).clone())
    snapshots.append(stepped.snapshots.clone())
streamed = CudaExchange(given["books"])
results = streamed.run_all(orders, times, snapshots=True, trade_rows=4 * orders.shape[1])
assert torch.equal(stepped.fork(2).to("cuda").books[1::2], stepped.books)
np.savez(
    sys.argv[2],
    stepped=stepped.books, step_reports=torch.stack(reports, 1), step_snapshots=torch.stack(snapshots, 1),
    streamed=streamed.books, reports=results[0], snapshots=results[1], trades=results[2], num_trades=results[3],
)
"""


@pytest.mark.parametrize("accounts", [0, 5])
def test_the_cuda_simulator_gives_what_the_cpu_gives(tmp_path, accounts):
    days = [
        day for day in map(random_day, range(100)) if len(day.schedule) == 8 and len(day.accounts or ()) == accounts
    ]
    days = [day._replace(num_orders=40, num_ticks=150, queue_rule=OLDEST_FIRST) for day in days[:2]]
    streams = [venue_stream(ReferenceVenue(*day), seed, 60) for seed, day in enumerate(days)]
    orders, times = (np.stack(arrays) for arrays in zip(*streams, strict=True))
    books = np.concatenate([exchange_for(day).books for day in days])
    np.savez(tmp_path / "given.npz", books=books, orders=orders, times=times)
    command = [sys.executable, "-c", CUDA_SCRIPT, tmp_path / "given.npz", tmp_path / "results.npz"]
    subprocess.run(command, check=True, env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}, timeout=100)
    device = np.load(tmp_path / "results.npz")
    exchange = Exchange(books.copy(), on_reject="count")
    streams = exchange.run_all(orders, snapshots=True, times=times)
    np.testing.assert_array_equal(device["streamed"], exchange.books)
    np.testing.assert_array_equal(device["stepped"], exchange.books)
    for b, stream in enumerate(streams):
        for name, of_steps in (("reports", "step_reports"), ("snapshots", "step_snapshots")):
            np.testing.assert_array_equal(device[name][b], getattr(stream, name))
            np.testing.assert_array_equal(device[of_steps][b], getattr(stream, name))
        assert (device["reports"][b, :, OUTCOME] == ACCEPTED).sum() > 20
        np.testing.assert_array_equal(device["trades"][b, : device["num_trades"][b]], stream.trades)
