"""What was recorded, sent by the replay agent through the engine, is the replay and the prepared rows, bit for bit."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from agent_markets import OPEN, SECOND, Script, limit, run, start_at
from shared_data import SHARED

from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.prepared import TRAIN, VALIDATION
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.data.rows import decode_pieces
from mars_lmm.market import types as t
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.replay import ReplayAgent
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.recorded import held_out_starts
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers import observation as o

MINUTE = 60 * SECOND


def before_the_open(flow):
    """A start before a session's first order."""
    token, market = np.zeros(1, np.int64), np.zeros((1, OrderCoding.num_features), np.int16)
    return Start(
        flow.session, int(flow.time[0]) - 1, opening_state(flow), token, market, np.zeros(o.NUM_TAPE), flow=flow
    )


def replayed(coding, starts, start_of, ends, agents=None):
    """Run the replay agent; what each book's stream shows after every accepted order: token, market and tape."""
    rows = max(len(start.flow) for start in starts)
    engine = make_engine(
        RolloutConfig(limits=LimitsConfig(book_room=rows + 1)),
        None,
        coding,
        starts,
        np.array(start_of),
        np.arange(len(start_of)),
        rows + 1,
        agents or [SeatPlan("replay", ReplayAgent())],
    )
    engine.progress[:, c.END_TIME] = torch.tensor(ends)
    market, seen = engine.batch.market, [([], [], []) for _ in start_of]
    views = [tensor.numpy() for tensor in (market.token, market.market, market.tape)]
    accepted, running = engine.batch.rollout.accepted.numpy(), engine.progress.numpy()[:, c.END]
    steps = 0
    while (running == c.RUNNING).any():
        engine.step()
        for b in np.flatnonzero(accepted):
            for part, values in zip(seen[b], views, strict=True):
                part.append(values[b].copy())
        steps += 1
        if steps % 128 == 0:
            engine.flush()
    assert {c.ENDS[reason] for reason in running} <= {"horizon", "session_end"}
    rejected = engine.batch.rollout.outcomes.sum(dim=(0, 1))
    assert rejected[t.ACCEPTED + 1 :].sum() == 0
    return seen


def check_sessions(prepared):
    """Sessions of a prepared set, replayed side by side, give replay's tape and the prepared rows."""
    flows = [prepared.flow(index) for index in range(len(prepared.sessions))]
    ends = [flow.session.close_time for flow in flows]
    starts = [before_the_open(flow) for flow in flows]
    seen = replayed(OrderCoding(prepared.tokenizer()), starts, range(len(flows)), ends)
    compared = 0
    for (_, _, tape), flow in zip(seen, flows, strict=True):
        np.testing.assert_array_equal(np.array(tape), replay(flow).tape)
    for split in (TRAIN, VALIDATION):
        batch = OrderRows(prepared, split)
        for shard in prepared.splits[split]["shards"]:
            pieces, _ = decode_pieces(pq.read_table(prepared.path / shard["file"]))
            for row, (session, start, length, _) in enumerate(pieces.tolist()):
                token, market, _ = seen[session]
                window = slice(start, start + length)
                assert batch[row]["token"].tolist() == [int(value) for value in token[window]]
                assert batch[row]["market"].flatten().tolist() == np.concatenate(market[window]).tolist()
                compared += length
    assert compared >= sum(len(tape) for _, _, tape in seen)


def test_recorded_sessions_through_the_engine_give_the_prepared_rows(small_set):
    check_sessions(small_set)


@pytest.mark.slow
def test_a_real_session_through_the_engine_gives_the_prepared_rows(lobster_zip, tmp_path):
    from mars_lmm.data.config import DataConfig
    from mars_lmm.data.prepare import prepare

    path = str(lobster_zip("GOOG", 10))
    check_sessions(prepare(DataConfig(feed="lobster", name="goog", path=path, cutoff="13:00", root=str(tmp_path))))


@pytest.mark.slow
def test_a_real_day_with_auctions_through_the_engine_gives_the_prepared_rows(tmp_path):
    from mars_lmm.data.config import DataConfig
    from mars_lmm.data.prepare import prepare

    path = SHARED / "data" / "sse" / "AX_sbe_sse_600519.zip"
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand; set MARS_LMM_SHARED")
    options = {"date": "2023-02-07"}
    config = DataConfig(feed="sse", name="sse", path=str(path), options=options, cutoff="13:00", root=str(tmp_path))
    prepared = prepare(config)
    assert prepared.flow(0).session.rules
    check_sessions(prepared)


def test_starts_of_one_session_and_of_others_go_on_as_they_really_did(small_set, coding):
    starts = held_out_starts(small_set, coding, count=3, horizon=MINUTE, history=64)
    early = before_the_open(small_set.flow(0))
    start_of = [0, 0, 1, 2, 3]
    all_starts = [*starts, early]
    ends = [all_starts[index].time + MINUTE for index in start_of]
    seen = replayed(coding, all_starts, start_of, ends)
    for (_, _, tape), index in zip(seen, start_of, strict=True):
        whole = replay(all_starts[index].flow).tape
        after = (whole[:, 0] > all_starts[index].time) & (whole[:, 0] <= all_starts[index].time + MINUTE)
        assert after.sum() > 100
        np.testing.assert_array_equal(np.array(tape), whole[after])


def rows_of(chunks, book):
    rows = np.concatenate([chunk.rows[:, book] for chunk in chunks])
    return rows[rows[:, c.ROW_SOURCE] != c.NOBODY, : o.NUM_TAPE]


def replaying(coding, small_set):
    """An engine of two sessions, and when they are over for this test."""
    starts = [before_the_open(small_set.flow(index)) for index in range(2)]
    plans = [SeatPlan("replay", ReplayAgent())]
    engine = make_engine(RolloutConfig(), None, coding, starts, np.arange(2), np.arange(2), 10**6, plans)
    engine.progress[:, c.END_TIME] = torch.tensor([int(start.flow.time[600]) for start in starts])
    return engine, starts


def test_a_fork_follows_the_session_of_its_book(small_set, coding):
    engine, starts = replaying(coding, small_set)
    before = list(engine.run(200))
    fork = engine.select(torch.tensor([1, 1, 0]))
    after = list(fork.run())
    for place, book in enumerate([1, 1, 0]):
        tape = np.concatenate([rows_of(before, book), rows_of(after, place)])
        whole = replay(starts[book].flow).tape
        np.testing.assert_array_equal(tape, whole[whole[:, 0] <= starts[book].flow.time[600]])


def test_trades_that_are_not_theirs_are_no_lost_fills_of_agents(small_set, coding, monkeypatch):
    monkeypatch.setattr("mars_lmm.simulation.engine.build.TRADES_A_STEP", 1)
    engine, _ = replaying(coding, small_set)
    engine.progress[:, c.END_TIME] = NEVER - 1
    rows = rows_of(list(engine.run()), 0)
    filled, value, last_price = rows[:, [5, 6, 7]].T
    assert (value != filled * last_price).any()  # some traded more than once
    assert not engine.progress[:, c.FILLS_LOST].any()


@pytest.mark.parametrize("block", [1, 7, 4096])
@pytest.mark.parametrize("latency", [0, 300_000_000])
def test_neither_blocks_nor_latency_change_it(small_set, coding, block, latency):
    flow = small_set.flow(1)
    start, end = before_the_open(flow), int(flow.time[700])
    plan = SeatPlan("replay", ReplayAgent(block), see_latency=latency, send_latency=latency)
    (_, _, tape), *_ = replayed(coding, [start], [0], [end], [plan])
    whole = replay(flow).tape
    np.testing.assert_array_equal(np.array(tape), whole[whole[:, 0] <= end])


def test_many_orders_at_one_moment_come_in_their_order(coding):
    book = [(t.BUY, 900 + i % 90, 1 + i) for i in range(300)]
    start = start_at(time=OPEN - 2 * SECOND, book=book, sent=OPEN)
    start.state = opening_state(start.flow)
    outcome = run(coding, [ReplayAgent(block=16)], start)
    assert outcome.rows[:, 4].tolist() == [1 + i for i in range(300)]
    assert (outcome.rows[:, 0] == OPEN).all()


def test_an_agent_trades_with_what_was_recorded(coding):
    start = start_at(time=OPEN - 2 * SECOND, sent=OPEN)
    start.state = opening_state(start.flow)
    agent = Script((OPEN + SECOND, limit(t.BUY, 1001, 300)))
    outcome = run(coding, [ReplayAgent(), agent], start)
    assert outcome.sources() == [1, 1, 1, 1, 1, 2]
    assert [(fill.agent, fill.price, fill.size) for fill in outcome.fills] == [(2, 1001, 300)]


def test_fills_without_a_row_are_counted(coding, monkeypatch):
    monkeypatch.setattr("mars_lmm.simulation.engine.build.TRADES_A_STEP", 1)
    agent = Script((OPEN + SECOND, limit(t.BUY, 1003, 1200)), (OPEN + 2 * SECOND, limit(t.SELL, 999, 1)))
    outcome = run(coding, [agent])
    assert [(fill.price, fill.size) for fill in outcome.fills] == [(1001, 500), (999, 1)]
    assert int(outcome.engine.progress[0, c.FILLS_LOST]) == 2


def test_a_start_without_a_recorded_continuation_is_refused(coding):
    start = start_at()
    start.flow = None
    with pytest.raises(ValueError, match="no recorded session"):
        run(coding, [ReplayAgent()], start)


def test_an_empty_block_is_refused():
    with pytest.raises(ValueError, match="block=0"):
        ReplayAgent(0)
