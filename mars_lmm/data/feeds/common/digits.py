"""Numbers out of text, eight characters at a time; one at a time, this would be a third of the time a file takes."""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

WORD = 8  # characters; text needs as many behind its end
MAX_DIGITS = 18  # that int64 surely holds
POWERS = 10 ** np.arange(MAX_DIGITS + 1)

_ZEROS = np.uint64(0x3030303030303030)
_SEVEN_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_TO_HIGH_BIT = np.uint64(0x7676767676767676)  # added to ten or more, sets the high bit
_HIGH_BITS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)
_FIRST_WEIGHTS = np.uint64(100 + (1_000_000 << 32))
_LAST_WEIGHTS = np.uint64(1 + (10_000 << 32))
_TEN, _WORD_BITS = np.uint64(10), np.uint64(64)
_BYTE, _PAIR, _HALF = np.uint64(8), np.uint64(16), np.uint64(32)


@numba.njit(nogil=True, forceinline=True)
def number_at(text, place):
    """Read digits.

    Args:
        text: uint8[N], with WORD more behind what is read.
        place: Where the digits begin.

    Returns:
        Their number (nonsense when there are more than MAX_DIGITS), and how many they are.
    """
    value = num_digits = 0
    while place < len(text) - WORD:
        digits = _load(text, place) ^ _ZEROS
        others = (((digits & _SEVEN_BITS) + _TO_HIGH_BIT) | digits) & _HIGH_BITS
        if others == 0:
            value = value * 100_000_000 + np.int64(_eight(digits))
            num_digits += WORD
            place += WORD
            continue
        bits = _trailing_zeros(others) & ~np.uint64(7)  # of the digits before the first other character
        if bits:
            count = np.int64(bits >> np.uint64(3))
            value = value * POWERS[count] + np.int64(_eight(digits << (_WORD_BITS - bits)))
            num_digits += count
        break
    return value, num_digits


@numba.njit(nogil=True, forceinline=True)
def _eight(digits):
    """The number of eight digits, a byte each; the first is the lowest byte. Twos, fours and eights at once."""
    twos = digits * _TEN + (digits >> _BYTE)
    return ((twos & _PAIRS) * _FIRST_WEIGHTS + ((twos >> _PAIR) & _PAIRS) * _LAST_WEIGHTS) >> _HALF


@intrinsic
def _load(typingctx, text, place):
    """Eight characters as a word, the first in its lowest byte; they need not be aligned."""

    def generate(context, builder, signature, arguments):
        values = context.make_array(text)(context, builder, arguments[0])
        word = builder.bitcast(builder.gep(values.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(text, types.intp), generate


@intrinsic
def _trailing_zeros(typingctx, word):
    """How many zero bits end a word that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate
