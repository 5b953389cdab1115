"""The pieces that a simulation's files are made with."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from mars_lmm.market import types as t
from mars_lmm.simulation.output.paths import mid_paths
from mars_lmm.simulation.output.spool import Spool
from mars_lmm.simulation.output.trajectories import join, orders_table
from mars_lmm.simulation.running.plan import Plan, Work


def test_a_plan_makes_every_rollout_once():
    plan = Plan(num_starts=3, rollouts=5, books_at_once=4)
    made = [pair for number in range(plan.num_batches) for pair in zip(*plan.batch(number), strict=True)]
    assert made == [(start, rollout) for start in range(3) for rollout in range(5)]


def test_a_spool_gives_back_each_books_rows_in_order(tmp_path):
    generator = np.random.default_rng(0)
    expected = [[] for _ in range(3)]
    with Spool(tmp_path / "rows", 2) as spool:
        for _ in range(6):
            rows = generator.integers(-9, 9, (3, 5, 2))
            used = generator.random((3, 5)) < 0.4
            spool.add(rows, used)
            for book in range(3):
                expected[book] += rows[book][used[book]].tolist()
        found = [[] for _ in range(3)]
        for book, rows in spool.pieces():
            assert not any(found[book + 1 :])  # a book is whole before the next
            found[book] += rows.tolist()
    assert found == expected
    assert not (tmp_path / "rows").exists()


def test_work_begins_anew_for_another_plan_only(tmp_path):
    work = Work(tmp_path / "work", 3)
    work.begin({"seed": 1})
    with work.whole_folder(work.part(1)) as folder:
        (folder / "file").write_text("x")
    with pytest.raises(OSError, match="no"), work.whole_folder(work.part(2)):
        raise OSError("no")
    assert work.missing() == [0, 2]
    work.begin({"seed": 1})
    assert work.missing() == [0, 2]
    work.begin({"seed": 2})
    assert work.missing() == [0, 1, 2]
    assert json.loads((tmp_path / "work" / "plan.json").read_text()) == {"seed": 2}


def trajectory(times, bids, asks):
    rows = np.zeros((len(times), 14), dtype=np.int64)
    rows[:, 0], rows[:, 8], rows[:, 9] = times, bids, asks
    return rows


def test_mid_paths_stand_where_the_last_two_sided_touch_was(tmp_path):
    generator = np.random.default_rng(1)
    begin, end, steps = np.array([1000, 5000]), np.array([1100, 5050]), 10
    rows = []
    for start in (0, 0, 1, 1):
        times = np.sort(generator.integers(begin[start], end[start] + 1, 40))
        bids = generator.integers(90, 100, 40)
        bids[generator.random(40) < 0.2] = t.NO_PRICE
        rows.append(trajectory(times, bids, generator.integers(101, 110, 40)))
    table = orders_table(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), rows)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=17)
    found = mid_paths(tmp_path / "rows.parquet", 2, begin, end, steps)
    for path, part in enumerate(rows):
        start = path // 2
        for step in range(steps + 1):
            now = begin[start] + (end[start] - begin[start]) * step / steps
            known = part[(part[:, 0] <= now) & (part[:, 8] != t.NO_PRICE)]
            expected = known[-1, [8, 9]].mean() if len(known) else np.nan
            np.testing.assert_equal(found[start, path % 2, step], expected)


def test_joined_files_hold_all_rows_in_order(tmp_path):
    parts = [orders_table(np.array([n]), np.array([0]), [trajectory([n, n + 1], [1, 1], [2, 2])]) for n in range(3)]
    for number, part in enumerate(parts):
        pq.write_table(part, tmp_path / f"{number}.parquet")
    assert join((tmp_path / f"{number}.parquet" for number in range(3)), tmp_path / "all.parquet") == 6
    assert pq.read_table(tmp_path / "all.parquet")["time"].to_pylist() == [0, 1, 1, 2, 2, 3]
