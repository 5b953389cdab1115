"""Text by words: 64 characters searched at once, eight digits read at once.

After Lemire's and Langdale's simdjson (2019) and Johnny Lee's, Mula's and Lemire's parsing of eight digits (2018).
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

MARGIN = 64  # characters that may be read before and behind a text
WORD = 8

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZEROS = np.uint64(0x3030303030303030)
_SEVEN_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_PAST_NINE = np.uint64(0x7676767676767676)  # sets the high bit of what is ten or more
_HIGH_BITS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)
_FIRST_WEIGHTS = np.uint64(100 + (1_000_000 << 32))
_LAST_WEIGHTS = np.uint64(1 + (10_000 << 32))


@numba.njit(nogil=True, forceinline=True)
def digits_before(text, end, count):
    """The number of the `count` characters before `end`, from 1 to WORD of them; -1 if they are not all digits."""
    first_bit = np.uint64(64) - np.uint64(8) * np.uint64(count)
    digits = (_load(text, end - WORD) ^ _ZEROS) & (_ALL << first_bit)
    if (((digits & _SEVEN_BITS) + _PAST_NINE) | digits) & _HIGH_BITS:
        return -1
    # Twos, then fours and eights.
    twos = digits * np.uint64(10) + (digits >> np.uint64(8))
    eight = (twos & _PAIRS) * _FIRST_WEIGHTS + ((twos >> np.uint64(16)) & _PAIRS) * _LAST_WEIGHTS
    return np.int64(eight >> np.uint64(32))


@intrinsic
def _load(typingctx, text, place):
    """The word at a place, which need not be aligned; its first character is the lowest byte."""

    def generate(context, builder, signature, arguments):
        values = context.make_array(text)(context, builder, arguments[0])
        word = builder.bitcast(builder.gep(values.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(text, types.intp), generate


@intrinsic
def separators(typingctx, text, place):
    """Which of the 64 characters at a place are commas or ends of lines, a bit each from the lowest one up."""

    def generate(context, builder, signature, arguments):
        values = context.make_array(text)(context, builder, arguments[0])
        vector = ir.VectorType(ir.IntType(8), 64)
        start = builder.bitcast(builder.gep(values.data, [arguments[1]]), vector.as_pointer())
        characters = builder.load(start, align=1)
        comma, newline = (ir.Constant(vector, [ord(character)] * 64) for character in ",\n")
        found = builder.or_(
            builder.icmp_unsigned("==", characters, comma), builder.icmp_unsigned("==", characters, newline)
        )
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(text, types.intp), generate


@intrinsic
def lowest_bit(typingctx, word):
    """The place of the lowest bit set in a word that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate
