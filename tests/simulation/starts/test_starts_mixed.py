"""Rollouts of different instruments under different rules in one batch, and across breaks and auctions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from start_cases import MINUTE, at, prepared_of, shanghai_flow

from mars_lmm.data.flow import OrderFlow
from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.starts.recorded import held_out_starts, start_at
from mars_lmm.tokenizers import observation as o


@pytest.fixture(scope="module")
def shanghai(coding, tmp_path_factory):
    prepared = prepared_of(tmp_path_factory.mktemp("shanghai"), [shanghai_flow()], held_out_from=0)

    def start(moment):
        return start_at(prepared, coding, "600000", None, moment, history=64)

    return start


@pytest.fixture(scope="module")
def nasdaq(coding, tmp_path_factory):
    """Two minutes before the close of a market with fewer phases."""
    flow = shanghai_flow()
    traded = flow.time >= at("09:30")
    session = replace(flow.session, open_time=at("09:30"), close_time=at("16:00"), rules="nasdaq")
    flow = OrderFlow(session, {name: column[traded] for name, column in flow.columns.items()})
    prepared = prepared_of(tmp_path_factory.mktemp("nasdaq"), [flow], held_out_from=0)
    return start_at(prepared, coding, "600000", None, "15:58", history=64)


def roll_out(model, coding, starts, start_of, minutes):
    engine = make_engine(RolloutConfig(), model, coding, starts, np.array(start_of), np.zeros(len(start_of), int), 2000)
    ends = [starts[index].end_time(minutes * MINUTE) for index in start_of]
    engine.progress[:, c.END_TIME] = torch.tensor(ends)
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    tapes = [rows[rows[:, b, c.ROW_SOURCE] != c.NOBODY, b] for b in range(len(start_of))]
    return engine, tapes, [c.ENDS[reason] for reason in engine.progress[:, c.END].tolist()]


def test_markets_under_different_rules_share_a_batch_and_nothing_else(model, coding, shanghai, nasdaq, small_set):
    (free,) = held_out_starts(small_set, coding, 1, MINUTE, history=64)
    starts = [shanghai("14:55"), free, nasdaq, shanghai("11:25")]
    assert [int(start.state.book[0, t.RULES + t.ENFORCED]) for start in starts] == [1, 0, 1, 1]
    engine, together, how = roll_out(model, coding, starts, [0, 1, 2, 3], 8)
    for b in range(4):
        alone, tape, end = roll_out(model, coding, starts, [b], 8)
        np.testing.assert_array_equal(together[b], tape[0])
        assert how[b] == end[0]
        assert len(tape[0]) > 10
        for column in (c.END_AT, c.ORDERS, c.PROPOSALS):
            assert engine.progress[b, column] == alone.progress[0, column]
        assert (engine.batch.rollout.outcomes[b] == alone.batch.rollout.outcomes[0]).all()
    assert how == ["session_end", "horizon", "session_end", "horizon"]


def test_rollouts_cross_the_lunch_break(model, coding, shanghai):
    _, (over, within), how = roll_out(model, coding, [shanghai("11:29"), shanghai("12:15")], [0, 1], 3)
    assert how == ["horizon", "horizon"]
    closed = (over[:, 0] >= at("11:30")) & (over[:, 0] < at("13:00"))
    assert not closed.any()
    assert (over[:, 0] < at("11:30")).any()
    assert (over[:, 0] >= at("13:00")).any()
    assert at("13:00") <= within[0, 0] <= within[-1, 0] <= at("13:03")


@pytest.mark.parametrize(("begin", "auction"), [("09:18", "09:25"), ("14:58", "15:00")])
def test_rollouts_begin_in_an_auction_and_see_it_trade(model, coding, shanghai, begin, auction):
    start = shanghai(begin)
    engine, (tape,), how = roll_out(model, coding, [start], [0], 7 if begin < "12" else 20)
    book = engine.batch.market.books[0].numpy()
    assert book[t.VOLUME] > start.state.book[0, t.VOLUME]
    collected = tape[tape[:, 0] < at(auction)]
    assert len(collected) > 5
    assert not collected[:, o.TAPE_COLUMNS.index("filled")].any()
    cancels = np.isin(collected[:, 1], (t.CANCEL, t.CANCEL_AT))
    late = collected[:, 0] >= (at("09:20") if begin < "12" else at("14:57"))
    assert late.sum() > 3
    assert not (cancels & late).any()
    assert sections(book).phases[0, int(book[t.PHASE]), t.PHASE_MODE] == t.SHUT
    assert how == ["session_end" if begin > "12" else "horizon"]
