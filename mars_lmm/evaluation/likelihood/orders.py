"""Nats per order and bits per field of a trained model on orders that it has not seen, beside simple counting."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from mars_lmm.data.datamodule import collate
from mars_lmm.data.datasets import OrderRows
from mars_lmm.data.prepared import VALIDATION, PreparedSet
from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.models.order_head import FIELDS
from mars_lmm.models.order_model import OrderModel
from mars_lmm.training.baselines import fit_baselines
from mars_lmm.training.order_module import read

FEWEST_SESSIONS = 20
"""With fewer, the orders are cut into as many blocks, and those are drawn instead."""


def likelihood(
    model: OrderModel, prepared: PreparedSet, batch_size: int = 8, most_rows: int | None = None, seed: int = 0
) -> dict:
    """How well a model tells the next order of the validation split.

    Args:
        model: In eval mode, on the device that it is to run on.
        prepared: The set whose bins the model reads.
        batch_size: Rows that are read at once.
        most_rows: How many rows to read, evenly spread over the split; None: all.
        seed: Seed of the bootstrap.

    Returns:
        - `nats` per order; `bits` per order; `bits_by_field`, each given the fields before it, which add up to `bits`.
        - `baselines`: of each its `nats`, and the `gain`, by how many nats the model is better on the same orders.
        - What it rests on: `orders`, `rows`, `rows_left_out`, `units` that the intervals draw and what a `unit` is, and
          the `seconds` it took.

        All but the last have `value`, `low` and `high`. An interval says how far the numbers depend on the orders that
        happened to be held out, not on the training run.

    Raises:
        ValueError: `most_rows` is less than 1.
    """
    began = time.perf_counter()
    rows = OrderRows(prepared, VALIDATION)
    chosen = evenly_spread(len(rows), most_rows)
    nats, pairs, session = score_orders(model, rows, chosen, batch_size)
    unit, what = _units(session)
    units = np.bincount(unit)
    bootstrap = Bootstrap([VALIDATION] * len(units), seed)

    def mean(values: np.ndarray) -> dict[str, float]:
        return bootstrap.percentile(bootstrap.ratio(np.bincount(unit, values), units))

    total = nats.sum(axis=1)
    baselines = {name: -np.log(baseline.probability(*pairs)) for name, baseline in fit_baselines(prepared).items()}
    return {
        "nats": mean(total),
        "bits": mean(total / math.log(2)),
        "bits_by_field": {field: mean(nats[:, place] / math.log(2)) for place, field in enumerate(FIELDS)},
        "baselines": {name: {"nats": mean(other), "gain": mean(other - total)} for name, other in baselines.items()},
        "orders": len(total),
        "rows": len(chosen),
        "rows_left_out": len(rows) - len(chosen),
        "units": len(units),
        "unit": what,
        "seconds": time.perf_counter() - began,
    }


def evenly_spread(count: int, most: int | None) -> list[int]:
    """All of the numbers below `count`, or `most` of them at equal distances."""
    if most is not None and most < 1:
        raise ValueError(f"most_rows is {most}; read at least 1 row, or None for all")
    if most is None or most >= count:
        return list(range(count))
    return (np.arange(most) * count // most).tolist()


@torch.inference_mode()
def score_orders(
    model: OrderModel, rows: OrderRows, chosen: Sequence[int], batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read rows of a split.

    Args:
        model: In eval mode, on its device.
        rows: The split.
        chosen: The rows to read, in this order.
        batch_size: Rows that are read at once.

    Returns:
        Of every scored order: float64[N, 4], the nats of its `FIELDS`; int64[2, N], the token before it and its own;
        int64[N], its session's number in the prepared set.
    """
    device = next(model.parameters()).device
    loader = DataLoader(Subset(rows, chosen), batch_size=batch_size, collate_fn=collate)
    nats, pairs = [], []
    with tqdm(total=len(chosen), desc="likelihood", unit="row") as progress:
        for batch in loader:
            batch = {name: column.to(device) for name, column in batch.items()}
            token, scored = batch["token"], batch["scored"]
            nats.append(model.field_nll(*read(model, batch))[scored].double().cpu().numpy())
            pairs.append(torch.stack([token[:, :-1][scored], token[:, 1:][scored]]).cpu().numpy())
            progress.update(len(token))
    pieces = np.concatenate([rows.pieces(row) for row in chosen])
    session = np.repeat(pieces["session"], pieces["length"] - pieces["first_target"])
    return np.concatenate(nats), np.concatenate(pairs, axis=1), session


def _units(session: np.ndarray) -> tuple[np.ndarray, str]:
    """What the bootstrap draws: the unit of each order, int64[N], counted from 0; and what a unit is."""
    numbers, unit = np.unique(session, return_inverse=True)
    if len(numbers) >= FEWEST_SESSIONS:
        return unit, "session"
    blocks = min(FEWEST_SESSIONS, len(session))
    return np.arange(len(session)) * blocks // len(session), "block of consecutive orders"
