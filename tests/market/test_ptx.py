"""The kernels compile for a card: numba's simulator takes more than its compiler does. Needs NVVM, but no card."""

import ptx

SCRIPT = """
import ptx

ptx.pretend()

from numba import int64

from mars_lmm.market.cuda import advance_kernel, step_kernel, stream_kernel

_1, _2, _3, _4, _5 = int64[::1], int64[:, ::1], int64[:, :, ::1], int64[:, :, :, ::1], int64[:, :, :, :, ::1]
for kernel, signature in (
    (step_kernel, (_2, _2, _1, int64, _2, _4, _3, _1)),
    (advance_kernel, (_2, _1, _4, _3, _1)),
    (stream_kernel, (_2, _3, _2, int64, _3, _4, _5, _3, _1)),
):
    print(kernel.py_func.__name__, ptx.length(kernel, signature))
"""


def test_the_kernels_compile_for_a_card():
    names = [line.split()[0] for line in ptx.output_of(SCRIPT).splitlines()]
    assert names == ["step_kernel", "advance_kernel", "stream_kernel"]
