"""A run that is killed again and again is the run that was left alone: to the bit, and in every row of its curves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of both runs, and where and how the starts of the killed one ended."""
    folder = tmp_path_factory.mktemp("killed")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parent}"}
    command = [sys.executable, str(HERE / "killed.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    logs = "".join(log.read_text() for log in folder.glob("*/log.txt"))
    assert done.returncode == 0, done.stderr + logs
    return folder / "whole", folder / "killed", json.loads(done.stdout.splitlines()[-1])


def test_the_starts_ended_as_they_should(runs):
    _, killed, ends = runs
    places, codes = zip(*ends, strict=True)
    assert codes == (-9, -9, 143, *[-9] * (len(ends) - 4), 0)
    assert {"s", "d", "w"} <= set(places)  # before a batch, right after a checkpoint, in the middle of its file
    assert "SIGTERM: stopped at step" in (killed / "log.txt").read_text()
    steps = [start["resumed_from_step"] for start in json.loads((killed / "run.json").read_text())["starts"]]
    assert steps[0] is None
    # A run that was killed before its first checkpoint begins anew.
    assert [step or 0 for step in steps] == sorted(step or 0 for step in steps)
    assert len(set(steps)) > 3


def test_the_curves_are_equal(runs):
    whole, killed, _ = runs
    curves = (whole / "metrics.csv").read_text()
    assert (killed / "metrics.csv").read_text() == curves
    assert len(curves.splitlines()) == 1 + 18 * 2 + 7  # rates and losses of each step, validations


def test_the_weights_are_equal(runs):
    whole, killed, _ = runs
    for name in ("last", "best"):
        a, b = (torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for run in (whole, killed))
        assert a["global_step"] == b["global_step"]
        for key, weight in a["state_dict"].items():
            assert torch.equal(weight, b["state_dict"][key]), key
        for key, state in a["optimizer_states"][0]["state"].items():
            assert all(
                torch.equal(value, b["optimizer_states"][0]["state"][key][part]) for part, value in state.items()
            )


def test_the_results_are_equal(runs):
    whole, killed, _ = runs
    a, b = (json.loads((run / "metrics.json").read_text()) for run in (whole, killed))
    assert a | {"seconds": None} == b | {"seconds": None}
    assert {path.name for path in (killed / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
