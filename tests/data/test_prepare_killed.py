"""A preparation that is killed and started again ends like one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from test_prepare import files

from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.prepare import prepare

PROGRAM = """
import json, sys
from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds.synthetic import SyntheticConfig
from mars_lmm.data.prepare import prepare
if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    print("started", flush=True)
    prepare(DataConfig(**(settings | {"synthetic": SyntheticConfig(**settings["synthetic"])})))
"""


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
    import json

    undisturbed = prepare(settings(tmp_path / "undisturbed", 1))
    config = settings(tmp_path / "killed", workers)
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    draw = random.Random(workers)
    target = tmp_path / "killed" / undisturbed.path.name
    kills, delay = 0, 0.1
    while not target.exists():
        assert kills < 60, "it never gets done"
        process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(asdict(config))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        process.stdout.readline()
        time.sleep(draw.uniform(0, delay))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        delay *= 1.3  # so that it gets further each time, whatever the machine
    assert kills > 1
    assert files(target) == files(undisturbed.path)
    assert not target.with_name(f"{target.name}.partial").exists()
