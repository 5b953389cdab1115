"""Training of the order model: loss, validation, optimiser and what a checkpoint says of its run.

Shape letters: B rows, T targets of a row.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.models.checkpoint import KEY, build_model
from mars_lmm.models.order_head import FIELDS
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training.identity import check_resume, describe_run
from mars_lmm.training.optimizers import OptimConfig, build_adamw
from mars_lmm.training.schedules import ScheduleConfig, learning_rate_factor

BITS = ("bits", *(f"bits_{field}" for field in FIELDS))
"""What validation logs in bits per order: the whole order, and each field given those before it."""


class OrderModule(L.LightningModule):
    """Minimises the nats of the next order, given the orders before it and the market after each of them.

    Logs `train/nats` and `validation/nats`, both per order; of validation also `validation/bits`, and its parts
    `validation/bits_type`, `_price`, `_size` and `_interval`, each given the fields before it.

    Args:
        model: Shape of the model.
        optim: Hyper-parameters of the optimiser.
        schedule: Learning-rate schedule and length of the run.
        prepared: The set to train on; checkpoints name it, and do not resume on another.
        config: The resolved run config, plain values; a checkpoint carries it.
    """

    def __init__(
        self,
        model: OrderModelConfig,
        optim: OptimConfig,
        schedule: ScheduleConfig,
        prepared: PreparedSet,
        config: dict[str, Any],
    ):
        super().__init__()
        self.optim = optim
        self.schedule = schedule
        self.run = describe_run(config, model, optim, prepared)
        self.model: OrderModel = build_model(self.run)
        # Sums in float64: in float32 the mean over millions of orders depends on the batch size.
        self.validation_nats = MeanMetric(nan_strategy="error").set_dtype(torch.float64)
        self.validation_bits = nn.ModuleDict(
            {name: MeanMetric(nan_strategy="error").set_dtype(torch.float64) for name in BITS}
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Mean nats of the batch's scored orders; of all ranks' batches, once their gradients are averaged."""
        hidden_BTD, target_BT = self._read(batch)
        scored_BT = batch["scored"]
        # Packed rows hold fewer orders than others, so that ranks that share a batch score unequal numbers of them.
        num_scored = self.trainer.strategy.reduce(scored_BT.sum().float(), reduce_op="mean")
        loss = self.model.loss(hidden_BTD, target_BT, scored_BT) / num_scored
        # Checked at once, so that no checkpoint is ever written after a step that could not be taken.
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.global_step}: lower optim.learning_rate, lengthen "
                "schedule.warmup_steps or clip gradients (trainer.gradient_clip_val)"
            )
        self.log("train/nats", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's scored orders to the mean over all of them."""
        nats_BTF = self.model.field_nll(*self._read(batch)).double()
        nats_BT, scored_BT = nats_BTF.sum(dim=-1), batch["scored"]
        self.validation_nats.update(nats_BT, weight=scored_BT)
        self.log("validation/nats", self.validation_nats, prog_bar=True)
        for name, parts_BT in zip(BITS, (nats_BT, *nats_BTF.unbind(dim=-1)), strict=True):
            self.validation_bits[name].update(parts_BT / math.log(2), weight=scored_BT)
            self.log(f"validation/{name}", self.validation_bits[name])

    def _read(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D] and the targets [B, T] that each of them has to tell."""
        token, market = batch["token"], batch["market"]
        # The loader leaves it out where no row of the batch is packed.
        segment = batch["segment"][:, :-1] if "segment" in batch else None
        return self.model(token[:, :-1], market[:, :-1], segment), token[:, 1:]

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, and a learning rate that changes with every optimiser step."""
        trainer = self.trainer
        # Lightning refuses to clip the gradients of a fused optimiser under mixed precision, even bfloat16.
        clips_in_mixed = isinstance(trainer.precision_plugin, MixedPrecision) and trainer.gradient_clip_val
        fused = trainer.strategy.root_device.type == "cuda" and not clips_in_mixed
        optimizer = build_adamw(self.model, self.optim, fused)
        scheduler = LambdaLR(optimizer, lambda step: learning_rate_factor(step, self.schedule))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Check that the Trainer stops with the schedule.

        Without `max_steps` the Trainer also forgets the loader's state on a resume at the end of an epoch.
        """
        if not 0 < self.trainer.max_steps <= self.schedule.max_steps:
            raise ValueError(
                f"the Trainer's max_steps is {self.trainer.max_steps}, the schedule ends at "
                f"{self.schedule.max_steps} steps: set trainer.max_steps = schedule.max_steps"
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the run end with a validation, and so with a checkpoint, wherever the last one was."""
        if self.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what the run is into the checkpoint."""
        checkpoint[KEY] = self.run

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume another run.

        Raises:
            ValueError: The checkpoint's data, tokenizer, model or optimiser is not this run's.
        """
        check_resume(checkpoint[KEY], self.run)
