"""Whole simulations of imported MarS models."""

import json
from pathlib import Path

import mars_release as release
import pyarrow.parquet as pq
import pytest
import torch
from scripts import run_script

from mars_lmm.models.import_mars import import_mars
from mars_lmm.models.mars_converters import load_converters
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.config import RolloutConfig, WarmUpConfig
from mars_lmm.simulation.engine.coding import coding_of
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.running.predict import default_trainer
from mars_lmm.simulation.simulate import simulate
from mars_lmm.tokenizers.mars import MarsTokenizer

BINS = (3, release.PRICES, release.VOLUMES, release.INTERVALS)


@pytest.fixture
def tokenizer(tmp_path):
    return MarsTokenizer(BINS, load_converters([release.write_converters(tmp_path / "converters")]))


def trained(tokenizer, prepared, window):
    shape = {"width": 16, "layers": 1, "heads": 2, "window": window, "mlp_width": 32}
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(**shape, embedding="mars_shares"), BINS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Trained(model, coding_of(tokenizer), prepared, Path("mars.ckpt"))


def test_a_simulation_of_an_imported_model(tokenizer, small_set, tmp_path):
    config = RolloutConfig(starts=2, rollouts=2, minutes=0.5)
    trainer = default_trainer(accelerator="cpu")
    model = trained(tokenizer, small_set, window=32)
    manifest = simulate(config, model, tmp_path / "simulation", {}, "bfloat16", trainer)
    assert (manifest["attention"], manifest["cancels"]) == ("window", "oldest")
    table = pq.read_table(tmp_path / "simulation" / "rollouts.parquet")
    assert table.num_rows == manifest["orders"] > 50
    assert json.loads((tmp_path / "simulation" / "simulation.json").read_text()) == manifest
    # The histories of the starts tell what lowered weights cost.
    assert 0 != manifest["loss"]["change"] < manifest["loss"]["float32"]


def test_an_imported_file_is_simulated_without_a_training_run(small_set, tmp_path):
    source = release.write_release(tmp_path, release.released_tensors())
    import_mars(source, tmp_path / "mars.ckpt", [release.write_converters(tmp_path / "converters")])
    arguments = ["run=rolled", "checkpoint=mars.ckpt", f"prepared={small_set.address}", "trainer.accelerator=cpu"]
    done = run_script(tmp_path, "simulate.py", *arguments, "starts=1", "rollouts=2", "minutes=0.1", "seed=3")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "rolled" / "simulation" / "simulation.json").read_text())
    assert manifest["orders"] > 0
    assert manifest["attention"] == "window"


def test_an_imported_model_goes_on_from_a_warm_up(tokenizer, small_set, tmp_path):
    warm_up = WarmUpConfig(agents={"noise": {"agent": "noise", "rate": 5.0}}, minutes=0.5)
    config = RolloutConfig(starts=0, warm_up=warm_up, rollouts=2, minutes=0.2, agents=warm_up.agents)
    model = trained(tokenizer, small_set, window=32)
    manifest = simulate(config, model, tmp_path / "simulation", {}, trainer=default_trainer(accelerator="cpu"))
    assert min(sum(manifest["by_kind"][source].values()) for source in ("model", "noise")) > 5
    assert manifest["ended"] == {"horizon": 2}
    with pytest.raises(ValueError, match=r"noise made \d+ orders, and the model needs 1000 before it begins"):
        simulate(config, trained(tokenizer, small_set, window=1000), tmp_path / "again", {}, trainer=default_trainer())


def test_too_short_a_history_is_an_error(tokenizer, small_set, tmp_path):
    hungry = trained(tokenizer, small_set, window=100_000)
    with pytest.raises(ValueError, match="history of 200000 orders"):
        simulate(RolloutConfig(minutes=0.1), hungry, tmp_path / "simulation", {}, trainer=default_trainer())


def test_a_model_without_converters_is_refused():
    with pytest.raises(ValueError, match="--converters"):
        coding_of(MarsTokenizer(BINS))
