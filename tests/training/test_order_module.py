import math

import lightning as L
import numpy as np
import pytest
import torch
from prepared_sets import market_of, numbered_rows, with_packed, write_prepared

from mars_lmm.data.prepared import VALIDATION
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.schedules import ScheduleConfig, learning_rate_factor


class Record(L.Callback):
    """What the Trainer logs at every step."""

    def __init__(self):
        self.losses, self.rates, self.validated = [], [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer, module):
        self.validated.append(trainer.global_step)


def nats_of(module, batch):
    """float64[B, T], row by row and without a mask."""
    with torch.no_grad():
        hidden = module.model(batch["token"][:, :-1], batch["market"][:, :-1])
        return module.model.nll(hidden, batch["token"][:, 1:]).double().numpy()


def training_loss(module, batch, trainer):
    """What a training step makes of a batch, outside of a run."""
    module.trainer, module.log = trainer, lambda *args, **kwargs: None
    return module.training_step(batch, 0).item()


def test_loss_is_the_mean_over_scored_targets(make_module, make_data, make_trainer):
    module = make_module()
    (batch,) = make_data(batch_size=7).val_dataloader()
    nats = nats_of(module, batch)
    scored = np.concatenate([row[first:] for first, row in enumerate(nats)])
    assert len(scored) == sum(16 - first for first in range(7))
    assert training_loss(module, batch, make_trainer()) == pytest.approx(scored.mean(), rel=1e-6)


def test_packed_sessions_cost_what_they_cost_alone(tmp_path, make_module, make_data, make_trainer):
    sessions = [numbered_rows(1, length - 1)[0] for length in (5, 9, 2, 12)]
    few = write_prepared(tmp_path / "few", numbered_rows(2, 16), numbered_rows(1, 16))
    packed = with_packed(few, VALIDATION, sessions)
    module = make_module(prepared=packed)
    (batch,) = make_data(batch_size=7, prepared=packed).val_dataloader()
    rows = [*numbered_rows(1, 16), *sessions]
    alone = [{"token": torch.tensor(row[None]), "market": torch.tensor(market_of(row)[None])} for row in rows]
    expected = np.concatenate([nats_of(module, row)[0] for row in alone])
    assert training_loss(module, batch, make_trainer()) == pytest.approx(expected.mean(), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_validation_is_the_mean_over_all_scored_targets(batch_size, make_module, make_data, make_trainer):
    module = make_module()
    (batch,) = make_data(batch_size=7).val_dataloader()
    nats = nats_of(module, batch)
    scored = np.concatenate([row[first:] for first, row in enumerate(nats)])
    (result,) = make_trainer().validate(module, datamodule=make_data(batch_size), verbose=False)
    assert result["validation/nats"] == pytest.approx(scored.mean(), rel=1e-6)
    assert result["validation/bits"] == pytest.approx(scored.mean() / math.log(2), rel=1e-6)
    fields = [result[f"validation/bits_{field}"] for field in ("type", "price", "size", "interval")]
    assert sum(fields) == pytest.approx(result["validation/bits"], rel=1e-6)
    # A fresh model is close to uniform over each field.
    assert fields == pytest.approx([math.log2(3), 5, 5, 4], rel=0.02)


def test_an_untrained_model_knows_nothing(make_module, make_data, make_trainer):
    """Random tokens cost ln V whatever the model, and a fresh one is close to uniform."""
    (result,) = make_trainer().validate(make_module(), datamodule=make_data(), verbose=False)
    assert result["validation/nats"] == pytest.approx(math.log(49_152), rel=0.01)


def test_learns_a_handful_of_rows_by_heart(tmp_path, make_module, make_data, make_trainer):
    rows = numbered_rows(4, 16)
    record = Record()
    few = write_prepared(tmp_path / "few", rows, rows)
    trainer = make_trainer(max_steps=120, val_check_interval=120, callbacks=[record], gradient_clip_val=1.0)
    module = make_module(max_steps=120, optim=OptimConfig(learning_rate=1e-2), prepared=few)
    trainer.fit(module, datamodule=make_data(prepared=few))
    assert record.losses[0] == pytest.approx(math.log(49_152), rel=0.02)
    assert trainer.callback_metrics["validation/nats"] < 1.0


def test_learning_rate_follows_the_schedule(make_module, make_data, make_trainer):
    record = Record()
    make_trainer(callbacks=[record]).fit(make_module(), datamodule=make_data())
    schedule = ScheduleConfig(12, warmup_steps=2)
    assert record.rates == pytest.approx([3e-3 * learning_rate_factor(step, schedule) for step in range(12)])


@pytest.mark.parametrize(("max_steps", "validated"), [(12, [4, 8, 12]), (10, [4, 8, 10]), (3, [3])])
def test_the_last_step_is_validated(max_steps, validated, make_module, make_data, make_trainer):
    record = Record()
    trainer = make_trainer(max_steps=max_steps, callbacks=[record])
    trainer.fit(make_module(), datamodule=make_data())
    assert record.validated == validated
    assert trainer.global_step == max_steps


def test_accumulation_counts_optimiser_steps(make_module, make_data, make_trainer):
    record = Record()
    trainer = make_trainer(max_steps=3, accumulate_grad_batches=2, callbacks=[record])
    trainer.fit(make_module(), datamodule=make_data())
    assert trainer.global_step == 3
    assert record.validated[-1] == 3


@pytest.mark.parametrize("max_steps", [-1, 13])
def test_trainer_and_schedule_must_agree(max_steps, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=max_steps, max_epochs=1)
    with pytest.raises(ValueError, match=r"set trainer\.max_steps = schedule\.max_steps"):
        trainer.fit(make_module(max_steps=12), datamodule=make_data())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_clips_by_the_norm_that_is_logged(precision, make_module, make_data, make_trainer):
    """As one call of torch does, on the gradients of the same batch."""
    norms, clipped = [], []

    class Gradients(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            norms.append(torch.nn.utils.get_total_norm([p.grad for p in module.parameters()]).item())

        def on_before_zero_grad(self, trainer, module, optimizer):
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            clipped.append(torch.nn.utils.get_total_norm(gradients).item())

        def on_train_batch_end(self, trainer, module, *batch):
            assert trainer.callback_metrics["train/gradient_norm"].item() == pytest.approx(norms[-1])

    trainer = make_trainer(max_steps=4, precision=precision, gradient_clip_val=0.05, callbacks=[Gradients()])
    trainer.fit(make_module(), datamodule=make_data())
    assert min(norms) > 0.05
    assert clipped[1:] == pytest.approx([0.05] * 3, rel=1e-3)


def test_other_clipping_is_the_trainers(make_module, make_data, make_trainer):
    for options in ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, {}):
        trainer = make_trainer(max_steps=2, **options)
        trainer.fit(make_module(), datamodule=make_data())
        assert "train/gradient_norm" not in trainer.callback_metrics


def test_clipping_under_mixed_precision(make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=2, precision="bf16-mixed", gradient_clip_val=1.0)
    trainer.fit(make_module(), datamodule=make_data())
    assert trainer.global_step == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_trains_on_a_gpu(name, precision, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=4, accelerator="gpu", devices=1, precision=precision, gradient_clip_val=1.0)
    module = make_module(optim=OptimConfig(name=name, learning_rate=3e-3))
    trainer.fit(module, datamodule=make_data(num_workers=2))
    assert trainer.global_step == 4
    assert trainer.optimizers[0].param_groups[-1]["fused"] == (None if precision == "16-mixed" else True)
