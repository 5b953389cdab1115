"""The ledger: a bad row is an error, or is listed and counted."""

import numpy as np
import pytest

from mars_lmm.data import ledger as module
from mars_lmm.data.errors import DataError
from mars_lmm.data.ledger import SKIP, Ledger, Rejection


def check(ledger):
    rows, sizes = np.array([4, 7, 9]), np.array([5, -1, 0])
    return ledger.check("a.csv", rows, sizes <= 0, "bad size", "size {} is not positive", sizes)


def test_the_first_bad_row_is_an_error():
    ledger = Ledger()
    with pytest.raises(DataError, match=r"^a\.csv, row 7: bad size: size -1 is not positive$") as raised:
        check(ledger)
    assert (raised.value.source, raised.value.row) == ("a.csv", 7)
    assert ledger.rejections == []


def test_bad_rows_are_listed():
    ledger = Ledger(SKIP)
    assert check(ledger).tolist() == [False, True, True]
    ledger.refuse("b.csv", None, "cut", "the file ends early")
    assert ledger.rejections == [
        Rejection("a.csv", 7, "bad size", "size -1 is not positive"),
        Rejection("a.csv", 9, "bad size", "size 0 is not positive"),
        Rejection("b.csv", None, "cut", "the file ends early"),
    ]
    assert ledger.reasons == {"bad size": 2, "cut": 1}


def test_many_rejections_are_spilled(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD", 10)
    spilled = []

    def spill(rejections):
        spilled.extend(rejections)
        rejections.clear()

    ledger = Ledger(SKIP, spill)
    for row in range(1, 26):
        ledger.refuse("a.csv", row, "bad", "")
        assert len(ledger.rejections) < 10
    assert [rejection.row for rejection in spilled + ledger.rejections] == list(range(1, 26))
    assert ledger.reasons["bad"] == 25
