"""Sweeps of train.py: jobs have folders of their own, prepare the data once, and return what a sweeper minimises."""

import json
from pathlib import Path

import pytest
import yaml
from scripts import run_script
from test_cli import TINY

from mars_lmm.composition import job_folder

RATES = ("0.001", "0.01")


def sweep(folder, *arguments):
    """Run `train.py --multirun` in a folder; the job folders that it leaves."""
    done = run_script(folder, "train.py", "--multirun", *TINY, "schedule.max_steps=6", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(path.parent for path in Path(folder, "outputs", "sweeps").rglob("metrics.json"))


def scores(jobs):
    """Learning rate -> validation nats of each job."""
    return {
        yaml.safe_load((job / ".hydra" / "config.yaml").read_text())["optim"]["learning_rate"]: json.loads(
            (job / "metrics.json").read_text()
        )["validation_nats"]
        for job in jobs
    }


def test_folders_are_named_by_settings():
    settings = ["optim.learning_rate=0.003", "data.path=../a b/c", "experiment=demo"]
    name = job_folder(settings)
    assert name.startswith("learning_rate=0.003_")
    assert "/" not in name
    assert name == job_folder(settings)
    # What the label leaves out or cuts off still counts.
    alike = [setting.replace(" ", "-") for setting in settings]
    others = (alike, [*settings, "x" * 99], settings[:2])
    assert len({name, *map(job_folder, others)}) == 4
    assert all(len(job_folder(other)) < 100 for other in others)


def test_optuna_minimises_the_validation_and_meets_its_trials_again(tmp_path):
    jobs = sweep(tmp_path, "sweep=learning_rate", "hydra.sweeper.n_trials=2")
    assert len(jobs) == 2
    found = yaml.safe_load(next(tmp_path.rglob("optimization_results.yaml")).read_text())
    best_rate, best = min(scores(jobs).items(), key=lambda item: item[1])
    assert found["best_value"] == pytest.approx(best)
    assert found["best_params"]["optim.learning_rate"] == pytest.approx(best_rate)

    more = sweep(tmp_path, "sweep=learning_rate", "hydra.sweeper.n_trials=3")
    assert len(more) == 3
    assert set(jobs) < set(more)
    assert len(list((tmp_path / "prepared").glob("synthetic-*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_beside_each_other_share_one_set_and_keep_what_is_done(tmp_path, launcher):
    rates = f"optim.learning_rate={','.join(RATES)}"
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else ["hydra.launcher.timeout_min=10"]
    jobs = sweep(tmp_path, f"hydra/launcher={launcher}", *options, rates)
    assert set(scores(jobs)) == set(map(float, RATES))
    assert len(list((tmp_path / "prepared").glob("synthetic-*"))) == 1
    written = {job: (job / "checkpoints" / "best.ckpt").stat().st_mtime_ns for job in jobs}

    more = sweep(tmp_path, f"{rates},0.03")  # one after the other this time
    assert len(more) == 3
    assert set(jobs) < set(more)
    assert all((job / "checkpoints" / "best.ckpt").stat().st_mtime_ns == time for job, time in written.items())
