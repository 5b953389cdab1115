import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy

from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation import simulate
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig, WarmUpConfig
from mars_lmm.simulation.engine import build
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.fitting import fit_baselines
from mars_lmm.simulation.loading import Trained
from mars_lmm.simulation.output import fan, trajectories
from mars_lmm.simulation.output.counts import table, troubles
from mars_lmm.simulation.running import predict
from mars_lmm.simulation.running.identity import weights_checksum

CONFIG = RolloutConfig(starts=2, rollouts=3, minutes=0.3, books_at_once=2)
KEY = ("start", "rollout", "step")
AGENTS = {
    "noise": {"agent": "noise"},
    "buyer": {"agent": "twap", "target": 600, "seconds": 15.0, "passive_seconds": 4.0, "aggressive_seconds": 1.0},
}


@pytest.fixture(scope="module")
def trained(small_set):
    torch.manual_seed(0)
    config = OrderModelConfig(width=16, layers=1, heads=2, window=16, head="fields")
    return Trained(OrderModel(config).eval(), OrderCoding(small_set.tokenizer()), small_set, Path("some.ckpt"))


def run(trained, folder, config=CONFIG, **options):
    trainer = predict.default_trainer(accelerator="cpu")
    return simulate.simulate(config, trained, folder / "simulation", {"checkpoint": "x"}, trainer=trainer, **options)


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    """The manifest and the folder of an undisturbed simulation."""
    folder = tmp_path_factory.mktemp("whole")
    return run(trained, folder), folder / "simulation"


def files(folder):
    """All that must not depend on how the work was done; the manifest without what is measured in seconds."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "simulation.json"}
    manifest = json.loads((folder / "simulation.json").read_text())
    found["simulation.json"] = manifest | {"seconds": None, "orders_per_second": None}
    return found


def test_the_folder_holds_all_rollouts_in_order(whole):
    manifest, folder = whole
    assert json.loads((folder / "simulation.json").read_text()) == manifest
    rows = pq.read_table(folder / "rollouts.parquet")
    keys = list(zip(*(rows[name].to_pylist() for name in KEY), strict=True))
    assert keys == sorted(keys)
    assert [key[:2] for key in keys if key[2] == 0] == [(start, rollout) for start in range(2) for rollout in range(3)]
    assert len(keys) == len(set(keys)) == manifest["orders"] > 200
    assert set(rows["source"].to_pylist()) == {0}
    lengths = np.unique([key[:2] for key in keys], axis=0, return_counts=True)[1]
    ends = pq.read_table(folder / "ends.parquet")
    assert ends["orders"].to_pylist() == lengths.tolist()
    last = np.cumsum(lengths) - 1
    for name in ("bid", "ask", "bid_size", "ask_size", "last_price"):
        assert ends[name].to_pylist() == rows[name].take(last).to_pylist(), name
    assert not (folder.parent / "simulation.batches").exists()


def test_counts_are_those_of_the_rows(whole):
    manifest, folder = whole
    rows = pq.read_table(folder / "rollouts.parquet")
    kinds = {entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(rows["kind"])}
    assert sorted(manifest["by_kind"]["model"].values()) == sorted(kinds.values())
    ends = pq.read_table(folder / "ends.parquet")
    proposals = sum(ends["proposals"].to_pylist())
    assert manifest["ended"] == {"horizon": 6}
    # The last proposal of each rollout lies beyond its horizon; first ones from before the start are drawn again.
    assert proposals >= manifest["orders"] + sum(manifest["rejected"].values()) + 6
    assert manifest["trades"] >= pc.sum(pc.greater(rows["filled"], 0)).as_py() > 0
    assert sum(start["rejected"] for start in manifest["starts"]) == sum(manifest["rejected"].values())
    printed = table(manifest)
    assert f"{manifest['orders']:,}" in printed
    assert "horizon" in printed
    assert troubles(manifest) == []


def test_figures_are_pictures(whole):
    _, folder = whole
    for name in ("fan.png", "depth.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("starts", [0, 1])
def test_the_fan_shows_a_replay_where_there_is_one(trained, tmp_path, monkeypatch, starts):
    drawn, entries, draw_fan, legend = [], [], fan._draw_fan, fan.legend

    def noted(axes, panel):
        draw_fan(axes, panel)
        drawn.append((panel.replay is not None, len(axes.lines) - len(panel.paths)))

    def listed(figure, named):
        legend(figure, named)
        entries.extend(entry[3] for entry in named)

    monkeypatch.setattr(fan, "_draw_fan", noted)
    monkeypatch.setattr(fan, "legend", listed)
    warm_up = WarmUpConfig(agents={"noise": {"agent": "noise", "rate": 10.0}}, minutes=0.2)
    manifest = run(trained, tmp_path, replace(CONFIG, starts=starts, rollouts=1, warm_up=warm_up))
    recorded = [True] * starts + [False]
    assert [start["recorded"] for start in manifest["starts"]] == recorded
    assert drawn == [(there, 1 + there) for there in recorded]  # the median, and the replay
    assert ("replay" in entries) == any(recorded)
    assert (tmp_path / "simulation" / "fan.png").read_bytes().startswith(b"\x89PNG")


def test_neither_batches_nor_chunks_show(trained, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CHUNK_STEPS", 7)
    monkeypatch.setattr(trajectories, "ROWS_A_GROUP", 50)
    run(trained, tmp_path, replace(CONFIG, books_at_once=4))
    for name in ("rollouts.parquet", "ends.parquet"):
        assert pq.read_table(tmp_path / "simulation" / name).equals(pq.read_table(whole[1] / name))
    assert pq.ParquetFile(tmp_path / "simulation" / "rollouts.parquet").num_row_groups > 6


def test_depth_is_what_the_trajectory_says(whole):
    _, folder = whole
    rows, depth = (pq.read_table(folder / name) for name in ("rollouts.parquet", "depth.parquet"))
    assert set(depth["rollout"].to_pylist()) == {0}
    compared = 0
    for start in range(2):
        chosen = rows.filter((pc.field("start") == start) & (pc.field("rollout") == 0))
        times = chosen["time"].to_numpy()
        for side, name in ((1, "bid"), (0, "ask")):
            best = depth.filter((pc.field("start") == start) & (pc.field("side") == side) & (pc.field("level") == 0))
            place = np.searchsorted(times, best["time"].to_numpy(), side="right") - 1
            later = place >= 0  # the first moment is the start's own
            for column, touch in (("price", name), ("size", f"{name}_size")):
                np.testing.assert_array_equal(
                    best[column].to_numpy()[later], chosen[touch].to_numpy()[place[later]], err_msg=touch
                )
            compared += later.sum()
    assert compared > 50


def stopped_at(trained, folder, monkeypatch, place, config=CONFIG):
    """Begin a simulation that fails in its batch number `place`."""
    made = []

    def record(*arguments):
        if len(made) == place:
            raise OSError("the disk is gone")
        made.append(arguments[1])
        return real(*arguments)

    real = predict.record_batch
    with monkeypatch.context() as patch:
        patch.setattr(predict, "record_batch", record)
        with pytest.raises(OSError, match="disk is gone"):
            run(trained, folder, config)
    return folder / "simulation.batches"


@pytest.fixture
def made(monkeypatch):
    """The starts of the rollouts of each batch that is made."""
    made, real = [], predict.record_batch

    def record(engine, start, *arguments):
        made.append(start.tolist())
        return real(engine, start, *arguments)

    monkeypatch.setattr(predict, "record_batch", record)
    return made


def test_an_interrupted_simulation_goes_on(trained, whole, tmp_path, monkeypatch, made):
    batches = stopped_at(trained, tmp_path, monkeypatch, 2)
    assert not (tmp_path / "simulation").exists()
    assert sorted(path.name for path in batches.glob("batch_*")) == ["batch_000000", "batch_000001"]
    shutil.rmtree(batches / "batch_000000")
    (batches / "batch_000002.partial").mkdir()
    made.clear()
    run(trained, tmp_path)
    assert made == [[0, 0], [1, 1]]
    assert files(tmp_path / "simulation") == files(whole[1])
    assert [path.name for path in tmp_path.iterdir()] == ["simulation"]


def test_another_simulation_begins_anew(trained, tmp_path, monkeypatch, made):
    stopped_at(trained, tmp_path, monkeypatch, 2)
    made.clear()
    run(trained, tmp_path, replace(CONFIG, seed=1))
    assert made == [[0, 0], [0, 1], [1, 1]]


def test_with_other_parameters_of_a_baseline_it_begins_anew(trained, tmp_path, monkeypatch, made):
    file = fit_baselines(trained.prepared, tmp_path / "fits")["cst"]
    agents = {"cst": {"agent": "cst", "parameters": str(file)}}
    config = replace(CONFIG, background="agents", agents=agents)
    stopped_at(trained, tmp_path, monkeypatch, 2, config)
    made.clear()
    file.write_text(file.read_text().replace('"unit": ', '"unit": 1'))
    manifest = run(trained, tmp_path, config)
    assert made == [[0, 0], [0, 1], [1, 1]]
    assert manifest["orders"] > 0


def test_what_was_killed_while_it_tidied_up_is_finished(trained, tmp_path, monkeypatch):
    before = stopped_at(trained, tmp_path, monkeypatch, 2) / "before.simulation"
    for folder in (tmp_path / "simulation", before):
        folder.mkdir()
        (folder / "old").touch()
    run(trained, tmp_path)
    assert not (tmp_path / "simulation" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["simulation"]


def test_the_old_folder_stays_until_the_new_one_is_whole(trained, tmp_path, monkeypatch):
    (tmp_path / "simulation").mkdir()
    (tmp_path / "simulation" / "old").touch()
    stopped_at(trained, tmp_path, monkeypatch, 1)
    assert (tmp_path / "simulation" / "old").exists()
    run(trained, tmp_path)
    assert not (tmp_path / "simulation" / "old").exists()


def test_agents_orders_fills_and_accounts(trained, tmp_path):
    manifest = run(trained, tmp_path, replace(CONFIG, agents=AGENTS))
    folder = tmp_path / "simulation"
    rows, fills, accounts = (pq.read_table(folder / f"{name}.parquet") for name in ("rollouts", "fills", "accounts"))
    assert manifest["agents"] == ["noise", "buyer"]
    for number, source in enumerate(("model", "noise", "buyer")):
        count = pc.sum(pc.equal(rows["source"], number)).as_py()
        assert count == sum(manifest["by_kind"][source].values()) > 0
    assert accounts["name"].to_pylist() == ["noise", "buyer"] * 6
    traded = 0
    for account in accounts.to_pylist():
        own = pc.field("agent") == account["agent"]
        for key in ("start", "rollout"):
            own &= pc.field(key) == account[key]
        for side, (size, value) in enumerate((("sold", "sold_value"), ("bought", "bought_value"))):
            mine = fills.filter(own & (pc.field("side") == side))
            sizes, prices = mine["size"].to_numpy().astype(int), mine["price"].to_numpy()
            assert (sizes.sum(), (sizes * prices).sum()) == (account[size], account[value])
            traded += sizes.sum()
        assert account["position"] == account["bought"] - account["sold"]
        mine = fills.filter(own).to_pylist()
        paid = sum(fill["size"] * fill["price"] * (1 if fill["side"] == t.SELL else -1) for fill in mine)
        assert account["cash_change"] == paid - account["fees"]
    assert traded > 0
    assert manifest["fills_lost"] == 0
    for agent, sums in manifest["traded"].items():
        of_agent = accounts.filter(pc.field("name") == agent)
        assert sums == {side: pc.sum(of_agent[side]).as_py() for side in ("bought", "sold")}
    assert 0 < manifest["traded"]["buyer"]["bought"] <= 6 * 600
    printed = table(manifest).splitlines()
    assert printed[0].split() == ["model", "noise", "buyer"]
    (bought,) = (line.split() for line in printed if line.startswith("units bought"))
    assert bought[2:] == [f"{manifest['traded'][agent]['bought']:,}" for agent in ("noise", "buyer")]


def test_a_backtest_on_the_recorded_flow(trained, tmp_path):
    """Without the model, the replay agent gives the real continuation, and a buyer beside it leaves its mark."""
    config = replace(CONFIG, starts=1, rollouts=1, background="agents", agents={"replay": {"agent": "replay"}})
    manifest = run(trained, tmp_path, config)
    rows, real = (pq.read_table(tmp_path / "simulation" / f"{name}.parquet") for name in ("rollouts", "replay"))
    market = [name for name in real.column_names if name not in ("source", "order_id")]
    assert rows.num_rows > 10
    assert rows.select(market).equals(real.select(market))
    assert (manifest["by_kind"]["model"], manifest["rejected_agents"]["replay"]) == ({}, {})

    beside = replace(config, agents=config.agents | {"buyer": AGENTS["buyer"]})
    assert run(trained, tmp_path, beside)["traded"]["buyer"]["bought"] > 0
    with_buyer = pq.read_table(tmp_path / "simulation" / "rollouts.parquet")
    assert not with_buyer.select(market).equals(real.select(market))
    with pytest.raises(ValueError, match="nobody would trade"):
        RolloutConfig(background="agents")


def test_rollouts_that_go_wrong_are_told_of_and_the_others_go_on(trained, tmp_path):
    manifest = run(trained, tmp_path, replace(CONFIG, limits=LimitsConfig(book_room=8)))
    assert 0 < manifest["ended"]["book_full"] <= 6
    (trouble,) = troubles(manifest)
    assert f"{manifest['ended']['book_full']} of 6 rollouts ended before their time" in trouble
    ends = pq.read_table(tmp_path / "simulation" / "ends.parquet")
    assert ends["reason"].to_pylist().count("book_full") == manifest["ended"]["book_full"]
    assert (tmp_path / "simulation" / "fan.png").exists()


def test_the_rules_of_no_venue_are_refused(trained, tmp_path, capsys):
    with pytest.raises(ValueError, match="recorded without a rule file; name one, such as rules=nasdaq"):
        run(trained, tmp_path, replace(CONFIG, rules="venue"))
    assert capsys.readouterr().err.endswith("\n")  # the message that follows has a line of its own


def test_lost_fills_are_told_of():
    (trouble,) = troubles({"ended": {"horizon": 2}, "fills_lost": 1234})
    assert "1,234 fills of agents" in trouble


def test_lowered_weights_tell_what_they_cost(trained, tmp_path):
    before = weights_checksum(trained.model)
    manifest = run(trained, tmp_path, replace(CONFIG, starts=1, rollouts=1), precision="bfloat16")
    loss = manifest["loss"]
    assert loss["change"] == loss["bfloat16"] - loss["float32"] != 0
    assert abs(loss["change"]) < 0.1 < loss["float32"]
    assert manifest["precision"] == "bfloat16"
    assert manifest["weights"] == before
    assert next(trained.model.parameters()).dtype == torch.float32


def test_the_line_tells_market_time_and_speed(trained, tmp_path, capsys):
    run(trained, tmp_path, replace(CONFIG, agents=AGENTS))
    line = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert "100%" in line
    assert "1.8/1.8 market min" in line
    assert "orders/s" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16-true"}, "precision=..."),
        ({"limit_predict_batches": 2}, "made whole"),
        ({"use_distributed_sampler": True}, "leave it off"),
        ({"strategy": ModelParallelStrategy()}, "ddp"),
    ],
)
def test_trainers_that_make_no_sense(settings, message):
    trainer = predict.default_trainer(**({"accelerator": "cpu"} | settings))
    with pytest.raises(ValueError, match=message):
        predict.check_trainer(trainer)
