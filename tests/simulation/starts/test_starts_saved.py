import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from start_cases import MINUTE, at, prepared_of, queues, shanghai_flow

from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.memory import Memory
from mars_lmm.simulation.starts.recorded import start_at
from mars_lmm.simulation.starts.saved import VERSION, load_start, save_start
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.orders import OrderTokenizer

PLAIN = ("session", "time", "next_id", "held_out", "artificial")


@pytest.fixture(scope="module")
def start(coding, tmp_path_factory):
    prepared = prepared_of(tmp_path_factory.mktemp("shanghai"), [shanghai_flow()], held_out_from=at("13:00"))
    return start_at(prepared, coding, "600000", None, "11:25", history=64, horizon=10 * MINUTE)


def engine_of(model, coding, start, seats=(), end=None, order_limit=40):
    engine = make_engine(
        RolloutConfig(seed=3), model, coding, [start], np.zeros(2, int), np.arange(2), order_limit, seats
    )
    engine.progress[:, c.END_TIME] = start.end_time(10 * MINUTE) if end is None else end
    return engine


def outcome(engine):
    """All that two rollouts did, and how they ended."""
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    books = [rows[rows[:, b, c.ROW_SOURCE] != c.NOBODY, b] for b in range(len(engine))]
    return books, engine.progress.tolist()


def assert_same_start(a, b):
    for one, other in (
        (a.state.book, b.state.book),
        (a.state.clock, b.state.clock),
        *((getattr(a, name), getattr(b, name)) for name in ("token", "market", "stream", "touch")),
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert [getattr(a, name) for name in PLAIN] == [getattr(b, name) for name in PLAIN]


def test_a_saved_start_comes_back_bit_for_bit(start, coding, tmp_path):
    save_start(tmp_path / "folder" / "lunch.start", start, coding)
    loaded = load_start(tmp_path / "folder" / "lunch.start", coding)
    assert_same_start(start, loaded)
    np.testing.assert_array_equal(loaded.continuation, start.continuation)
    assert len(start.continuation) > 50
    assert loaded.end_time(10 * MINUTE) == start.end_time(10 * MINUTE) == at("13:05")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["lunch.start"]


def test_a_rollout_from_a_saved_start_is_the_one_from_the_original(start, coding, model, tmp_path):
    save_start(tmp_path / "start", start, coding)
    expected, how = outcome(engine_of(model, coding, start))
    got, how_again = outcome(engine_of(model, coding, load_start(tmp_path / "start", coding)))
    assert how == how_again
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(one, other)
    assert min(map(len, expected)) > 5


def test_a_start_without_a_continuation_has_none_when_it_comes_back(start, coding, model, tmp_path):
    engine = engine_of(model, coding, start)
    save_start(tmp_path / "start", taken(engine, start, Memory([start] * 2, 64), 0), coding)
    loaded = load_start(tmp_path / "start", coding)
    assert loaded.continuation is None
    assert not loaded.describe()["recorded"]


def test_files_that_do_not_fit_are_refused(start, coding, tmp_path):
    path = tmp_path / "start"
    save_start(path, start, coding)
    other = OrderCoding(OrderTokenizer.fit(replay(shanghai_flow(seed=9)).observed, takers_rest=False))
    with pytest.raises(ValueError, match=f"coded by tokenizer {coding.checksum}, and the model reads {other.checksum}"):
        load_start(path, other)
    arrays = load_file(path)
    about = {"version": VERSION + 1}
    save_file(arrays, path, metadata={"start": json.dumps(about)})
    with pytest.raises(ValueError, match=f"version {VERSION + 1} of saved starts"):
        load_start(path, coding)
    save_file(arrays, path)
    with pytest.raises(ValueError, match="is no saved start"):
        load_start(path, coding)
    path.write_bytes(b"PK something else")
    with pytest.raises(ValueError, match="cannot be read as a saved start"):
        load_start(path, coding)
    with pytest.raises(ValueError, match="cannot be read as a saved start"):
        load_start(tmp_path / "nowhere", coding)


@pytest.mark.parametrize("lost", ["book", "clock"])
def test_a_file_that_lost_something_is_refused(start, coding, tmp_path, lost):
    path = tmp_path / "start"
    save_start(path, start, coding)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    save_file(arrays | {lost: arrays[lost][:-1]}, path, metadata=metadata)
    with pytest.raises(ValueError, match="is no whole saved start"):
        load_start(path, coding)
    save_file({name: array for name, array in arrays.items() if name != lost}, path, metadata=metadata)
    with pytest.raises(ValueError, match="is no whole saved start"):
        load_start(path, coding)


def taken(engine, start, memory, b):
    """A start out of an engine's book."""
    market, progress = engine.batch.market, engine.progress
    time = max(int(market.clock[b, o.LAST_TIME]), start.time)
    return start.continued(
        time,
        market.books[b].numpy(),
        market.clock[b].numpy(),
        *memory.history(b),
        market.stream[b].numpy(),
        market.tape[b].numpy(),
        int(progress[b, c.NEXT_ID]),
    )


class Poster(Agent):
    """Posts a bid deep in the book every second, ten times."""

    open_orders = 16

    def begin(self, view):
        return {"sent": view.full(0)}

    def act(self, view, state):
        sent = state["sent"] + 1
        return Decision(
            view.full(torch.where(sent < 10, view.time + 10**9, NEVER)),
            [view.limit(t.BUY, 980 + sent % 3, 100)],
            {"sent": sent},
        )


def test_a_start_taken_from_a_rollout_continues_its_book_and_history(start, coding, model):
    engine = engine_of(model, coding, start, [SeatPlan("poster", Poster())], order_limit=200)
    memory = Memory([start] * 2, 50)
    token, market = [start.token.tolist() for _ in range(2)], [list(start.market) for _ in range(2)]
    for _ in range(80):
        engine.step()
        memory.note(engine.batch)
        for b in engine.batch.rollout.accepted.nonzero()[:, 0].tolist():
            token[b].append(int(engine.batch.market.token[b]))
            market[b].append(engine.batch.market.market[b].numpy().copy())
    for b in range(2):
        after = taken(engine, start, memory, b)
        assert after.token.tolist() == token[b][-50:]
        np.testing.assert_array_equal(after.market, market[b][-50:])
        assert after.token.dtype == start.token.dtype
        book = engine.batch.market.books[b].numpy()
        before, now = queues(book), queues(after.state.book[0])
        assert [(side, price, [order[1] for order in queue]) for side, price, queue in now] == [
            (side, price, [order[1] for order in queue]) for side, price, queue in before
        ]
        agents = [order[0] for _, _, queue in before for order in queue if order[0] >= c.FIRST_AGENT_ID]
        owners = [order[2] for _, _, queue in now for order in queue]
        ids = [order[0] for _, _, queue in now for order in queue]
        assert len(agents) > 0
        assert set(owners) == {t.BACKGROUND}
        assert max(ids) < c.FIRST_AGENT_ID
        assert len(set(ids)) == len(ids)
        next_id = int(engine.progress[b, c.NEXT_ID])
        assert after.next_id == next_id + len(agents)
        assert sorted(ids)[-len(agents) :] == list(range(next_id, after.next_id))
        # The same agent can begin anew: nobody has its name or its ids.
        books, _ = outcome(engine_of(model, coding, after, [SeatPlan("poster", Poster())], after.time + MINUTE, 200))
        assert (books[0][:, c.ROW_SOURCE] == 1).sum() == 10
        assert not np.shares_memory(engine.batch.market.books[b].numpy(), after.state.book)


def test_a_fork_remembers_what_its_book_did(start, coding, model):
    engine, memory = engine_of(model, coding, start), Memory([start] * 2, 64)
    for _ in range(10):
        engine.step()
        memory.note(engine.batch)
    fork = memory.select([1, 1, 0])
    before = [memory.history(b) for b in (1, 1, 0)]
    for _ in range(10):
        engine.step()
        memory.note(engine.batch)
    for b, (token, market) in enumerate(before):
        np.testing.assert_array_equal(fork.history(b)[0], token)
        np.testing.assert_array_equal(fork.history(b)[1], market)
    assert not np.array_equal(before[0][0], before[2][0])
    assert not np.array_equal(memory.history(1)[0], before[0][0])


def test_a_start_cannot_lie_before_its_last_order(start, coding, model):
    engine = engine_of(model, coding, start)
    next(engine.run())
    market = engine.batch.market
    arrays = market.books[0].numpy(), market.clock[0].numpy()
    with pytest.raises(ValueError, match="already"):
        start.continued(start.time, *arrays, start.token, start.market, start.stream, start.touch, 0)
