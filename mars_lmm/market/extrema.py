"""The lesser and the greater of two integers: `min` and `max` themselves do not compile for GPUs everywhere."""

from collections.abc import Callable
from typing import NamedTuple


class Extrema(NamedTuple):
    """The compiled functions."""

    lesser: Callable  # (a, b) -> min(a, b)
    greater: Callable  # (a, b) -> max(a, b)


def make_extrema(jit: Callable) -> Extrema:
    """Compile the functions with `jit`."""

    @jit
    def lesser(a, b):
        return a if a < b else b

    @jit
    def greater(a, b):
        return a if a > b else b

    return Extrema(lesser, greater)
