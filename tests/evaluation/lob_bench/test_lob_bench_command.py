"""The command over folders of files."""

import json
import shutil
import sys

import numpy as np
import pytest
from made_sequences import made_sequences

from mars_lmm.evaluation.lob_bench.__main__ import main
from mars_lmm.evaluation.sequences.lobster_files import GENERATED, REAL, write_folder

MADE = made_sequences(length=150)


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "one" / REAL, MADE.select(np.array([0, 2, 4])), generated=False)
    write_folder(tmp_path / "one" / GENERATED, MADE, generated=True)
    return tmp_path / "one"


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["lob_bench", *map(str, arguments)])
    main()
    return capsys.readouterr().out.splitlines()


def test_one_model(monkeypatch, capsys, folder):
    *table, last = run(monkeypatch, capsys, folder, "--replicates", 3)
    found = json.loads(last)
    assert (found["sequences"], found["starts"], found["real_sequences"]) == (6, 3, 3)  # all rollouts
    assert (found["replicates"], found["levels"]) == (3, 4)
    assert set(found["seconds"]) == {"reading", "scoring"}
    assert len(table) == 2


def test_models_may_lean_on_the_first_real_set(monkeypatch, capsys, folder):
    write_folder(folder.parent / "two" / GENERATED, MADE, generated=True)
    *_, last = run(monkeypatch, capsys, f"A={folder}", f"B={folder.parent / 'two'}", "--replicates", 3)
    assert set(json.loads(last)["models"]) == {"A", "B"}


def test_what_is_refused(monkeypatch, capsys, folder):
    other = folder.parent / "other"
    write_folder(other / REAL, MADE.select(np.array([0])), generated=False)
    write_folder(other / GENERATED, MADE, generated=True)
    for arguments, reason in (
        ([folder, other], "holds other sequences"),
        ([folder, folder], "two models are called one"),
        ([folder, "--replicates", 0], "replicates=0"),
    ):
        with pytest.raises(SystemExit, match=reason):
            run(monkeypatch, capsys, *arguments)
    shutil.rmtree(folder / GENERATED)
    with pytest.raises(SystemExit, match="data_gen: holds no"):
        run(monkeypatch, capsys, folder)
