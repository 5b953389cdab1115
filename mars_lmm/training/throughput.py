"""Orders per second and model FLOPs utilisation (MFU), without waiting for the device at every step."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch
from torch import Tensor

from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.peaks import matmul_dtype, peak_flops


class WallClock:
    """Moments of this process."""

    def now(self) -> float:
        """This moment."""
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """Time between two moments."""
        return end - start


class CudaClock:
    """Moments of the device's stream of work, which the process is ahead of."""

    def now(self) -> torch.cuda.Event:
        """When the device will have done what was asked of it so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Time between two moments; waits for the second."""
        end.synchronize()
        return start.elapsed_time(end) / 1000


class Throughput(L.Callback):
    """Logs speed over every `log_every_n_steps` optimiser steps, of all ranks together.

    `throughput/orders_per_second` counts the positions of rows that went through the model,
    `throughput/step_milliseconds` the time of an optimiser step, loading included; validation and checkpoints are
    left out of both. `throughput/mfu` is `OrderModel.flops_per_token` times orders per second and device, over the
    card's dense peak in the dtype of the run's matrix products; it is not logged where that peak is not known. On
    CUDA `throughput/peak_memory_bytes` is the most that tensors have taken so far, on the device of rank 0.

    The first steps, up to the first multiple of `log_every_n_steps`, warm up and are not counted.
    """

    def __init__(self):
        self._clock: WallClock | CudaClock = WallClock()
        self._peak_flops: float | None = None
        self._start: Any = None  # of the stretch that is measured; None: nothing is
        self._end: Any = None  # of the newest batch
        self._stretches: list[tuple[Any, Any]] = []
        self._paused = False
        self._orders = 0
        self._first_step = 0
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Learn what device this is."""
        device = trainer.strategy.root_device
        self._clock = CudaClock() if device.type == "cuda" else WallClock()
        self._start = None
        self._step = trainer.global_step
        if device.type == "cuda":
            sharded_bf16 = module.execution.sharded_dtype == "bfloat16"
            dtype = "bf16" if sharded_bf16 else matmul_dtype(trainer.precision)
            self._peak_flops = peak_flops(torch.cuda.get_device_name(device), dtype)

    def on_train_batch_start(
        self, trainer: L.Trainer, module: OrderModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Go on after a pause."""
        if self._paused and self._start is not None:
            self._start = self._clock.now()
        self._paused = False

    def on_train_batch_end(
        self, trainer: L.Trainer, module: OrderModule, outputs: Any, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Count the batch; log and begin again after every so many optimiser steps."""
        rows, length = batch["token"].shape
        self._orders += rows * (length - 1)
        stepped = trainer.global_step != self._step
        self._step = trainer.global_step
        if self._start is not None or stepped:
            self._end = self._clock.now()
        if stepped and trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:
            if self._start is not None:
                self._stretches.append((self._start, self._end))
                self._log(trainer, module, length - 1)
            self._stretches, self._orders = [], 0
            self._first_step, self._start = trainer.global_step, self._end

    def on_validation_start(self, trainer: L.Trainer, module: OrderModule) -> None:
        """Leave out the validation."""
        self._pause()

    def on_save_checkpoint(self, trainer: L.Trainer, module: OrderModule, checkpoint: dict[str, Any]) -> None:
        """Leave out the checkpoint."""
        self._pause()

    def _pause(self) -> None:
        if not self._paused and self._start is not None:
            self._stretches.append((self._start, self._end))
        self._paused = True

    def _log(self, trainer: L.Trainer, module: OrderModule, length: int) -> None:
        seconds = sum(self._clock.seconds(start, end) for start, end in self._stretches)
        # Batches are of one size on all ranks, and no rank is ahead of the others by more than a step.
        orders_per_second = self._orders / seconds
        metrics = {
            "throughput/orders_per_second": orders_per_second * trainer.world_size,
            "throughput/step_milliseconds": 1000 * seconds / (trainer.global_step - self._first_step),
        }
        if self._peak_flops is not None:
            metrics["throughput/mfu"] = module.model.flops_per_token(length) * orders_per_second / self._peak_flops
        device = trainer.strategy.root_device
        if device.type == "cuda":
            metrics["throughput/peak_memory_bytes"] = float(torch.cuda.max_memory_allocated(device))
        module.log_dict(metrics, on_step=True, on_epoch=False)
