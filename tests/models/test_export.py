"""A checkpoint becomes a folder, and the folder a checkpoint, without a bit of difference."""

import json
import re
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from prepared_sets import tokenizer
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mars_lmm.models import OrderModelConfig
from mars_lmm.models.checkpoint import KEY, VERSION, build_model, load_order_model
from mars_lmm.models.export import main
from mars_lmm.models.heads import HEADS

FILES = {"model.safetensors", "config.json", "tokenizer.json", "README.md"}


def described(head="fields", **changes):
    """What a checkpoint says of its run."""
    return {
        "version": VERSION,
        "config": {"name": "planted", "seed": 7},
        "model": asdict(OrderModelConfig(width=16, layers=1, heads=2, window=8, head=head)),
        "optim": {"learning_rate": 1e-3},
        "tokenizer": tokenizer().to_dict(),
        "fingerprint": "0123456789abcdef",
        "cutoff": {"kind": "time", "value": "13:00"},
        "data": {
            "feeds": ["lobster"],
            "symbols": ["GOOG"],
            "days": ["2012-06-21"],
            "sessions": 1,
            "orders": {"train": 78_416, "validation": 63_718},
        },
        "provenance": {
            "command": "python train.py",
            "git": {"commit": "abcdef", "dirty": True, "diff_sha256": None},
            "versions": {"torch": "2.13.0"},
        },
        "step": 700,
        "validation": {"step": 700, "nats": 7.589, "bits": 10.949, "bits_type": 1.0, "bits_price": 9.949},
        **changes,
    }


def save(path, run, dtype=torch.float32):
    """A checkpoint with random weights in every tensor; returns them by name."""
    torch.manual_seed(0)
    model = build_model(run)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    weights = {name: weight.to(dtype) for name, weight in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"model.{name}": weight for name, weight in weights.items()}
    torch.save({KEY: run, "state_dict": state, "optimizer_states": [{}]}, path)
    return weights


@pytest.fixture
def checkpoint(tmp_path):
    save(tmp_path / "some.ckpt", described())
    return tmp_path / "some.ckpt"


@pytest.fixture
def exported(checkpoint, tmp_path):
    assert main([str(checkpoint), str(tmp_path / "exported")]) == 0
    return tmp_path / "exported"


def result(capsys):
    """The object in the last line of standard output."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys, *arguments):
    """What a command that is refused says."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back_bit_for_bit(head, dtype, tmp_path, capsys):
    run = described(head)
    weights = save(tmp_path / "there.ckpt", run, dtype)
    assert main([str(tmp_path / "there.ckpt"), str(tmp_path / "folder")]) == 0
    there = result(capsys)
    assert main(["--back", str(tmp_path / "folder"), str(tmp_path / "deep" / "back.ckpt")]) == 0
    back = result(capsys)
    assert there["parameters"] == back["parameters"] == sum(p.numel() for p in build_model(run).parameters())
    assert there["bytes"] == sum(file.stat().st_size for file in (tmp_path / "folder").iterdir())
    content = torch.load(tmp_path / "deep" / "back.ckpt", weights_only=True)
    assert content[KEY] == run
    assert content["state_dict"].keys() == {f"model.{name}" for name in weights}
    for path in (tmp_path / "folder", tmp_path / "deep" / "back.ckpt"):
        model, told = load_order_model(path, tokenizer().checksum)
        assert told == run
        assert not model.training
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, weights[name].float()), name
    for name, weight in weights.items():
        assert content["state_dict"][f"model.{name}"].dtype == weight.dtype


def test_the_folder_is_for_others(exported, checkpoint):
    assert {file.name for file in exported.iterdir()} == FILES
    assert {path.name for path in exported.parent.iterdir()} == {"some.ckpt", "exported"}
    assert len({stat.S_IMODE(file.stat().st_mode) for file in exported.iterdir()}) == 1
    config = json.loads((exported / "config.json").read_text())
    assert config["model"] == described()["model"]
    assert config["bins"] == {"types": 3, "prices": 32, "sizes": 32, "intervals": 16}
    assert config["tokenizer"] == tokenizer().checksum
    assert config["parameters"] == load_order_model(checkpoint)[0].num_parameters()
    assert json.loads((exported / "tokenizer.json").read_text()) == tokenizer().to_dict()
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    weights = load_file(exported / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == config["parameters"]["total"]


def test_bfloat16_is_the_nearest_and_half_the_size(checkpoint, exported, tmp_path, capsys):
    assert main([str(checkpoint), str(tmp_path / "half"), "--dtype", "bfloat16"]) == 0
    whole, half = (load_file(folder / "model.safetensors") for folder in (exported, tmp_path / "half"))
    assert {weight.dtype for weight in half.values()} == {torch.bfloat16}
    for name, weight in load_order_model(tmp_path / "half")[0].state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, whole[name].bfloat16().float())
    assert "rounded to bfloat16" in (tmp_path / "half" / "README.md").read_text()


def test_the_card_tells_what_the_checkpoint_knows(exported):
    card = (exported / "README.md").read_text()
    config = json.loads((exported / "config.json").read_text())
    for text in (
        "# planted",
        "| instruments | GOOG |",
        "| days | 2012-06-21 |",
        "| orders trained on | 78,416 |",
        "| cut-off | training ends and validation begins at 13:00 (time) |",
        "`0123456789abcdef`",
        f"| parameters, total | {config['parameters']['total']:,} |",
        "| **this checkpoint**, step 700 | 7.589 | 10.949 |",
        "| of which its price | 6.896 | 9.949 |",
        "knows one instrument, GOOG",
        "one day, 2012-06-21",
        "earlier hours it was trained on",
        "rollouts have not been scored",
        "licence",
        "Not for decisions to trade",
        "| seed | 7 |",
        "| command | python train.py |",
        "| git.commit | abcdef |",
        "| git.dirty | True |",
        "| versions.torch | 2.13.0 |",
        "trained with mars_lmm, exported from `some.ckpt`",
        "simulate.py run=RUN checkpoint=FOLDER",
    ):
        assert text in card, text
    for part, number in config["parameters"].items():
        assert f"| parameters, {part.replace('_', ' ')} | {number:,} |" in card
    assert "{{" not in card
    assert "None" not in card
    assert not re.search(r"\n{3}", card)


def card_of(tmp_path, run):
    save(tmp_path / "card.ckpt", run)
    assert main([str(tmp_path / "card.ckpt"), str(tmp_path / "card")]) == 0
    return (tmp_path / "card" / "README.md").read_text()


def test_the_card_of_a_made_up_market(tmp_path):
    data = {
        "feeds": ["synthetic"],
        "symbols": [f"S{number:02}" for number in range(40)],
        "days": ["2024-01-02", "2024-01-03"],
        "sessions": 80,
        "orders": {"train": 10**9, "validation": 10},
    }
    run = described(data=data, cutoff={"kind": "date", "value": "2024-01-03"}, validation={"step": 600, "nats": 7.0})
    card = card_of(tmp_path, run)
    assert "made up by a program" in card
    assert "nobody's rights are in them" in card
    assert "| instruments | 40, S00 to S39 |" in card
    assert "step 600 (its weights are of step 700)" in card
    for wrong in ("knows one instrument", "one day", "earlier hours", "orders a parameter", "no right"):
        assert wrong not in card, wrong


def test_the_card_of_a_checkpoint_that_tells_little(tmp_path):
    run = {name: value for name, value in described().items() if name not in ("data", "validation", "step")}
    card = card_of(tmp_path, run)
    assert "is not recorded in its checkpoint" in card
    assert "Nothing is known of its loss" in card
    assert "no right" in card


def test_the_card_of_an_imported_model(tmp_path):
    run = {name: value for name, value in described().items() if name not in ("data", "validation", "step")}
    run |= {"config": {}, "fingerprint": None, "cutoff": None, "imported": {"source": "released.safetensors"}}
    card = card_of(tmp_path, run)
    assert card.startswith("# card.ckpt\n")
    assert "released with MarS, imported with mars_lmm" in card
    assert "and that of the release" in card
    assert "| source | released.safetensors |" in card
    assert "None" not in card


def test_the_card_admits_that_counting_is_better(tmp_path):
    save(tmp_path / "run" / "checkpoints" / "best.ckpt", described())
    training = {"nats": 7.589, "baselines": {"uniform": 10.803, "bigram": 7.5}, "seconds": 1.0, "commands": ["train"]}
    (tmp_path / "run" / "training.json").write_text(json.dumps(training))
    assert main([str(tmp_path / "run"), str(tmp_path / "folder")]) == 0
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "does not beat counting: bigram (7.500) against its 7.589" in card
    assert "| counting: uniform | 10.803 | 15.585 |" in card


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", "foreign"])
def test_what_is_no_checkpoint_is_refused(content, tmp_path, capsys):
    path = tmp_path / "wrong.ckpt"
    if content == "foreign":
        torch.save({"state_dict": {}}, path)
    elif content is not None:
        path.write_bytes(content)
    before = set(tmp_path.iterdir())
    assert "wrong.ckpt" in refused(capsys, path, tmp_path / "folder")
    assert set(tmp_path.iterdir()) == before


def test_a_run_without_a_checkpoint_is_refused(tmp_path, capsys):
    assert "best.ckpt: no such checkpoint" in refused(capsys, tmp_path, tmp_path / "folder")


def test_a_checkpoint_without_all_tensors_is_refused(tmp_path, capsys):
    run = described()
    save(tmp_path / "some.ckpt", run)
    content = torch.load(tmp_path / "some.ckpt", weights_only=True)
    content["state_dict"]["model.surplus"] = content["state_dict"].pop("model.transformer.norm.weight")
    torch.save(content, tmp_path / "some.ckpt")
    said = refused(capsys, tmp_path / "some.ckpt", tmp_path / "folder")
    assert "transformer.norm.weight" in said
    assert "surplus" in said
    assert not (tmp_path / "folder").exists()


def test_nothing_is_overwritten(checkpoint, exported, tmp_path, capsys):
    before = {file: file.read_bytes() for file in exported.iterdir()}
    assert "is there already" in refused(capsys, checkpoint, exported)
    assert {file: file.read_bytes() for file in exported.iterdir()} == before
    assert "is there already" in refused(capsys, checkpoint, checkpoint)
    assert "is there already" in refused(capsys, "--back", exported, checkpoint)
    assert "exported model already" in refused(capsys, exported, tmp_path / "again")
    (tmp_path / "empty").mkdir()
    assert main([str(checkpoint), str(tmp_path / "empty")]) == 0


def test_a_failure_leaves_nothing_behind(checkpoint, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("planted")

    monkeypatch.setattr("mars_lmm.models.folder.save_file", fail)
    with pytest.raises(RuntimeError, match="planted"):
        main([str(checkpoint), str(tmp_path / "folder")])
    assert list(tmp_path.iterdir()) == [checkpoint]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_damaged_folders_are_refused(name, damage, exported, tmp_path, capsys):
    file = exported / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[:-5])
    else:
        content[0 if name == "config.json" else -9] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(name)):
        load_order_model(exported)
    assert name in refused(capsys, "--back", exported, tmp_path / "back.ckpt")
    assert not (tmp_path / "back.ckpt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99, this program reads 1"),
        ({"run": described(version=99)}, "has version 99"),
        ({"run": None}, "does not describe an exported model"),
        ({"model": described()["model"] | {"rings": 3}}, "rings"),
        ({"model": described()["model"] | {"width": 32}}, "size mismatch"),
        ({"model": described()["model"] | {"layers": 2}}, "transformer.blocks.1.attention_norm.weight"),
    ],
)
def test_other_configurations_are_refused(change, message, exported):
    config = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message):
        load_order_model(exported)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no exported model: it has no config\.json"):
        load_order_model(Path(tmp_path))
