"""Starts that share real messages are one unit of both two-sample tests."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_laws import make_sequences

from mars_lmm.evaluation.lob_bench.discriminator import two_sample_test
from mars_lmm.evaluation.lob_bench.nearest_neighbours import sequence_divergence
from mars_lmm.evaluation.lob_bench.overlaps import apart, blocks, groups_of, overlapping

TESTS = {"auc": two_sample_test, "divergence": sequence_divergence}


def start(begin, end, symbol="AAPL", date="2012-06-21"):
    return {"symbol": symbol, "date": date, "time_ns": begin, "end_ns": end}


def test_groups_are_of_one_session_and_joined_through_others():
    starts = [
        *(start(10, 20), start(18, 30), start(29, 32), start(32, 40)),
        *(start(15, 25, date="2012-06-22"), start(15, 25, symbol="MSFT"), start(50, 90), start(60, 70), start(80, 95)),
        start(5, 8),
    ]
    group = overlapping(starts)
    names = ["first", "first", "first", "second", "other_day", "other_symbol", "long", "long", "long", "early"]
    assert len(set(group)) == len(set(names)) == len(set(zip(group, names, strict=True)))
    order = np.random.default_rng(0).permutation(len(starts))
    again = overlapping([starts[at] for at in order])
    assert len(set(zip(again, group[order], strict=True))) == len(set(names))


def test_starts_that_are_apart():
    starts = [start(10, 20), start(18, 30), start(20, 32), start(18, 30, symbol="MSFT"), start(0, 90)]
    assert apart(starts).tolist() == [True, False, True, True, False]


def test_blocks_are_of_one_session_and_as_many_as_are_apart():
    chain = [start(at, at + 10) for at in range(0, 180, 9)]  # each overlaps the next
    found = blocks([*chain, start(5, 15, symbol="MSFT"), start(9, 19, symbol="MSFT")])
    assert set(overlapping(chain)) == {0}
    assert found[:20].tolist() == [at // 2 for at in range(20)]
    assert found[20:].tolist() == [10, 10]


def test_groups_of_some_starts_have_no_gaps():
    assert groups_of(np.array([5, 5, 2, 7]), None).tolist() == [1, 1, 0, 2]
    assert groups_of(np.array([3, 3, 1, 0]), np.array([0, 0, 1, 4])).tolist() == [1, 1, 0, 0]


STEP, HORIZON = 50, 400  # messages


@pytest.fixture(scope="module")
def overlapped():
    """Seven stretches of real messages with seven starts each, rollouts of the same law, and the starts."""
    stretches = make_sequences(7, messages=700, seed=1, signature=0.3)
    begin = (stretches.offsets[:-1, None] + STEP * np.arange(7)).ravel()
    rows = (begin[:, None] + np.arange(HORIZON)).ravel()
    columns = ("time", "type", "order_id", "size", "price", "direction", "book")
    real = replace(
        stretches,
        offsets=np.arange(len(begin) + 1) * HORIZON,
        start=np.arange(len(begin)),
        **{name: getattr(stretches, name)[rows] for name in columns},
    )
    starts = [start(at, at + HORIZON, date=f"day {at // 700}") for at in begin.tolist()]
    return real, make_sequences(len(begin), messages=HORIZON, seed=50, signature=0.3), starts


# Training the discriminator takes long.
@pytest.mark.parametrize("name", [pytest.param("auc", marks=pytest.mark.slow), "divergence"])
def test_shared_messages_are_no_evidence(overlapped, name):
    real, generated, starts = overlapped
    nothing = 0.5 if name == "auc" else 0
    naive = TESTS[name](real, generated)  # as if each start had messages of its own
    assert naive["low"] > nothing
    if name == "divergence":
        real = real.select(apart(starts))
    result = TESTS[name](real, generated, group=overlapping(starts))
    assert (result["starts"], result["groups"], result["reason"]) == (len(real), 7, None)
    assert result["low"] < nothing < result["high"]


@pytest.mark.parametrize("name", TESTS)
def test_six_groups_are_needed(overlapped, name):
    real, generated, starts = overlapped
    result = TESTS[name](real, generated, group=np.minimum(overlapping(starts), 4))
    assert np.isnan([result[name], result["low"]]).all()
    assert "49 starts have" in result["reason"]
    assert "5 are independent; at least 6 are needed" in result["reason"]
