"""Reads a released converter: a pickle, compressed with zstandard, of one class and NumPy arrays.

A pickle is a program. This one is looked at before it runs, it may use few instructions, and the few names that it may
use stand for classes of this file, which keep what they are given and do nothing. NumPy itself is never called.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 4 << 20
"""Of an unpacked converter; 32 bins with 100 values each take 60 kB."""

_CONVERTER = "BinConverter"
_FIELDS = ("num_bins", "bins", "bin_values", "bin_probs")
_MAX_DIMENSIONS = 8
_DTYPES = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {"f4", "f8"}

# What pickles of protocols 3 to 5 need for numbers, texts, bytes, lists, tuples, dictionaries and objects.
_VALUES = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"}
_TUPLES = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_COLLECTIONS = {"EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"}
_OBJECTS = {"GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD"}
_MEMORY = {"MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
_INSTRUCTIONS = {"PROTO", "FRAME", "MARK", "STOP"} | _VALUES | _STRINGS | _TUPLES | _COLLECTIONS | _OBJECTS | _MEMORY


@dataclass(frozen=True)
class Converter:
    """A released converter.

    Attributes:
        edges: [num_bins + 1], ascending; bin i holds the values in (edges[i], edges[i + 1]], the first and the last
            those beyond.
        values: For each bin, the values to draw from.
        probabilities: For each bin, the values' probabilities.
    """

    edges: np.ndarray
    values: list[np.ndarray]
    probabilities: list[np.ndarray]


def read_converter(path: Path) -> Converter:
    """Read a released converter.

    Raises:
        ValueError: It is no such file, or holds anything but the one class and NumPy arrays; the message names it.
    """
    try:
        # What a damaged or hostile pickle raises is not foreseeable.
        return _converter(_unpickle(_unpack(path.read_bytes())))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not read: {error}") from error


def _unpack(data: bytes) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise ValueError("converters need zstandard: pip install 'mars-lmm[mars]'") from error
    with zstandard.ZstdDecompressor().stream_reader(data) as stream:
        unpacked = stream.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES >> 20} MiB, and a converter takes far less")
    return unpacked


def _unpickle(data: bytes) -> Any:
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(f"its pickle uses {instruction.name}, which no converter needs")
        # The place to remember a value at: memory is taken up to there.
        if instruction.name in ("BINPUT", "LONG_BINPUT") and argument > len(data):
            raise pickle.UnpicklingError(f"its pickle remembers a value at place {argument:,}, beyond its own length")
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"its pickle asks for {module}.{name}; a converter needs NumPy arrays and {_CONVERTER}, nothing else"
            ) from None


class _StandIn:
    """What a pickle may name. All have `__setstate__`, so that none of their attributes can be set from a pickle."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"its pickle gives {type(self).__name__} a state, which has none")


class _ArrayType(_StandIn):
    """numpy.ndarray, the argument of `_reconstruct`; not called."""

    __slots__ = ()

    def __new__(cls, *_: Any):
        raise pickle.UnpicklingError("its pickle calls numpy.ndarray, which no stored array does")


class _Dtype(_StandIn):
    """numpy.dtype of plain numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: Any):
        # A hundred bytes nest tuples that, told in full, fill any memory.
        if not isinstance(code, str) or code not in _DTYPES:
            raise pickle.UnpicklingError(
                f"its pickle has an array of dtype {reprlib.repr(code)}; a converter holds plain numbers"
            )
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "|", "=") or any(rest[:3]):
            raise pickle.UnpicklingError("its pickle has an array of a dtype with fields, not of plain numbers")
        self.order = order

    def resolve(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


class _Array(_StandIn):
    """numpy's `_reconstruct`, and the array that it would begin."""

    __slots__ = ("array",)

    def __init__(self, kind: Any, *_: Any):
        if kind is not _ArrayType:
            raise pickle.UnpicklingError("its pickle makes an array of another class than numpy.ndarray")
        self.array = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


class _Buffer(_StandIn):
    """numpy's `_frombuffer`, an array of pickle protocol 5."""

    __slots__ = ("array",)

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any):
        self.array = _array(data, dtype, shape, order)


class _BinConverter(_StandIn):
    """The one class."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or set(state) != set(_FIELDS):
            keys = state if isinstance(state, dict) else ()
            names = [key if isinstance(key, str) else type(key).__name__ for key in keys]
            found = ", ".join(names) or type(state).__name__
            raise pickle.UnpicklingError(f"its {_CONVERTER} has {found} instead of {', '.join(_FIELDS)}")
        self.state = state


_NAMES: dict[tuple[str, str], type[_StandIn]] = {
    ("market_simulation.utils.bin_converter", _CONVERTER): _BinConverter,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    # NumPy 1 and 2.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
}


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not (isinstance(data, bytes | bytearray) and isinstance(dtype, _Dtype) and isinstance(shape, tuple)):
        raise pickle.UnpicklingError("its pickle has an array that is not made of bytes, a dtype and a shape")
    plain = dtype.resolve()
    numbers = len(shape) <= _MAX_DIMENSIONS and all(type(length) is int and length >= 0 for length in shape)
    if not numbers or math.prod(shape) * plain.itemsize != len(data):
        raise pickle.UnpicklingError(f"its pickle has an array of shape {reprlib.repr(shape)} in {len(data)} bytes")
    return np.frombuffer(bytes(data), plain).reshape(shape, order=order)


def _converter(found: Any) -> Converter:
    """Check that the pieces make a converter."""
    if not isinstance(found, _BinConverter):
        raise ValueError(f"it holds a {type(found).__name__}, not a {_CONVERTER}")
    num_bins, bins, values, weights = (found.state[name] for name in _FIELDS)
    if type(num_bins) is not int or not 1 < num_bins <= 1 << 16:
        raise ValueError(f"num_bins is {reprlib.repr(num_bins)}")
    edges = _plain(bins, "bins")
    if len(edges) != num_bins + 1 or (np.diff(edges) < 0).any():
        raise ValueError(f"bins are not the {num_bins + 1} ascending edges of {num_bins} bins")
    for name, arrays in (("bin_values", values), ("bin_probs", weights)):
        if not isinstance(arrays, list) or len(arrays) != num_bins:
            raise ValueError(f"{name} is not a list of {num_bins} arrays")
    values = [_plain(array, "bin_values") for array in values]
    weights = [_plain(array, "bin_probs") for array in weights]
    for number, (drawn, probabilities) in enumerate(zip(values, weights, strict=True)):
        total = probabilities.sum()
        whole = abs(total - 1) < 1e-6 or len(drawn) == 0
        if len(drawn) != len(probabilities) or (probabilities < 0).any() or not whole:
            raise ValueError(
                f"bin {number} has {len(drawn)} values and {len(probabilities)} probabilities that add up to {total:g}"
            )
    return Converter(edges, values, weights)


def _plain(array: Any, name: str) -> np.ndarray:
    """A vector of finite numbers."""
    array = array.array if isinstance(array, _Array | _Buffer) else None
    if array is None or array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} holds something else than vectors of finite numbers")
    return array.astype(np.float64)
