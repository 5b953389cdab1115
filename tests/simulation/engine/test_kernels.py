"""The step as kernels: numba's CUDA simulator gives what the CPU gives, and the kernels compile for a card."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import ptx
import pytest
import torch
from device_rollouts import make_rollouts

HERE = Path(__file__).parent

COMPILED = """
import sys

import ptx

ptx.pretend()

from numba import boolean, float64, int16, int64, types

from mars_lmm.simulation.engine import arrays

from mars_lmm.simulation.engine import cuda
from mars_lmm.tokenizers.coding import CodingTables
from mars_lmm.tokenizers.mars_coding import MarsTables

_1, _2, _3, _4 = int64[::1], int64[:, ::1], int64[:, :, ::1], int64[:, :, :, ::1]
bools, weights = boolean[::1], float64[:, ::1]


def named(kind, *fields):
    return types.NamedTuple(fields, kind)


tables = {
    "orders": named(CodingTables, *[_1] * 7, *[int16[::1]] * 3, *[_2] * 4, *[weights] * 4, boolean),
    "mars": named(MarsTables, *[_1] * 4, *[_2] * 3, *[weights] * 3),
}[sys.argv[1]]
m = named(arrays.MarketArrays, *[_2] * 4, _1, int16[:, ::1], _2, bools, _2, _4, _3)
r = named(arrays.RolloutArrays, _2, weights, _2, bools, _3, boolean[:, ::1])
a = named(arrays.AgentArrays, _3, _4, _4, float64[:, :, ::1])
k = named(arrays.RecordArrays, _3, _1, _3)
limits = named(arrays.Limits, int64, int64)
signatures = {
    "draw": (m, r, int64),
    "plan": (m, r, tables, _1, bools, boolean),
    "look": (m, r, a, k, int64, int64),
    "send": (m, r, a, int64, _3, _1, _1, int64, int64),
    "track": (m, a, int64),
    "act": (m, r, a, k, tables, int64, limits),
}
for name, kernel in cuda.make_kernels(sys.argv[1]).items():
    print(name, ptx.length(kernel, signatures[name]))
"""


def test_the_simulated_card_gives_what_the_cpu_gives():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", HERE / "device_rollouts.py"],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    compared, fills = map(int, run.stdout.split())
    assert compared > 20
    assert fills > 0


@pytest.mark.parametrize("coding", ["orders", "mars"])
def test_the_kernels_compile_for_a_card(coding):
    output = ptx.output_of(f"import sys; sys.argv = ['', '{coding}']\n" + COMPILED)
    assert [line.split()[0] for line in output.splitlines()] == ["draw", "plan", "look", "send", "track", "act"]


on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def rows(engine, steps):
    return np.concatenate([chunk.rows for chunk in engine.run(steps)])


@pytest.mark.gpu
@on_a_card
def test_a_graph_does_what_single_kernels_do():
    graph, eager = (rows(make_rollouts("cuda", graph=graph), 600) for graph in (True, False))
    np.testing.assert_array_equal(graph, eager)


@pytest.mark.gpu
@on_a_card
def test_a_card_does_what_the_cpu_does_until_a_sample_differs():
    card, host = make_rollouts("cuda"), make_rollouts("cpu")
    alike = 0
    for _ in range(200):
        expected, got = rows(host, 1), rows(card, 1)
        if not np.array_equal(got, expected):
            break
        alike += 1
        hidden = card.forecaster.reader.hidden.cpu()
        torch.testing.assert_close(hidden, host.forecaster.reader.hidden, atol=1e-4, rtol=1e-4)
    # A sample differs where a uniform number lies between two roundings of one cumulative sum: one in 10^5 or so.
    assert alike > 50
