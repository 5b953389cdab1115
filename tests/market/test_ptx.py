"""The kernels compile for a card: numba's simulator takes more than its compiler does. Needs NVVM, but no card.

They are not optimised: what a compiler refuses it refuses before that, and it would take three quarters of the time.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import types

import numba.cuda.api, numba.cuda.compiler, numba.cuda.dispatcher, numba.cuda.target
from numba import cuda, int64
from numba.cuda.cudadrv.error import NvvmSupportError
from numba.cuda.cudadrv.nvvm import NVVM, LibDevice

try:
    NVVM(), LibDevice()
except NvvmSupportError:
    sys.exit(77)
except RuntimeError as error:
    if "libdevice" in str(error):
        sys.exit(77)
    raise
HOPPER = (9, 0)
for module in (numba.cuda.api, numba.cuda.compiler, numba.cuda.dispatcher, numba.cuda.target):
    if hasattr(module, "get_current_device"):
        module.get_current_device = lambda: types.SimpleNamespace(compute_capability=HOPPER)

from mars_lmm.market.cuda import advance_kernel, step_kernel, stream_kernel

_1, _2, _3, _4, _5 = int64[::1], int64[:, ::1], int64[:, :, ::1], int64[:, :, :, ::1], int64[:, :, :, :, ::1]
for kernel, signature in (
    (step_kernel, (_2, _2, _1, int64, _2, _4, _3, _1)),
    (advance_kernel, (_2, _1, _4, _3, _1)),
    (stream_kernel, (_2, _3, _2, int64, _3, _4, _5, _3, _1)),
):
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=HOPPER, opt=False)
    assert ".target sm_90" in ptx and ".visible .entry" in ptx
    print(kernel.py_func.__name__, len(ptx))
"""


def test_the_kernels_compile_for_a_card():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"CUDA_HOME": "/usr/local/cuda"} | os.environ,
        capture_output=True,
        text=True,
        timeout=200,
    )
    if run.returncode == 77:
        pytest.skip("needs NVVM, of the CUDA toolkit")
    assert run.returncode == 0, run.stderr
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["step_kernel", "advance_kernel", "stream_kernel"]
