"""Two ranks train on the same global batches as one, and validate on the same orders."""

import numpy as np
import pytest
import torch
from prepared_sets import numbered_rows, with_packed, write_prepared

from mars_lmm.data.prepared import TRAIN


@pytest.mark.slow
def test_two_ranks_are_one(tmp_path, make_module, make_data, make_trainer):
    """Equal up to the order of sums: 4 rows on one rank, 2 on each of two; packed rows score fewer orders."""
    whole = write_prepared(tmp_path / "set", numbered_rows(9, 16), numbered_rows(7, 16), np.arange(7))
    prepared = with_packed(whole, TRAIN, [numbered_rows(1, length)[0] for length in (3, 10, 9, 1, 14, 5, 8)])
    alone, shared = make_module(prepared=prepared), make_module(prepared=prepared)
    one, two = make_trainer(), make_trainer(devices=2, strategy="ddp_spawn")
    one.fit(alone, datamodule=make_data(batch_size=4, prepared=prepared))
    two.fit(shared, datamodule=make_data(batch_size=2, prepared=prepared))
    for name, weight in alone.state_dict().items():
        assert torch.allclose(weight, shared.state_dict()[name], rtol=1e-4, atol=1e-5), name
    nats = [trainer.callback_metrics["validation/nats"].item() for trainer in (one, two)]
    assert nats[1] == pytest.approx(nats[0], rel=1e-5)
