import csv
import json
import os
import random
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import torch
from scripts import ROOT, run_script

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models import export
from mars_lmm.simulation import Simulator

TINY = [
    "experiment=demo",
    "trainer.accelerator=cpu",
    "data.synthetic.sessions=2",
    "data.synthetic.minutes=12",
    "data.cutoff=2024-01-03",
    "data.row_length=32",
    "data.context=8",
    "data.batch_size=4",
    "model.window=16",
    "model.width=16",
    "schedule.warmup_steps=2",
    "trainer.val_check_interval=6",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished run in it."""
    folder = tmp_path_factory.mktemp("work")
    command = [sys.executable, str(ROOT / "train.py"), *TINY, "schedule.max_steps=12"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "validation:" in done.stdout
    return folder


def test_train_simulate_evaluate(folder):
    run = folder / "outputs" / "demo"
    summary = json.loads((run / "training.json").read_text())
    assert set(summary["baselines"]) >= {"uniform", "unigram", "bigram"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    (start,) = json.loads((run / "run.json").read_text())["starts"]
    assert start["command"] == f"python train.py {' '.join(TINY)} schedule.max_steps=12"

    done = run_script(folder, "simulate.py", "run=outputs/demo", "starts=2", "rollouts=2", "minutes=2")
    assert done.returncode == 0, done.stderr
    assert "rollouts" in done.stdout
    assert "horizon" in done.stdout
    assert {"fan.png", "depth.png"} < {path.name for path in (run / "simulation").iterdir()}
    manifest = json.loads((run / "simulation" / "simulation.json").read_text())
    table = pq.read_table(run / "simulation" / "rollouts.parquet")
    assert manifest["orders"] == table.num_rows
    keys = list(zip(*(table[name].to_pylist() for name in ("start", "rollout", "step")), strict=True))
    assert keys == sorted(keys)
    assert {key[:2] for key in keys} == {(0, 0), (0, 1), (1, 0), (1, 1)}

    done = run_script(folder, "evaluate.py", "run=outputs/demo")
    assert done.returncode == 0, done.stderr
    assert (run / "report.html").stat().st_size > 10_000
    for task in ("facts", "lob_bench", "table7", "likelihood"):
        assert (run / "evaluation" / f"{task}.json").exists()
    baselines = {path.name for path in (run / "baselines").iterdir()}
    assert baselines == {"fits", "noise", "cst", "hawkes", "bootstrap"}


def test_the_same_command_goes_on_with_the_run(folder):
    done = run_script(folder, "train.py", *TINY, "schedule.max_steps=18")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "outputs" / "demo" / "metrics.json").read_text())
    assert metrics["step"] == 18
    starts = json.loads((folder / "outputs" / "demo" / "run.json").read_text())["starts"]
    assert [start["resumed_from_step"] for start in starts] == [None, 12]
    curves = (folder / "outputs" / "demo" / "metrics.csv").read_text()
    assert sum(",validation" in line for line in curves.splitlines()) <= 1
    assert len([line for line in curves.splitlines()[1:] if line]) >= 3


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train.py", ["data=lobster", "data.path=nowhere"], "nowhere"),
        # before the data is looked for
        ("train.py", ["data=lobster", "data.path=nowhere", "execution.sharded_dtype=bfloat16"], "add trainer=fsdp"),
        ("train.py", ["data=lobster", "data.path=nowhere", "trainer.max_steps=-1"], "trainer.max_steps = schedule"),
        ("train.py", [*TINY, "schedule.max_steps=18", "model.width=32"], "model.width was 16, is 32"),
        ("train.py", ["model.width=wide"], "model.width"),
        ("simulate.py", ["run=outputs/none"], "outputs/none/training.json"),
        ("simulate.py", [], "run=..."),
        # before the run is looked for
        ("simulate.py", ["run=outputs/none", "sampling.top_p=2"], "top_p is 2"),
        ("simulate.py", ["run=outputs/none", "rules=no_venue"], "no such rule file"),
        ("simulate.py", ["run=outputs/none", "precision=int4"], "choose float32, bfloat16"),
        ("simulate.py", ["run=outputs/none", "+agents.x.agent=nobody"], "agents.x.agent"),
        ("simulate.py", ["run=outputs/none", "+trainer.precision=bf16-true"], "precision=..."),
        ("simulate.py", ["run=outputs/none", "+trainer.limit_predict_batches=1"], "made whole"),
        ("simulate.py", ["run=outputs/none", "+trainer.gpu=1"], "lightning.Trainer"),
        ("evaluate.py", ["run=outputs/none"], "outputs/none"),
        ("evaluate.py", ["run=outputs/none", "task=fact"], "choose facts, lob_bench"),
        ("evaluate.py", ["run=outputs/none", "baselines=[zero]"], "'zero' is unknown"),
        ("evaluate.py", ["run=outputs/none", "simulation.rollouts=0"], "all must be positive"),
        ("evaluate.py", ["run=outputs/none", "+simulation.start=2"], "unknown key simulation.start"),
    ],
)
def test_bad_input_ends_with_a_message(folder, script, arguments, message):
    before = sorted(folder.rglob("*.partial"))
    done = run_script(folder, script, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*.partial")) == before
    assert not (folder / "outputs" / "none").exists()


WARM_UP = "warm_up={minutes: 0.5, price: 5000, agents: {noise: {agent: noise, rate: 4.0}}}"


def test_starts_that_are_in_no_prepared_set(folder, tmp_path):
    run = folder / "outputs" / "demo"
    prepared = PreparedSet.load(json.loads((run / "training.json").read_text())["prepared"])
    session = prepared.flow(1).session
    minute = session.open_time // (60 * 10**9) + 5
    simulator = Simulator.load(run, device="cpu").reset(
        f"{session.symbol} {session.date} {minute // 60:02}:{minute % 60:02}"
    )
    simulator.step(10).save(tmp_path / "later.start")
    book = simulator.book()
    settings = [f"saved=[{tmp_path / 'later.start'}]", WARM_UP, "rollouts=2", "minutes=1"]

    done = run_script(folder, "simulate.py", "run=outputs/demo", "starts=0", *settings)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((run / "simulation" / "simulation.json").read_text())
    saved, warm = manifest["starts"]
    assert (saved["symbol"], saved["date"], saved["time_ns"]) == (session.symbol, session.date, simulator.time)
    assert (saved["bid"], saved["ask"]) == (book.bid, book.ask)
    assert (warm["symbol"], warm["date"], warm["time_ns"]) == ("WARMUP", "undated", (9 * 3600 + 30 * 60 + 30) * 10**9)
    rows = pq.read_table(run / "simulation" / "rollouts.parquet")
    assert set(rows["start"].to_pylist()) == {0, 1}
    assert pq.read_table(run / "simulation" / "replay.parquet").num_rows == 0
    done = run_script(folder, "evaluate.py", "run=outputs/demo")
    assert done.returncode != 0
    assert "none of the 2 starts has a real continuation" in done.stderr
    assert "Traceback" not in done.stderr

    done = run_script(folder, "simulate.py", "run=outputs/demo", "starts=1", *settings)
    assert done.returncode == 0, done.stderr
    done = run_script(folder, "evaluate.py", "run=outputs/demo")
    assert done.returncode == 0, done.stderr
    assert "2 starts are left out" in done.stdout
    assert set(pq.read_table(run / "evaluation" / "bars.parquet")["symbol"].to_pylist()) == {session.symbol}


def test_a_checkpoint_of_another_tokenizer_is_refused(folder):
    run = folder / "outputs" / "demo"
    other = run_script(folder, "train.py", *TINY, "schedule.max_steps=6", "name=other", "data.synthetic.seed=9")
    assert other.returncode == 0, other.stderr
    checkpoint = folder / "outputs" / "other" / "checkpoints" / "best.ckpt"
    done = run_script(folder, "simulate.py", f"run={run}", f"checkpoint={checkpoint}")
    assert done.returncode != 0
    assert "was trained with tokenizer" in done.stderr


def test_an_exported_run_rolls_out_as_the_run_does(folder, capsys):
    run = folder / "outputs" / "demo"
    exported = folder / "exported"
    assert export.main([str(run), str(exported)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["folder"] == str(exported)
    card = (exported / "README.md").read_text()
    summary = json.loads((run / "training.json").read_text())
    for text in (
        f"| best validation of the run | {summary['nats']:.3f} |",
        f"| counting: bigram | {summary['baselines']['bigram']:.3f} |",
        f"| orders trained on | {summary['orders']['train']:,} |",
        "| days | 2024-01-02, 2024-01-03 |",
        "made up by a program",
    ):
        assert text in card, text

    settings = ["starts=1", "rollouts=2", "minutes=1"]
    rollouts = []
    for place in ([f"run={run}"], [f"run={run}", f"checkpoint={exported}"]):
        done = run_script(folder, "simulate.py", *place, *settings)
        assert done.returncode == 0, done.stderr
        rollouts.append((run / "simulation" / "rollouts.parquet").read_bytes())
    elsewhere = [f"run={folder / 'elsewhere'}", f"checkpoint={exported}", f"prepared={summary['prepared']}"]
    done = run_script(folder, "simulate.py", *elsewhere, *settings)
    assert done.returncode == 0, done.stderr
    rollouts.append((folder / "elsewhere" / "simulation" / "rollouts.parquet").read_bytes())
    assert rollouts[0] == rollouts[1] == rollouts[2]


def curves(run):
    """The rows of metrics.csv, but for what tells of speed."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 160
    return [{name: value for name, value in row.items() if not name.startswith("throughput/")} for row in rows]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(folder):
    """SIGKILL after a moment that differs from start to start, while the program trains, validates or saves."""
    settings = [
        *TINY,
        "schedule.max_steps=80",
        "trainer.val_check_interval=25",
        "callbacks.last.every_n_train_steps=7",
        "trainer.log_every_n_steps=1",
        "trainer.accumulate_grad_batches=2",
        "data.num_workers=2",
    ]
    runs = {name: folder / "outputs" / name for name in ("whole", "killed")}
    command = [sys.executable, str(ROOT / "train.py"), *settings]
    subprocess.run([*command, "name=whole"], cwd=folder, check=True, capture_output=True)
    waits, kills = random.Random(0), 0
    while not (runs["killed"] / "metrics.json").exists():
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*command, "name=killed"], cwd=folder, **quiet)
        started = len(list(runs["killed"].glob("curves/*")))
        while process.poll() is None and len(list(runs["killed"].glob("curves/*"))) == started:
            time.sleep(0.01)  # until the first row is there
        if kills < 3:
            time.sleep(waits.uniform(0, 1))
            process.kill()
            kills += 1
        assert process.wait() in (0, -9)
    starts = json.loads((runs["killed"] / "run.json").read_text())["starts"]
    assert len(starts) > 2
    assert curves(runs["killed"]) == curves(runs["whole"])
    saved = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in runs.values()]
    assert all(torch.equal(weight, saved[1][name]) for name, weight in saved[0].items())


SIMULATION = ["starts=2", "rollouts=4", "minutes=3", "books_at_once=1", "trainer.accelerator=cpu"]


def simulated(folder, output, *settings, wait=True):
    """Start a simulation in a process of its own."""
    training = json.loads((folder / "outputs" / "demo" / "training.json").read_text())
    checkpoint = folder / "outputs" / "demo" / "checkpoints" / "best.ckpt"
    places = [f"run={output}", f"checkpoint={checkpoint}", f"prepared={training['prepared']}"]
    command = [sys.executable, str(ROOT / "simulate.py"), *places, *SIMULATION, *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if wait:
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
    return process


def simulation(run):
    """All files of a simulation, but for speed and the command."""
    found = {path.name: path.read_bytes() for path in (run / "simulation").iterdir() if path.name != "simulation.json"}
    manifest = json.loads((run / "simulation" / "simulation.json").read_text())
    return found | {"manifest": manifest | dict.fromkeys(("seconds", "orders_per_second", "command"))}


@pytest.mark.slow
def test_a_killed_simulation_goes_on_to_the_bit(folder):
    """SIGKILL once some batches are there, in the middle of another."""
    simulated(folder, "rolled_whole")
    run, waits, kept = folder / "rolled_killed", random.Random(1), []
    for kills in range(3):
        process = simulated(folder, "rolled_killed", wait=False)
        while process.poll() is None and len(list(run.glob("simulation.batches/batch_*[0-9]"))) <= 2 * kills:
            time.sleep(0.01)
        time.sleep(waits.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert not (run / "simulation").exists()
        kept.append(len(list(run.glob("simulation.batches/batch_*[0-9]"))))
    assert 0 < kept[0] < kept[1] < kept[2] <= 8
    simulated(folder, "rolled_killed")
    assert simulation(run) == simulation(folder / "rolled_whole")
    assert not (run / "simulation.batches").exists()


@pytest.mark.slow
def test_two_processes_make_the_simulation_of_one(folder):
    simulated(folder, "rolled_one")
    process = simulated(folder, "rolled_two", "trainer.devices=2", "trainer.strategy=ddp")
    assert process.returncode == 0
    assert simulation(folder / "rolled_two") == simulation(folder / "rolled_one")


@pytest.mark.slow
def test_a_process_without_a_batch_lets_the_others_work(folder):
    process = simulated(
        folder, "rolled_idle", "books_at_once=8", "trainer.devices=2", "trainer.strategy=ddp", wait=False
    )
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "1 batches are to make and there are 2 processes" in told
    assert sum(simulation(folder / "rolled_idle")["manifest"]["ended"].values()) == 8


@pytest.mark.slow
def test_the_jobs_of_a_sweep_are_runs_of_their_own(folder, monkeypatch):
    """In W&B as well, though they share a process."""
    monkeypatch.setenv("WANDB_MODE", "offline")  # put back afterwards, for the logger sets it
    settings = [*TINY, "schedule.max_steps=6", "logger=wandb", "logger.wandb.offline=true", "name=swept"]
    done = run_script(folder, "train.py", "--multirun", *settings, "seed=0,1")
    assert done.returncode == 0, done.stderr
    jobs = {file.parent for file in (folder / "outputs" / "sweeps" / "swept").glob("*/run.json")}
    assert {json.loads((job / "run.json").read_text())["seed"] for job in jobs} == {0, 1}
    ids = {job: (job / "wandb_id").read_text() for job in jobs}
    assert len(set(ids.values())) == len(jobs) == 2
    for job, wandb_id in ids.items():
        assert len(list(job.glob(f"wandb/offline-run-*-{wandb_id}"))) == 1
