"""The ladder's driver: what it plans, keeps, repeats and reports; a script that answers at once stands for train.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from test_cli import TINY

from mars_lmm.paths import CONF
from mars_lmm.training import rules
from mars_lmm.training.scaling import run
from mars_lmm.training.scaling.__main__ import training_config
from mars_lmm.training.scaling.config import ScalingConfig, SizeConfig
from mars_lmm.training.scaling.ladder import run_ladder, train_cells
from mars_lmm.training.scaling.law import Law
from mars_lmm.training.scaling.plan import plan, short

ROOT = Path(__file__).resolve().parents[2]
LAW = Law(6.9, 20.0, 900.0, 0.4, 0.6)
# Does what the ladder relies on: hydra.run.dir, metrics.json, and the exit code.
TRAINER = """
import json, pathlib, sys
given = dict(argument.split("=", 1) for argument in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
with (folder / "calls.txt").open("a") as calls:
    print(json.dumps(given), file=calls)
if "bad" in given["name"]:
    print("step 1\\rstep 2")
    sys.exit("the loss is nan at step 2")
width, steps = int(given["model.width"]), int(given["schedule.max_steps"])
N, D = 1000 * width**2, steps * 64
nats = 6.9 + 20.0 / N**0.4 + 900.0 / D**0.6
parameters = {"embedding": 10, "blocks": N, "head": 10, "non_embedding": N, "total": N + 20}
metrics = {"validation_nats": nats - 1, "final_validation_nats": nats, "step": steps, "orders_seen": D, "seconds": 1.0}
rate = float(given["optim.learning_rate"])
metrics |= {"batch_orders": 64.0, "learning_rate": rate, "flops": 6.0 * N * D, "data_fingerprint": "0123456789abcdef"}
(folder / "metrics.json").write_text(json.dumps(metrics | {"parameters": parameters}))
"""


@pytest.fixture
def compose():
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3"):
        yield training_config


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in, with the stand-in for train.py."""
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "_train_program", lambda: [sys.executable, "-S", str(script)])
    return tmp_path


def ladder(small_set, *names, **settings):
    sizes = [
        SizeConfig(f"{name or 'w'}{width}", [f"model.width={width}", "model.layers=1", "model.heads=2"])
        for name, width in zip([*names, *[""] * 4], (8, 16, 32, 64), strict=False)
    ]
    shared = {"name": "t", "base": [f"data.prepared={small_set.path}", "model.window=16"], "batch_size": 1}
    return ScalingConfig(**shared | {"sizes": sizes, "budgets": [1280, 2560, 5120, 10240], "resamples": 50} | settings)


def trained(settings, compose, small_set):
    """The table's rows of a ladder, without the fit."""
    return train_cells(settings, plan(settings, compose, small_set), small_set)


def calls(work):
    """How often each cell was trained."""
    return {path.parent.name: len(path.read_text().splitlines()) for path in work.rglob("calls.txt")}


def test_a_ladder_from_plan_to_report(small_set, compose, work, capsys):
    assert run_ladder(ladder(small_set, parallel=2), compose, "the command") == 0
    folder = work / "outputs" / "scaling" / "t"
    fit = json.loads((folder / "fit.json").read_text())
    assert fit["fits"]["non_embedding"]["law"] == pytest.approx(vars(LAW), rel=1e-5)
    rows = json.loads((folder / "runs.json").read_text())
    assert len(rows) == 16
    assert len((folder / "runs.csv").read_text().splitlines()) == 17
    assert all(row["nats"] == pytest.approx(LAW(row["non_embedding"], row["orders"])) for row in rows)
    report = (folder / "report.md").read_text()
    for told in ("the command", small_set.fingerprint, "w64-10.24k-s0", "Huber", "largest size"):
        assert told in report
    for figure in ("loss_by_orders", "loss_by_compute", "residuals", "held_out"):
        assert f"]({figure}.png)" in report
        assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[") and " left" in line for line in lines) == 16


def test_finished_runs_are_kept_and_a_larger_ladder_trains_the_rest(small_set, compose, work):
    trained(ladder(small_set), compose, small_set)
    killed = work / "outputs" / "scaling" / "t" / "cells" / "w8-1.28k-s0"
    (killed / "metrics.json").unlink()  # as a killed run leaves it
    (killed / "checkpoints").mkdir()
    trained(ladder(small_set, budgets=[640, 1280, 2560, 5120, 10240]), compose, small_set)
    counted = calls(work)
    assert len(counted) == 20
    assert {cell for cell, times in counted.items() if times > 1} == {killed.name}
    assert (killed / "checkpoints").exists()  # goes on with what there is


def test_other_settings_are_not_mixed_in(small_set, compose, work):
    trained(ladder(small_set), compose, small_set)
    with pytest.raises(ValueError, match=r"w8-1\.28k-s0 was trained with other.*learning_rate=0\.1.*name="):
        trained(ladder(small_set, learning_rate=0.1), compose, small_set)
    unfinished = work / "outputs" / "scaling" / "t" / "cells"
    for metrics in list(unfinished.rglob("metrics.json")):
        metrics.unlink()
        (metrics.parent / "checkpoints").mkdir()
    trained(ladder(small_set, learning_rate=0.1), compose, small_set)
    assert not list(unfinished.rglob("checkpoints"))


def test_a_failed_run_is_told_and_the_others_go_on(small_set, compose, work, capsys):
    assert len(trained(ladder(small_set, "bad"), compose, small_set)) == 12
    told = capsys.readouterr()
    assert "the loss is nan at step 2" in told.err
    assert "step 1" not in told.err.replace("step 1\n", "")
    assert "4 of 16 runs failed: bad8-1.28k-s0" in told.err


def test_too_small_a_ladder_keeps_its_table_and_says_what_is_missing(small_set, compose, work):
    few = ladder(small_set, budgets=[1280, 2560])
    few.sizes = few.sizes[:2]
    with pytest.raises(ValueError, match="2 different sizes, at least 3"):
        run_ladder(few, compose, "")
    assert (work / "outputs" / "scaling" / "t" / "runs.csv").exists()


def test_a_dry_run_trains_nothing(small_set, compose, work, capsys):
    assert run_ladder(ladder(small_set, dry_run=True), compose, "") == 0
    assert calls(work) == {}
    assert "16 of 16 runs to train" in capsys.readouterr().out


def test_the_plan(small_set, compose):
    from mars_lmm.models.order_model import OrderModel

    settings = ladder(small_set, seeds=[0, 1], warmup=0.1, validations=3)
    settings.sizes[2].learning_rate = 0.02
    cells = plan(settings, compose, small_set)
    assert len({cell.name for cell in cells}) == len(cells) == 4 * 4 * 2
    assert [cell.flops for cell in cells] == sorted(cell.flops for cell in cells)
    for cell in cells:
        # Half a step is the most that a budget can be off.
        assert abs(cell.steps * cell.batch_orders - cell.budget) <= cell.batch_orders / 2
        config = compose(list(cell.overrides))
        assert (config.schedule.max_steps, config.schedule.warmup_steps) == (cell.steps, round(0.1 * cell.steps))
        rule = pytest.approx(rules.learning_rate(cell.counts["non_embedding"]), rel=0.01)
        assert config.optim.learning_rate == (0.02 if cell.size == "w32" else rule)
        assert config.optim.learning_rate == cell.learning_rate
        model = OrderModel(config.model)
        assert cell.counts == model.num_parameters()
    # 6 N D and the attention's share.
    large = cells[-1]
    assert 1 < large.flops / (6 * large.counts["non_embedding"] * large.budget) < 1.2


def test_batches_by_rule_are_whole_rows_of_it(small_set, compose):
    cells = plan(ladder(small_set, batch_size=None, max_epochs=1e9), compose, small_set)
    row = small_set.splits["train"]["orders"] / small_set.splits["train"]["rows"]
    for cell in cells:
        assert abs(cell.batch_orders - rules.batch_orders(cell.counts["non_embedding"])) <= row / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 0.1}, "prepare more data"),
        ({"sizes": [SizeConfig("a", ["data.row_length=512"])]}, "size a changes data settings"),
        ({"base": ["trainer.devices=auto"]}, "trainer.devices"),
        ({"base": ["model.wdth=3"]}, "wdth"),
        ({"base": ["optim.learning_rate=-1"]}, "learning_rate"),
        ({"base": ["schedule.decay=wsd", "schedule.decay_points=[100_000]"]}, "decay_points"),
    ],
)
def test_a_plan_that_cannot_be(small_set, compose, settings, message):
    with pytest.raises(Exception, match=message):
        plan(ladder(small_set, **settings), compose, small_set)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budgets": [10, 10]}, "budgets"),
        ({"seeds": []}, "seeds"),
        ({"sizes": [SizeConfig("a/b")]}, "a/b"),
        ({"name": "../x"}, "name"),
        ({"warmup": 1.0}, "warmup"),
    ],
)
def test_impossible_settings_are_refused(small_set, settings, message):
    with pytest.raises(ValueError, match=message):
        ladder(small_set, **settings)


def test_short_numbers_keep_their_digits():
    assert [short(n) for n in (75_000, 1_200_000, 150_123, 640, 2e9)] == ["75k", "1.2M", "150.123k", "640", "2B"]


@pytest.mark.slow
def test_a_real_ladder(tmp_path):
    """Three sizes by three budgets through the command, once killed in the middle."""
    command = [
        sys.executable,
        "-m",
        "mars_lmm.training.scaling",
        "name=tiny",
        f"base={[*TINY, 'model.layers=1', 'data.workers=1']}",
        "sizes=[{name: w8, overrides: ['model.width=8']},{name: w16, overrides: ['model.width=16']},"
        "{name: w32, overrides: ['model.width=32']}]",
        "budgets=[1280,2560,5120]",
        "batch_size=4",
        "learning_rate=0.01",
        "resamples=20",
        "parallel=2",
        "max_epochs=10",
    ]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=45, env=_environment())
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "outputs" / "scaling" / "tiny" / "runs.json").read_text())
    assert len(rows) == 9
    assert all(8 < row["nats"] < 10.9 for row in rows)


def _environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}
