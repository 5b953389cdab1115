import csv
import errno
import json
import math
import os
import signal
import time

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from mars_lmm.models.checkpoint import load_order_model, read_checkpoint
from mars_lmm.training.checkpoints import BATCHES_PER_QUESTION, LastCheckpoint
from mars_lmm.training.fit import forget, train
from mars_lmm.training.wandb_run import RunWandbLogger


def checkpoints(folder):
    """The best and the newest, as docs/training.md has it."""
    best = ModelCheckpoint(folder, "best", monitor="validation/nats", enable_version_counter=False)
    return [best, LastCheckpoint(str(folder))]


def test_writes_metrics(tmp_path, prepared, make_module, make_data, make_trainer):
    module = make_module()
    metrics = train(module, make_data(), make_trainer(), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["validation_nats"] == pytest.approx(math.log(49_152), rel=0.02)
    assert metrics["final_validation_nats"] >= metrics["validation_nats"]
    assert metrics["step"] == 12
    assert metrics["batch_orders"] == 4 * prepared.row_length
    assert metrics["orders_seen"] == 12 * metrics["batch_orders"]
    assert metrics["sequence_length"] == prepared.row_length
    assert metrics["flops"] == module.model.flops_per_token(prepared.row_length) * metrics["orders_seen"]
    assert metrics["data_fingerprint"] == prepared.fingerprint
    assert metrics["learning_rate"] == 3e-3
    assert metrics["parameters"]["total"] == sum(p.numel() for p in module.parameters())
    assert 0 < metrics["seconds"] < 60


def test_accumulated_batches_are_orders_seen(tmp_path, prepared, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=3, accumulate_grad_batches=2)
    metrics = train(make_module(), make_data(batch_size=2), trainer, tmp_path)
    assert metrics["orders_seen"] == 3 * 2 * 2 * prepared.row_length
    assert metrics["batch_orders"] == 2 * 2 * prepared.row_length


def test_without_validation_there_are_no_nats(tmp_path, make_module, make_data, make_trainer):
    trainer = make_trainer(limit_val_batches=0, callbacks=[LastCheckpoint(str(tmp_path))])
    metrics = train(make_module(), make_data(), trainer, tmp_path)
    assert metrics["validation_nats"] is metrics["final_validation_nats"] is None
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 12


def test_a_resumed_run_counts_from_its_beginning(tmp_path, prepared, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=6, callbacks=checkpoints(tmp_path))
    first = train(make_module(), make_data(), trainer, tmp_path)
    time.sleep(0.1)
    trainer = make_trainer(callbacks=checkpoints(tmp_path))
    second = train(make_module(), make_data(), trainer, tmp_path, tmp_path / "last.ckpt")
    assert second["step"] == 12
    assert second["orders_seen"] == 12 * 4 * prepared.row_length
    assert second["seconds"] > first["seconds"]
    assert second["validation_nats"] <= first["validation_nats"]


def test_a_finished_run_stays_as_it_is(tmp_path, make_module, make_data, make_trainer):
    first = train(make_module(), make_data(), make_trainer(callbacks=checkpoints(tmp_path)), tmp_path)
    again = train(make_module(), make_data(), make_trainer(), tmp_path, tmp_path / "last.ckpt")
    assert first | {"seconds": again["seconds"]} == again


def test_best_and_last_are_kept(tmp_path, make_module, make_data, make_trainer):
    """Random tokens: validation is best at the first look, and gets worse."""
    trainer = make_trainer(max_steps=40, callbacks=checkpoints(tmp_path))
    metrics = train(make_module(max_steps=40), make_data(), trainer, tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    data = make_data()
    for name, nats in (
        ("best", metrics["validation_nats"]),
        ("last", trainer.callback_metrics["validation/nats"].item()),
    ):
        module = make_module()
        module.model, _ = load_order_model(tmp_path / f"{name}.ckpt")
        (result,) = make_trainer().validate(module, datamodule=data, verbose=False)
        assert result["validation/nats"] == pytest.approx(nats), name
    assert trainer.callback_metrics["validation/nats"] > metrics["validation_nats"]


def test_a_broken_checkpoint_is_named(tmp_path, make_module, make_data, make_trainer):
    (tmp_path / "broken.ckpt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"broken\.ckpt is not a checkpoint"):
        train(make_module(), make_data(), make_trainer(), tmp_path, tmp_path / "broken.ckpt")


class Bits(L.Callback):
    """Validation falls and then rises; a metric beside it, as the model logs one for each field."""

    def on_validation_epoch_end(self, trainer, module):
        module.log("validation/bits_price", float(trainer.global_step))


def test_other_validation_metrics_are_told_too(tmp_path, make_module, make_data, make_trainer):
    metrics = train(make_module(max_steps=40), make_data(), make_trainer(40, callbacks=[Bits()]), tmp_path)
    assert metrics["validation_bits_price"] == 4  # random tokens: the first look is the best
    assert metrics["final_validation_bits_price"] == 40


def test_an_interrupted_run_has_no_metrics(tmp_path, make_module, make_data, make_trainer):
    trainer = make_trainer(6, callbacks=checkpoints(tmp_path))
    train(make_module(), make_data(), trainer, tmp_path)
    with pytest.raises(ZeroDivisionError):
        train(make_module(), make_data(), make_trainer(callbacks=[Fail(8)]), tmp_path, tmp_path / "last.ckpt")
    assert not (tmp_path / "metrics.json").exists()


class Fail(L.Callback):
    """Ends the run at a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise ZeroDivisionError


@pytest.mark.parametrize(
    ("options", "step"), [({}, 4), ({"every_n_train_steps": 3}, 6), ({"every_n_minutes": 1e-9}, 7)]
)
def test_the_newest_checkpoint(options, step, tmp_path, make_module, make_data, make_trainer):
    trainer = make_trainer(callbacks=[LastCheckpoint(str(tmp_path), **options), Fail(7)])
    with pytest.raises(ZeroDivisionError):
        train(make_module(), make_data(), trainer, tmp_path)
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == step


@pytest.mark.parametrize("options", [{"every_n_train_steps": 0}, {"every_n_minutes": -1}])
def test_a_checkpoint_needs_a_distance(options, tmp_path):
    with pytest.raises(ValueError, match=r"it must be above 0, or null"):
        LastCheckpoint(str(tmp_path), **options)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path, monkeypatch, make_module, make_data, make_trainer
):
    train(make_module(), make_data(), make_trainer(6, callbacks=checkpoints(tmp_path)), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt*")}

    def full(checkpoint, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    trainer = make_trainer(callbacks=checkpoints(tmp_path))
    with pytest.raises(OSError, match="No space"):
        train(make_module(), make_data(), trainer, tmp_path, tmp_path / "last.ckpt")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt*")} == before


def test_unfinished_files_of_a_killed_start_are_removed(tmp_path, make_module, make_data, make_trainer):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.ckpt.1.partial").write_bytes(b"half")
    train(make_module(), make_data(), make_trainer(2), tmp_path)
    assert not list(folder.iterdir())


def test_ctrl_c_ends_the_run_with_a_checkpoint(tmp_path, make_module, make_data, make_trainer, capsys):
    class Press(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.fit_loop.total_batch_idx == 4:  # the first of the two batches of a step
                signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    trainer = make_trainer(accumulate_grad_batches=2, callbacks=[*checkpoints(tmp_path), Press()])
    with pytest.raises(SystemExit) as exit:
        train(make_module(), make_data(batch_size=2), trainer, tmp_path)
    assert exit.value.code == 130
    assert "SIGINT: stopped at step 3; the same command goes on" in capsys.readouterr().err
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_many_ranks_agree_to_stop_now_and_then(tmp_path, make_module, make_data, make_trainer, monkeypatch):
    asked = []

    class Press(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGTERM)

    def ask(decision, all):
        asked.append(trainer.global_step)
        return decision

    trainer = make_trainer(40, val_check_interval=100, callbacks=[*checkpoints(tmp_path), Press()])
    monkeypatch.setattr(type(trainer), "world_size", 2)
    monkeypatch.setattr(trainer.strategy, "reduce_boolean_decision", ask)
    with pytest.raises(SystemExit):
        train(make_module(40), make_data(), trainer, tmp_path)
    assert set(asked) == {BATCHES_PER_QUESTION}
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == BATCHES_PER_QUESTION


def test_logs_nats_to_a_file(tmp_path, make_module, make_data, make_trainer):
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(logger=logger, log_every_n_steps=3)
    train(make_module(), make_data(), trainer, tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["train/nats"]] == [2, 5, 8, 11]
    assert [int(row["step"]) for row in rows if row["validation/nats"]] == [3, 7, 11]


@pytest.mark.slow
def test_wandb_works_offline_without_a_key(tmp_path, monkeypatch, make_module, make_data, make_trainer):
    """Two starts are one run; a fresh one is another."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")  # put back afterwards, for the logger sets it

    def start(max_steps, checkpoint):
        logger = RunWandbLogger(project="mars_lmm", save_dir=str(tmp_path), offline=True)
        trainer = make_trainer(max_steps, logger=logger, log_every_n_steps=1, callbacks=checkpoints(tmp_path))
        train(make_module(), make_data(), trainer, tmp_path, checkpoint)
        time.sleep(1.1)  # folders are named by the second
        return (tmp_path / "wandb_id").read_text()

    first, second = start(6, None), start(12, tmp_path / "last.ckpt")
    forget(tmp_path)
    third = start(2, None)
    assert first == second != third
    runs = [path.name.split("-")[-1] for path in sorted(tmp_path.glob("wandb/offline-run-*"))]
    assert runs == [first, second, third]
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 3
