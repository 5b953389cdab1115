"""Two ranks train on the same global batches as one, and go on with each other's checkpoints."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import two_ranks
from prepared_sets import numbered_rows, with_packed, write_prepared
from tiny import MODEL

from mars_lmm.data.prepared import TRAIN
from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.training.parallelize import ExecutionConfig
from mars_lmm.training.strategies import ShardedStrategy

HERE = Path(__file__).resolve().parent
STRATEGIES = ("ddp", "fsdp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def prepared(folder):
    """12 training rows, three global batches; packed ones score fewer orders, so that ranks score unequal numbers."""
    whole = write_prepared(folder / "set", numbered_rows(8, 16), numbered_rows(7, 16), np.arange(7))
    sessions = [numbered_rows(1, length)[0] for length in (12, 14, 10, 13)]
    prepared = with_packed(whole, TRAIN, sessions)
    assert prepared.splits[TRAIN]["rows"] == 12
    return prepared


@pytest.fixture(scope="module")
def one(folder, prepared):
    """What one process makes of it."""
    return {
        "whole": two_ranks.train(prepared, 1, save=folder / "one.ckpt"),
        "descent": two_ranks.train(prepared, 1, kind=two_ranks.PlainDescent),
    }


@pytest.fixture(scope="module")
def two(folder, one):
    """What two processes make of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "two_ranks.py"), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return torch.load(folder / "two.pt", weights_only=True)


def differences(ours, theirs):
    assert ours.keys() == theirs.keys()
    return {name: (weight - theirs[name]).abs().max().item() for name, weight in ours.items()}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_lose_what_one_loses(strategy, one, two):
    ours = two[strategy]["whole"]
    assert ours["nats"] == pytest.approx(one["whole"]["nats"], rel=1e-6)
    assert ours["validation"] == pytest.approx(one["whole"]["validation"], rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("run", ["descent", "accumulated"])
def test_clipped_steps_are_equal(strategy, run, one, two):
    """To 1e-6: the norm before clipping, and the weights after eight clipped steps; also of two batches each."""
    ours, theirs = two[strategy][run], one["descent"]
    assert min(theirs["norms"]) > two_ranks.CLIP
    assert ours["norms"] == pytest.approx(theirs["norms"], rel=1e-6, abs=1e-6)
    assert max(differences(ours["weights"], theirs["weights"]).values()) < 1e-6


@pytest.mark.parametrize("head", two_ranks.OTHER_HEADS)
def test_every_head_can_be_sharded(head, prepared, two):
    theirs = two_ranks.train(prepared, 1, kind=two_ranks.PlainDescent, model=replace(MODEL, head=head))
    ours = two["fsdp"][head]
    assert ours["norms"] == pytest.approx(theirs["norms"], rel=1e-6, abs=1e-6)
    assert max(differences(ours["weights"], theirs["weights"]).values()) < 1e-6


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_go_on_where_one_stopped(strategy, one, two):
    """With the optimiser's state: without it the curve would leave the other at once."""
    assert two[strategy]["resumed"]["nats"] == pytest.approx(one["whole"]["nats"][two_ranks.CUT :], rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_rank_goes_on_where_two_stopped(strategy, folder, prepared, one, two):
    resumed = two_ranks.train(prepared, 1, resume=folder / f"{strategy}.ckpt")
    assert resumed["nats"] == pytest.approx(one["whole"]["nats"][two_ranks.CUT :], rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_checkpoints_are_those_of_one_process(strategy, folder, one, two):
    """The same keys, also of each weight's optimiser state, and nearly the same values."""
    ours, theirs = (
        torch.load(folder / f"{name}.ckpt", weights_only=True, map_location="cpu") for name in (strategy, "one")
    )
    assert max(differences(ours["state_dict"], theirs["state_dict"]).values()) < 1e-4
    (ours,), (theirs,) = ours["optimizer_states"], theirs["optimizer_states"]
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for number, state in theirs["state"].items():
        assert max(differences(ours["state"][number], state).values()) < 1e-4
    load_order_model(folder / f"{strategy}.ckpt")


def test_sharded_bfloat16(folder, one, two):
    """Shards stay in float32: the loss is close to float32's, and so is what a checkpoint holds."""
    assert two["fsdp"]["bfloat16"]["nats"] == pytest.approx(one["whole"]["nats"], rel=0.01)
    assert two["fsdp"]["bfloat16"]["nats"] != pytest.approx(one["whole"]["nats"], rel=1e-6)
    model, _ = load_order_model(folder / "bfloat16.ckpt")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_tensor_parallelism_is_refused():
    with pytest.raises(ValueError, match="only 1 is supported: queries, keys and values are one matrix"):
        ShardedStrategy(tensor_parallel_size=2)


def test_a_dtype_of_shards_needs_shards(make_module, make_data, make_trainer):
    module = make_module(execution=ExecutionConfig(sharded_dtype="bfloat16"))
    with pytest.raises(ValueError, match=r"add trainer=fsdp, or set trainer\.precision"):
        make_trainer().fit(module, datamodule=make_data())
