"""A preparation that is killed and started again ends like one that was left alone."""

import multiprocessing
import random

import pytest
from test_prepare import files

from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.prepare import prepare


def settings(root, workers):
    return DataConfig(
        root=str(root),
        cutoff="2024-01-05",
        row_length=64,
        context=16,
        workers=workers,
        synthetic=SyntheticConfig(sessions=6, minutes=10, orders_per_second=30.0, seed=2),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_the_set_comes_out_the_same(tmp_path, workers):
    undisturbed = prepare(settings(tmp_path / "undisturbed", 1))
    config = settings(tmp_path / "killed", workers)
    # Each process is forked from one that has imported all this, and done nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    draw = random.Random(workers)
    target = tmp_path / "killed" / undisturbed.path.name
    kills, delay = 0, 0.1
    while not target.exists():
        assert kills < 60, "it never gets done"
        process = context.Process(target=prepare, args=(config,))
        process.start()
        process.join(draw.uniform(0, delay))
        process.kill()
        process.join()
        kills += 1
        delay *= 1.5  # so that it gets further each time, whatever the machine
    assert kills > 1
    assert files(target) == files(undisturbed.path)
    assert not target.with_name(f"{target.name}.partial").exists()
