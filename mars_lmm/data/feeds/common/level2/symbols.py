"""Symbols of the Chinese exchanges: six digits, whose leading zeros may be lost, and perhaps the market behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.dates import digits_at
from mars_lmm.data.feeds.common.columns.text import Text

DIGITS = 6
BAD = -1
OTHER = -2  # a symbol of another market
SUFFIXES = ("SH", "XSHG", "SZ", "XSHE", "BJ", "HK", "XHKG")  # what vendors put behind a symbol and a point


def read_symbols(column: Text, suffixes: Sequence[str]) -> np.ndarray:
    """Symbols as numbers, int64[N].

    Args:
        column: [N].
        suffixes: The market's own of `SUFFIXES`; case does not matter.

    Returns:
        The numbers; OTHER with another market's suffix; BAD for what is no symbol.
    """
    known = [*suffixes, *(suffix for suffix in SUFFIXES if suffix not in suffixes)]
    letters = np.array([list(suffix.ljust(4).encode()) for suffix in known], np.uint8)
    symbols = np.full(len(column), BAD)
    _parse(column.data, column.starts, column.ends, letters, len(suffixes), symbols)
    return symbols


@kept_njit("data", _nrt=False)
def _parse(data, starts, ends, letters, num_own, symbols):
    for i in range(len(symbols)):
        value, count, place = digits_at(data, starts[i], ends[i])
        length = ends[i] - place - 1  # of what stands behind the point
        if count == 0 or count > DIGITS:
            continue
        if length < 0:
            symbols[i] = value
        elif data[place] == ord(".") and 0 < length <= letters.shape[1]:
            for k in range(len(letters)):
                same = length == letters.shape[1] or letters[k, length] == ord(" ")
                for j in range(length):
                    # Letters differ from capitals in this bit alone.
                    same = same and letters[k, j] != ord(" ") and data[place + 1 + j] & 0xDF == letters[k, j]
                if same:
                    symbols[i] = value if k < num_own else OTHER
