"""The program of a step where it runs: loops over the books on a CPU, kernels with a thread a book on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch


class Target(Protocol):
    """Compiled functions over a whole batch."""

    draw: Callable  # (m, r, seed)
    plan: Callable  # (m, r, tables, tokens, healthy, has_model)
    look: Callable  # (m, r, a, k, agent, seed)
    send: Callable  # (m, r, a, agent, orders, wakes, on_order, see_latency, send_latency)
    track: Callable  # (m, a, agent)
    act: Callable  # (m, r, a, k, tables, queue_rule, limits)

    def view(self, tensor: torch.Tensor) -> Any:
        """A tensor as the array that the functions take; both share memory."""


@cache
def target(device_type: str, coding: str) -> Target:
    """The program for a device.

    Args:
        device_type: cpu or cuda.
        coding: Of `STEPS`.
    """
    if device_type == "cpu":
        from mars_lmm.simulation.engine.cpu import compile_program
    else:
        from mars_lmm.simulation.engine.cuda import compile_program
    return compile_program(coding)
