"""How long a run will take on this machine's CPU, from a few steps of a model of its shape."""

from __future__ import annotations

import time

import torch

from mars_lmm.data.prepared import VALIDATION, PreparedSet
from mars_lmm.models.order_model import OrderModel
from mars_lmm.training.scaling.plan import Cell

START_UP = 12.0
"""Seconds that a process takes to import, open the data and score the baselines."""
_STEPS = 2


def estimate_seconds(cells: list[Cell], prepared: PreparedSet, threads: int, validations: int) -> dict[str, float]:
    """Seconds of each cell by name.

    Args:
        cells: The runs; one of each size is timed.
        prepared: The data.
        threads: CPU threads that a run will have.
        validations: Validations of a run.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rows = prepared.splits[VALIDATION]["rows"]
    row_seconds: dict[str, float] = {}
    try:
        for cell in cells:
            if cell.size not in row_seconds:
                row_seconds[cell.size] = _seconds_per_row(cell, prepared)
    finally:
        torch.set_num_threads(before)
    # A forward pass is a third of a step.
    return {
        cell.name: START_UP + row_seconds[cell.size] * (cell.steps * cell.batch_rows + validations * rows / 3)
        for cell in cells
    }


def _seconds_per_row(cell: Cell, prepared: PreparedSet) -> float:
    """Seconds of training on one row, of the made-up orders 0."""
    model = OrderModel(cell.model, prepared.tokenizer().bins, prepared.num_market_features)
    token = torch.zeros(cell.batch_size, prepared.row_length, dtype=torch.int64)
    market = torch.zeros(*token.shape, prepared.num_market_features, dtype=torch.int16)
    for step in range(1 + _STEPS):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        model.loss(model(token, market), token, torch.ones_like(token)).backward()
    return (time.perf_counter() - started) / (_STEPS * cell.batch_size)
