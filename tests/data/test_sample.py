"""Samples of many streams join into one of all, however few rows each keeps."""

import numpy as np
import pytest

from mars_lmm.data.preparation import sample
from mars_lmm.data.preparation.sample import Sample, Threshold, join

MAX_ORDERS = 100


@pytest.fixture
def streams(monkeypatch):
    monkeypatch.setattr(sample, "MAX_ORDERS", MAX_ORDERS)
    random = np.random.default_rng(0)
    return [random.integers(0, 1000, (size, 3)) for size in (80, 400, 0, 150, 7, 300)]


def taken(streams, folder, limit):
    paths = []
    for seed, rows in enumerate(streams):
        kept = Sample(seed, 3)
        for part in np.array_split(rows, 4):
            kept.add(part)
        paths.append(folder / f"{seed}.npy")
        kept.save(paths[-1], limit)
        yield paths[-1]


def expected(streams):
    """The rows with the smallest of all keys, in the order of the streams."""
    keys = np.concatenate([np.random.Philox(key=seed).random_raw(len(rows)) for seed, rows in enumerate(streams)])
    return np.concatenate(streams)[keys <= np.sort(keys)[MAX_ORDERS - 1]]


def test_the_rows_with_the_smallest_keys(streams, tmp_path):
    paths = list(taken(streams, tmp_path, tmp_path / "limit"))
    np.testing.assert_array_equal(join(paths), expected(streams))


def test_a_threshold_leaves_out_what_the_joint_sample_lacks(streams, tmp_path):
    limit = tmp_path / "limit"
    threshold = Threshold(limit)
    paths, saved = [], 0
    for path in taken(streams, tmp_path, limit):
        threshold.take(path)
        paths.append(path)
        with path.open("rb") as file:
            saved += len(np.load(file))
    np.testing.assert_array_equal(join(paths), expected(streams))
    assert saved < sum(min(len(rows), MAX_ORDERS) for rows in streams)
