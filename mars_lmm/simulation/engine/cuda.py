"""The program of a step as kernels with a thread a book. Under numba's CUDA simulator the tensors are on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from numba import config, cuda

from mars_lmm.market.cuda import THREADS, VENUE
from mars_lmm.market.resolve import make_resolving
from mars_lmm.simulation.engine.program import make_program
from mars_lmm.simulation.engine.step_coding import STEPS
from mars_lmm.simulation.engine.targets import Target
from mars_lmm.tokenizers.observation import make_observing

_device_function = cuda.jit(device=True)
OBSERVING = make_observing(_device_function, VENUE, make_resolving(_device_function, VENUE).apply)


def compile_program(coding: str) -> Target:
    """Make the kernels for one of `STEPS`; they are compiled when they are first called.

    They start on torch's current stream and nothing waits for them; after one call of each, calls can be captured in a
    CUDA graph.
    """
    launchers = {name: _launcher(kernel) for name, kernel in make_kernels(coding).items()}
    return SimpleNamespace(**launchers, view=_view)


def make_kernels(coding: str) -> dict[str, Any]:
    """The kernels by name; their arguments are those of `Target`'s functions."""
    program = make_program(_device_function, VENUE, OBSERVING, STEPS[coding](_device_function, VENUE))
    draw_one, plan_one, look_one, send_one, track_one, act_one = program

    @cuda.jit
    def draw(m, r, seed):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            draw_one(m, r, b, seed)

    @cuda.jit
    def plan(m, r, tables, tokens, healthy, has_model):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            plan_one(tables, m, r, b, tokens, healthy, has_model)

    @cuda.jit
    def look(m, r, a, k, agent, seed):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            look_one(m, r, a, k, b, agent, seed)

    @cuda.jit
    def send(m, r, a, agent, orders, wakes, on_order, see_latency, send_latency):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            send_one(m, r, a, b, agent, orders, wakes, on_order, see_latency, send_latency)

    @cuda.jit
    def track(m, a, agent):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            track_one(m, a, b, agent)

    @cuda.jit
    def act(m, r, a, k, tables, queue_rule, limits):
        b = cuda.grid(1)
        if b < m.books.shape[0]:
            act_one(tables, m, r, a, k, b, queue_rule, limits)

    return {"draw": draw, "plan": plan, "look": look, "send": send, "track": track, "act": act}


def _launcher(kernel: Any) -> Callable[..., None]:
    def launch(m: Any, *arguments: Any) -> None:
        blocks = -(-m.books.shape[0] // THREADS)
        if config.ENABLE_CUDASIM:
            kernel[blocks, THREADS](m, *arguments)
            return
        stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
        kernel[blocks, THREADS, stream](m, *arguments)

    return launch


def _view(tensor: torch.Tensor) -> Any:
    return tensor.numpy() if config.ENABLE_CUDASIM else cuda.as_cuda_array(tensor, sync=False)
