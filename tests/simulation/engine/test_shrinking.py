import numpy as np
import pytest
from device_rollouts import make_rollouts

from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.shrinking import run_to_end

SECOND = 10**9


@pytest.fixture
def engine(monkeypatch):
    """Four rollouts with two agents, which end one after the other."""
    monkeypatch.setattr("mars_lmm.simulation.engine.build.CHUNK_STEPS", 16)

    def make():
        made = make_rollouts(rollouts=4)
        begin = made.progress[:, c.BEGIN_TIME]
        made.progress[:, c.END_TIME] = begin + begin.new_tensor([30, 1, 8, 2]) * SECOND
        return made

    return make


def test_what_has_ended_is_left_out_and_all_else_is_the_same(engine):
    whole, shrunk, sizes = engine(), engine(), []
    expected = list(whole.run())
    got = list(run_to_end(shrunk, lambda batch, places: sizes.append((len(batch), len(places)))))
    assert {size for size, _ in sizes} == {4, 2, 1}
    assert all(size == places for size, places in sizes)
    for b in range(4):
        np.testing.assert_array_equal(rows_of(got, b), rows_of(expected, b))
        np.testing.assert_array_equal(fills_of(got, b), fills_of(expected, b))
    for name in ("books", "clock", "snapshot"):
        np.testing.assert_array_equal(getattr(shrunk.batch.market, name), getattr(whole.batch.market, name))
    np.testing.assert_array_equal(shrunk.progress, whole.progress)
    np.testing.assert_array_equal(shrunk.batch.rollout.outcomes, whole.batch.rollout.outcomes)


def rows_of(chunks, book):
    rows = np.concatenate([chunk.rows[:, book] for chunk in chunks])
    return rows[rows[:, c.ROW_SOURCE] != c.NOBODY]


def fills_of(chunks, book):
    return np.concatenate([chunk.fills[book, : chunk.num_fills[book]] for chunk in chunks])
