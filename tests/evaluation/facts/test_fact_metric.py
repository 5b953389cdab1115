"""The metric: the same findings however paths are spread, in float64 throughout."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fact_ranks import paths, update

from mars_lmm.evaluation.facts.eleven import judge
from mars_lmm.evaluation.facts.metric import StylizedFacts
from mars_lmm.evaluation.plain import dumps

HERE = Path(__file__).resolve().parent


def plain(found):
    return json.loads(dumps(found))


def same(found, expected):
    """Equal up to the order of sums."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    return found == expected


@pytest.fixture(scope="module")
def expected():
    return plain(vars(judge(paths(), seed=3)))


def test_batches_in_any_order(expected):
    metric, market = StylizedFacts(seed=3), paths()
    for rows in torch.arange(96).flip(0).split(17):
        update(metric, market, rows)
    assert same(plain(metric.compute()), expected)


def test_float64_survives_casts(expected):
    metric, market = StylizedFacts(seed=3), paths()
    module = torch.nn.Module()
    module.metric = metric
    update(metric, market, slice(0, 50))
    metric.set_dtype(torch.float32)
    module.to(torch.bfloat16).float().half()
    metric.to("cpu", torch.float32)
    update(metric, market, slice(50, 96))
    assert {state.dtype for state in metric.values} == {torch.float64}
    assert same(plain(metric.compute()), expected)


def test_two_ranks_find_what_one_finds(tmp_path, expected):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parents[2])]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "fact_ranks.py"), str(tmp_path)],
            env=os.environ | shared | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    for rank in range(2):
        for found in json.loads((tmp_path / f"rank{rank}.json").read_text()):
            assert same(found, expected)


def test_reset_forgets():
    metric, market = StylizedFacts(seed=3), paths()
    update(metric, market, slice(0, 96))
    metric.reset()
    update(metric, market, slice(0, 48))
    assert metric.compute()["num_paths"] == 48


def test_what_does_not_fit_is_an_error():
    metric, market = StylizedFacts(), paths()
    update(metric, market, slice(0, 8))
    shorter = (market.price_last[:8, :9], market.volume[:8, :9], market.time[:8, :9])
    with pytest.raises(ValueError, match="fill short paths with NaN"):
        metric.update(*shorter, market.symbol[:8], market.start[:8])
    empty = StylizedFacts()
    update(empty, market, slice(0, 0))
    with pytest.raises(ValueError, match="no paths to judge"):
        empty.compute()


@pytest.mark.gpu
def test_a_gpu_finds_what_a_cpu_finds(expected):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert same(plain(vars(judge(paths().to("cuda"), seed=3))), expected)
