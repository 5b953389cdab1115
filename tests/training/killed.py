"""Starts of a small run in child processes that are killed: `python killed.py FOLDER`, as test_killed.py calls it.

The children are forked from a process that has imported everything and never trained, so that a start takes a
fraction of a second.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from prepared_sets import numbered_rows, write_prepared
from tiny import OPTIM

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.training import fit
from mars_lmm.training.checkpoints import LastCheckpoint
from mars_lmm.training.curves import CurveLogger, join_curves
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.schedules import ScheduleConfig

STEPS = 18  # 11 batches of 2 rows an epoch, 2 a step: its last step has one
MODEL = OrderModelConfig(width=8, layers=1, heads=1, window=4, head="fields", dropout=0.1)


class Announce(L.Callback):
    """Tells the parent where the run is, and waits for leave to go on: there it may be killed."""

    def __init__(self, tell, hear):
        self.announce = lambda place: (os.write(tell, place), os.read(hear, 1))
        write, save = torch.save, L.Trainer.save_checkpoint

        def write_in_halves(checkpoint, file):
            file.write(b"half of a checkpoint")
            self.announce(b"w")
            file.seek(0)
            write(checkpoint, file)

        def save_and_tell(*arguments):
            save(*arguments)
            self.announce(b"d")

        torch.save, L.Trainer.save_checkpoint = write_in_halves, save_and_tell

    def on_train_batch_start(self, *_):
        self.announce(b"s")

    def on_train_batch_end(self, *_):
        self.announce(b"e")

    def on_validation_batch_end(self, *_):
        self.announce(b"v")


def train(prepared, folder, announce):
    """A start of the run, as cli.train makes it."""
    checkpoints = folder / fit.CHECKPOINTS
    L.seed_everything(0, verbose=False)
    module = OrderModule(MODEL, OPTIM, ScheduleConfig(STEPS, warmup_steps=2), prepared, {"seed": 0})
    torch.rand(os.getpid() % 100)  # whatever was drawn before
    trainer = L.Trainer(
        accelerator="cpu",
        logger=CurveLogger(str(folder)),
        callbacks=[
            announce,
            ModelCheckpoint(checkpoints, "best", monitor="validation/nats", enable_version_counter=False),
            LastCheckpoint(str(checkpoints), every_n_train_steps=3, every_n_minutes=None),
            LearningRateMonitor(),
        ],
        max_steps=STEPS,
        accumulate_grad_batches=2,
        val_check_interval=5,
        check_val_every_n_epoch=None,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    last = folder / fit.LAST
    data = OrderDataModule(prepared, batch_size=2, num_workers=2, seed=1)
    fit.train(module, data, trainer, folder, last if last.exists() else None)
    join_curves(folder)


def start(prepared, folder, number=None, at=None):
    """Start the run in a child, and send it a signal at the `at`-th place that it tells.

    Returns:
        The place, and the exit code.
    """
    hear, tell = os.pipe()
    obey, allow = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        os.close(allow)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = 1
        try:
            train(prepared, folder, Announce(tell, obey))
            os.write(tell, b"f")  # the end of the pipe comes later: workers hold it, too
            status = 0
        except SystemExit as exit:
            status = exit.code
            os.write(tell, b"f")
        finally:
            os._exit(status)
    os.close(tell)
    os.close(obey)
    told, place = 0, None
    while place is None or number != signal.SIGKILL:
        heard = os.read(hear, 1).decode()
        if heard in ("", "f"):
            break
        told += 1
        if told == at:
            place = heard
            os.kill(child, number)
        if told != at or number != signal.SIGKILL:
            os.write(allow, b".")
    os.close(hear)
    os.close(allow)
    return place, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder):
    torch.set_num_threads(1)
    prepared = write_prepared(folder / "set", numbered_rows(23, 8), numbered_rows(5, 8))
    for name in ("whole", "killed"):
        (folder / name).mkdir()
    start(prepared, folder / "whole")
    chance, ends = random.Random(1), []
    while not (folder / "killed" / fit.METRICS).exists():
        # Once it is asked to stop, as by a scheduler; then it saves and says how.
        number = signal.SIGTERM if len(ends) == 2 else signal.SIGKILL
        ends.append(start(prepared, folder / "killed", number, chance.randrange(1, 40)))
    print(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
