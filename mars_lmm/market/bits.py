"""Which prices of the ladder are occupied: a bitmap with 32 bits a word, searched by binary steps.

Words are int64 and hold 32 bits, so no shift ever meets a sign; there are no intrinsics, so every compiler
takes it.
"""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market.types import NUM_TICKS, OCCUPIED_AT

WORD_SHIFT = 5
WORD_BITS = 1 << WORD_SHIFT
WORD_MASK = WORD_BITS - 1


class Bits(NamedTuple):
    """The compiled bitmap functions of a book; a tick counts from the ladder's lowest price."""

    lowest_from: Callable  # (book, side, tick) -> the lowest occupied tick >= tick, or -1
    highest_from: Callable  # (book, side, tick) -> the highest occupied tick <= tick, or -1
    flip: Callable  # (book, side, tick): an empty price is occupied, an occupied one empty


def make_bits(jit: Callable) -> Bits:
    """Compile the bitmap searches with `jit`."""

    @jit
    def lowest_bit(word):
        bit = 0
        if word & 0xFFFF == 0:
            bit += 16
            word >>= 16
        if word & 0xFF == 0:
            bit += 8
            word >>= 8
        if word & 0xF == 0:
            bit += 4
            word >>= 4
        if word & 0x3 == 0:
            bit += 2
            word >>= 2
        return bit + 1 - (word & 1)

    @jit
    def highest_bit(word):
        bit = 0
        if word >> 16 != 0:
            bit += 16
            word >>= 16
        if word >> 8 != 0:
            bit += 8
            word >>= 8
        if word >> 4 != 0:
            bit += 4
            word >>= 4
        if word >> 2 != 0:
            bit += 2
            word >>= 2
        return bit + (word >> 1)

    @jit
    def lowest_from(book, side, tick):
        at = tick >> WORD_SHIFT
        words = (book[NUM_TICKS] + WORD_MASK) >> WORD_SHIFT
        if at >= words:
            return -1
        first = book[OCCUPIED_AT + side]
        word = (book[first + at] >> (tick & WORD_MASK)) << (tick & WORD_MASK)
        while word == 0:
            at += 1
            if at == words:
                return -1
            word = book[first + at]
        return (at << WORD_SHIFT) + lowest_bit(word)

    @jit
    def highest_from(book, side, tick):
        if tick < 0:
            return -1
        at = tick >> WORD_SHIFT
        first = book[OCCUPIED_AT + side]
        word = book[first + at] & ((2 << (tick & WORD_MASK)) - 1)
        while word == 0:
            at -= 1
            if at < 0:
                return -1
            word = book[first + at]
        return (at << WORD_SHIFT) + highest_bit(word)

    @jit
    def flip(book, side, tick):
        book[book[OCCUPIED_AT + side] + (tick >> WORD_SHIFT)] ^= 1 << (tick & WORD_MASK)

    return Bits(lowest_from, highest_from, flip)
