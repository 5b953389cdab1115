import json

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import ROW_LENGTH

from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.training.fit import train

WSD = {"decay": "wsd", "decay_points": [3, 7], "decay_fraction": 0.3, "warmup_steps": 1}


class Cut(L.Callback):
    """Ends a run as a kill does: nothing is saved after."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise InterruptedError


class Validations(L.Callback):
    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, module):
        self.steps.append(trainer.global_step)


def last(folder):
    return ModelCheckpoint(folder, "last", enable_version_counter=False)


def test_each_decay_point_is_validated_and_kept(tmp_path, make_module, make_data, make_trainer):
    validations = Validations()
    metrics = train(make_module(**WSD), make_data(), make_trainer(callbacks=[validations]), tmp_path)
    assert validations.steps == [3, 4, 7, 8, 12]
    assert json.loads((tmp_path / "metrics.json").read_text())["decays"] == metrics["decays"]
    assert [point["step"] for point in metrics["decays"]] == [3, 7, 12]
    assert [point["orders_seen"] for point in metrics["decays"]] == [step * 4 * ROW_LENGTH for step in (3, 7, 12)]
    for point in metrics["decays"]:
        module = make_module()
        module.model, _ = load_order_model(tmp_path / "checkpoints" / f"decay-{point['step']}.ckpt")
        (result,) = make_trainer().validate(module, datamodule=make_data(), verbose=False)
        assert result["validation/nats"] == pytest.approx(point["validation_nats"])


def test_a_decay_point_ends_a_shorter_run(tmp_path, make_module, make_data, make_trainer):
    """A run of 7 steps with the point before has the loss that the long run notes at step 7."""
    long = train(make_module(**WSD), make_data(), make_trainer(), tmp_path)
    short = train(make_module(7, **WSD | {"decay_points": [3]}), make_data(), make_trainer(7), tmp_path)
    assert short["decays"] == long["decays"][:2]


@pytest.mark.parametrize("step", [2, 4, 7, 9])
def test_a_killed_run_notes_the_same(step, tmp_path, make_module, make_data, make_trainer):
    whole = make_module(**WSD)
    metrics = train(whole, make_data(), make_trainer(), tmp_path / "whole")
    folder = tmp_path / "cut"
    folder.mkdir()
    with pytest.raises(InterruptedError):
        train(make_module(**WSD), make_data(), make_trainer(callbacks=[last(folder), Cut(step)]), folder)
    saved = folder / "last.ckpt"
    validations, module = Validations(), make_module(**WSD)
    trainer = make_trainer(callbacks=[last(folder), validations])
    resumed = train(module, make_data(), trainer, folder, saved if saved.exists() else None)
    assert resumed["decays"] == metrics["decays"]
    assert validations.steps == [at for at in (3, 4, 7, 8, 12) if at > {2: 0, 4: 4, 7: 7, 9: 8}[step]]
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, whole.state_dict()[name]), name


def test_goes_on_from_a_decay_point(tmp_path, make_module, make_data, make_trainer):
    whole, module = make_module(**WSD), make_module(**WSD)
    metrics = train(whole, make_data(), make_trainer(), tmp_path)
    again = train(module, make_data(), make_trainer(), tmp_path, tmp_path / "checkpoints" / "decay-7.ckpt")
    assert again["decays"] == metrics["decays"]
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, whole.state_dict()[name]), name


def test_accumulated_batches_are_one_step(tmp_path, make_module, make_data, make_trainer):
    validations = Validations()
    trainer = make_trainer(6, accumulate_grad_batches=2, val_check_interval=100, callbacks=[validations])
    metrics = train(make_module(6, **WSD | {"decay_points": [3]}), make_data(batch_size=2), trainer, tmp_path)
    assert validations.steps == [3, 6]
    rows = [3 * 4, 22]  # the last of an epoch's eleven batches is a step alone
    assert [point["orders_seen"] for point in metrics["decays"]] == [seen * ROW_LENGTH for seen in rows]


def test_other_schedules_decay_once(tmp_path, make_module, make_data, make_trainer):
    metrics = train(make_module(), make_data(), make_trainer(), tmp_path)
    assert [point["step"] for point in metrics["decays"]] == [12]
    assert not (tmp_path / "checkpoints").exists()


def test_without_validation_nothing_is_noted(tmp_path, make_module, make_data, make_trainer):
    metrics = train(make_module(**WSD), make_data(), make_trainer(limit_val_batches=0), tmp_path)
    assert metrics["decays"] == []
