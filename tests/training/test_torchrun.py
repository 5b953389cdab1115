"""`torchrun train.py`: one run folder, one preparation, one process that writes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [
    "experiment=demo",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=2",
    "trainer.val_check_interval=4",
    "data.synthetic.sessions=2",
    "data.synthetic.minutes=6",
    "data.cutoff=2024-01-03",
    "data.row_length=32",
    "data.context=8",
    "model.window=16",
    "model.width=16",
    "model.dropout=0",
    "schedule.warmup_steps=2",
]


def train(folder, num_processes, *settings):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    done = subprocess.run(
        [sys.executable, *(launch if num_processes > 1 else []), str(ROOT / "train.py"), *SETTINGS, *settings],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def validations(run):
    """Nats of each validation, by step."""
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["validation/nats"]]
    return {int(row["step"]): float(row["validation/nats"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_make_one_run(strategy, tmp_path):
    """Two ranks validate as one does, and one goes on with what they wrote."""
    done = train(tmp_path, 2, f"trainer={strategy}", "name=two", "data.batch_size=2", "schedule.max_steps=4")
    assert done.stdout.count("validation:") == 1
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["two"]
    assert len([path for path in (tmp_path / "prepared").iterdir() if path.is_dir()]) == 1
    run = tmp_path / "outputs" / "two"
    assert [path.name for path in (run / "curves").iterdir()] == ["start_0.jsonl"]
    assert json.loads((run / "metrics.json").read_text())["step"] == 4
    assert json.loads((run / "training.json").read_text())["nats"] > 0
    assert "throughput/orders_per_second" in (run / "metrics.csv").read_text()

    train(tmp_path, 1, "name=one", "data.batch_size=4", "schedule.max_steps=4")
    assert validations(run) == pytest.approx(validations(tmp_path / "outputs" / "one"), rel=1e-6)
    train(tmp_path, 1, "name=two", "data.batch_size=4", "schedule.max_steps=8")
    assert json.loads((run / "metrics.json").read_text())["step"] == 8
