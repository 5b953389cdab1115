"""Two ranks train on the same global batches as one, and validate on the same orders."""

import pytest
import torch


@pytest.mark.slow
def test_two_ranks_are_one(make_module, make_data, make_trainer):
    """Equal up to the order of sums: 4 rows on one rank, 2 on each of two."""
    alone, shared = make_module(), make_module()
    one, two = make_trainer(), make_trainer(devices=2, strategy="ddp_spawn")
    one.fit(alone, datamodule=make_data(batch_size=4))
    two.fit(shared, datamodule=make_data(batch_size=2))
    for name, weight in alone.state_dict().items():
        assert torch.allclose(weight, shared.state_dict()[name], rtol=1e-4, atol=1e-5), name
    nats = [trainer.callback_metrics["validation/nats"].item() for trainer in (one, two)]
    assert nats[1] == pytest.approx(nats[0], rel=1e-5)
