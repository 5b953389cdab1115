"""Windows and what they show, by hand."""

import numpy as np
import pytest
from sequence_laws import make_sequences

from mars_lmm.evaluation.lob_bench.windows import changes, cut, features
from mars_lmm.evaluation.sequences.sequences import BUY, EXECUTION, NEW, Sequences

GONE = (7, 0)  # a price that means nothing


def levels(asks, bids):
    return [[*ask, *bid] for ask, bid in zip(asks, bids, strict=True)]


BOOKS = [
    levels([(110, 5), (120, 6), GONE], [(100, 4), (90, 3), GONE]),
    levels([(110, 5), (120, 9), GONE], [(100, 4), (90, 3), GONE]),  # ask level 2 grows by 3
    levels([(110, 5), (120, 9), GONE], [(105, 2), (100, 4), (90, 3)]),  # a better bid of 2
    levels([(120, 9), GONE, GONE], [(105, 2), (100, 4), (90, 3)]),  # the best ask of 5 goes
    levels([(120, 9), (130, 8), GONE], [(105, 2), (100, 4), (90, 3)]),  # a new last ask of 8
    levels([(120, 9), (130, 8), (9, 0)], [(105, 2), (100, 4), (90, 3)]),  # nothing
    levels([GONE, GONE, GONE], [(105, 2), (100, 4), (90, 3)]),  # the asks go
]


def hand_made():
    n = len(BOOKS)
    columns = {name: np.arange(n) for name in ("time", "order_id", "price")}
    kind = np.array([NEW, NEW, NEW, EXECUTION, NEW, NEW, EXECUTION], np.int8)
    direction = np.full(n, BUY, np.int8)
    book = np.array(BOOKS)
    return Sequences(
        np.array([0, n]), np.zeros(1, int), type=kind, direction=direction, size=np.ones(n, int), book=book, tick=5,
        **columns,
    )  # fmt: skip


def test_changes_by_hand():
    found = changes(hand_made(), np.arange(1, 7))
    assert found[:, 1].tolist() == [2, -1, 1, 2, 0, 1]
    size = np.sign(found[:, 2]) * np.expm1(np.abs(found[:, 2]))
    assert size == pytest.approx([3, 2, -5, 8, 0, -9], rel=1e-5)
    mid = np.sign(found[:, 0]) * np.expm1(np.abs(found[:, 0]))
    assert mid == pytest.approx([0, 0.5, 1, 0, 0, 0], abs=1e-5)


def test_features_by_hand():
    sequences = hand_made()
    (row,) = features(sequences, np.array([[1, 2, 3]]))
    assert row[:2] == pytest.approx(np.log1p([1.5, 1.5]))
    assert row[2] == pytest.approx(np.log((2 + 1 + 3) / 3))
    assert row[3] == pytest.approx((-1 / 9 - 3 / 7 - 7 / 11) / 3)
    assert np.exp(row[4:6]) == pytest.approx([(14 + 14 + 9) / 3, (7 + 9 + 9) / 3])
    assert row[6:9] == pytest.approx([2 / 3, 1 / 3, 1])
    assert row[9:] == pytest.approx([0, 0])
    assert np.isnan(features(sequences, np.array([[5, 6]]))).any()


def test_windows_lie_end_to_end_and_leave_out_the_first_message():
    sequences = make_sequences(starts=3, messages=23)
    rows, sequence = cut(sequences, 11)
    assert rows[:, 0].tolist() == [1, 12, 24, 35, 47, 58]
    assert (np.diff(rows, axis=1) == 1).all()
    assert sequence.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(cut(sequences, 23)[0]) == 0
