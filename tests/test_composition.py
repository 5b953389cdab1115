"""Entry points: what goes wrong outside the program ends with a line that tells the file and what to do."""

import errno
import os
import sys

import pytest

from mars_lmm.composition import entry
from mars_lmm.data.errors import DataError
from mars_lmm.data.prepare import PrepareConfig, main


def fail(monkeypatch, capsys, tmp_path, error):
    """What an entry point prints when `error` is raised in it."""

    def run(config, composed):
        raise error

    monkeypatch.setattr(sys, "argv", ["prepare", f"hydra.run.dir={tmp_path}"])
    with pytest.raises(SystemExit) as exit:
        entry("prepare", PrepareConfig)(run)()
    return exit.value.code, capsys.readouterr().err


def oserror(number, *files):
    return OSError(number, os.strerror(number), *files)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("a.csv", "is empty"), "error: a.csv: is empty\n"),
        (oserror(errno.EACCES, "/data/x"), "error: /data/x: Permission denied\n"),
        (oserror(errno.EROFS, "/data/x"), "error: /data/x: Read-only file system\n"),
        (oserror(errno.EXDEV, "a", None, "b"), "error: a to b: Invalid cross-device link\n"),
        (
            oserror(errno.ENOSPC, "/data/x"),
            "error: /data/x: No space left on device; make room, and the same command goes on\n",
        ),
        (oserror(errno.ENOSPC), "error: No space left on device; make room, and the same command goes on\n"),
        (OSError("connection lost"), "error: connection lost\n"),
    ],
)
def test_errors_are_told_in_a_line(monkeypatch, capsys, tmp_path, error, told):
    assert fail(monkeypatch, capsys, tmp_path, error) == (1, told)


def test_the_traceback_can_be_asked_for(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(config, composed):
        raise oserror(errno.EACCES, "/data/x")

    monkeypatch.setattr(sys, "argv", ["prepare", f"hydra.run.dir={tmp_path}"])
    with pytest.raises(PermissionError):
        entry("prepare", PrepareConfig)(run)()


def test_a_root_that_is_a_file(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["prepare", f"data.root={tmp_path / 'file'}", f"hydra.run.dir={tmp_path}"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file'}")
