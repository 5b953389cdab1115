"""The released converters as bins of our units.

| file | of | in the converter | here |
|---|---|---|---|
| price-level | price less mid | 0.0001 CNY, 100 a tick | ticks |
| order-volume | size, to encode | units | units |
| pred-order-volume | size, to draw | units | units |
| order-interval | waiting time | seconds | nanoseconds |
| lob-volume | size at a price | units | units |

An edge becomes the last integer of its bin, so that every order falls into the bin that it would fall into there. The
other eight files of a release are none of the order model's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from mars_lmm.models.mars_pickle import Converter, read_converter
from mars_lmm.tokenizers.bins import MAX_SAMPLES, QuantileBins
from mars_lmm.tokenizers.mars import MarsConverters

PRICE_UNITS_PER_TICK = 100
NANOS_PER_SECOND = 1e9
_MAX_VALUE = 2.0**53
_SUFFIX = ".zstd"


@dataclass(frozen=True)
class _Unit:
    """How an integer of ours is a number of theirs."""

    last_within: Callable[[float], int]
    """The largest integer that is at most so much"""
    nearest: Callable[[float], int]


def _last_nanosecond(seconds: float) -> int:
    # A time is compared as a float of seconds: nanoseconds over 1e9.
    nanos = round(seconds * NANOS_PER_SECOND) + 1
    while nanos / NANOS_PER_SECOND > seconds:
        nanos -= 1
    return nanos


_TICKS = _Unit(
    lambda price: math.floor(Fraction(price) / PRICE_UNITS_PER_TICK), lambda price: round(price / PRICE_UNITS_PER_TICK)
)
_UNITS = _Unit(math.floor, round)
_NANOS = _Unit(_last_nanosecond, lambda seconds: max(round(seconds * NANOS_PER_SECOND), 0))

FILES = {
    "price": ("price-level", _TICKS),
    "size": ("order-volume", _UNITS),
    "drawn_size": ("pred-order-volume", _UNITS),
    "interval": ("order-interval", _NANOS),
    "level_size": ("lob-volume", _UNITS),
}
"""The five that the order model uses: field of `MarsConverters` to file and unit."""


def load_converters(paths: Sequence[Path]) -> MarsConverters:
    """Read the five converters.

    Args:
        paths: The release's folder of converters, or the files. Others of its files are left alone.

    Raises:
        ValueError: One is missing, or is no converter.
    """
    files = [file for path in paths for file in (sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path])]
    found = {file.stem: file for file in files}
    missing = [name + _SUFFIX for name, _ in FILES.values() if name not in found]
    if missing:
        given = ", ".join(map(str, paths))
        raise ValueError(f"no {', no '.join(missing)} among the converters in {given}")
    return MarsConverters(
        **{field: _bins(read_converter(found[name]), found[name], unit) for field, (name, unit) in FILES.items()}
    )


def _bins(converter: Converter, path: Path, unit: _Unit) -> QuantileBins:
    if max(np.abs(numbers).max(initial=0) for numbers in (converter.edges, *converter.values)) > _MAX_VALUE:
        raise ValueError(f"{path} holds numbers above {_MAX_VALUE:g}")
    if max(map(len, converter.values)) > MAX_SAMPLES:
        raise ValueError(f"{path} draws from more than {MAX_SAMPLES} values a bin, the most that this program holds")
    edges = [unit.last_within(edge) for edge in converter.edges.tolist()]
    bins = []
    for number, (values, probabilities) in enumerate(zip(converter.values, converter.probabilities, strict=True)):
        drawn, cumulative = [unit.nearest(value) for value in values.tolist()], np.cumsum(probabilities).tolist()
        if drawn:
            cumulative[-1] = 1.0
        else:  # nothing was ever seen in this bin
            drawn, cumulative = [edges[number + 1]], [1.0]
        bins.append({"values": drawn, "cumulative": cumulative})
    return QuantileBins.from_dict({"edges": edges[1:-1], "bins": bins})
