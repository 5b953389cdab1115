"""The root scripts as a user runs them, but in this process: a new one takes seconds to import what they need."""

import contextlib
import io
import logging
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
LOGGERS = (None, "lightning.pytorch")  # that the scripts set up


def run_script(folder, script, *arguments):
    """Run `python SCRIPT ARGUMENT...` in a folder; `returncode`, `stdout` and `stderr` as of a finished process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    handlers = {logger: (logger.handlers[:], logger.level) for logger in map(logging.getLogger, LOGGERS)}
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", [script, *map(str, arguments)]),
    ):
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    for logger, (before, level) in handlers.items():
        logger.handlers[:] = before
        logger.setLevel(level)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
