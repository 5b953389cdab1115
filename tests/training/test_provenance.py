import json
import subprocess

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from mars_lmm.models.checkpoint import KEY
from mars_lmm.training.fit import forget, train
from mars_lmm.training.provenance import git_state, versions


@pytest.fixture
def repository(tmp_path):
    """A repository with one tracked file, and a function that runs git in it."""

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path, git


def test_the_state_of_the_code(repository):
    folder, git = repository
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False, "diff": ""}
    assert git_state(folder) == clean
    (folder / "code.py").write_text("a = 2\n")
    changed = git_state(folder)
    assert changed["dirty"]
    assert "-a = 1\n+a = 2\n" in changed["diff"]
    git("checkout", ".")
    (folder / "new.py").touch()
    assert git_state(folder) == clean | {"dirty": True}


def test_an_installed_package_is_not_of_the_repository_around_it(repository, tmp_path, monkeypatch):
    folder, _ = repository
    (folder / "site-packages").mkdir()
    assert git_state(folder / "site-packages") is None
    monkeypatch.setenv("PATH", "")  # no git at all
    assert git_state(folder) is None


def test_versions_of_what_is_there():
    found = versions()
    assert found["torch"].startswith(torch.__version__.split("+")[0])
    assert found["python"].count(".") == 2


def test_each_start_is_recorded(tmp_path, prepared, make_module, make_data, make_trainer):
    config = {"seed": 0, "name": "planted", "data": {"batch_size": 4}}
    names = {"dirpath": tmp_path, "filename": "last", "enable_version_counter": False}
    for steps, checkpoint in ((6, None), (12, tmp_path / "last.ckpt")):
        trainer = make_trainer(steps, callbacks=[ModelCheckpoint(**names)])
        train(make_module(config=config), make_data(), trainer, tmp_path, checkpoint, f"python train.py {steps}")
    described = json.loads((tmp_path / "run.json").read_text())
    starts = described.pop("starts")
    assert described == {
        "name": "planted",
        "seed": 0,
        "data": {
            "address": str(prepared.path),
            "fingerprint": prepared.fingerprint,
            "cutoff": prepared.cutoff,
            "tokenizer_checksum": prepared.tokenizer_checksum,
        },
    }
    assert [(start["resumed_from_step"], start["command"]) for start in starts] == [
        (None, "python train.py 6"),
        (6, "python train.py 12"),
    ]
    assert starts[0]["device"]["type"] == "cpu"
    assert (starts[0]["device"]["count"], starts[0]["device"]["precision"]) == (1, "32-true")
    assert yaml.safe_load((tmp_path / "config.resolved.yaml").read_text()) == config
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)[KEY]
    assert saved["provenance"] == starts[1]
    assert saved["config"] == config
    if starts[1]["git"] and starts[1]["git"]["diff_sha256"]:
        assert (tmp_path / f"run.{starts[1]['git']['diff_sha256'][:8]}.diff").stat().st_size > 0


def test_a_fresh_run_forgets(tmp_path, make_module, make_data, make_trainer):
    (tmp_path / "kept").touch()
    train(make_module(), make_data(), make_trainer(2), tmp_path)
    (tmp_path / "checkpoints").mkdir()
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
