import copy
import json
from dataclasses import replace

import mars_release as release
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from mars_stream import Lob, ReferenceStream
from scripts import run_script

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import ANONYMOUS
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT
from mars_lmm.market.cpu import MATCHING
from mars_lmm.models.import_mars import import_mars
from mars_lmm.models.mars_converters import load_converters
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.coding import coding_of
from mars_lmm.simulation.engine import Proposal
from mars_lmm.simulation.simulate import RolloutConfig, make_engine, simulate
from mars_lmm.simulation.starts import held_out_starts
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.mars import MarsTokenizer

MINUTE = 60 * 10**9
WINDOW = 48
BINS = (3, release.PRICES, release.VOLUMES, release.INTERVALS)
TIME, KIND, SIDE, PRICE, SIZE, FILLED = range(6)
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
CONVERTERS = release.released_converters()


@pytest.fixture(scope="module")
def model():
    shape = {"width": 32, "layers": 2, "heads": 2, "window": WINDOW, "mlp_width": 64}
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(**shape, embedding="mars_shares"), BINS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return MarsTokenizer(BINS, load_converters([release.write_converters(tmp_path_factory.mktemp("converters"))]))


@pytest.fixture(scope="module")
def coding(tokenizer):
    return coding_of(tokenizer)


@pytest.fixture(scope="module")
def starts(small_set, coding):
    return held_out_starts(small_set, coding, count=2, horizon=MINUTE, history=WINDOW + 20)


def lob_of(book):
    snapshot = np.empty((2, t.DEPTH, 2), dtype=np.int64)
    MATCHING.snapshot(book, snapshot)
    return Lob(snapshot, int(book[t.LAST_PRICE]))


def observe(stream, book, tape):
    """Tell the reference of an order that a book has just executed."""
    kind = "C" if tape[KIND] in (t.CANCEL, t.CANCEL_AT) else "SB"[tape[SIDE]]
    stream.trade(
        kind,
        int(tape[PRICE]),
        int(tape[SIZE]),
        int(tape[TIME]),
        int(tape[FILLED]),
        int(book[t.OPEN_PRICE]),
        lob_of(book),
    )


@pytest.fixture(scope="module")
def references(starts):
    """The reference's stream up to each start, from a replay order by order."""
    flow, stream, found = starts[0].flow, ReferenceStream(CONVERTERS), []
    state = opening_state(flow)
    nobodys = flow.flags & ANONYMOUS != 0
    assert not nobodys[np.argmin(nobodys) :].any()  # the opening book, and nothing else
    for row in range(int(np.searchsorted(flow.time, starts[-1].time, side="right"))):
        for start in starts[len(found) :]:
            if flow.time[row] > start.time:
                found.append(copy_of(stream))
        part = replay(flow, state, row, row + 1)
        if len(part.tape):
            observe(stream, state.book[0], part.tape[0])
    return [*found, stream]


def copy_of(stream):
    copied = ReferenceStream(CONVERTERS)
    copied.__dict__.update(stream.__dict__)
    copied.rows = list(stream.rows)
    return copied


def engine_of(model, coding, starts, **config):
    used = np.arange(len(starts))
    return make_engine(RolloutConfig(**config), model, coding, starts, used, np.zeros_like(used), 2000)


def row_of(engine, b):
    return [int(engine.markets.token[b]), *engine.markets.market[b].tolist()]


FOREVER = np.full(2, np.iinfo(np.int64).max)


def test_histories_are_the_references(starts, references):
    for start, stream in zip(starts, references, strict=True):
        rows = np.column_stack([start.token, start.market])
        assert len(rows) > WINDOW
        np.testing.assert_array_equal(rows, stream.rows[-len(rows) :])
        assert len({row[0] for row in stream.rows}) > 20


def test_rollouts_are_coded_as_the_reference_codes_them(model, coding, starts, references):
    engine = engine_of(model, coding, starts)
    streams = [copy_of(stream) for stream in references]
    kinds, replaced = set(), 0
    for accepted in engine.run(FOREVER, 300):
        for b in np.flatnonzero(accepted):
            tape = engine.markets.tape[b]
            observe(streams[b], engine.markets.books[b], tape)
            assert row_of(engine, b) == streams[b].rows[-1]
            kinds.add((int(tape[KIND]), int(tape[FILLED] > 0)))
            replaced += int(engine.markets.replaced[b])
    assert kinds == {(t.LIMIT, 0), (t.LIMIT, 1), (t.CANCEL_AT, 0)}
    assert replaced > 0
    assert all(len(stream.rows) > len(start.token) + 100 for stream, start in zip(streams, starts, strict=True))


def prices_of(book, side):
    """All occupied prices of a side."""
    prices, price = [], book[t.BEST_PRICE + side]
    while price != t.NO_PRICE:
        prices.append(int(price))
        price = MATCHING.next_price(book, side, price)
    return prices


def test_orders_are_drawn_as_the_released_agent_draws_them(model, coding, starts, monkeypatch):
    engine = engine_of(model, coding, starts)
    token = np.zeros(2, dtype=np.int64)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(engine.model, "sample", lambda *_: torch.from_numpy(token))
    drawn = []
    with torch.inference_mode():
        for _ in range(200):
            token[:] = rng.integers(0, engine.model.vocabulary, 2)
            mids = [lob_of(book).mid for book in engine.markets.books]
            clocks = engine.markets.clock[:, o.LAST_TIME].copy()
            occupied = [{side: prices_of(book, side) for side in range(2)} for book in engine.markets.books]
            proposal = engine.propose()
            orders, times = proposal.orders.copy(), proposal.times.copy()
            accepted = engine.execute(proposal)
            for b in range(2):
                kind, rest = divmod(int(token[b]), int(np.prod(BINS[1:])))
                price, rest = divmod(rest, BINS[2] * BINS[3])
                size, interval = divmod(rest, BINS[3])
                offset = int(orders[b, t.PRICE]) * 100 - mids[b]
                assert offset in CONVERTERS["price-level"].bin_values[price]
                assert orders[b, t.SIZE] in CONVERTERS["pred-order-volume"].bin_values[size]
                waited = (times[b] - clocks[b]) / 1e9
                assert waited in CONVERTERS["order-interval"].bin_values[interval]
                if "SBC"[kind] != "C":
                    assert (orders[b, t.KIND], orders[b, t.SIDE]) == (t.LIMIT, kind)
                elif accepted[b]:
                    wanted, acted = int(orders[b, t.PRICE]), int(engine.markets.tape[b, PRICE])
                    nearest = min(abs(wanted - there) for side in range(2) for there in occupied[b][side])
                    assert abs(wanted - acted) == nearest
                    assert acted in occupied[b][int(orders[b, t.SIDE])]
                    drawn.append(int(orders[b, t.SIDE]))
    assert set(drawn) == {t.SELL, t.BUY}


def cancel_step(engine, side, price, size, time):
    order = np.zeros((2, t.NUM_ORDER_COLUMNS), dtype=np.int64)
    order[:, t.KIND], order[:, t.SIDE], order[:, t.PRICE], order[:, t.SIZE] = t.CANCEL_AT, side, price, size
    engine.execute(Proposal(order, time))
    engine.read()


@torch.inference_mode()
def test_cancels_take_the_oldest_order_of_a_price(model, coding, starts):
    engine = engine_of(model, coding, starts)
    price = engine.markets.books[:, t.BEST_PRICE + t.BUY].copy()
    sizes = [queue_of(book, t.BUY, price[b]) for b, book in enumerate(engine.markets.books)]
    cancel_step(engine, t.BUY, price, 1, engine.markets.clock[:, o.LAST_TIME] + 1)
    for b, book in enumerate(engine.markets.books):
        assert queue_of(book, t.BUY, price[b]) == [sizes[b][0] - 1, *sizes[b][1:]]


def queue_of(book, side, price):
    """Sizes of the orders at a price, oldest first."""
    slot, sizes = MATCHING.first(book, side, price), []
    while slot != NO_SLOT:
        sizes.append(int(book[slot + t.SIZE]))
        slot = book[slot + NEXT]
    return sizes


@pytest.mark.parametrize("attention", ["ring", "window"])
@torch.inference_mode()
def test_cancels_that_are_one_order_are_read_as_one(model, coding, starts, references, attention):
    engine = engine_of(model, coding, starts, attention=attention)
    streams = [copy_of(stream) for stream in references]
    side, time = t.BUY, engine.markets.clock[:, o.LAST_TIME] + 10**7
    price = engine.markets.books[:, t.BEST_PRICE + side].copy()
    for count, (size, merged) in enumerate(((1, False), (1, True), (2, True))):
        cancel_step(engine, side, price, size, time)
        assert (engine.markets.tape[:, PRICE] == price).all()
        assert engine.markets.replaced.tolist() == [merged] * 2, count
        for b in range(2):
            observe(streams[b], engine.markets.books[b], engine.markets.tape[b])
            assert row_of(engine, b) == streams[b].rows[-1]
    cancel_step(engine, side, price, 1, time + 1)
    assert not engine.markets.replaced.any()
    for b, start in enumerate(starts):
        observe(streams[b], engine.markets.books[b], engine.markets.tape[b])
        read = streams[b].rows[-(len(start.token) + 2) :]
        wanted = state_after(model, read[-WINDOW:] if attention == "window" else read)
        torch.testing.assert_close(engine.hidden[b], wanted, atol=1e-5, rtol=1e-5)


def state_after(model, rows):
    """The model's state after a history, read as a whole."""
    features = torch.tensor(rows)
    return model(features[None, :, 0], features[None, :, 1:])[0, -1]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@torch.inference_mode()
def test_window_attention_is_a_full_pass_over_the_last_orders(model, coding, starts, device):
    engine = engine_of(copy.deepcopy(model).to(device), coding, starts)
    tolerance = 1e-5 if device == "cpu" else 1e-3
    rows = [np.column_stack([start.token, start.market]).tolist() for start in starts]
    for step in range(2 * WINDOW):
        accepted = engine.execute(engine.propose())
        if step % 7 == 0:  # as if the exchange had refused it
            accepted[1] = False
            engine.markets.token[1], engine.markets.market[1] = rows[1][-1][0], rows[1][-1][1:]
        for b in np.flatnonzero(accepted):
            rows[b][len(rows[b]) - engine.markets.replaced[b] :] = [row_of(engine, b)]
        engine.read()
        if step % 12 == 0:
            for b in range(2):
                wanted = state_after(model, rows[b][-WINDOW:])
                torch.testing.assert_close(engine.hidden[b].cpu(), wanted, atol=tolerance, rtol=tolerance)
    assert len(rows[0]) - len(rows[1]) >= 5


def test_the_ring_is_exact_until_the_history_outgrows_the_window(model, coding, starts):
    short = [replace(start, token=start.token[-20:], market=start.market[-20:]) for start in starts]
    states = {}
    for attention in ("ring", "window"):
        engine = engine_of(model, coding, short, attention=attention)
        for count, _ in enumerate(engine.run(FOREVER, 4 * WINDOW)):
            states[attention, count] = engine.hidden.clone(), engine.markets.tape.copy()
    within = WINDOW - 20
    for count in range(within):
        torch.testing.assert_close(states["ring", count][0], states["window", count][0], atol=1e-5, rtol=1e-5)
        np.testing.assert_array_equal(states["ring", count][1], states["window", count][1])
    last = 4 * WINDOW - 2
    assert (states["ring", last][0] - states["window", last][0]).abs().max() > 1e-3


def test_a_simulation_of_an_imported_model(model, tokenizer, small_set, tmp_path):
    config = RolloutConfig(starts=2, rollouts=2, minutes=0.5)
    manifest = simulate(config, model, tokenizer, small_set, tmp_path / "simulation", {})
    assert (manifest["attention"], manifest["cancels"]) == ("window", "oldest")
    table = pq.read_table(tmp_path / "simulation" / "rollouts.parquet")
    assert table.num_rows == manifest["orders"] > 50
    assert json.loads((tmp_path / "simulation" / "simulation.json").read_text()) == manifest


def test_an_imported_file_is_simulated_without_a_training_run(small_set, tmp_path):
    source = release.write_release(tmp_path, release.released_tensors())
    import_mars(source, tmp_path / "mars.ckpt", [release.write_converters(tmp_path / "converters")])
    arguments = ["run=rolled", "checkpoint=mars.ckpt", f"prepared={small_set.address}", "device=cpu"]
    done = run_script(tmp_path, "simulate.py", *arguments, "starts=1", "rollouts=2", "minutes=0.1", "seed=3")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "rolled" / "simulation" / "simulation.json").read_text())
    assert manifest["orders"] > 0
    assert manifest["attention"] == "window"


def test_too_short_a_history_is_an_error(tokenizer, small_set, tmp_path):
    shape = {"width": 16, "layers": 1, "heads": 2, "window": 100_000, "embedding": "mars"}
    hungry = OrderModel(OrderModelConfig(**shape), BINS)
    with pytest.raises(DataError, match="history of 200000 orders"):
        simulate(RolloutConfig(minutes=0.1), hungry, tokenizer, small_set, tmp_path / "simulation", {})


def test_a_model_without_converters_is_refused(model, small_set, tmp_path):
    with pytest.raises(ValueError, match="--converters"):
        simulate(RolloutConfig(), model, MarsTokenizer(BINS), small_set, tmp_path / "simulation", {})
