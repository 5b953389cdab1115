import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from mars_lmm.models.checkpoint import read_checkpoint
from mars_lmm.training.checkpoints import LastCheckpoint
from mars_lmm.training.divergence import STEPS_PER_CHECK, Divergence
from mars_lmm.training.fit import train
from mars_lmm.training.schedules import ScheduleConfig, learning_rate_factor

STEPS = 120


class Scripted(L.LightningModule):
    """Its losses are given; a validation follows every tenth step."""

    def __init__(self, losses, schedule=None):
        super().__init__()
        self.losses = losses
        self.schedule = schedule or ScheduleConfig(max_steps=len(losses), warmup_steps=0)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return self.weight.sum() * 0 + self.losses[int(batch[0])]

    def validation_step(self, batch, batch_idx):
        self.log("validation/nats", 1.0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.arange(len(self.losses))))

    def val_dataloader(self):
        return DataLoader(TensorDataset(torch.zeros(1)))


class Saved(L.Callback):
    """Steps of which last.ckpt was written."""

    def __init__(self):
        self.steps = []

    def on_save_checkpoint(self, trainer, module, checkpoint):
        self.steps.append(checkpoint["global_step"])


def noise(steps=STEPS):
    """Around 5, deviation 0.1."""
    return (5 + 0.1 * torch.randn(steps, generator=torch.Generator().manual_seed(0))).tolist()


def options():
    return {"factor": 7.0, "window": 32, "patience": 8}


def run(module, folder, make_trainer, callbacks=(), **trainer):
    folder.mkdir(exist_ok=True)
    saved = Saved()
    last = LastCheckpoint(folder)
    callbacks = [*callbacks, Divergence(**options()), last, saved]
    trainer = make_trainer(len(module.losses), callbacks=callbacks, val_check_interval=10, **trainer)
    try:
        trainer.fit(module)
    finally:
        run.saved = saved.steps
    return trainer


def test_noise_is_no_divergence(tmp_path, make_trainer):
    run(Scripted(noise()), tmp_path, make_trainer)
    assert run.saved == [*range(10, STEPS + 1, 10)]


def test_a_spike_stops_the_run(tmp_path, make_trainer):
    losses = noise()
    losses[75:] = [8.0] * (STEPS - 75)
    with pytest.raises(FloatingPointError) as error:
        run(Scripted(losses), tmp_path, make_trainer)
    message = str(error.value)
    assert "for 8 steps, and is 8 at step 82; before, it was" in message
    assert "last.ckpt is from before: start anew (fresh=true) with a lower optim.learning_rate" in message
    assert "\n" not in message
    threshold = float(message.split("above ")[1].split()[0])
    assert 5.4 < threshold < 6.1  # 7 deviations of 0.1
    assert run.saved[-1] == 70  # step 80 was validated while the loss was suspicious
    assert torch.load(tmp_path / "last.ckpt")["global_step"] == 70


def test_a_spike_that_passes_is_let_pass(tmp_path, make_trainer):
    losses = noise()
    losses[75:82] = [8.0] * 7
    run(Scripted(losses), tmp_path, make_trainer)
    assert run.saved == [step for step in range(10, STEPS + 1, 10) if step != 80]


def test_it_is_not_the_rise_that_counts_but_the_height(tmp_path, make_trainer):
    """A loss that creeps back up within its noise goes on."""
    losses = [loss + max(0, step - 60) * 0.002 for step, loss in enumerate(noise())]
    run(Scripted(losses), tmp_path, make_trainer)


def test_the_warm_up_may_do_what_it_likes(tmp_path, make_trainer):
    losses = noise()
    losses[40:60] = [8.0] * 20
    module = Scripted(losses, ScheduleConfig(STEPS, warmup_steps=60))
    run(module, tmp_path, make_trainer)
    assert run.saved == [*range(10, STEPS + 1, 10)]


def test_the_loss_rises_again_after_a_decay(tmp_path, make_trainer):
    """What it fell by in the decay to step 80 comes back with the learning rate."""
    schedule = ScheduleConfig(STEPS, 0, "wsd", [80], 0.5)
    losses = [loss if learning_rate_factor(at, schedule) == 1 else loss - 2 for at, loss in enumerate(noise())]
    assert losses[79] < 3.5 < losses[80]
    run(Scripted(losses, schedule), tmp_path, make_trainer)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 44, 69])
def test_a_loss_that_is_not_finite_stops_at_once(value, at, tmp_path, make_trainer):
    losses = noise()
    losses[at] = value
    with pytest.raises(FloatingPointError, match=f"the loss is {value} at step {at}; "):
        run(Scripted(losses), tmp_path, make_trainer)
    assert run.saved == [*range(10, at + 1, 10)]


class Elsewhere(Divergence):
    """Reads losses as on an accelerator: only now and then."""

    def on_train_batch_end(self, trainer, *batch):
        device = trainer.strategy._root_device
        trainer.strategy._root_device = torch.device("meta")
        try:
            super().on_train_batch_end(trainer, *batch)
        finally:
            trainer.strategy._root_device = device


@pytest.mark.parametrize("at", [44, 49, 50])
def test_losses_wait_on_an_accelerator_but_no_checkpoint_does(at, tmp_path, make_trainer):
    losses = noise()
    losses[at] = math.nan
    saved = Saved()
    callbacks = [Elsewhere(), ModelCheckpoint(tmp_path), saved]
    trainer = make_trainer(STEPS, callbacks=callbacks, val_check_interval=10)
    with pytest.raises(FloatingPointError, match=f"the loss is nan at step {at}; "):
        trainer.fit(Scripted(losses))
    assert trainer.global_step <= at + STEPS_PER_CHECK
    assert saved.steps == [*range(10, at + 1, 10)]


def test_a_mean_over_accumulated_batches(tmp_path, make_trainer):
    """Five batches of 15 in a step; an epoch's last step has fewer."""
    losses = noise(64)
    losses[62] = math.inf
    with pytest.raises(FloatingPointError, match="at step 12; "):
        run(Scripted(losses), tmp_path, make_trainer, accumulate_grad_batches=5)


def test_a_resumed_run_stops_where_it_would_have(tmp_path, make_trainer):
    losses = noise()
    losses[75:] = [8.0] * (STEPS - 75)
    every = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    with pytest.raises(FloatingPointError) as first:
        run(Scripted(losses), tmp_path, make_trainer, [every])
    for step in (40, 70, 79):
        module = Scripted([*losses[step:], *losses[:step]])  # its loader does not resume
        trainer = make_trainer(STEPS, callbacks=[Divergence(**options()), LastCheckpoint(tmp_path)])
        with pytest.raises(FloatingPointError) as second:
            trainer.fit(module, ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert str(second.value) == str(first.value)


class Poison(L.Callback):
    """Gradients that are not finite from a loss that is."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        if trainer.global_step == 5:
            next(module.model.parameters()).grad.fill_(math.nan)


@pytest.mark.parametrize("interval", [3, 100])
def test_weights_are_checked_before_they_are_saved(interval, tmp_path, make_module, make_data, make_trainer):
    every = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    callbacks = [Poison(), Divergence(), LastCheckpoint(tmp_path), every]
    trainer = make_trainer(callbacks=callbacks, val_check_interval=interval, gradient_clip_val=1.0)
    with pytest.raises(FloatingPointError, match="the weights are not finite after step 5; "):
        train(make_module(), make_data(), trainer, tmp_path)
    saved = {path.stem: read_checkpoint(path) for path in tmp_path.glob("*.ckpt")}
    assert saved.keys() == {*(f"step={step}" for step in range(1, 6)), *(["last"] if interval == 3 else [])}
    for name, checkpoint in saved.items():
        assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values()), name


class OneRankFails(L.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            module.losses = [math.nan] * len(module.losses)


@pytest.mark.slow
def test_ranks_stop_together(tmp_path, make_trainer):
    callbacks = [OneRankFails(), Divergence(**options())]
    trainer = make_trainer(20, callbacks=callbacks, devices=2, strategy="ddp_spawn")
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="the loss is nan at step 2; "):
        trainer.fit(Scripted(noise(40)))


@pytest.mark.parametrize("wrong", [{"factor": 0}, {"window": 1}, {"patience": 0}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Divergence(**wrong)
