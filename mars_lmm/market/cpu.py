"""The matching functions compiled for the CPU, once a process. Other kernels compose them."""

from collections.abc import Callable
from functools import partial

import numba

from mars_lmm.market.book import Matching, make_matching

scalar_njit = partial(numba.njit, nogil=True, no_cfunc_wrapper=True, _nrt=False)
"""Compile a function that reads and writes arrays but makes none, not even a slice.

Where a `BookState` is passed on, numba counts references to its arrays, and that takes most of the time of a
function as small as these. Only functions that make arrays need it.
"""


def _jit(function: Callable) -> Callable:
    name = function.__name__
    if name == "view":
        return numba.njit(nogil=True)(function)
    # Inner functions are never called from Python; without the wrappers for that they compile faster.
    return scalar_njit(no_cpython_wrapper=name not in Matching._fields)(function)


# Compiled code is not cached on disk: numba's cache looks at one source file, not at what a function calls,
# so an edit elsewhere would leave stale code behind.
MATCHING = make_matching(_jit)
