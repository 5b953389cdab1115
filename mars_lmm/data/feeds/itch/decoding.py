"""ITCH 5.0, from bytes to messages by stock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.common.by_order.messages import (
    CROSS,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    NEW,
    RECORD,
    REDUCE,
    UNCROSS,
    UNTOLD,
)
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

_jit = numba.njit(nogil=True)

# Message types by their length.
LENGTHS = {
    **{"S": 12, "R": 39, "H": 25, "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40},
    **{"B": 19, "I": 50, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "N": 20, "O": 48},
}
_LENGTH = np.zeros(256, np.int64)
for _name, _length in LENGTHS.items():
    _LENGTH[ord(_name)] = _length
_A, _C, _D, _E, _F, _H, _P, _Q, _R, _U, _X = map(ord, "ACDEFHPQRUX")
_BUY, _SELL, _NO, _TRADING, _QUOTING, _BLANK = map(ord, "BSNTQ ")

# Where fields begin, counted from the message's type.
LOCATE, TIME, STOCK_OR_ID = 1, 5, 11
HEAD = 2  # bytes of length before a message

MAX_RECORDS = 1 << 19
MAX_MADE = 2  # records, or faults, that one message makes
MAX_FAULTS = 1 << 12
NUM_LOCATES = 1 << 16

# Why the compiled function returns.
NEEDS_MORE, FULL, LOST = range(3)

# Columns of a fault, int64[NUM_FAULT_COLUMNS].
FAULT_ROW, FAULT_CODE, FAULT_VALUE, FAULT_BYTES = range(4)
NUM_FAULT_COLUMNS = 4
UNKNOWN_TYPE, OTHER_LENGTH, BAD_STOCK, OTHER_STOCK, UNKNOWN_LOCATE, ZEROS = range(6)
FAULTS = {
    UNKNOWN_TYPE: ("unknown message type", "type {value!a} is none of ITCH 5.0; {bytes} bytes are passed over"),
    OTHER_LENGTH: ("wrong message length", "{bytes} bytes are not the length of type {value!a}"),
    BAD_STOCK: ("unreadable stock name", "of locate {value}"),
    OTHER_STOCK: ("stock differs from its locate's", "locate {value} is another stock's"),
    UNKNOWN_LOCATE: ("unknown stock", "no message before it names the stock of locate {value}"),
    ZEROS: ("zeros between messages", "{bytes} bytes before this message hold nothing; get the file again"),
}


class _State(NamedTuple):
    """What one call leaves to the next.

    Attributes:
        cursor: int64[5]: the place in the block, the number of messages so far, of records, of faults, and of the
            lengths of zero since the last message.
        counts: int64[257], messages of each type; and last those before their stock's first order.
        stocks: int64[NUM_LOCATES], the eight characters of each stock; 0 while unknown.
        active: bool[NUM_LOCATES], whether a stock has had an order.
    """

    cursor: np.ndarray
    counts: np.ndarray
    stocks: np.ndarray
    active: np.ndarray


PLACE, ROW, NUM_RECORDS, NUM_FAULTS, NUM_ZEROS = range(5)
EARLY = 256  # column of `counts`


class Decoder:
    """Decodes a file block by block.

    Args:
        file: Named in errors.
        ledger: Takes counts and bad messages.
        hidden_sides: Whether the sides of hidden orders that trade are told.

    Attributes:
        done: Whether the end was reached.
    """

    def __init__(self, file: RawFile, ledger: Ledger, hidden_sides: bool):
        self.done = False
        self._file, self._ledger, self._hidden_sides = file, ledger, hidden_sides
        self._held = b""
        self._lost_at, self._unread = "", 0  # the type without a length after which no message is found, and its bytes
        stocks, active = np.zeros(NUM_LOCATES, np.int64), np.zeros(NUM_LOCATES, np.bool_)
        self._state = _State(np.zeros(5, np.int64), np.zeros(257, np.int64), stocks, active)
        self._records = np.empty((MAX_RECORDS, len(RECORD.names)), np.int64)
        self._locates = np.empty(MAX_RECORDS, np.uint16)
        self._faults = np.empty((MAX_FAULTS, NUM_FAULT_COLUMNS), np.int64)

    def decode(self, block: bytes) -> Iterator[tuple[str, np.ndarray]]:
        """Decode the next block; an empty one is the end.

        Yields:
            Stock and RECORD[N], in order within a stock.

        Raises:
            DataError: A message is bad, and the ledger says that this is an error.
        """
        if self._lost_at:
            self._unread += len(block)
        else:
            yield from self._decode(self._held + block)
        self.done = not block
        if self.done:
            self._finish()

    def _decode(self, content: bytes) -> Iterator[tuple[str, np.ndarray]]:
        data = np.frombuffer(content, np.uint8)
        cursor = self._state.cursor
        cursor[PLACE] = 0
        reason = FULL
        while reason == FULL:
            cursor[[NUM_RECORDS, NUM_FAULTS]] = 0
            reason = _decode(data, self._hidden_sides, self._state, self._records, self._locates, self._faults)
            for row, code, value, num_bytes in self._faults[: cursor[NUM_FAULTS]].tolist():
                what, detail = FAULTS[code]
                shown = chr(value) if code in (UNKNOWN_TYPE, OTHER_LENGTH) else value
                self._ledger.refuse(self._file, row, what, detail.format(value=shown, bytes=f"{num_bytes:,}"))
            yield from self._by_stock(int(cursor[NUM_RECORDS]))
        self._held = data[cursor[PLACE] :].tobytes()
        if reason == LOST:
            self._lost_at, self._unread = chr(self._held[HEAD]), len(self._held)

    def _by_stock(self, num_records: int) -> Iterator[tuple[str, np.ndarray]]:
        locates = self._locates[:num_records]
        order = np.argsort(locates, kind="stable")
        locates = locates[order]
        records = self._records[order].view(RECORD)[:, 0]
        bounds = [0, *(np.flatnonzero(locates[1:] != locates[:-1]) + 1).tolist(), num_records]
        for first, end in pairwise(bounds) if num_records else ():
            stock = int(self._state.stocks[locates[first]])
            yield stock.to_bytes(8, "big").decode("ascii").rstrip(), records[first:end]

    def _finish(self) -> None:
        row = int(self._state.cursor[ROW]) + 1
        if self._lost_at:
            detail = f"type {self._lost_at!a}, without a length: the {self._unread:,} bytes from here on cannot be read"
            self._ledger.refuse(self._file, row, "unknown message type", detail)
        elif self._held not in (b"", bytes(HEAD)):  # a length of zero closes a file
            detail = f"the file ends within this message, after {len(self._held):,} bytes; get it again"
            self._ledger.refuse(self._file, row, "truncated", detail)
        counts = {
            f"type_{chr(kind)}": int(self._state.counts[kind]) for kind in np.flatnonzero(self._state.counts[:256])
        }
        self._ledger.counts.update(counts)
        self._ledger.counts["before_first_order"] += int(self._state.counts[EARLY])
        if not self._state.counts[[_A, _F]].any():
            held = ", ".join(f"{name.removeprefix('type_')} {count:,}" for name, count in counts.items())
            detail = f"messages by type: {held or 'none'}; an order is of type A or F"
            self._ledger.refuse(self._file, None, "no orders", detail)


@kept_njit("market", "tokenizers", "data")
def _decode(data, hidden_sides, state, records, locates, faults):
    """Decode whole messages from the cursor on, as many as the outputs hold; return why it stopped."""
    place, row, num_records, num_faults, num_zeros = state.cursor
    reason = NEEDS_MORE
    while place + HEAD < len(data):
        if num_records + MAX_MADE > len(records) or num_faults + MAX_MADE > len(faults):
            reason = FULL
            break
        at = place + HEAD
        kind = data[at]
        due = _LENGTH[kind]
        length = _number(data, place, HEAD)
        if length == 0:
            if kind == 0:  # the end of a file, behind which another begins
                num_zeros += 1
                place = at
                continue
            if due == 0:
                reason = LOST
                break
            length = due  # some writers leave it out
        if at + length > len(data):
            break
        row += 1
        if num_zeros > 1:
            _put_fault(faults, num_faults, row, ZEROS, 0, HEAD * num_zeros)
            num_faults += 1
        num_zeros = 0
        fault, value = -1, np.int64(kind)
        if due == 0:
            fault = UNKNOWN_TYPE
        elif length != due:
            fault = OTHER_LENGTH
        else:
            locate = _number(data, at + LOCATE, 2)
            value = locate
            fault = _check_stock(data, at, kind, locate, state)
            if fault < 0:
                state.counts[kind] += 1
                first = num_records
                num_records = _translate(data, at, kind, row, hidden_sides, records, num_records)
                if num_records > first and not state.active[locate] and kind in (_H, _P, _Q):
                    state.counts[EARLY] += 1
                    num_records = first
                state.active[locate] |= kind in (_A, _F)
                locates[first:num_records] = locate
        if fault >= 0:
            _put_fault(faults, num_faults, row, fault, value, length)
            num_faults += 1
        place = at + length
    state.cursor[PLACE] = place
    state.cursor[ROW] = row
    state.cursor[NUM_RECORDS] = num_records
    state.cursor[NUM_FAULTS] = num_faults
    state.cursor[NUM_ZEROS] = num_zeros
    return reason


@_jit
def _put_fault(faults, n, row, code, value, num_bytes):
    faults[n, FAULT_ROW] = row
    faults[n, FAULT_CODE] = code
    faults[n, FAULT_VALUE] = value
    faults[n, FAULT_BYTES] = num_bytes


@_jit
def _number(data, at, num_bytes):
    """A big-endian number; of eight bytes, those above 2**63 come out negative."""
    value = np.int64(0)
    for i in range(num_bytes):
        value = value << 8 | np.int64(data[at + i])
    return value


@_jit
def _check_stock(data, at, kind, locate, state):
    """Compare a message's stock with that of its locate, or learn it; return the fault, or -1."""
    if kind in (_A, _F, _P):
        stock_at = at + 24
    elif kind in (_R, _H):
        stock_at = at + STOCK_OR_ID
    elif kind == _Q:
        stock_at = at + 19
    elif kind in (_E, _C, _X, _D, _U):
        return -1 if state.stocks[locate] != 0 else UNKNOWN_LOCATE
    else:
        return -1
    stock = _number(data, stock_at, 8)
    if stock == state.stocks[locate]:
        return -1
    if state.stocks[locate] != 0:
        return OTHER_STOCK
    for i in range(8):
        letter = data[stock_at + i]
        if letter > 126 or letter < _BLANK or (letter == _BLANK and i == 0):
            return BAD_STOCK
    state.stocks[locate] = stock
    return -1


@_jit
def _translate(data, at, kind, row, hidden_sides, records, n):
    """Write a message's records; return how many there are."""
    time = _number(data, at + TIME, 6)
    if kind in (_A, _F):
        side, size, price = _side(data[at + 19]), _number(data, at + 20, 4), _number(data, at + 32, 4)
        return _put(records, n, time, _number(data, at + 11, 8), price, size, row, NEW, side)
    if kind == _D:
        return _put(records, n, time, _number(data, at + 11, 8), UNTOLD, UNTOLD, row, DELETE, UNTOLD)
    if kind in (_E, _X):
        does = EXECUTE if kind == _E else REDUCE
        return _put(records, n, time, _number(data, at + 11, 8), UNTOLD, _number(data, at + 19, 4), row, does, UNTOLD)
    if kind == _U:
        n = _put(records, n, time, _number(data, at + 11, 8), UNTOLD, UNTOLD, row, DELETE, UNTOLD)
        size, price = _number(data, at + 27, 4), _number(data, at + 31, 4)
        return _put(records, n, time, _number(data, at + 19, 8), price, size, row, NEW, UNTOLD)
    if kind == _C:
        does = UNCROSS if data[at + 31] == _NO else EXECUTE  # what is not printed was printed with the cross
        price, size = _number(data, at + 32, 4), _number(data, at + 19, 4)
        return _put(records, n, time, _number(data, at + 11, 8), price, size, row, does, UNTOLD)
    if kind == _P:
        side = _side(data[at + 19]) if hidden_sides else UNTOLD
        price, size = _number(data, at + 32, 4), _number(data, at + 20, 4)
        return _put(records, n, time, 0, price, size, row, EXECUTE_HIDDEN, side)
    if kind == _Q:
        price, size = _number(data, at + 27, 4), _number(data, at + 11, 8)
        return _put(records, n, time, 0, price, size, row, CROSS, t.NO_SIDE)
    if kind == _H:
        trading = data[at + 19]
        code = 1 if trading == _TRADING else 0 if trading == _QUOTING else -1  # as LOBSTER's
        return _put(records, n, time, 0, code, 0, row, HALT, t.NO_SIDE)
    return n


@_jit
def _side(letter):
    """A side; another letter as it is, to be refused."""
    return np.int64(t.BUY) if letter == _BUY else np.int64(t.SELL) if letter == _SELL else np.int64(letter)


@_jit
def _put(records, n, time, order_id, price, size, row, kind, side):
    record = records[n]
    record[0] = time
    record[1] = order_id
    record[2] = price
    record[3] = size
    record[4] = row
    record[5] = kind
    record[6] = side
    return n + 1
