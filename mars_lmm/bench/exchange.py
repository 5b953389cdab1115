"""Orders per second through the exchange, with a snapshot after each, against the reference book.

The stream is random and busy: half passive limit orders, two fifths cancels, a tenth marketable limit orders, about
1,000 live orders a book. Both sides execute the same messages, and the exchange takes a ten-level snapshot after each,
the reference none; generation and compilation are not timed.
"""

import argparse
import os
import sys
from statistics import median
from time import perf_counter

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.market.book import NUM_SLOT_COLUMNS, ORDERS, empty_books
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.exchange import Exchange
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import (
    BACKGROUND,
    CANCEL,
    DEPTH,
    LIMIT,
    LIVE_ORDERS,
    NO_PRICE,
    NUM_ORDER_COLUMNS,
    NUM_REPORT_COLUMNS,
    NUM_TRADE_COLUMNS,
    NUM_TRADES,
    OLDEST_FIRST,
    ORDER_ID,
    SELL,
    SIZE,
    VOLUME,
)

LIVE = 1000
PASSIVE, CANCELS = 0.5, 0.4
MAX_ORDER_SIZE = 100
MEAN_DISTANCE = 25  # ticks between a passive order and the other side's touch
NUM_ORDERS, NUM_TICKS, BASE_PRICE = 2048, 8192, 10_000
CHUNK = 4096  # messages a call: a stream in steady state reuses its memory
REFERENCE_MESSAGES = 100_000
REPEATS = 3

best, execute, level_size = MATCHING.best, MATCHING.execute, MATCHING.level_size


def add_arguments(parser: argparse.ArgumentParser):
    """Add the options of this bench."""
    parser.add_argument("--books", type=int, default=1, help="books in lockstep (default: %(default)s)")
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="messages over all books (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads for the books (default: all cores)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")


def run(args: argparse.Namespace) -> dict:
    """Measure, check that both sides agree, and return the figures."""
    if args.books < 1 or args.messages < args.books:
        raise SystemExit("--books must be at least 1 and --messages at least one a book")
    if args.threads is not None and args.threads < 1:
        raise SystemExit("--threads must be at least 1")
    steps = args.messages // args.books
    threads = min(args.threads or len(os.sched_getaffinity(0)), args.books)
    _say(f"generating {args.books} x {steps} messages")
    streams = np.stack([random_stream(seed, LIVE + steps) for seed in range(args.books)])
    opening, messages = streams[:, :LIVE], streams[:, LIVE:]
    exchange = _opened(opening, threads)

    _say("checking the first messages against the reference")
    checked = min(steps, REFERENCE_MESSAGES)
    check_agreement(Exchange(exchange.books[:1].copy()), opening[0], messages[0, :checked])

    _say("timing")
    one_book_seconds, timed = _time_one_book(args.messages)
    seconds = one_book_seconds
    if args.device == "cuda":
        seconds, timed = _time_cuda(exchange, messages)
    elif args.books > 1:
        seconds, timed = _time_lockstep(exchange, messages)
    check_same(exchange, messages, timed)
    compared = -(-REFERENCE_MESSAGES // steps)  # books
    reference_seconds, reference_messages = _time_reference(opening[:compared], messages[:compared, :checked])
    rate, reference_rate = args.books * steps / seconds, reference_messages / reference_seconds
    return {
        "messages_per_second": round(rate),
        "reference_messages_per_second": round(reference_rate),
        "ratio": float(f"{rate / reference_rate:.3g}"),
        "one_book_messages_per_second": round(args.messages / one_book_seconds),
        "books": args.books,
        "device": args.device,
        "threads": threads if args.device == "cpu" else None,
        "microseconds_per_step": round(1e6 * seconds / steps, 2),
        "messages": args.books * steps,
        "reference_messages": reference_messages,
        "depth": DEPTH,
        "live_orders": round(timed.books[:, LIVE_ORDERS].mean()),
    }


def _opened(opening: np.ndarray, threads: int) -> Exchange:
    exchange = Exchange(empty_books(len(opening), NUM_ORDERS, NUM_TICKS, BASE_PRICE), num_threads=threads)
    exchange.run_all(opening)
    return exchange


def random_stream(seed: int, num: int) -> np.ndarray:
    """A random order stream int64[num, NUM_ORDER_COLUMNS]; the first LIVE orders open the book."""
    rng = np.random.default_rng(seed)
    orders = np.empty((num, NUM_ORDER_COLUMNS), np.int64)
    distance = 1 + rng.exponential(MEAN_DISTANCE, num).astype(np.int64)
    books = empty_books(1, NUM_ORDERS, NUM_TICKS, BASE_PRICE)
    _generate(books, rng.random(num), rng.integers(0, 2, num), distance, rng.random(num), orders)
    return orders


@kept_njit("market", "bench")
def _generate(books, draws, sides, distances, fractions, orders):
    """Make each order with the book at hand: what is passive, marketable or live depends on it."""
    book = books[0]
    report = np.empty(NUM_REPORT_COLUMNS, np.int64)
    trades = np.empty((NUM_ORDERS, NUM_TRADE_COLUMNS), np.int64)
    for i in range(orders.shape[0]):
        side = sides[i]
        touch = best(book, 1 - side)
        kind, order_id = LIMIT, i
        if i < LIVE or draws[i] < PASSIVE:
            if touch == NO_PRICE:
                touch = BASE_PRICE + NUM_TICKS // 2
            price = touch + (distances[i] if side == SELL else -distances[i])
            size = 1 + int(fractions[i] * MAX_ORDER_SIZE)
        elif draws[i] < PASSIVE + CANCELS:
            kind, price, size = CANCEL, 0, 0
            slot = int(fractions[i] * NUM_ORDERS)
            while book[ORDERS + NUM_SLOT_COLUMNS * slot + SIZE] == 0:  # a free slot
                slot = (slot + 1) % NUM_ORDERS
            order_id = book[ORDERS + NUM_SLOT_COLUMNS * slot + ORDER_ID]
        else:
            # Larger orders while more orders live than wanted, so that their number stays put.
            price = touch
            size = level_size(book, 1 - side, touch)
            if book[LIVE_ORDERS] <= LIVE:
                size = 1 + int(fractions[i] * size)
        execute(book, kind, side, price, size, order_id, BACKGROUND, OLDEST_FIRST, report, trades)
        orders[i] = (kind, side, price, size, order_id, BACKGROUND)


def check_agreement(exchange: Exchange, opening: np.ndarray, messages: np.ndarray):
    """Assert that the exchange and the reference report, trade and show the same."""
    stream = exchange.run(messages, snapshots=True)
    reference = _reference_book(opening)
    trades = []
    for i, message in enumerate(messages.tolist()):
        report, new = reference.execute(*message)
        trades += new
        assert tuple(stream.reports[i].tolist()) == report, f"message {i}: reports differ"
        assert np.array_equal(stream.snapshots[i], reference.snapshot()), f"message {i}: snapshots differ"
    assert [tuple(trade) for trade in stream.trades.tolist()] == trades, "trades differ"


def check_same(exchange: Exchange, messages: np.ndarray, timed: Exchange):
    """Assert that the timed books are what the messages make of the exchange's, book by book."""
    expected = exchange.copy()
    expected.run_all(messages)
    figures = [VOLUME, NUM_TRADES, LIVE_ORDERS]
    assert np.array_equal(timed.books[:, figures], expected.books[:, figures]), "volumes differ"
    assert np.array_equal(timed.outcome_counts, expected.outcome_counts), "outcomes differ"
    assert np.array_equal(timed.snapshots, expected.snapshots), "snapshots differ"


def _time_one_book(num: int) -> tuple[float, Exchange]:
    stream = random_stream(0, LIVE + num)
    return _time_stream(_opened(stream[None, :LIVE], 1), stream[LIVE:])


def _time_stream(exchange: Exchange, messages: np.ndarray) -> tuple[float, Exchange]:
    def once(exchange):
        for start in range(0, len(messages), CHUNK):
            exchange.run(messages[start : start + CHUNK], snapshots=True)

    return _median_seconds(exchange, once)


def _time_lockstep(exchange: Exchange, messages: np.ndarray) -> tuple[float, Exchange]:
    steps = np.ascontiguousarray(messages.swapaxes(0, 1))
    exchange.copy().step(steps[0])  # compiles

    def once(exchange):
        for orders in steps:
            exchange.step(orders)

    return _median_seconds(exchange, once)


def _time_cuda(exchange: Exchange, messages: np.ndarray) -> tuple[float, Exchange]:
    """Steps in one CUDA graph each, over orders that are already on the device; timed once, by its own clock."""
    import torch

    steps = torch.from_numpy(np.ascontiguousarray(messages.swapaxes(0, 1))).to("cuda")
    device = exchange.to("cuda")
    orders = steps[0].clone()
    device.copy().step(orders)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        device.step(orders)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for row in steps:
        orders.copy_(row)
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000, device.to("cpu")


def _median_seconds(exchange, once):
    """The seconds, and the exchange as it is afterwards."""
    seconds = []
    for _ in range(REPEATS):
        fresh = exchange.copy()
        fresh.trades.fill(0)  # memory that the operating system has yet to provide would count as ours
        start = perf_counter()
        once(fresh)
        seconds.append(perf_counter() - start)
    return median(seconds), fresh


def _time_reference(opening: np.ndarray, messages: np.ndarray) -> tuple[float, int]:
    """The seconds for the messages of a few books, one after the other, and how many messages those are."""
    streams = messages.tolist()
    seconds = []
    for _ in range(REPEATS):
        books = [_reference_book(rows) for rows in opening]
        start = perf_counter()
        for book, rows in zip(books, streams, strict=True):
            for row in rows:
                book.execute(*row)
        seconds.append(perf_counter() - start)
    return median(seconds), messages.shape[0] * messages.shape[1]


def _reference_book(opening: np.ndarray) -> ReferenceBook:
    reference = ReferenceBook(NUM_ORDERS, NUM_TICKS, BASE_PRICE)
    for row in opening.tolist():
        reference.execute(*row)
    return reference


def _say(text: str):
    print(text, file=sys.stderr, flush=True)
