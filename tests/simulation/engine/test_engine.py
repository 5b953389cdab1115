import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from refusals import refuse

from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.models.sampling import Sampling, SamplingConfig
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.recorded import held_out_starts
from mars_lmm.tokenizers import observation as o

MINUTE = 60 * 10**9


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = OrderModelConfig(width=32, layers=2, heads=2, window=32, head="fields")
    return OrderModel(config).eval()


@pytest.fixture(scope="module")
def coding(small_set):
    return OrderCoding(small_set.tokenizer())


@pytest.fixture(scope="module")
def starts(small_set, coding):
    return held_out_starts(small_set, coding, count=2, horizon=MINUTE, history=64)


@pytest.fixture
def engine_of(model, coding, starts):
    def make(start_of, number, order_limit=60, model=model, seats=(), **config):
        rollouts = np.array(start_of), np.array(number)
        return make_engine(RolloutConfig(**config), model, coding, starts, *rollouts, order_limit, seats)

    return make


def tapes(engine):
    """Each book's tape, source and order id of every accepted order."""
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    return [rows[rows[:, b, c.ROW_SOURCE] != c.NOBODY, b] for b in range(len(engine))]


def ends(engine):
    return [c.ENDS[reason] for reason in engine.progress[:, c.END].tolist()]


def test_forks_of_a_start_begin_alike_and_part(engine_of):
    engine = engine_of([0, 0, 1], [0, 1, 0])
    torch.testing.assert_close(engine.batch.market.clock[0], engine.batch.market.clock[1])
    torch.testing.assert_close(*engine.forecaster.reader.hidden[:2])
    first, second, other = tapes(engine)
    assert not np.array_equal(first, second)
    assert len(other) == 60


def test_a_rollout_does_not_depend_on_its_neighbours(engine_of):
    together = tapes(engine_of([0, 0, 1, 1], [0, 1, 0, 1]))
    alone = tapes(engine_of([1], [1]))
    np.testing.assert_array_equal(together[3], alone[0])


def test_the_seed_decides(engine_of):
    first, again, other = (tapes(engine_of([0], [0], seed=seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_chunks_lose_nothing(engine_of, monkeypatch):
    whole = tapes(engine_of([0, 1], [0, 0]))
    monkeypatch.setattr("mars_lmm.simulation.engine.build.CHUNK_STEPS", 7)
    for expected, got in zip(whole, tapes(engine_of([0, 1], [0, 0])), strict=True):
        np.testing.assert_array_equal(got, expected)


def check_state(engine, model, starts, steps, refuse_every, tolerance):
    """Run two books; their states must be those of a full forward pass over all that they have read.

    The exchange rejects every `refuse_every`-th order of book 1, cancels apart: the model must draw again from the same
    state.
    """
    market = engine.batch.market
    token = [start.token.tolist() for start in starts]
    features = [list(start.market) for start in starts]
    for step in range(steps):
        refuse(engine, 1) if step % refuse_every == 0 else engine.step()
        for b in engine.batch.rollout.accepted.nonzero()[:, 0].tolist():
            token[b].append(int(market.token[b]))
            features[b].append(market.market[b].cpu().numpy().copy())
    assert engine.batch.rollout.outcomes[1, c.MODEL, t.KIND_NOT_TAKEN] > steps // refuse_every / 4
    for b in range(2):
        history = torch.tensor(token[b])[None], torch.from_numpy(np.stack(features[b]))[None]
        with torch.no_grad():
            expected = model(*history)[0, -1]
        torch.testing.assert_close(engine.forecaster.reader.hidden[b].cpu(), expected, atol=tolerance, rtol=tolerance)


def test_cached_rollouts_read_what_a_full_forward_pass_reads(engine_of, model, starts):
    check_state(engine_of([0, 1], [0, 0], 500), model, starts, steps=120, refuse_every=5, tolerance=1e-5)


def test_reading_the_window_anew_is_reading_the_ring_for_one_layer(coding, starts):
    torch.manual_seed(1)
    model = OrderModel(OrderModelConfig(width=32, layers=1, heads=2, window=32, head="fields")).eval()
    start_of, number = np.array([0, 1]), np.array([0, 0])
    ring, window = (
        tapes(make_engine(RolloutConfig(attention=attention), model, coding, starts, start_of, number, 40))
        for attention in ("ring", "window")
    )
    for expected, got in zip(ring, window, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_rollouts_end_at_their_horizon(engine_of, starts):
    engine = engine_of([0, 1], [0, 0], 500)
    end = torch.tensor([starts[0].time + 2 * 10**9, starts[1].time + 10 * 10**9])
    engine.progress[:, c.END_TIME] = end
    for tape, last in zip(tapes(engine), end.tolist(), strict=True):
        assert tape[-1, 0] <= last
    assert ends(engine) == ["horizon", "horizon"]
    assert engine.progress[:, c.END_AT].tolist() == end.tolist()


def test_a_rollout_that_is_over_does_nothing_more(engine_of):
    engine = engine_of([0, 1], [0, 0], 20)
    tapes(engine)
    books = engine.batch.market.books.clone()
    engine.step()
    torch.testing.assert_close(engine.batch.market.books, books)
    assert ends(engine) == ["max_orders", "max_orders"]


def test_a_full_book_ends_its_rollout_alone(engine_of):
    engine = engine_of([0, 1], [0, 0])
    engine.batch.market.books[0, t.FREE_SLOT] = -1
    first, second = tapes(engine)
    assert ends(engine) == ["book_full", "max_orders"]
    assert len(first) < len(second) == 60


def test_numbers_that_are_not_finite_end_their_rollout_alone(engine_of):
    engine = engine_of([0, 1], [0, 0])
    engine.forecaster.reader.hidden[1, 3] = torch.nan
    first, second = tapes(engine)
    assert ends(engine) == ["max_orders", "not_finite"]
    assert (len(first), len(second)) == (60, 0)
    np.testing.assert_array_equal(first, tapes(engine_of([0], [0]))[0])


class Busy(Agent):
    """Sends orders that the exchange takes, all the time."""

    def act(self, view, state):
        return Decision(view.time + 10**6, [view.order(t.IOC, t.BUY, view.ask, 1)])


@pytest.mark.parametrize("seats", [[], [SeatPlan("busy", Busy(), (10**12, 0, 0))]])
def test_an_exchange_that_takes_nothing_of_the_model_ends_the_rollout(engine_of, seats):
    """An agent whose orders it does take does not hide that."""
    engine = engine_of([0], [0], 10**6, limits=LimitsConfig(rejections=5), seats=seats)
    rules = engine.batch.market.books[0, t.RULES : t.RULES + t.NUM_RULE_COLUMNS]
    rules[t.ENFORCED], rules[t.KINDS_TAKEN] = 1, 1 << t.IOC
    engine.forecaster.sampling = Sampling.build(
        SamplingConfig(forbid={"type": ["cancel"]}), engine.forecaster.model.bins
    )
    list(engine.run(3000))
    assert ends(engine) == ["refused"]


def test_sizes_are_whole_lots_where_the_venue_wants_them(engine_of):
    engine = engine_of([0], [0])
    rules = engine.batch.market.books[0, t.RULES : t.RULES + t.NUM_RULE_COLUMNS]
    rules[t.ENFORCED], rules[t.LOT], rules[t.MIN_ORDER] = 1, 7, 14
    (rows,) = tapes(engine)
    orders = rows[rows[:, o.TAPE_COLUMNS.index("kind")] != t.CANCEL_AT]
    size = orders[:, o.TAPE_COLUMNS.index("size")]
    assert len(size) > 20
    assert (size % 7 == 0).all()
    assert size.min() >= 14
    assert engine.batch.rollout.outcomes[0, c.MODEL, t.BAD_LOT] == 0


class Sweeper(Agent):
    """Buys all that is offered, and keeps new asks away."""

    def act(self, view, state):
        best = view.ask > 0
        buys = view.order(t.LIMIT, t.BUY, torch.where(best, view.ask, view.bid) + 100, 10**6)
        return Decision(wake=view.time + NEVER // 2, orders=[buys])


@pytest.mark.parametrize("seconds", [0.001, 1e6])
def test_a_side_that_stays_empty_ends_the_rollout(engine_of, seconds):
    limits, sampling = LimitsConfig(empty_side_seconds=seconds), SamplingConfig(forbid={"type": ["sell"]})
    engine = engine_of([0], [0], limits=limits, sampling=sampling, seats=[SeatPlan("sweeper", Sweeper())])
    tapes(engine)
    assert ends(engine) == (["empty_side"] if seconds < 1 else ["max_orders"])


def test_an_engine_that_nobody_holds_gives_its_memory_back_at_once(engine_of):
    engine = engine_of([0, 1], [0, 0], 20)
    tapes(engine)
    gone = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_the_gpu_reads_what_one_on_the_cpu_reads(engine_of, model, starts):
    engine = engine_of([0, 1], [0, 0], 500, model=copy.deepcopy(model).to("cuda"))
    check_state(engine, model, starts, steps=60, refuse_every=7, tolerance=1e-3)
