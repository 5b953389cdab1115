import copy

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.flow import ANONYMOUS, HIDDEN
from mars_lmm.data.prepared import TRAIN, VALIDATION
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.data.rows import decode_pieces
from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.coding import OrderCoding
from mars_lmm.simulation.engine import Proposal, RolloutEngine
from mars_lmm.simulation.markets import Markets
from mars_lmm.simulation.reading import RingReader
from mars_lmm.simulation.simulate import RolloutConfig, make_engine
from mars_lmm.simulation.starts import held_out_starts
from mars_lmm.tokenizers import observation as o

MINUTE = 60 * 10**9


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = OrderModelConfig(width=32, layers=2, heads=2, window=32, head="fields")
    return OrderModel(config).eval()


@pytest.fixture(scope="module")
def starts(small_set):
    return held_out_starts(small_set, OrderCoding(small_set.tokenizer()), count=2, horizon=MINUTE, history=64)


def engine_of(model, small_set, starts, start_of, number, seed=0):
    return make_engine(
        RolloutConfig(seed=seed),
        model,
        OrderCoding(small_set.tokenizer()),
        starts,
        np.array(start_of),
        np.array(number),
        500,
    )


def push(engine, flows, lead):
    """Feed recorded sessions through an engine, book b starting `lead[b]` steps late; collect what it reads."""
    orders = [flow.orders() for flow in flows]
    visible = [np.flatnonzero(flow.flags & HIDDEN == 0) for flow in flows]
    rows = [([], [], []) for _ in flows]
    size = len(flows)
    for step in range(max(len(v) + late for v, late in zip(visible, lead, strict=True))):
        proposal = Proposal(np.zeros((size, t.NUM_ORDER_COLUMNS), np.int64), np.zeros(size, np.int64))
        anonymous = np.zeros(size, dtype=bool)
        for b, flow in enumerate(flows):
            place = step - lead[b]
            engine.active[b] = 0 <= place < len(visible[b])
            if engine.active[b]:
                row = visible[b][place]
                proposal.orders[b], proposal.times[b] = orders[b][row], flow.time[row]
                anonymous[b] = flow.flags[row] & ANONYMOUS
        accepted = engine.execute(proposal, anonymous)
        for b in np.flatnonzero(accepted):
            rows[b][0].append(engine.markets.token[b])
            rows[b][1].append(engine.markets.market[b].copy())
            rows[b][2].append(engine.markets.tape[b].copy())
    return rows


def recorded_engine(model, tokenizer, flows):
    """An engine over books that stand before their sessions' first orders."""
    states = [opening_state(flow) for flow in flows]
    room = [max(int(state.book[0, column]) for state in states) for column in (t.NUM_SLOTS, t.NUM_TICKS, t.NUM_PHASES)]
    markets = Markets.concatenate([Markets.fork(state, 1, *room) for state in states])
    size = len(flows)
    reader = RingReader(model, model.new_cache(size), torch.zeros(size, model.config.width))
    return RolloutEngine(model, OrderCoding(tokenizer), markets, reader, np.arange(size), seed=0)


def check_against_rows(rows, flows, prepared):
    for (_, _, tape), flow in zip(rows, flows, strict=True):
        np.testing.assert_array_equal(np.array(tape), replay(flow).tape)
    for split in (TRAIN, VALIDATION):
        batch = OrderRows(prepared, split)
        for shard in prepared.splits[split]["shards"]:
            pieces, _ = decode_pieces(pq.read_table(prepared.path / shard["file"]))
        for row, (session, start, length, _) in enumerate(pieces.tolist()):
            token, market, _ = rows[session]
            window = slice(start, start + length)
            assert batch[row]["token"].tolist() == [int(value) for value in token[window]]
            assert batch[row]["market"].flatten().tolist() == np.concatenate(market[window]).tolist()


def test_recorded_sessions_through_the_engine_give_the_prepared_rows(model, small_set):
    flows = [small_set.flow(0), small_set.flow(1)]
    engine = recorded_engine(model, small_set.tokenizer(), flows)
    check_against_rows(push(engine, flows, lead=[0, 7]), flows, small_set)


@pytest.mark.slow
def test_a_real_session_through_the_engine_gives_the_prepared_rows(model, lobster_zip, tmp_path):
    from mars_lmm.data.config import DataConfig
    from mars_lmm.data.prepare import prepare

    path = str(lobster_zip("GOOG", 10))
    prepared = prepare(DataConfig(feed="lobster", name="goog", path=path, cutoff="13:00", root=str(tmp_path)))
    flows = [prepared.flow(0)]
    engine = recorded_engine(model, prepared.tokenizer(), flows)
    check_against_rows(push(engine, flows, lead=[0]), flows, prepared)


def run(engine, steps):
    """Tape and books of each accepted order."""
    end = np.full(len(engine.markets), np.iinfo(np.int64).max)
    rows = []
    for accepted in engine.run(end, steps):
        rows += [(int(b), tuple(engine.markets.tape[b].tolist())) for b in np.flatnonzero(accepted)]
    return rows


def of_book(rows, book):
    return [tape for b, tape in rows if b == book]


def test_forks_of_a_start_begin_alike_and_part(model, small_set, starts):
    engine = engine_of(model, small_set, starts, [0, 0, 1], [0, 1, 0])
    np.testing.assert_array_equal(engine.markets.clock[0], engine.markets.clock[1])
    torch.testing.assert_close(engine.hidden[0], engine.hidden[1])
    rows = run(engine, 40)
    assert of_book(rows, 0) != of_book(rows, 1)
    assert len(of_book(rows, 2)) > 20


def test_a_rollout_does_not_depend_on_its_neighbours(model, small_set, starts):
    together = run(engine_of(model, small_set, starts, [0, 0, 1, 1], [0, 1, 0, 1]), 60)
    alone = run(engine_of(model, small_set, starts, [1], [1]), 60)
    assert of_book(together, 3) == of_book(alone, 0)


def test_the_seed_decides(model, small_set, starts):
    rows = [run(engine_of(model, small_set, starts, [0], [0], seed), 30) for seed in (0, 0, 1)]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def check_state(engine, model, starts, steps, refuse_every, tolerance):
    """Run two books; their states must be those of a full forward pass over all that they have read.

    Every `refuse_every`-th order of book 1 is taken back, as if the exchange had refused it: the model must draw again
    from the same state.
    """
    token = [start.token.tolist() for start in starts]
    market = [list(start.market) for start in starts]
    for accepted in engine.run(np.full(2, np.iinfo(np.int64).max), steps):
        if engine.steps % refuse_every == 0:
            accepted[1] = False
            engine.markets.token[1], engine.markets.market[1] = token[1][-1], market[1][-1]
        for b in np.flatnonzero(accepted):
            token[b].append(int(engine.markets.token[b]))
            market[b].append(engine.markets.market[b].copy())
    assert len(token[0]) - len(token[1]) >= steps // refuse_every - 1
    for b in range(2):
        history = torch.tensor(token[b])[None], torch.from_numpy(np.stack(market[b]))[None]
        with torch.no_grad():
            expected = model(*history)[0, -1]
        torch.testing.assert_close(engine.hidden[b].cpu(), expected, atol=tolerance, rtol=tolerance)


def test_cached_rollouts_read_what_a_full_forward_pass_reads(model, small_set, starts):
    engine = engine_of(model, small_set, starts, [0, 1], [0, 0])
    check_state(engine, model, starts, steps=120, refuse_every=5, tolerance=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_the_gpu_reads_what_one_on_the_cpu_reads(model, small_set, starts):
    engine = engine_of(copy.deepcopy(model).to("cuda"), small_set, starts, [0, 1], [0, 0])
    check_state(engine, model, starts, steps=60, refuse_every=7, tolerance=1e-3)


def test_rollouts_end_at_their_horizon(model, small_set, starts):
    engine = engine_of(model, small_set, starts, [0, 1], [0, 0])
    end = np.array([starts[0].time + 2 * 10**9, starts[1].time + 10 * 10**9])
    last = np.zeros(2, dtype=np.int64)
    for accepted in engine.run(end, 500):
        last[accepted] = engine.markets.clock[accepted, o.LAST_TIME]
    assert (last <= end).all()
    assert not engine.active.any()
