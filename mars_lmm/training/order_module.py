"""Training of the order model: loss, validation, optimiser and what a checkpoint says of its run.

Shape letters: B rows, T targets of a row.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models.checkpoint import KEY, build_model
from mars_lmm.models.order_head import FIELDS
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training.agreement import check_agreement
from mars_lmm.training.identity import check_resume, describe_run
from mars_lmm.training.means import ExactMean
from mars_lmm.training.mirror import mirror_some
from mars_lmm.training.norms import clip_norm
from mars_lmm.training.optimizers import OptimConfig, build_optimizer
from mars_lmm.training.parallelize import ExecutionConfig, gather, parallelize, release
from mars_lmm.training.randomness import seed_batch
from mars_lmm.training.ranks import num_ranks, sum_over_ranks
from mars_lmm.training.rules import learning_rate
from mars_lmm.training.schedules import ScheduleConfig, learning_rate_factor

BITS = ("bits", *(f"bits_{field}" for field in FIELDS))
"""What validation logs in bits per order: the whole order, and each field given those before it."""


class OrderModule(L.LightningModule):
    """Minimises the nats of the next order, given the orders before it and the market after each of them.

    Logs `train/nats` and `validation/nats`, both per order, and `train/gradient_norm` where gradients are clipped; of
    validation also `validation/bits`, and its parts `validation/bits_type`, `_price`, `_size` and `_interval`, each
    given the fields before it.

    Args:
        model: Shape of the model.
        optim: Hyper-parameters of the optimiser; a learning rate of None is resolved by the model's size.
        schedule: Learning-rate schedule and length of the run.
        prepared: The set to train on; checkpoints name it, and do not resume on another.
        config: The resolved run config, plain values; a checkpoint carries it, and dropout follows its `seed`.
        execution: How the model is run; None: as it is written.
    """

    def __init__(
        self,
        model: OrderModelConfig,
        optim: OptimConfig,
        schedule: ScheduleConfig,
        prepared: PreparedSet,
        config: dict[str, Any],
        execution: ExecutionConfig | None = None,
    ):
        super().__init__()
        self.schedule = schedule
        self.execution = ExecutionConfig() if execution is None else execution
        self.run = describe_run(config, model, optim, prepared)
        self.model: OrderModel = build_model(self.run)
        if optim.learning_rate is None:
            optim = replace(optim, learning_rate=learning_rate(self.model.num_parameters()["non_embedding"]))
            self.run["optim"] = asdict(optim)
        self.optim = optim
        self.validation_nats = ExactMean()
        self.validation_bits = nn.ModuleDict({name: ExactMean() for name in BITS})
        self._validated: dict[str, float] | None = None
        self._num_scored: list[Tensor] = []  # by each batch since the last optimiser step
        self._parallelized = False

    def setup(self, stage: str) -> None:
        """Refuse a Trainer that does not fit the run."""
        if stage == "fit":
            check_agreement(self.trainer, self.optim, self.schedule, self.execution)

    def configure_model(self) -> None:
        """Compile and shard, once the Trainer has its devices; the Trainer calls it again for each of its runs."""
        if not self._parallelized:
            parallelize(self.model, self.device_mesh, self.execution)
            self._parallelized = True

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Mean nats of the batch's scored orders; of all ranks' batches, once their gradients are averaged.

        Of batches whose gradients are accumulated, the nats are divided by what the first one scores.
        """
        if self.optim.mirror:
            batch = mirror_some(batch, self.model.bins)
        hidden_BTD, target_BT = read(self.model, batch)
        scored_BT = batch["scored"]
        nats = self.model.loss(hidden_BTD, target_BT, scored_BT)
        # Packed rows hold fewer orders than others, so that ranks that share a batch score unequal numbers of them.
        all_nats, num_scored = sum_over_ranks(torch.stack((nats.detach(), scored_BT.sum())))
        self._num_scored.append(num_scored)
        loss = num_ranks() * nats / self._num_scored[0]
        if self.trainer.accumulate_grad_batches == 1:
            self._num_scored.clear()
        self.log("train/nats", all_nats / num_scored, prog_bar=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Make of accumulated gradients those of the mean over all their orders, however many each batch scored.

        The Trainer divides by `accumulate_grad_batches`, also at the end of an epoch, where there may be fewer.
        """
        if self._num_scored:
            mean_scored = sum(self._num_scored) / self.trainer.accumulate_grad_batches
            factor = self._num_scored[0] / mean_scored
            for weight in self.model.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(factor)
            self._num_scored.clear()

    def on_validation_epoch_start(self) -> None:
        """Let each rank validate at its own pace."""
        gather(self.model)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's scored orders to the mean over all of them."""
        nats_BTF = self.model.field_nll(*read(self.model, batch)).double()
        nats_BT, scored_BT = nats_BTF.sum(dim=-1), batch["scored"]
        self.validation_nats.update(nats_BT, weight=scored_BT)
        self.log("validation/nats", self.validation_nats, prog_bar=True)
        for name, parts_BT in zip(BITS, (nats_BT, *nats_BTF.unbind(dim=-1)), strict=True):
            self.validation_bits[name].update(parts_BT / math.log(2), weight=scored_BT)
            self.log(f"validation/{name}", self.validation_bits[name])

    def on_validation_epoch_end(self) -> None:
        """Go back to sharded weights, if they were, and remember what the checkpoints that are written next score."""
        release(self.model)
        if not self.trainer.sanity_checking:
            metrics = {"nats": self.validation_nats, **self.validation_bits}
            scores = {name: metric.compute().item() for name, metric in metrics.items()}
            self._validated = {"step": self.global_step, **scores}

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and a learning rate that changes with every step of it."""
        trainer = self.trainer
        # Where gradients are scaled, a fused optimiser takes the scale out itself, after clipping would need it.
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        fused = trainer.strategy.root_device.type == "cuda" and not (scaled and trainer.gradient_clip_val)
        optimizer = build_optimizer(self.model, self.optim, fused)
        scheduler = LambdaLR(optimizer, lambda step: learning_rate_factor(step, self.schedule))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and log the norm, which is known then; Lightning's own clipping keeps it to itself."""
        by_norm = gradient_clip_algorithm in (None, "norm") and gradient_clip_val
        # Under FSDP1 a rank sees its own shard's norm only; Lightning says so.
        if by_norm and not isinstance(self.trainer.strategy, FSDPStrategy):
            self.log("train/gradient_norm", clip_norm(self.parameters(), gradient_clip_val))
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let dropout depend on nothing but where the run stands."""
        share = self.trainer.distributed_sampler_kwargs
        seed_batch(self.run["config"]["seed"], self.trainer.fit_loop.total_batch_idx, share["rank"] if share else 0)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the run end with a validation, and so with a checkpoint, wherever the last one was."""
        if self.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what the run is, how far it has come and its newest validation into the checkpoint."""
        checkpoint[KEY] = self.run | {"step": self.global_step, "validation": self._validated}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume another run.

        Raises:
            ValueError: The checkpoint's data, tokenizer, model or optimiser is not this run's.
        """
        check_resume(checkpoint[KEY], self.run)
        self._validated = checkpoint[KEY].get("validation")


def read(model: OrderModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Hidden states [B, T, D] and the targets [B, T] that each of them has to tell, of a batch of rows."""
    token, market = batch["token"], batch["market"]
    # The loader leaves it out where no row of the batch is packed.
    segment = batch["segment"][:, :-1] if "segment" in batch else None
    return model(token[:, :-1], market[:, :-1], segment), token[:, 1:]
