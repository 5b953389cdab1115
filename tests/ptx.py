"""Compile kernels for a card that is not there, in a process of their own. Needs NVVM."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

HOPPER = (9, 0)
_NO_NVVM = 77


def output_of(script, *folders):
    """What a script prints that calls `pretend`; it may import from `folders`. Skips where NVVM is not at hand."""
    path = os.pathsep.join([str(Path(__file__).parent), *map(str, folders), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"CUDA_HOME": "/usr/local/cuda"} | os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    if run.returncode == _NO_NVVM:
        pytest.skip("needs NVVM, of the CUDA toolkit")
    assert run.returncode == 0, run.stderr
    return run.stdout


def pretend():
    """Make numba compile for a Hopper card; end the process where it cannot."""
    import numba.cuda.api
    import numba.cuda.compiler
    import numba.cuda.dispatcher
    import numba.cuda.target
    from numba.cuda.cudadrv.error import NvvmSupportError
    from numba.cuda.cudadrv.nvvm import NVVM, LibDevice

    try:
        NVVM(), LibDevice()
    except NvvmSupportError:
        sys.exit(_NO_NVVM)
    except RuntimeError as error:
        if "libdevice" in str(error):
            sys.exit(_NO_NVVM)
        raise
    for module in (numba.cuda.api, numba.cuda.compiler, numba.cuda.dispatcher, numba.cuda.target):
        if hasattr(module, "get_current_device"):
            module.get_current_device = lambda: types.SimpleNamespace(compute_capability=HOPPER)


def length(kernel, signature):
    """Characters of a kernel's assembly. It is not optimised: what a compiler refuses it refuses before that."""
    from numba import cuda

    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=HOPPER, opt=False)
    assert ".target sm_90" in ptx
    assert ".visible .entry" in ptx
    return len(ptx)
