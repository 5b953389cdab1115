import dataclasses

import pytest
import torch
from prepared_sets import numbered_rows, tokenizer, write_prepared
from tiny import MODEL, OPTIM

from mars_lmm.models.checkpoint import KEY, load_order_model, read_checkpoint
from mars_lmm.training.identity import check_resume


@pytest.fixture
def saved(tmp_path, make_module, make_data, make_trainer):
    """A checkpoint after two steps, and the module that was saved."""
    module = make_module(config={"seed": 0, "data": {"name": "planted", "dates": ["2024-01-05"], "path": None}})
    trainer = make_trainer(max_steps=2)
    trainer.fit(module, datamodule=make_data())
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    return path, module


def test_holds_plain_values_of_the_run(saved, prepared):
    path, _ = saved
    checkpoint = torch.load(path, weights_only=True)
    assert "state_dict" in checkpoint
    assert checkpoint[KEY].pop("validation")["step"] == 2
    assert checkpoint[KEY] == {
        "version": 2,
        "config": {"seed": 0, "data": {"name": "planted", "dates": ["2024-01-05"], "path": None}},
        "model": dataclasses.asdict(MODEL),
        "optim": dataclasses.asdict(OPTIM),
        "tokenizer": tokenizer().to_dict(),
        "fingerprint": prepared.fingerprint,
        "address": str(prepared.path),
        "cutoff": {"kind": "date", "value": "2024-01-05"},
        "data": {
            "feeds": ["synthetic"],
            "symbols": [],
            "days": [],
            "sessions": 0,
            "orders": {split: counts["orders"] for split, counts in prepared.splits.items()},
        },
        "step": 2,
    }


def test_the_newest_validation_is_told(tmp_path, make_module, make_data, make_trainer):
    """Also by a run that goes on: saved between two validations, it tells of the one before."""
    trainer = make_trainer(max_steps=5)
    trainer.fit(make_module(), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    told = read_checkpoint(tmp_path / "first.ckpt")[KEY]
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    scores = {name.removeprefix("validation/"): value for name, value in metrics.items() if "validation" in name}
    assert told["step"] == 5
    assert told["validation"] == {"step": 5, **scores}

    trainer = make_trainer(max_steps=6, limit_val_batches=0)
    trainer.fit(make_module(), datamodule=make_data(), ckpt_path=tmp_path / "first.ckpt", weights_only=True)
    trainer.save_checkpoint(tmp_path / "second.ckpt")
    assert read_checkpoint(tmp_path / "second.ckpt")[KEY] == told | {"step": 6}


def test_weights_alone_are_a_checkpoint_too(tmp_path, make_module, make_data, make_trainer):
    trainer = make_trainer(max_steps=2)
    trainer.fit(make_module(), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    load_order_model(tmp_path / "weights.ckpt")


def test_the_model_comes_back_from_the_file_alone(saved, prepared, make_data):
    path, module = saved
    model, run = load_order_model(path, prepared.tokenizer_checksum)
    assert run["fingerprint"] == prepared.fingerprint
    assert not model.training
    (batch,) = make_data(batch_size=7).val_dataloader()
    with torch.no_grad():
        assert torch.equal(model(batch["token"], batch["market"]), module.model.eval()(batch["token"], batch["market"]))


def test_refuses_data_of_another_tokenizer(saved):
    path, _ = saved
    with pytest.raises(ValueError, match=r"last\.ckpt was trained with tokenizer .* use the prepared set"):
        load_order_model(path, tokenizer(1).checksum)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "truncated", "foreign", "pickled", "tensor"])
def test_refuses_what_is_not_a_checkpoint(content, saved, tmp_path):
    path, _ = saved
    if content == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif content == "foreign":
        torch.save({"state_dict": {}}, path)
    elif content == "pickled":
        torch.save({KEY: tokenizer()}, path)
    elif content == "tensor":
        torch.save(torch.zeros(3), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        read_checkpoint(path)


def test_refuses_another_version(saved):
    path, _ = saved
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[KEY]["version"] = 99
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"last\.ckpt has version 99, this program reads 2"):
        load_order_model(path)


def test_resume_refuses_another_model_or_optimiser(saved, make_module, make_data, make_trainer):
    path, _ = saved
    module = make_module(model=dataclasses.replace(MODEL, width=32), optim=dataclasses.replace(OPTIM, weight_decay=0.0))
    with pytest.raises(ValueError, match=r"model\.width was 16, is 32; optim\.weight_decay was 0\.1, is 0\.0\. Give"):
        make_trainer().fit(module, datamodule=make_data(), ckpt_path=path, weights_only=True)


def test_resume_refuses_another_seed_or_schedule(saved, make_module):
    _, module = saved
    config = {"seed": 1, "schedule": {"max_steps": 99, "decay": "linear"}, "trainer": {"precision": "bf16-mixed"}}
    other = make_module(config=config)
    with pytest.raises(ValueError, match=r"another run: seed was 0, is 1; schedule\.decay was None, is linear\. Give"):
        check_resume(module.run, other.run)


def test_a_run_may_become_longer_and_move(saved, make_module):
    _, module = saved
    options = {"precision": "bf16-mixed", "devices": 2, "gradient_clip_val": 0.5}
    config = {"seed": 0, "schedule": {"max_steps": 99}, "trainer": options}
    check_resume(module.run, make_module(config=config).run)


def test_resume_refuses_other_data(saved, tmp_path, prepared, make_module, make_data, make_trainer):
    path, _ = saved
    rows = numbered_rows(30, prepared.row_length)
    other = write_prepared(tmp_path / "other", rows, rows, bins=1)
    with pytest.raises(ValueError, match=f"tokenizer was .*; the data was {prepared.fingerprint}, is .*start a new"):
        make_trainer().fit(
            make_module(prepared=other),
            datamodule=make_data(prepared=other),
            ckpt_path=path,
            weights_only=True,
        )
