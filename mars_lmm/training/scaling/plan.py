"""The cells of a ladder: one run of train.py for every size, budget and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mars_lmm.data.prepared import TRAIN, PreparedSet
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training import rules
from mars_lmm.training.scaling.config import ScalingConfig, SizeConfig

Compose = Callable[[list[str]], Any]
"""Overrides of train.py -> its checked configuration."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        name: Size, budget and seed; names the folder.
        size: Its size's name.
        budget: Orders asked for.
        seed: Of weights and order of rows.
        overrides: The command line of train.py without where the data and the folder are.
        model: Shape of the model.
        counts: Parameters, as `OrderModel.num_parameters` has them.
        steps: Optimiser steps.
        batch_size: Rows of a batch on a device.
        batch_rows: Rows of an optimiser step, of all devices.
        batch_orders: Targets of an optimiser step, on average.
        epochs: How often the run goes through the training split.
        learning_rate: Full learning rate.
        flops: Floating-point operations of training, attention included.
    """

    name: str
    size: str
    budget: int
    seed: int
    overrides: tuple[str, ...]
    model: OrderModelConfig
    counts: dict[str, int]
    steps: int
    batch_size: int
    batch_rows: int
    batch_orders: float
    epochs: float
    learning_rate: float
    flops: float


def plan(ladder: ScalingConfig, compose: Compose, prepared: PreparedSet) -> list[Cell]:
    """All cells, the cheapest first.

    Raises:
        ValueError: A size changes the data, a budget goes through them too often, or the number of devices is not
            known.
    """
    data = compose(ladder.base).data
    cells = []
    for size in ladder.sizes:
        config = compose([*ladder.base, *size.overrides])
        if config.data != data:
            raise ValueError(f"size {size.name} changes data settings: runs on other data do not compare")
        counts, flops_per_order = _measure(config.model, prepared)
        batches = config.trainer["accumulate_grad_batches"]
        shares = batches * _num_devices(config.trainer)
        split = prepared.splits[TRAIN]
        row_orders = split["orders"] / split["rows"]
        rate, batch_size = _hyperparameters(ladder, size, counts["non_embedding"], row_orders * shares)
        chosen = [*ladder.base, *size.overrides, f"optim.learning_rate={rate}", f"data.batch_size={batch_size}"]
        batch_rows = batch_size * shares
        batch_orders = batch_rows * row_orders
        for budget in ladder.budgets:
            steps = max(2, round(budget / batch_orders))
            length = [
                f"schedule.max_steps={steps}",
                f"schedule.warmup_steps={round(ladder.warmup * steps)}",
                f"trainer.val_check_interval={-(-steps * batches // ladder.validations)}",
            ]
            compose([*chosen, *length])  # so that a run which cannot be is an error before the first one starts
            for seed in ladder.seeds:
                cells.append(
                    Cell(
                        name=f"{size.name}-{short(budget)}-s{seed}",
                        size=size.name,
                        budget=budget,
                        seed=seed,
                        overrides=(*chosen, *length, f"seed={seed}"),
                        model=config.model,
                        counts=counts,
                        steps=steps,
                        batch_size=batch_size,
                        batch_rows=batch_rows,
                        batch_orders=batch_orders,
                        epochs=steps * batch_rows / split["rows"],
                        learning_rate=rate,
                        flops=flops_per_order * steps * batch_rows * prepared.row_length,
                    )
                )
    _check_epochs(cells, ladder, prepared)
    return sorted(cells, key=lambda cell: cell.flops)


def short(number: float) -> str:
    """A number of orders in few letters: 150k, 1.2M."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.6g}{unit}"
    return f"{number:.6g}"


def folder_of(ladder: ScalingConfig) -> Path:
    """Where a ladder's runs and results lie."""
    return Path("outputs") / "scaling" / ladder.name


def _hyperparameters(ladder: ScalingConfig, size: SizeConfig, parameters: int, row_orders: float) -> tuple[float, int]:
    """Learning rate and rows in a batch: the size's, else the ladder's, else by the rules for its parameters.

    Args:
        ladder: The ladder.
        size: The size.
        parameters: `non_embedding` of its counts.
        row_orders: Targets of an optimiser step with one row in a batch.
    """
    rate = ladder.learning_rate if size.learning_rate is None else size.learning_rate
    batch_size = ladder.batch_size if size.batch_size is None else size.batch_size
    if rate is None:
        rate = float(f"{rules.learning_rate(parameters):.3g}")
    if batch_size is None:
        batch_size = max(1, round(rules.batch_orders(parameters) / row_orders))
    return rate, batch_size


def _measure(config: OrderModelConfig, prepared: PreparedSet) -> tuple[dict[str, int], float]:
    """Counts of a model's parameters, and operations of training on one order; the weights are never made."""
    with torch.device("meta"):
        model = OrderModel(config, prepared.tokenizer().bins, prepared.num_market_features)
    return model.num_parameters(), model.flops_per_token(prepared.row_length)


def _num_devices(trainer: dict[str, Any]) -> int:
    """Devices that share a step."""
    devices = trainer.get("devices", 1)
    if not isinstance(devices, int) or devices < 1:
        raise ValueError(f"trainer.devices={devices!r}: name a number, on which the length of the runs depends")
    return devices * trainer.get("num_nodes", 1)


def _check_epochs(cells: list[Cell], ladder: ScalingConfig, prepared: PreparedSet) -> None:
    worst = max(cells, key=lambda cell: cell.epochs)
    if worst.epochs > ladder.max_epochs:
        raise ValueError(
            f"{worst.name} goes {worst.epochs:.1f} times through the {prepared.splits[TRAIN]['orders']:,} orders of "
            f"the training split, max_epochs is {ladder.max_epochs:g}: prepare more data, lower budgets, or raise it"
        )
