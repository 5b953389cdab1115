"""The matching functions compiled for the CPU, once a process. Other kernels compose them."""

from collections.abc import Callable
from functools import partial

import numba

from mars_lmm.market.book import Queues
from mars_lmm.market.matching import Matching
from mars_lmm.market.venue import Venue, make_venue

scalar_njit = partial(numba.njit, nogil=True, no_cfunc_wrapper=True, _nrt=False)
"""Compile a function that reads and writes arrays but makes none but views of them.

Otherwise numba counts references to the arrays that are passed on, and that takes most of the time of a function
as small as these. Only functions that make arrays need it.
"""


# What every order passes through. Inlined, it runs twice as fast; more of it would only compile longer.
HOT = {"carry_out", "place", "enter", "trade", "match", "reduce", "add", "rest"}


# What is called from Python: compiled without the wrappers for that, the others take less time.
_CALLED = {*Matching._fields, *Queues._fields, *Venue._fields}


def _jit(function: Callable) -> Callable:
    name = function.__name__
    return scalar_njit(no_cpython_wrapper=name not in _CALLED, forceinline=name in HOT)(function)


# Not kept on disk: these become part of what is, the functions that `kept_njit` compiles.
VENUE = make_venue(_jit)
MATCHING = VENUE.matching
