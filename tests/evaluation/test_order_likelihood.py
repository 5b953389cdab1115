"""Nats of held-out orders: those of training's validation, and of counting."""

import math

import lightning as L
import numpy as np
import pytest
from prepared_sets import numbered_rows, with_packed, write_prepared

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.prepared import VALIDATION
from mars_lmm.evaluation.likelihood.orders import evenly_spread, likelihood, score_orders
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.training.baselines import score_baselines, scored_pairs
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.schedules import ScheduleConfig

CONFIG = OrderModelConfig(width=16, layers=1, heads=2, window=8, head="fields", dropout=0.2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Validation rows some of which begin with context, and a row of short sessions packed together."""
    folder = tmp_path_factory.mktemp("prepared")
    whole = write_prepared(folder, numbered_rows(9, 16), numbered_rows(7, 16), range(7))
    return with_packed(whole, VALIDATION, [numbered_rows(1, length)[0] for length in (5, 3, 6)])


@pytest.fixture(scope="module")
def module(prepared):
    L.seed_everything(0, verbose=False)
    return OrderModule(
        CONFIG, OptimConfig(learning_rate=1e-3), ScheduleConfig(1, warmup_steps=0), prepared, {"seed": 0}
    ).eval()


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_nats_and_bits_are_those_of_validation(prepared, module, tmp_path, batch_size):
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    (expected,) = trainer.validate(module, datamodule=OrderDataModule(prepared, 3), verbose=False)
    module.eval()
    found = likelihood(module.model, prepared, batch_size)
    assert found["nats"]["value"] == pytest.approx(expected["validation/nats"], rel=1e-6)
    assert found["bits"]["value"] == pytest.approx(expected["validation/bits"], rel=1e-6)
    for field, bits in found["bits_by_field"].items():
        assert bits["value"] == pytest.approx(expected[f"validation/bits_{field}"], rel=1e-6)
    assert found["nats"]["low"] < found["nats"]["value"] < found["nats"]["high"]
    assert (found["orders"], found["rows"], found["rows_left_out"]) == (prepared.splits[VALIDATION]["orders"], 8, 0)


def test_baselines_are_scored_on_the_same_orders(prepared, module):
    found = likelihood(module.model, prepared)
    for name, nats in score_baselines(prepared).items():
        assert found["baselines"][name]["nats"]["value"] == pytest.approx(nats)
        assert found["baselines"][name]["gain"]["value"] == pytest.approx(nats - found["nats"]["value"])
    # All rows cost the uniform distribution the same.
    assert found["baselines"]["uniform"]["nats"]["high"] == pytest.approx(math.log(49_152))


def test_orders_in_their_place(prepared, module):
    rows = OrderRows(prepared, VALIDATION)
    nats, pairs, session = score_orders(module.model, rows, range(8), 3)
    np.testing.assert_array_equal(pairs, scored_pairs(prepared, VALIDATION))
    assert nats.shape == (len(session), 4)
    sizes = [*range(16, 9, -1)]  # of the whole rows
    np.testing.assert_array_equal(session[: sum(sizes)], np.repeat(np.arange(7), sizes))
    some, _, _ = score_orders(module.model, rows, [2, 5], 3)
    first = np.cumsum([0, *sizes])
    np.testing.assert_allclose(some, np.concatenate([nats[first[row] : first[row + 1]] for row in (2, 5)]), rtol=1e-5)


def test_a_cap_spreads_the_rows_evenly(prepared, module):
    assert evenly_spread(8, 3) == [0, 2, 5]
    assert evenly_spread(3, 8) == evenly_spread(3, None) == [0, 1, 2]
    found = likelihood(module.model, prepared, most_rows=3)
    assert (found["rows"], found["rows_left_out"]) == (3, 5)
    assert found["orders"] == 16 + 14 + 11
    with pytest.raises(ValueError, match="at least 1 row"):
        likelihood(module.model, prepared, most_rows=0)


def test_few_sessions_are_cut_into_blocks(tmp_path, module, prepared):
    found = likelihood(module.model, prepared)
    assert (found["units"], found["unit"]) == (20, "block of consecutive orders")
    many = write_prepared(tmp_path, numbered_rows(3, 16), numbered_rows(25, 16))
    found = likelihood(module.model, many)
    assert (found["units"], found["unit"]) == (25, "session")
