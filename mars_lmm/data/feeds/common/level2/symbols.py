"""Symbols of the Chinese exchanges: six digits, whose leading zeros may be lost, and perhaps the market behind them."""

from __future__ import annotations

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.columns.dates import digits_at
from mars_lmm.data.feeds.common.columns.text import Text

DIGITS = 6
BAD = -1
OTHER = -2  # a symbol of another market


def read_symbols(column: Text, suffix: str) -> np.ndarray:
    """Symbols as numbers, int64[N].

    Args:
        column: [N].
        suffix: The market's own, which may follow: ".SH".

    Returns:
        The numbers; OTHER with another market's suffix, and for longer symbols; BAD for what is no symbol.
    """
    symbols = np.full(len(column), BAD)
    _parse(column.data, column.starts, column.ends, np.frombuffer(suffix.encode(), np.uint8), symbols)
    return symbols


@kept_njit("data", _nrt=False)
def _parse(data, starts, ends, suffix, symbols):
    for i in range(len(symbols)):
        value, count, place = digits_at(data, starts[i], ends[i])
        length = ends[i] - place
        if count == 0 or (length > 0 and data[place] != ord(".")):
            continue
        own = length in (0, len(suffix))
        for k in range(min(length, len(suffix))):
            own = own and data[place + k] == suffix[k]
        symbols[i] = value if own and count <= DIGITS else OTHER
