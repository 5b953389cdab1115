import copy
from dataclasses import replace

import mars_release as release
import numpy as np
import pytest
import torch
from mars_stream import Lob, ReferenceStream
from refusals import refuse

from mars_lmm.data.flow import ANONYMOUS
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT
from mars_lmm.market.cpu import MATCHING
from mars_lmm.models.mars_converters import load_converters
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.noise import NoiseAgent
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine import reading
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import MarsRolloutCoding, coding_of
from mars_lmm.simulation.starts.memory import Memory
from mars_lmm.simulation.starts.recorded import held_out_starts
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


def engine_of(model, coding, starts, start_of=(0, 1), seats=(), **config):
    start_of = np.array(start_of)
    return make_engine(
        RolloutConfig(**config), model, coding, starts, start_of, np.arange(len(start_of)), c.NEVER, seats
    )


def row_of(engine, b):
    market = engine.batch.market
    return [int(market.token[b]), *market.market[b].tolist()]


def accepted_in_a_step(engine):
    """Step, and return which books have an order more."""
    if engine.full:
        engine.flush()
    engine.step()
    return engine.batch.rollout.accepted.nonzero()[:, 0].tolist()


def follow(engine, streams, b):
    """Tell the reference of the order that a book has just executed; it must have been coded as the reference does."""
    market = engine.batch.market
    observe(streams[b], market.books[b].numpy(), market.tape[b].numpy())
    assert row_of(engine, b) == streams[b].rows[-1]


def test_histories_are_the_references(starts, references):
    for start, stream in zip(starts, references, strict=True):
        rows = np.column_stack([start.token, start.market])
        assert len(rows) > WINDOW
        np.testing.assert_array_equal(rows, stream.rows[-len(rows) :])
        assert len({row[0] for row in stream.rows}) > 20


def test_rollouts_are_coded_as_the_reference_codes_them(model, coding, starts, references):
    engine = engine_of(model, coding, starts)
    streams = [copy_of(stream) for stream in references]
    market, kinds, replaced = engine.batch.market, set(), 0
    for _ in range(300):
        for b in accepted_in_a_step(engine):
            follow(engine, streams, b)
            tape = market.tape[b].tolist()
            kinds.add((tape[KIND], int(tape[FILLED] > 0)))
            replaced += int(market.replaced[b])
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


def drawing(engine, monkeypatch, draw):
    """Let the model draw these tokens: draw() -> int64[B]."""
    monkeypatch.setattr(engine.forecaster.model, "sample", lambda *_: torch.from_numpy(draw()))


def test_orders_are_drawn_as_the_released_agent_draws_them(model, coding, starts, monkeypatch):
    engine = engine_of(model, coding, starts)
    rng, vocabulary = np.random.default_rng(0), engine.forecaster.model.vocabulary
    drawing(engine, monkeypatch, lambda: rng.integers(0, vocabulary, 2))
    market, rollout = engine.batch.market, engine.batch.rollout
    sides, waits = [], 0
    with torch.inference_mode():
        for _ in range(200):
            books = market.books.numpy()
            mids = [lob_of(book).mid for book in books]
            clocks = market.clock[:, o.LAST_TIME].tolist()
            occupied = [{side: prices_of(book, side) for side in range(2)} for book in books]
            engine.propose()
            tokens, times, stands = (
                engine.progress[:, column].tolist() for column in (c.NEXT_TOKEN, c.NEXT_TIME, c.PROPOSED)
            )
            engine.trade()
            engine.read()
            for b in range(2):
                if not stands[b]:  # it would have come before the start
                    continue
                assert engine.progress[b, c.SOURCE] == c.MODEL
                order, accepted = rollout.order[b].tolist(), bool(rollout.accepted[b])
                kind, rest = divmod(tokens[b], int(np.prod(BINS[1:])))
                price, rest = divmod(rest, BINS[2] * BINS[3])
                size, interval = divmod(rest, BINS[3])
                offset = order[t.PRICE] * 100 - mids[b]
                assert offset in CONVERTERS["price-level"].bin_values[price]
                assert order[t.SIZE] in CONVERTERS["pred-order-volume"].bin_values[size]
                if times[b] > starts[b].time:
                    assert (times[b] - clocks[b]) / 1e9 in CONVERTERS["order-interval"].bin_values[interval]
                    waits += 1
                if "SBC"[kind] != "C":
                    assert (order[t.KIND], order[t.SIDE]) == (t.LIMIT, kind)
                elif accepted:
                    wanted, acted = order[t.PRICE], int(market.tape[b, PRICE])
                    nearest = min(abs(wanted - there) for side in range(2) for there in occupied[b][side])
                    assert abs(wanted - acted) == nearest
                    assert acted in occupied[b][order[t.SIDE]]
                    sides.append(order[t.SIDE])
    assert set(sides) == {t.SELL, t.BUY}
    assert waits > 300


def queue_of(book, side, price):
    """Sizes of the orders at a price, oldest first."""
    slot, sizes = MATCHING.first(book, side, price), []
    while slot != NO_SLOT:
        sizes.append(int(book[slot + t.SIZE]))
        slot = book[slot + NEXT]
    return sizes


def without(sizes, units):
    """What is left of a queue when so many units are taken from its front."""
    left = []
    for size in sizes:
        taken = min(size, units)
        units -= taken
        left += [size - taken] * (size > taken)
    return left


@pytest.mark.parametrize("cancels", ["auto", "newest"])
def test_cancels_take_the_oldest_order_of_a_price(model, coding, starts, monkeypatch, cancels):
    engine = engine_of(model, coding, starts, cancels=cancels)
    rng, first = np.random.default_rng(0), o.CANCEL_TYPE * int(np.prod(BINS[1:]))
    drawing(engine, monkeypatch, lambda: rng.integers(first, engine.forecaster.model.vocabulary, 2))
    told = 0
    for _ in range(60):
        before = engine.batch.market.books.numpy().copy()
        for b in accepted_in_a_step(engine):
            tape = engine.batch.market.tape[b].tolist()
            old, new = (
                queue_of(book, tape[SIDE], tape[PRICE]) for book in (before[b], engine.batch.market.books[b].numpy())
            )
            units = sum(old) - sum(new)
            assert units == tape[SIZE] > 0
            oldest, newest = without(old, units), without(old[::-1], units)[::-1]
            assert new == (oldest if cancels == "auto" else newest)
            told += oldest != newest
    assert told > 10


class Scripted(Agent):
    """Sends cancels of a side's best price of the beginning, at given times after the start, as they were recorded."""

    def __init__(self, side, cancels):
        self._side, self._cancels = side, cancels

    def act(self, view, state):
        best = view.levels[:, self._side, 0, 0]
        rows = [view.order(t.CANCEL_AT, self._side, best, size, at=view.begin + wait) for size, wait in self._cancels]
        for row in rows:
            row[:, c.FLAGS] = c.RECORDED
        return Decision(view.full(NEVER), rows)


def silence(engine, monkeypatch):
    """Let no order of the model's come."""
    propose = engine.propose

    def proposes_nothing():
        propose()
        engine.progress[:, c.PROPOSED], engine.progress[:, c.NEXT_TIME] = 1, c.NEVER

    monkeypatch.setattr(engine, "propose", proposes_nothing)


@pytest.mark.parametrize("attention", ["ring", "window"])
def test_cancels_that_are_one_order_are_read_as_one(model, coding, starts, references, attention, monkeypatch):
    wait = 10**7
    cancels = [(1, wait), (1, wait), (2, wait), (1, wait + 1)]
    seats = [SeatPlan("scripted", Scripted(t.BUY, cancels))]
    engine = engine_of(model, coding, starts, seats=seats, attention=attention)
    silence(engine, monkeypatch)
    streams, market = [copy_of(stream) for stream in references], engine.batch.market
    price = market.books[:, t.BEST_PRICE + t.BUY].clone()
    for merged in (False, True, True, False):
        assert accepted_in_a_step(engine) == [0, 1]
        assert (market.tape[:, PRICE] == price).all()
        assert market.replaced.tolist() == [merged] * 2
        for b in range(2):
            follow(engine, streams, b)
    for b, start in enumerate(starts):
        read = streams[b].rows[-(len(start.token) + 2) :]
        wanted = state_after(model, read[-WINDOW:] if attention == "window" else read)
        torch.testing.assert_close(engine.forecaster.reader.hidden[b], wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def state_after(model, rows):
    """The model's state after a history, read as a whole."""
    features = torch.tensor(rows)
    return model(features[None, :, 0], features[None, :, 1:])[0, -1]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_window_attention_is_a_full_pass_over_the_last_orders(model, coding, starts, device):
    engine = engine_of(copy.deepcopy(model).to(device), coding, starts)
    tolerance = 1e-5 if device == "cpu" else 1e-3
    market = engine.batch.market
    rows = [np.column_stack([start.token, start.market]).tolist() for start in starts]
    for step in range(2 * WINDOW):
        refuse(engine, 1) if step % 5 == 0 else engine.step()
        for b in engine.batch.rollout.accepted.nonzero()[:, 0].tolist():
            rows[b][len(rows[b]) - int(market.replaced[b]) :] = [row_of(engine, b)]
        if step % 12 == 0:
            for b in range(2):
                wanted = state_after(model, rows[b][-WINDOW:])
                hidden = engine.forecaster.reader.hidden[b].cpu()
                torch.testing.assert_close(hidden, wanted, atol=tolerance, rtol=tolerance)
    assert engine.batch.rollout.outcomes[1, c.MODEL, t.KIND_NOT_TAKEN] >= 5
    assert len(rows[0]) > len(starts[0].token) + WINDOW


def test_agents_orders_are_read_beside_the_models_a_few_books_at_a_time(model, coding, starts, references, monkeypatch):
    monkeypatch.setattr(reading, "ORDERS_AT_ONCE", 2 * WINDOW + 1)
    sizes, read = set(), reading.WindowReader._read_some

    def noted(reader, books):
        sizes.add(len(books))
        return read(reader, books)

    monkeypatch.setattr(reading.WindowReader, "_read_some", noted)
    seats = [SeatPlan("noise", NoiseAgent(rate=20.0), see_latency=10**6, send_latency=10**6)]
    engine = engine_of(model, coding, starts, (0, 0, 1, 1, 1), seats)
    streams = [copy_of(references[b]) for b in (0, 0, 1, 1, 1)]
    market, sent, most = engine.batch.market, set(), 0
    for _ in range(3 * WINDOW):
        moved = accepted_in_a_step(engine)
        most = max(most, len(moved))
        for b in moved:
            follow(engine, streams, b)
            sent.add((int(engine.progress[b, c.SOURCE]), int(market.tape[b, KIND])))
    assert sent == {(c.MODEL, t.LIMIT), (c.MODEL, t.CANCEL_AT), (1, t.LIMIT), (1, t.CANCEL)}
    assert sizes == {1, 2}
    assert most > 2
    for b, stream in enumerate(streams):
        wanted = state_after(model, stream.rows[-WINDOW:])
        torch.testing.assert_close(engine.forecaster.reader.hidden[b], wanted, atol=1e-5, rtol=1e-5)


class AnyHistory(MarsRolloutCoding):
    """Lets rollouts begin with less than a window."""

    needs_window = False


def test_the_ring_is_exact_until_the_history_outgrows_the_window(model, tokenizer, starts):
    short = [replace(start, token=start.token[-20:], market=start.market[-20:]) for start in starts]
    states = {}
    for attention in ("ring", "window"):
        engine = engine_of(model, AnyHistory(tokenizer), short, attention=attention)
        for count in range(4 * WINDOW):
            accepted_in_a_step(engine)
            states[attention, count] = engine.forecaster.reader.hidden.clone(), engine.batch.market.tape.clone()
    for count in range(WINDOW - 20):
        torch.testing.assert_close(states["ring", count][0], states["window", count][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(states["ring", count][1], states["window", count][1])
    last = 4 * WINDOW - 1
    assert (states["ring", last][0] - states["window", last][0]).abs().max() > 1e-3


def test_a_start_with_less_history_than_the_model_reads_is_refused(model, coding, tokenizer, starts):
    for length in (WINDOW - 1, 0):
        short = replace(starts[0], token=starts[0].token[:length], market=starts[0].market[:length])
        message = f"has {length} orders before it, and the model reads {WINDOW}: start later"
        with pytest.raises(ValueError, match=message):
            engine_of(model, coding, [short], [0])
    with pytest.raises(ValueError, match="has 0 orders before it, and the model reads 1: start later"):
        engine_of(model, AnyHistory(tokenizer), [short], [0])


def test_the_first_order_of_a_stream_has_no_token(model, coding, tokenizer, starts):
    """It meets no known book, so that no model can be asked to read it; the one after it can be."""
    past = coding.history(np.zeros((0, o.NUM_OBSERVED), int), np.zeros((0, o.NUM_TAPE), int), 0, length=1)
    fresh = replace(starts[0], token=past.token, market=past.market, stream=past.stream)
    cancels = [(1, 10**7), (1, 2 * 10**7)]
    engine = engine_of(None, coding, [fresh], [0], [SeatPlan("scripted", Scripted(t.BUY, cancels))])
    memory = Memory([fresh], WINDOW)
    tokens = []
    for _ in cancels:
        assert accepted_in_a_step(engine) == [0]
        tokens.append(int(engine.batch.market.token[0]))
        memory.note(engine.batch)
    assert tokens[0] == -1 < tokens[1]
    token, market = memory.history(0)
    assert token.tolist() == tokens[1:]
    begun = replace(fresh, token=token, market=market, stream=engine.batch.market.stream[0].numpy())
    reader = engine_of(model, AnyHistory(tokenizer), [begun], [0]).forecaster.reader
    torch.testing.assert_close(reader.hidden[0], state_after(model, [[int(token[0]), *market[0].tolist()]]))
