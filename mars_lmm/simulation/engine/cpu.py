"""The program of a step as loops over the books on a CPU."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from mars_lmm.compilation import kept_njit
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.simulation.engine.program import make_program
from mars_lmm.simulation.engine.step_coding import STEPS
from mars_lmm.simulation.engine.targets import Target
from mars_lmm.tokenizers.cpu import OBSERVING


def compile_program(coding: str) -> Target:
    """Compile the loops for one of `STEPS`; the machine code is kept on disk."""
    program = make_program(scalar_njit, VENUE, OBSERVING, STEPS[coding](scalar_njit, VENUE))
    draw_one, plan_one, look_one, send_one, track_one, act_one = program
    jit = partial(kept_njit, "market", "tokenizers", "simulation/engine", name=coding, _nrt=False)

    @jit()
    def draw(m, r, seed):
        for b in range(len(m.books)):
            draw_one(m, r, b, seed)

    @jit()
    def plan(m, r, tables, tokens, healthy, has_model):
        for b in range(len(m.books)):
            plan_one(tables, m, r, b, tokens, healthy, has_model)

    @jit()
    def look(m, r, a, k, agent, seed):
        for b in range(len(m.books)):
            look_one(m, r, a, k, b, agent, seed)

    @jit()
    def send(m, r, a, agent, orders, wakes, on_order, see_latency, send_latency):
        for b in range(len(m.books)):
            send_one(m, r, a, b, agent, orders, wakes, on_order, see_latency, send_latency)

    @jit()
    def track(m, a, agent):
        for b in range(len(m.books)):
            track_one(m, a, b, agent)

    @jit()
    def act(m, r, a, k, tables, queue_rule, limits):
        for b in range(len(m.books)):
            act_one(tables, m, r, a, k, b, queue_rule, limits)

    return SimpleNamespace(draw=draw, plan=plan, look=look, send=send, track=track, act=act, view=_view)


def _view(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy()
