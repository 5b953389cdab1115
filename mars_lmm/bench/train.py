"""Tokens per second of training under the Trainer, against a bare PyTorch loop over the same model.

Both sides take the same rows of random orders through the same model, loss, clipping and optimiser, in turns within
one process. The Trainer runs the real module, without validation, checkpoints and progress bar. MFU counts the
operations of `OrderModel.flops_per_token` (forward and backward, attention within the window, recomputation not
counted) against the card's dense peak; it is null where that is not known.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mars_lmm.data.prepared import TOKENIZER, PreparedSet
from mars_lmm.models import sizes
from mars_lmm.models.embedding import MAX_CHANGE, NUM_MINUTES
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.observation import NUM_OBSERVED
from mars_lmm.tokenizers.orders import OrderTokenizer
from mars_lmm.training.optimizers import OptimConfig
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.parallelize import ExecutionConfig
from mars_lmm.training.peaks import matmul_dtype, peak_flops
from mars_lmm.training.schedules import ScheduleConfig

ROUNDS = 5
CLIP = 1.0
BATCHES = 4
"""Different batches, repeated."""
LEVEL_BINS = 32
FORMULA = (
    "mfu = flops_per_token * tokens_per_second / peak_flops; flops_per_token = 6 * P + 12 * width * A, P weights of "
    "matrix products, A orders attended to on average, added up over layers"
)
BYTES_PER_WEIGHT = 16  # the weight, its gradient and two moments in float32
BYTES_PER_CHANNEL = 40  # kept of a channel in a block for the backward pass, in bfloat16 and uncompiled


def add_arguments(parser: argparse.ArgumentParser):
    """Add the options of this bench."""
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--size", choices=sizes.names(), default="small", help="of conf/model (default: %(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where it trains")
    parser.add_argument("--batch-size", type=int, help="rows of a batch (default: 4; on cuda what fits, 64 at most)")
    parser.add_argument("--row-length", type=int, default=1024, help="orders of a row (default: %(default)s)")
    parser.add_argument("--window", type=int, help="orders that a layer attends to (default: the size's)")
    parser.add_argument(
        "--precision",
        choices=["32-true", "bf16-mixed", "bf16-true"],
        help="of the Trainer (default: 32-true; on cuda bf16-mixed)",
    )
    parser.add_argument("--compile", action=flag, help="compile the blocks (default: on cuda)")
    parser.add_argument("--checkpoint", action=flag, default=False, help="recompute activations")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each side (default: %(default)s)")


class Turns(L.Callback):
    """Lets the bare loop take as many steps as the Trainer, in turns.

    Attributes:
        seconds: Of each turn of the Trainer.
        bare_seconds: Of each turn of the bare loop.
        peak_memory: Bytes that the Trainer's side took, before the other one existed.
    """

    def __init__(self, steps: int, batches: list[dict[str, Tensor]], bare: OrderModule):
        self.steps = steps
        self.batches = batches
        self.bare = bare
        self.seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.peak_memory = 0
        self._began = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, module: OrderModule, batch: Any, batch_idx: int) -> None:
        """Give the turn to the bare loop and take it back."""
        turn, step = divmod(batch_idx, self.steps)
        if step:
            return
        device = trainer.strategy.root_device
        now = _now(device)
        if turn == 1:  # the first one warms up
            self.peak_memory = _peak_memory(device)
            self._optimizer = self._build_bare(trainer)
            self._bare_turn(trainer)
        elif turn > 1:
            self.seconds.append(now - self._began)
        if 1 <= turn <= ROUNDS:
            now = _now(device)
            self._bare_turn(trainer)
            self.bare_seconds.append(_now(device) - now)
        self._began = _now(device)

    def _build_bare(self, trainer: L.Trainer) -> torch.optim.Optimizer:
        self.bare.configure_model()
        self.bare.trainer = trainer
        trainer.precision_plugin.convert_module(self.bare.to(trainer.strategy.root_device)).train()
        return self.bare.configure_optimizers()["optimizer"]

    def _bare_turn(self, trainer: L.Trainer) -> None:
        model, device = self.bare.model, trainer.strategy.root_device
        for step in range(self.steps):
            batch = self.batches[step % len(self.batches)]
            batch = {name: x.to(device, non_blocking=True) for name, x in batch.items()}
            token, market, scored = batch["token"], batch["market"], batch["scored"]
            with trainer.precision_plugin.forward_context():
                hidden = model(token[:, :-1], market[:, :-1])
                loss = model.loss(hidden, token[:, 1:], scored) / scored.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            self._optimizer.step()
            self._optimizer.zero_grad()


def run(args: argparse.Namespace) -> dict:
    """Measure both sides and return the figures."""
    if args.steps < ROUNDS:
        raise SystemExit(f"--steps must be at least {ROUNDS}")
    on_cuda = args.device == "cuda"
    precision = args.precision or ("bf16-mixed" if on_cuda else "32-true")
    compiled = on_cuda if args.compile is None else args.compile
    config = sizes.read_config(args.size)
    if args.window is not None:
        config = replace(config, window=args.window)
    execution = ExecutionConfig(compile=compiled, activation_checkpointing=args.checkpoint)
    turn = args.steps // ROUNDS
    max_steps = turn * (ROUNDS + 1) + 1  # a turn to warm up, and a step that ends the last one
    with tempfile.TemporaryDirectory() as folder:
        prepared = _random_set(Path(folder), args.row_length)
        modules = []
        for _ in range(2):
            torch.manual_seed(0)
            schedule = ScheduleConfig(max_steps, warmup_steps=1)
            modules.append(OrderModule(config, OptimConfig(), schedule, prepared, {"seed": 0}, execution))
    module, bare = modules
    model = module.model
    parameters = model.num_parameters()["total"]
    batch_size = args.batch_size or (_largest_batch(config, parameters, args.row_length) if on_cuda else 4)
    batches = _random_batches(model.vocabulary, batch_size, args.row_length, on_cuda)
    turns = Turns(turn, batches, bare)
    trainer = L.Trainer(
        accelerator="gpu" if on_cuda else "cpu",
        devices=1,
        precision=precision,
        max_steps=max_steps,
        gradient_clip_val=CLIP,
        limit_val_batches=0,
        log_every_n_steps=20,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[turns],
    )
    print(f"training {parameters:,} parameters on {batch_size} rows of {args.row_length} orders", file=sys.stderr)
    trainer.fit(module, DataLoader(_Repeated(batches, max_steps), batch_size=None))
    tokens = turn * batch_size * args.row_length
    tokens_per_second, bare_tokens_per_second = (
        tokens / statistics.median(seconds) for seconds in (turns.seconds, turns.bare_seconds)
    )
    device_name = torch.cuda.get_device_name() if on_cuda else "cpu"
    peak = peak_flops(device_name, matmul_dtype(precision)) if on_cuda else None
    flops = model.flops_per_token(args.row_length)
    ratios = [bare / own for own, bare in zip(turns.seconds, turns.bare_seconds, strict=True)]
    return {
        "tokens_per_second": round(tokens_per_second, 1),
        "mfu": None if peak is None else round(flops * tokens_per_second / peak, 4),
        "peak_memory_bytes": turns.peak_memory,
        "bare_tokens_per_second": round(bare_tokens_per_second, 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "step_milliseconds": round(1000 * statistics.median(turns.seconds) / turn, 2),
        "peak_flops": peak,
        "flops_per_token": flops,
        "formula": FORMULA,
        "loss": round(trainer.callback_metrics["train/nats"].item(), 4),
        "size": args.size,
        "parameters": parameters,
        "batch_size": batch_size,
        "row_length": args.row_length,
        "window": config.window,
        "precision": precision,
        "compile": compiled,
        "activation_checkpointing": args.checkpoint,
        "device": args.device,
        "device_name": device_name,
        "threads": torch.get_num_threads(),
    }


class _Repeated:
    """The same batches again and again."""

    def __init__(self, batches: list[dict[str, Tensor]], length: int):
        self.batches, self.length = batches, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.batches[index % len(self.batches)]


def _random_set(folder: Path, row_length: int) -> PreparedSet:
    """What a module wants to know of its data."""
    observed = np.random.default_rng(0).integers(0, 1000, (500, NUM_OBSERVED))
    tokenizer = OrderTokenizer.fit(observed, takers_rest=True)
    tokenizer.save(folder / TOKENIZER)
    return PreparedSet(
        path=folder,
        recipe={"settings": {"feeds": [{"feed": "random"}]}},
        fingerprint="random",
        tokenizer_checksum=tokenizer.checksum,
        row_length=row_length,
        num_market_features=NUM_MARKET_FEATURES,
        splits={},
        cutoff={"kind": "date", "value": "none"},
        sessions=[],
        dropped=[],
    )


def _random_batches(vocabulary: int, batch_size: int, row_length: int, pinned: bool) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, (batch_size, row_length + 1, *shape), generator=generator)

    batches = []
    for _ in range(BATCHES):
        change, minute = draw(-MAX_CHANGE, MAX_CHANGE + 1, 1), draw(0, NUM_MINUTES, 1)
        levels = draw(0, LEVEL_BINS, NUM_MARKET_FEATURES - 2)
        batch = {
            "token": draw(0, vocabulary),
            "market": torch.cat((change, minute, levels), dim=-1).to(torch.int16),
            "scored": torch.ones(batch_size, row_length, dtype=torch.bool),
        }
        batches.append({name: x.pin_memory() if pinned else x for name, x in batch.items()})
    return batches


def _largest_batch(config: OrderModelConfig, parameters: int, row_length: int) -> int:
    """The largest power of two, up to 64, that should fit twice beside the weights of both sides."""
    free, _ = torch.cuda.mem_get_info()
    row = BYTES_PER_CHANNEL * config.layers * config.width * row_length
    rows = int((free - 2 * BYTES_PER_WEIGHT * parameters) / (2 * row))
    return 1 << min(6, max(1, rows).bit_length() - 1)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> int:
    """Bytes of tensors on a card; of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
