"""A resumed run is the uninterrupted run: same batches, same weights, from wherever it was cut off."""

import csv
import dataclasses

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import MODEL

from mars_lmm.training.checkpoints import LastCheckpoint
from mars_lmm.training.curves import CurveLogger, join_curves
from mars_lmm.training.fit import train

STEPS = 12  # five batches an epoch: into the third one
DROPPING = dataclasses.replace(MODEL, dropout=0.1)


class RowsSeen(L.Callback):
    def __init__(self):
        self.rows = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.rows.append(batch["token"][:, 0].tolist())


class EpochEndCheckpoint(L.Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_end(self, trainer, module):
        trainer.save_checkpoint(self.folder / f"epoch-end-{trainer.global_step}.ckpt")


@pytest.fixture
def uninterrupted(tmp_path, make_module, make_data, make_trainer):
    """Rows and weights of a whole run that was saved after every step, every validation and every epoch."""
    seen = RowsSeen()
    names = {"dirpath": tmp_path, "save_top_k": -1, "auto_insert_metric_name": False}
    callbacks = [
        seen,
        EpochEndCheckpoint(tmp_path),
        ModelCheckpoint(**names, filename="step-{step}", every_n_train_steps=1),
        ModelCheckpoint(**names, filename="validation-{step}", save_on_train_epoch_end=False),
    ]
    module = make_module(STEPS, DROPPING)
    make_trainer(STEPS, callbacks=callbacks).fit(module, datamodule=make_data())
    return seen.rows, module.state_dict()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumes_anywhere(num_workers, tmp_path, uninterrupted, make_module, make_data, make_trainer):
    rows, weights = uninterrupted
    saved = [f"step-{step}" for step in range(1, STEPS)] + ["validation-4", "validation-8"]
    saved += ["epoch-end-5", "epoch-end-10"]
    if num_workers:
        saved = ["step-3", "step-5", "validation-8", "epoch-end-10"]
    for name in saved:
        seen, module = RowsSeen(), make_module(STEPS, DROPPING)
        trainer = make_trainer(STEPS, callbacks=[seen])
        data = make_data(num_workers=num_workers)
        trainer.fit(module, datamodule=data, ckpt_path=tmp_path / f"{name}.ckpt", weights_only=True)
        assert seen.rows == rows[int(name.split("-")[-1]) :], name
        for key, weight in module.state_dict().items():
            assert torch.equal(weight, weights[key]), (name, key)


def test_a_finished_run_can_go_on(tmp_path, make_module, make_data, make_trainer):
    """More steps than planned: the rows go on where they ended."""
    seen = RowsSeen()
    trainer = make_trainer(20, callbacks=[seen])
    trainer.fit(make_module(20), datamodule=make_data())
    first, second = RowsSeen(), RowsSeen()
    trainer = make_trainer(10, callbacks=[first])
    trainer.fit(make_module(10), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    trainer = make_trainer(20, callbacks=[second])
    trainer.fit(make_module(20), datamodule=make_data(), ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    assert first.rows + second.rows == seen.rows
    assert trainer.global_step == 20


def test_the_curves_of_a_run_that_goes_on(tmp_path, make_module, make_data, make_trainer):
    """The last step of a run is validated, also where no validation is due: the steps are counted on from there."""
    options = {"log_every_n_steps": 1, "val_check_interval": 4}
    logger = CurveLogger(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    train(make_module(14), make_data(), make_trainer(14, logger=logger, **options), tmp_path / "whole")
    for steps in (6, 14):
        saved = tmp_path / "last.ckpt"
        callbacks = [LastCheckpoint(str(tmp_path))]
        trainer = make_trainer(steps, logger=CurveLogger(tmp_path / "parts"), callbacks=callbacks, **options)
        checkpoint = saved if saved.exists() else None
        train(make_module(14), make_data(), trainer, tmp_path, checkpoint)
    steps = {}
    for name in ("whole", "parts"):
        join_curves(tmp_path / name)
        rows = list(csv.DictReader((tmp_path / name / "metrics.csv").open()))
        steps[name] = [(row["step"], row["train/nats"]) for row in rows if row["train/nats"]]
    assert steps["parts"] == steps["whole"]
    assert len(steps["whole"]) == 14
