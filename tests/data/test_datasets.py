import dataclasses
import os

import numpy as np
import pytest
import torch
from prepared_sets import market_of, numbered_rows, write_prepared, write_split

from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.prepared import TRAIN, VALIDATION

T = 6
TRAIN_TOKENS, VALIDATION_TOKENS = numbered_rows(20, T), numbered_rows(5, T)


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "set", TRAIN_TOKENS, VALIDATION_TOKENS, first_target=np.arange(5))


def test_a_batch_is_the_rows_asked_for(prepared):
    rows = OrderRows(prepared, TRAIN)
    wanted = [13, 2, 2, 19, 0]
    batch = rows.__getitems__(wanted)
    assert {name: (x.dtype, tuple(x.shape)) for name, x in batch.items()} == {
        "token": (torch.int64, (5, T + 1)),
        "market": (torch.int16, (5, T + 1, 42)),
        "first_target": (torch.int64, (5,)),
    }
    assert np.array_equal(batch["token"], TRAIN_TOKENS[wanted])
    assert np.array_equal(batch["market"], market_of(TRAIN_TOKENS)[wanted])


def test_a_single_row(prepared):
    rows = OrderRows(prepared, VALIDATION)
    assert len(rows) == 5
    assert np.array_equal(rows[3]["token"], VALIDATION_TOKENS[3])
    assert rows[3]["first_target"] == 3


def test_rows_are_mapped_from_inside_the_set(prepared):
    OrderRows(prepared, TRAIN)
    assert list((prepared.path / ".arrow").rglob("*.arrow"))


def test_a_set_prepared_again_is_read_anew(prepared):
    OrderRows(prepared, TRAIN)
    changed = TRAIN_TOKENS[::-1].copy()
    before = os.stat(prepared.split_file(TRAIN)).st_mtime_ns
    write_split(prepared, TRAIN, changed, 0)
    os.utime(prepared.split_file(TRAIN), ns=(before + 10**9, before + 10**9))
    assert np.array_equal(OrderRows(prepared, TRAIN)[0]["token"], changed[0])


def test_an_empty_split_says_what_to_do(prepared):
    empty = dataclasses.replace(prepared, splits=prepared.splits | {VALIDATION: {"rows": 0, "orders": 0}})
    with pytest.raises(ValueError, match=r"the validation split of .*set is empty.*prepare it again"):
        OrderRows(empty, VALIDATION)
