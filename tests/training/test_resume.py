"""A resumed run is the uninterrupted run: same batches, same weights, from wherever it was cut off."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

STEPS = 12  # five batches an epoch: into the third one


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
    module = make_module(STEPS)
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
        seen, module = RowsSeen(), make_module(STEPS)
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
