"""The whole benchmark: what it must not depend on, and input that lacks something."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_sequences import joined, made_sequences

from mars_lmm.evaluation.lob_bench.benchmark import benchmark
from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.conditional import CONDITIONAL_SCORES, compare_within_groups
from mars_lmm.evaluation.lob_bench.distances import Draws, distance_interval, draw
from mars_lmm.evaluation.lob_bench.scores import SCORES
from mars_lmm.evaluation.lob_bench.summary import table
from mars_lmm.evaluation.plain import dumps

REAL = made_sequences()
MODEL = made_sequences(seed=1, num_sequences=9, pace=0.3)


@pytest.fixture(scope="module")
def result():
    return benchmark(REAL, {"model": MODEL, "copy": REAL}, replicates=20)


def test_a_copy_of_the_real_data_has_no_distance(result):
    copy = result["models"]["copy"]
    for scores in (copy["unconditional"], copy["conditional"]):
        assert all(score["l1"] == 0 and score["wasserstein"] == 0 for score in scores.values())
    assert copy["impact"]["score"] == 0
    assert all(distance[key] == 0 for distance in copy["summary"]["all_24"].values() for key in ("mean", "iqm"))


def test_another_market_is_told_apart(result):
    model = result["models"]["model"]
    assert model["unconditional"]["log_inter_arrival_time"]["l1_low"] > 0.1
    for score in [*model["unconditional"].values(), *model["conditional"].values()]:
        assert 0 < score["l1"] < 1
        assert 0 <= score["l1_low"] <= score["l1"] <= score["l1_high"]
        assert 0 <= score["wasserstein_low"] <= score["wasserstein"] <= score["wasserstein_high"]


def test_a_model_does_not_depend_on_the_others(result):
    alone = benchmark(REAL, {"model": MODEL}, replicates=20)
    assert dumps(alone["models"]["model"]) == dumps(result["models"]["model"])
    others = benchmark(REAL, {"model": MODEL}, seed=1, replicates=20)["models"]["model"]["summary"]["all_24"]["l1"]
    assert others["mean"] == alone["models"]["model"]["summary"]["all_24"]["l1"]["mean"]
    assert others["mean_high"] != alone["models"]["model"]["summary"]["all_24"]["l1"]["mean_high"]


def test_summaries_are_of_the_scores(result):
    for report in result["models"].values():
        scores = [score["l1"] for score in [*report["unconditional"].values(), *report["conditional"].values()]]
        quarter, three_quarters = np.percentile(scores, [25, 75])
        inner = [score for score in scores if quarter <= score <= three_quarters]
        found = report["summary"]["all_24"]["l1"]
        expected = np.mean(scores), np.median(scores), np.mean(inner)
        assert (found["mean"], found["median"], found["iqm"]) == pytest.approx(expected)


def test_the_table_has_a_row_a_model(result):
    lines = table(result).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "model", "copy"]
    assert "0.000 [" in lines[2]


def test_all_that_is_returned_is_json(result):
    assert dumps(result).startswith("{")


def test_rollouts_of_a_start_are_drawn_together():
    weights = draw(made_sequences(num_sequences=12, starts=3, length=20), 50, 0)
    assert (weights[0] == 1).all()
    assert (weights[1:].reshape(-1, 3, 4) == weights[1:].reshape(-1, 3, 4)[..., :1]).all()
    assert (weights.sum(axis=1) == 12).all()


def ends(value, path=()):
    """All ends of intervals in a report."""
    if isinstance(value, dict):
        return [end for key, member in value.items() for end in ends(member, (*path, key))]
    if isinstance(value, (list, tuple)):
        return [end for member in value for end in ends(member, path)]
    return [value] if any(str(key).endswith(("low", "high")) for key in path) else []


@pytest.mark.parametrize(("real", "model"), [(1, 3), (3, 1), (1, 1)])
def test_a_single_start_leaves_nothing_to_draw(real, model):
    """An end of a point would say that the number is known exactly."""
    sides = [made_sequences(seed=seed, num_sequences=3, starts=starts) for seed, starts in enumerate((real, model))]
    found = benchmark(sides[0], {"m": sides[1]}, replicates=9)
    report = found["models"]["m"]
    if real > 1:  # the real blocks' band is of the real starts alone
        assert np.isfinite(ends(report["divergence"].pop("reference"))[0])
    numbers = ends(report)
    assert len(numbers) > 100
    assert np.isnan(numbers).all()
    assert 0 < report["summary"]["all_24"]["l1"]["mean"] < 1
    assert "nan" not in table(found)
    assert f"{report['summary']['all_24']['l1']['mean']:.3f}  " in table(found)


def test_a_copy_of_the_real_data_has_an_interval(result):
    """Though all its replicates are equal."""
    score = result["models"]["copy"]["unconditional"]["spread"]
    assert np.isfinite([score["l1_low"], score["l1_high"]]).all()


def test_starts_without_messages_are_no_starts_to_draw():
    one = made_sequences(num_sequences=2, starts=1, length=100)
    with_empty = replace(one, offsets=np.append(one.offsets, one.offsets[-1]), start=np.append(one.start, 1))
    assert draw(with_empty, 9, 0).shape == (1, 3)


def test_a_model_without_messages_is_as_far_as_can_be():
    silent = replace(MODEL.select(np.array([], int)), offsets=np.zeros(4, np.int64), start=np.arange(3))
    report = benchmark(REAL, {"silent": silent}, replicates=9)["models"]["silent"]
    for score in (*report["unconditional"].values(), *report["conditional"].values()):
        assert (score["l1"], score["l1_low"]) == (1, pytest.approx(np.nan, nan_ok=True))
    assert report["summary"]["all_24"]["l1"]["iqm"] == 1
    assert report["divergence"]["sequences"] == []


def test_replicates_of_summaries_are_those_of_the_intervals(result):
    report = result["models"]["model"]
    for name, values in report["l1_replicates"].items():
        expected = [report["summary"]["all_24"]["l1"][f"{name}{end}"] for end in ("", "_low", "_high")]
        assert [values[0], *distance_interval(values)] == expected


@pytest.mark.parametrize("name", CONDITIONAL_SCORES)
def test_replicates_of_conditional_scores(name):
    """With the groups and bins of the full data, by brute force."""
    columns = [Columns(REAL, 4), Columns(MODEL, 4)]
    draws = Draws(draw(REAL, 4, 1), draw(MODEL, 4, 2))
    score = CONDITIONAL_SCORES[name]
    found, _ = compare_within_groups(score, *columns, draws)
    taken = [score.taken(side) for side in columns]
    values, given = (np.concatenate([side[at] for side in taken]) for at in (0, 1))
    group = np.searchsorted(score.thresholds(given), given, side="right")
    generated = np.repeat([0, 1], [len(side[0]) for side in taken])
    for replicate in range(5):
        times = np.concatenate([weights[replicate][side[2]] for weights, side in zip(draws, taken, strict=True)])
        expected = 0.0
        for number in np.unique(group):
            rows = group == number
            pooled = np.sort(values[rows])
            if score.bins == "deciles":
                thresholds = np.quantile(pooled, np.arange(0.1, 1.0, 0.1))
                thresholds = np.concatenate([thresholds, thresholds + 0.01])  # as whole numbers stand apart
                thresholds = np.sort(thresholds)
            else:
                thresholds = np.unique(pooled)
            cells = np.searchsorted(thresholds, values[rows], side="right")
            counts = np.zeros((2, len(thresholds) + 1))
            np.add.at(counts, (generated[rows], cells), times[rows])
            sums = counts.sum(axis=1)
            if sums.sum():
                shares = counts / np.maximum(sums, 1)[:, None]
                expected += sums.sum() * (np.abs(shares[0] - shares[1]).sum() / 2 if sums.all() else 1)
        assert found.l1[replicate] == pytest.approx(expected / times.sum(), rel=1e-12)


def test_blocks_are_cut_and_counted():
    lengths = (250, 340, 90)
    made = joined(*(made_sequences(seed=seed, num_sequences=1, length=400).select([0]) for seed in range(3)))
    rows = np.concatenate([np.arange(length) + made.offsets[at] for at, length in enumerate(lengths)])
    columns = {name: getattr(made, name)[rows] for name in ("time", "type", "order_id", "size", "price", "direction")}
    short = replace(made, offsets=np.concatenate([[0], np.cumsum(lengths)]), book=made.book[rows], **columns)
    divergence = benchmark(REAL, {"short": short}, replicates=2)["models"]["short"]["divergence"]
    assert divergence["sequences"] == [2, 2]  # the third block has one sequence of three
    assert all(len(curve) == 2 for curve in divergence["l1"].values())
    assert math.isnan(divergence["l1"]["ofi"][0])
    assert 0 < divergence["l1"]["ofi"][1] < 1


def test_one_block_equals_the_score_of_what_it_holds():
    first = REAL.select(np.array([0]))
    rows = slice(100, 200)
    columns = {name: getattr(first, name)[rows] for name in ("time", "type", "order_id", "size", "price", "direction")}
    block = replace(first, offsets=np.array([0, 100]), book=first.book[rows], **columns)
    whole = benchmark(REAL, {"m": first}, replicates=1)["models"]["m"]["divergence"]["l1"]
    alone = benchmark(REAL, {"m": block}, replicates=1)["models"]["m"]["unconditional"]
    for name in SCORES:
        if not name.startswith("ofi"):
            assert whole[name][1] == alone[name]["l1"]


def test_books_with_fewer_levels():
    shallow = replace(MODEL, book=MODEL.book[:, :1])
    found = benchmark(REAL, {"shallow": shallow}, replicates=2)
    assert found["levels"] == 1
    volume = found["models"]["shallow"]["unconditional"]
    assert volume["ask_volume"]["l1"] == volume["ask_volume_touch"]["l1"]


def test_markets_that_lack_something():
    """No executions, a book without asks, too few messages for imbalances."""
    quiet = replace(MODEL, type=np.where(MODEL.type == 4, 1, MODEL.type).astype(np.int8))
    asks_gone = MODEL.book.copy()
    asks_gone[:, :, 1] = 0
    models = {
        "quiet": quiet,
        "one-sided": replace(MODEL, book=asks_gone),
        "short": made_sequences(seed=2, length=40),
    }
    found = benchmark(REAL, models, replicates=5)["models"]
    assert found["quiet"]["unconditional"]["vol_per_min"]["l1"] == 1
    assert math.isnan(found["quiet"]["unconditional"]["vol_per_min"]["wasserstein"])
    assert found["one-sided"]["unconditional"]["spread"]["l1"] == 1
    assert found["one-sided"]["conditional"]["spread | time"]["l1"] == 1
    assert found["one-sided"]["unconditional"]["bid_volume"]["l1"] < 1
    assert found["short"]["unconditional"]["ofi"]["l1"] == 1
    assert found["short"]["divergence"]["sequences"] == []
    for report in found.values():
        assert np.isfinite(report["summary"]["all_24"]["l1"]["mean"])
        assert np.isfinite(report["impact"]["score"])


def test_sequences_without_messages_change_nothing():
    offsets = np.append(MODEL.offsets, MODEL.offsets[-1])
    longer = replace(MODEL, offsets=offsets, start=np.append(MODEL.start, 9))
    with_empty = benchmark(REAL, {"m": longer}, replicates=2)["models"]["m"]
    without = benchmark(REAL, {"m": MODEL}, replicates=2)["models"]["m"]
    assert with_empty["unconditional"]["spread"]["l1"] == without["unconditional"]["spread"]["l1"]
    assert with_empty["impact"]["score"] == without["impact"]["score"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"generated": {}}, "no model"),
        ({"replicates": 0}, "replicates=0"),
        ({"generated": {"A": replace(MODEL, tick=1)}}, "A has the tick 1, the real set 100"),
        ({"generated": {"A": MODEL.select(np.array([], int))}}, "A holds no messages"),
        ({"real": MODEL.select(np.array([], int))}, "the real set holds no messages"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        benchmark(**{"real": REAL, "generated": {"A": MODEL}} | change)
