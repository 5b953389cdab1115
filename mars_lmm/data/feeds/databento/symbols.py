"""Symbols of instruments by number and day, as a file's metadata and its mapping records tell them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from mars_lmm.data.names import is_symbol

DAY_NS = 24 * 60 * 60 * 10**9
ALL_DAYS = (0, 2**31)


class SymbolTable:
    """Knows which symbol an instrument has on a day.

    Attributes:
        symbols: The symbols asked for so far.
    """

    def __init__(self):
        self.symbols: list[str] = []
        self._places: dict[str, int] = {}
        self._intervals: dict[int, list[tuple[int, int, str]]] = defaultdict(list)

    def add(self, instrument_id: int, symbol: str, first: int, end: int) -> None:
        """Give an instrument a symbol.

        Args:
            instrument_id: The vendor's number.
            symbol: The symbol; what is added last goes before what was there.
            first: First day that it holds, since 1970, UTC.
            end: The day that it holds no longer.
        """
        self._intervals[instrument_id].append((first, end, symbol))

    def place(self, symbol: str) -> int:
        """The place of a symbol in `symbols`; it is entered if it is new."""
        if symbol not in self._places:
            self._places[symbol] = len(self.symbols)
            self.symbols.append(symbol)
        return self._places[symbol]

    def places(self, instrument_id: np.ndarray, time: np.ndarray) -> np.ndarray:
        """The places in `symbols` of some records' symbols; "ID5482" where none is known.

        Args:
            instrument_id: uint32[N].
            time: uint64[N], nanoseconds since 1970, UTC.

        Returns:
            int64[N].
        """
        key = instrument_id.astype(np.uint64) << np.uint64(18) | time // np.uint64(DAY_NS)
        keys, inverse = np.unique(key, return_inverse=True)
        found = [self.place(self._symbol(pair >> 18, pair & (2**18 - 1))) for pair in keys.tolist()]
        return np.array(found, np.int64)[inverse]

    def _symbol(self, instrument_id: int, day: int) -> str:
        for first, end, symbol in reversed(self._intervals.get(instrument_id, ())):
            if first <= day < end and is_symbol(symbol):
                return symbol
        return f"ID{instrument_id}"
