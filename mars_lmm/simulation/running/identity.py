"""What a simulation's numbers depend on, in few plain values: by them an interrupted one is known again."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mars_lmm.data.market import load_rules
from mars_lmm.models.order_model import OrderModel
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import SESSION_RULES, VENUE_RULES, RolloutConfig
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.starts.start import Start

LAYOUT = 1
"""Of the files of a batch; raise it with every change to them."""


def identity(
    config: RolloutConfig,
    precision: str,
    device: str,
    model: OrderModel,
    coding: Coding,
    starts: Sequence[Start],
    end_times: np.ndarray,
    seats: Sequence[SeatPlan],
) -> dict[str, Any]:
    """Plain values that differ wherever the result would.

    Args:
        config: Which rollouts.
        precision: Of the weights.
        device: The kind of device: rollouts on a CPU and on a GPU part at some order.
        model: The model as it was trained.
        coding: How orders are coded.
        starts: Where rollouts begin; their books and histories count, not where they came from.
        end_times: int64[N], when the rollouts of each start end.
        seats: The agents; the source of their classes and the files that they have read count as well.
    """
    return {
        "layout": LAYOUT,
        "config": json.loads(json.dumps(asdict(config))),
        "precision": precision,
        "device": device,
        "model": {"shape": asdict(model.config), "weights": weights_checksum(model)},
        "coding": [coding.name, _checksum(np.asarray(table) for table in coding.tables)],
        "starts": _checksum(array for start in starts for array in _arrays(start)),
        "end_times": end_times.tolist(),
        "rules": _rules(config, starts),
        "agents": {
            seat.name: [*source_checksums(type(seat.agent)), *map(file_checksum, seat.agent.files)] for seat in seats
        },
    }


def weights_checksum(model: OrderModel) -> str:
    """What changes with a model's weights, whatever device they are on."""
    tensors = (tensor.detach().cpu().contiguous() for tensor in model.state_dict().values())
    return _checksum(tensor.reshape(-1).view(torch.uint8).numpy() for tensor in tensors)


def source_checksums(kind: type) -> list[str]:
    """What changes with the files that define a class and its bases, but for Python's own."""
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in sys.stdlib_module_names]
    files = ((base, inspect.getsourcefile(base)) for base in own)
    return list(dict.fromkeys(file_checksum(Path(file)) if file else base.__qualname__ for base, file in files))


def file_checksum(file: Path) -> str:
    """What changes with a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _arrays(start: Start) -> Iterable[np.ndarray]:
    yield np.array([start.time, start.next_id])
    yield from (start.state.book, start.state.clock, start.token, start.market, start.stream, start.unseen)
    if start.continuation is not None:
        yield start.continuation


def _rules(config: RolloutConfig, starts: Sequence[Start]) -> dict[str, str]:
    """The rule files that the rollouts go by, and what is in them."""
    recorded = config.rules in (SESSION_RULES, VENUE_RULES)
    venues = {start.session.rules for start in starts} if recorded else {config.rules}
    return {name: repr(load_rules(name)) for name in sorted(venues) if name}


def _checksum(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
