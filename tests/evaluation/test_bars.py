"""Minute bars against values worked out by hand."""

import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fabricate import HOUR, MINUTE, write_simulation

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.bars import minute_bars
from mars_lmm.evaluation.trajectories import COLUMNS, SimulationRun

SECOND = 10**9


def orders(start, rollout, rows):
    """Rows of (time after 10:00 in ns, filled, fill_value, last_price, bid, ask)."""
    table = {name: np.zeros(len(rows), dtype=np.int64) for name in COLUMNS}
    time, *values = np.array(rows, dtype=np.int64).T
    table |= dict(zip(("filled", "fill_value", "last_price", "bid", "ask"), values, strict=True))
    table |= {"start": np.full(len(rows), start), "rollout": np.full(len(rows), rollout)}
    table["time"] = 10 * HOUR + time
    return pa.table(table)


@pytest.fixture
def run(tmp_path):
    """One start at 10:00 with bid 100, ask 102, three minutes; the second rollout has no orders at all."""
    write_simulation(tmp_path, starts=1, rollouts=2, minutes=3)
    manifest = json.loads((tmp_path / "simulation.json").read_text())
    manifest["starts"][0] |= {"bid": 100, "ask": 102, "last_price": 101, "tick_size": 0.5}
    (tmp_path / "simulation.json").write_text(json.dumps(manifest))
    rollout = [
        (0, 10, 1020, 102, 100, 104),  # at the very start: the first minute
        (30 * SECOND, 30, 3120, 104, 102, 106),
        (MINUTE, 0, 0, 104, 102, -1),  # on the minute: still the first; one side empty: no mid-price
        (2 * MINUTE + 1, 0, 0, 104, 106, 108),  # the third minute, no trade
        (3 * MINUTE + 1, 5, 9999, 200, 198, 202),  # past the horizon
    ]
    pq.write_table(orders(0, 0, rollout), tmp_path / "rollouts.parquet")
    pq.write_table(orders(0, 0, [(SECOND, 4, 400, 100, 98, 100)]), tmp_path / "replay.parquet")
    return SimulationRun.read(tmp_path)


def test_hand_made_trajectory(run):
    bars = minute_bars(run).to_pydict()
    rows = slice(4, 8)  # after the replay's four bars
    assert bars["source"] == ["Replay"] * 4 + ["Simulation"] * 8
    assert bars["rollout"] == [0] * 8 + [1] * 4
    assert bars["minute_index"] == [0, 1, 2, 3] * 3
    assert bars["volume"][rows] == [0, 40, 0, 0]
    assert bars["price_last"][rows] == [50.5, 52, 52, 52]
    assert bars["price_mean"][rows] == [50.5, 51.75, 51.75, 51.75]  # (1020 + 3120) / 40 ticks
    assert bars["price_mid"][rows] == [50.5, 51.5, 52, 53.5]  # 102 and 104; carried forward; 107
    assert bars["price_mid_last"][rows] == [50.5, 52, 52, 53.5]
    ten = np.datetime64("2012-06-21T10:00", "ns").astype(int)
    assert bars["time_ns"][rows] == [ten + k * MINUTE for k in range(4)]


def test_a_path_without_orders_stays_at_its_start(run):
    bars = minute_bars(run).to_pydict()
    for name in ("price_last", "price_mean", "price_mid", "price_mid_last"):
        assert bars[name][8:] == [50.5] * 4
    assert bars["volume"][8:] == [0] * 4


def test_no_price_before_the_first_trade(run):
    run.manifest["starts"][0]["last_price"] = 0
    last = minute_bars(run)["price_last"].to_numpy()
    assert np.isnan(last[[0, 4, 8, 9, 10, 11]]).all()
    assert np.isfinite(last[[1, 2, 3, 5, 6, 7]]).all()


def test_totals_agree_with_a_loop(tmp_path):
    write_simulation(tmp_path, starts=3, rollouts=2, minutes=5)
    run = SimulationRun.read(tmp_path)
    bars = minute_bars(run).to_pydict()
    table = pq.read_table(tmp_path / "rollouts.parquet").to_pylist()
    for start in range(3):
        begin = run.manifest["starts"][start]["time_ns"]
        for rollout in range(2):
            rows = [row for row in table if row["start"] == start and row["rollout"] == rollout]
            for minute in range(1, 6):
                low, high = begin + (minute - 1) * MINUTE, begin + minute * MINUTE
                inside = [row for row in rows if low < row["time"] <= high]
                at = (3 + start * 2 + rollout) * 6 + minute
                assert bars["volume"][at] == sum(row["filled"] for row in inside)
                assert bars["price_last"][at] == pytest.approx(inside[-1]["last_price"] * 0.01)


def test_a_million_orders_take_a_few_seconds_at_most(tmp_path):
    write_simulation(tmp_path, starts=2, rollouts=10, minutes=25, orders_per_minute=1700)
    run = SimulationRun.read(tmp_path)
    assert len(run.orders["Simulation"]["time"]) > 1_000_000
    began = time.perf_counter()
    minute_bars(run)
    assert time.perf_counter() - began < 5


def test_horizon_below_a_minute(run):
    run.manifest["horizon_ns"] = MINUTE - 1
    with pytest.raises(ValueError, match="longer horizon"):
        minute_bars(run)


@pytest.mark.parametrize("name", ["simulation.json", "rollouts.parquet", "replay.parquet"])
def test_missing_file_is_named(tmp_path, name):
    write_simulation(tmp_path, starts=1, rollouts=1, minutes=1)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}: not found"):
        SimulationRun.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.slice(0, 0), "holds no orders"),
        (lambda table: table.drop_columns(["bid", "filled"]), "lacks the columns filled, bid"),
        (lambda table: table.take(list(range(len(table)))[::-1]), "row 2: not sorted"),
        (lambda table: pa.concat_tables([table, table]), "not sorted"),
        (
            lambda table: table.set_column(0, "start", pa.repeat(pa.scalar(9, pa.int32()), len(table))),
            r"start 9\.\.9, simulation.json knows 0\.\.1",
        ),
    ],
)
def test_unusable_rollouts_are_named(tmp_path, change, message):
    write_simulation(tmp_path, starts=2, rollouts=1, minutes=1)
    path = tmp_path / "rollouts.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(DataError, match=message) as error:
        SimulationRun.read(tmp_path)
    assert error.value.source == str(path)


def test_incomplete_manifest_is_named(tmp_path):
    manifest = write_simulation(tmp_path, starts=1, rollouts=1, minutes=1)
    del manifest["horizon_ns"], manifest["starts"][0]["bid"]
    (tmp_path / "simulation.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"simulation\.json: lacks horizon_ns, bid"):
        SimulationRun.read(tmp_path)
