import csv
import json
import math
import time

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.training.fit import train


def checkpoints(folder):
    """The best and the newest, as docs/training.md has it."""
    names = {"dirpath": folder, "enable_version_counter": False}
    return [
        ModelCheckpoint(**names, filename="best", monitor="validation/nats"),
        ModelCheckpoint(**names, filename="last"),
    ]


def test_writes_metrics(tmp_path, prepared, make_module, make_data, make_trainer):
    module = make_module()
    metrics = train(module, make_data(), make_trainer(), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["validation_nats"] == pytest.approx(math.log(49_152), rel=0.02)
    assert metrics["step"] == 12
    assert metrics["orders_seen"] == 12 * 4 * prepared.row_length
    assert metrics["parameters"]["total"] == sum(p.numel() for p in module.parameters())
    assert 0 < metrics["seconds"] < 60


def test_accumulated_batches_are_orders_seen(tmp_path, prepared, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=3, accumulate_grad_batches=2)
    metrics = train(make_module(), make_data(batch_size=2), trainer, tmp_path)
    assert metrics["orders_seen"] == 3 * 2 * 2 * prepared.row_length


def test_without_validation_there_are_no_nats(tmp_path, make_module, make_data, make_trainer):
    metrics = train(make_module(), make_data(), make_trainer(limit_val_batches=0), tmp_path)
    assert metrics["validation_nats"] is None


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


def test_logs_nats_to_a_file(tmp_path, make_module, make_data, make_trainer):
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(logger=logger, log_every_n_steps=3)
    train(make_module(), make_data(), trainer, tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["train/nats"]] == [2, 5, 8, 11]
    assert [int(row["step"]) for row in rows if row["validation/nats"]] == [3, 7, 11]


@pytest.mark.slow
def test_wandb_works_offline_without_a_key(tmp_path, monkeypatch, make_module, make_data, make_trainer):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    logger = WandbLogger(project="mars_lmm", save_dir=tmp_path, offline=True)
    train(make_module(), make_data(), make_trainer(logger=logger, log_every_n_steps=1), tmp_path)
    logger.experiment.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
