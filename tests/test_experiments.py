"""Every file of conf/experiment trains: composed as it is, shrunk by overrides alone, and run by train.py to its end.

What an experiment is about stays: its data's feed, its head, optimiser, schedule, precision, callbacks. Shrunk are the
data, the batch and the number of steps; models beyond LARGEST parameters also in width and number of layers, with the
number of their heads. torch.compile stays off, which takes minutes.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from scripts import run_script
from test_config import EXPERIMENTS, composed

from mars_lmm.bench.lobster_text import write_lobster
from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.models.order_model import OrderModel, OrderModelConfig

STEPS = 2
LARGEST = 3_000_000
DATA = [
    "data.row_length=64",
    "data.context=16",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.workers=1",
]
TRAINER = [
    "trainer.accelerator=cpu",
    f"trainer.max_steps={STEPS}",
    "trainer.accumulate_grad_batches=1",
    "execution.compile=false",
    f"trainer.val_check_interval={STEPS}",
    "+trainer.limit_val_batches=1",
]
MARKET = ["data.synthetic.sessions=2", "data.synthetic.minutes=4", "data.cutoff=2024-01-03"]
FEEDS = {"lobster": write_lobster}
"""How to make up a small folder of a feed's files."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where experiments run, so that those with the same data prepare it once."""
    return tmp_path_factory.mktemp("experiments")


def shrunk(experiment, folder):
    """Overrides that make an experiment one of seconds."""
    feed = composed("train", f"experiment={experiment}").data.feed
    files = []
    if feed != "synthetic":
        files = [f"data.path={folder / feed}"]
        if not (folder / feed).exists():
            (folder / feed).mkdir()
            FEEDS[feed](folder / feed, 3_000)
        files.append("data.cutoff=12:00")
    model = OrderModelConfig(**composed("train", f"experiment={experiment}", *files).model)
    with torch.device("meta"):
        large = OrderModel(model).num_parameters()["total"] > LARGEST
    size = [f"model.width={16 * model.heads}", "model.layers=2"] if large else []
    return [*DATA, *(files or MARKET), *size, *TRAINER]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains(experiment, folder):
    done = run_script(folder, "train.py", f"experiment={experiment}", *shrunk(experiment, folder))
    assert done.returncode == 0, done.stderr
    run = Path(folder, "outputs", experiment)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["step"] == STEPS
    assert 0 < metrics["validation_nats"] < 2 * math.log(49_152)
    for name in ("best", "last"):
        load_order_model(run / "checkpoints" / f"{name}.ckpt")
