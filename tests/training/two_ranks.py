"""What each of two processes does for test_ranks.py; one start of the interpreter serves all of it.

`two_ranks.py FOLDER` under torchrun's environment variables. FOLDER holds the prepared set and what one process wrote;
rank 0 leaves its records there.
"""

import sys
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from tiny import MODEL
from torch.distributed.tensor import DTensor

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.parallelize import ExecutionConfig
from mars_lmm.training.schedules import ScheduleConfig
from mars_lmm.training.strategies import ShardedStrategy

STEPS, CUT = 8, 4
ROWS = 4
CLIP = 0.05
OTHER_HEADS = ("joint", "tied")
STRATEGIES = {"ddp": DDPStrategy, "fsdp": ShardedStrategy}


class Recorder(L.Callback):
    """Loss and gradient norm of every step, and the weights at the end, as one process has them."""

    def __init__(self, save=None):
        self.save = save
        self.nats, self.norms, self.weights = [], [], {}

    def on_train_batch_end(self, trainer, module, *_):
        self.nats.append(trainer.callback_metrics["train/nats"].item())
        if trainer.global_step == CUT and self.save:
            trainer.save_checkpoint(self.save)

    def on_train_end(self, trainer, module):
        self.norms = module.norms
        self.weights = trainer.strategy.lightning_module_state_dict()
        self.validation = trainer.callback_metrics["validation/nats"].item()

    def record(self):
        return {"nats": self.nats, "norms": self.norms, "weights": self.weights, "validation": self.validation}


class Module(OrderModule):
    def on_fit_start(self):
        super().on_fit_start()
        self.norms = []

    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        self.norms.append((norm.full_tensor() if isinstance(norm, DTensor) else norm).item())


class PlainDescent(Module):
    """Steps in proportion to gradients: Adam would blow up rounding where they are next to nothing."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(
    prepared, num_ranks, kind=Module, save=None, resume=None, model=MODEL, execution=None, accumulate=1, **options
):
    """Train on the same global batches, whatever the number of ranks."""
    L.seed_everything(0, verbose=False)
    optim = OptimConfig(learning_rate=1e-3)
    module = kind(model, optim, ScheduleConfig(STEPS, warmup_steps=2), prepared, {"seed": 0}, execution)
    recorder = Recorder(save)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=num_ranks,
        max_steps=STEPS,
        gradient_clip_val=CLIP,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
        val_check_interval=STEPS * accumulate,
        use_distributed_sampler=False,
        callbacks=[recorder],
        **options,
    )
    data = OrderDataModule(prepared, ROWS // num_ranks // accumulate, 0, seed=1)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return recorder.record()


def main(folder):
    prepared = PreparedSet.load(folder / "set")
    records = {}
    for name, strategy in STRATEGIES.items():

        def run(prepared=prepared, strategy=strategy, **options):
            return train(prepared, 2, strategy=strategy(), **options)

        records[name] = {
            "whole": run(save=folder / f"{name}.ckpt"),
            "resumed": run(resume=folder / "one.ckpt"),
            "descent": run(kind=PlainDescent),
            "accumulated": run(kind=PlainDescent, accumulate=2),
        }
    for head in OTHER_HEADS:
        records["fsdp"][head] = run(kind=PlainDescent, model=replace(MODEL, head=head))
    records["fsdp"]["bfloat16"] = run(
        execution=ExecutionConfig(sharded_dtype="bfloat16", activation_checkpointing=True),
        save=folder / "bfloat16.ckpt",
    )
    if torch.distributed.get_rank() == 0:
        torch.save(records, folder / "two.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
