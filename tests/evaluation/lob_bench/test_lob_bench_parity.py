"""The numbers of an outside program, from files to JSON."""

import json
import subprocess
import sys

import numpy as np
import pytest
from shared_data import SHARED

FOLDER = SHARED / "data" / "lob_bench"
RESULTS = ("unconditional", "conditional", "summary", "impact", "divergence")

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="needs the shared data")


def printed(*arguments):
    command = [sys.executable, "-m", "mars_lmm.evaluation.lob_bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def leaves(value, path=()):
    """Every number (or missing number) of nested dicts and lists with the keys that lead to it."""
    if isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, (*path, key))
    elif not isinstance(value, str):
        yield path, value


@pytest.fixture(scope="module")
def result():
    return json.loads(printed(FOLDER)[-1])


def test_parity_with_the_outside_program(result):
    expected = json.loads((FOLDER / "expected.json").read_text())
    found, expected = (dict(leaves({key: both[key] for key in RESULTS})) for both in (result, expected))
    assert len(expected) > 500
    assert set(expected) <= set(found)
    np.testing.assert_allclose([found[path] for path in expected], list(expected.values()), rtol=1e-8, atol=1e-11)


def test_fifty_times_faster(result):
    seconds = json.loads((FOLDER / "expected.json").read_text())["reference_seconds"]
    reference = seconds["scores_24"] + seconds["impact"] + seconds["divergence"]
    # Other tests beside it, and compiling, are no speed of its own: of three runs one has to be fast.
    ours = (sum(run["seconds"].values()) for run in (result, *(json.loads(printed(FOLDER)[-1]) for _ in range(2))))
    assert any(50 * taken < reference for taken in ours)


def test_blocks_have_imbalances_of_their_own(result):
    """Where the reference has 0.0; only the first block lacks the history."""
    for name in ("ofi", "ofi_up", "ofi_stay", "ofi_down"):
        first, *others = result["divergence"]["l1"][name]
        assert first is None
        assert all(0 < value < 1 for value in others)


def test_several_models_over_one_real_set(result):
    *lines, last = printed(f"A={FOLDER}", f"B={FOLDER}", "--replicates", 3)
    models = json.loads(last)["models"]
    assert models["A"] == models["B"]
    assert models["A"]["unconditional"]["ofi"]["l1"] == result["unconditional"]["ofi"]["l1"]
    assert [line.split()[0] for line in lines] == ["model", "A", "B"]
