"""The order of a file's times of receipt, which tells a wrong time from a right one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds.databento.records import BAD_RECEIPT, CLOCK_ERROR, LARGEST, SNAPSHOT, Part, no_records
from mars_lmm.data.ledger import Ledger

LOOK_AHEAD = 64  # records behind one that judge it
KEPT, BACK, AHEAD = range(3)


class Span(NamedTuple):
    """The times of receipt that a file may hold, nanoseconds since 1970: both ends belong to it."""

    first: int = 0
    last: int = LARGEST


class ReceiptOrder:
    """Keeps the records whose times fit those around them; files are in the order of receipt.

    A record that falls behind what came before is at fault, unless most of those that follow it do as well: then it is
    the one before that ran ahead.

    Args:
        span: What the file's metadata promises.
        source: The file.
        ledger: Takes the others.
    """

    def __init__(self, span: Span, source: Any, ledger: Ledger):
        self._span, self._source, self._ledger = span, source, ledger
        self._latest = 0
        self._waiting = no_records()

    def keep(self, part: Part, last: bool = False) -> Part:
        """The good ones of the next records, as far as those behind them are known.

        Args:
            part: The next records, of times up to `LARGEST`.
            last: Whether no more records follow.

        Raises:
            DataError: A time is wrong, and the ledger says that this is an error.
        """
        part = self._waiting.then(self._within_span(part))
        time, told = _times(part)
        settled = len(time) if last else max(len(time) - LOOK_AHEAD, 0)
        fault = np.zeros(len(time), np.int8)
        self._latest = _judge(time, told, settled, self._latest, fault)
        self._waiting = part.part(settled)
        part, fault = part.part(0, settled), fault[:settled]
        self._refuse(part, fault == BACK, "time goes back", "ts_recv {} is earlier than that of a record before it")
        self._refuse(part, fault == AHEAD, "time runs ahead", "ts_recv {} is later than those of the records behind it")
        return part.where(fault == KEPT)

    def _within_span(self, part: Part) -> Part:
        time, told = _times(part)
        before, beyond = told & (time < self._span.first), time > self._span.last
        self._refuse(part, before, "time goes back", "ts_recv {} is before the file's start")
        self._refuse(part, beyond, "time runs ahead", "ts_recv {} is beyond the file's end")
        return part.where(~before & ~beyond)

    def _refuse(self, part: Part, fault: np.ndarray, reason: str, detail: str) -> None:
        if fault.any():
            receipt = part.records["ts_recv"].astype("M8[ns]")
            self._ledger.check(self._source, part.row, fault, reason, f"{detail}; get the file again", receipt)


def _times(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """What must be in order, int64[N]; and whether it is the time of receipt, bool[N].

    The vendor flags records for which his own clock was off: the time that they will have must do, by less than which
    it may run ahead.
    """
    receipt, event = (part.records[name].astype(np.int64) for name in ("ts_recv", "ts_event"))
    flags = part.records["flags"]
    told = flags & BAD_RECEIPT == 0
    return np.where(told, receipt, np.where(flags & SNAPSHOT != 0, receipt, event) - CLOCK_ERROR), told


@kept_njit("data", _nrt=False)
def _judge(time, told, settled, latest, fault):
    """Find the records out of order.

    Args:
        time: int64[N].
        told: bool[N], whether it is the time of receipt.
        settled: How many of them to judge; the others are only looked at.
        latest: The largest time of receipt before them.
        fault: int8[N], to be filled.

    Returns:
        The largest time of receipt so far.
    """
    # Most records are in order, and need no look at those behind them: the least of these is not smaller.
    first = settled
    least = np.int64(LARGEST)
    for i in range(len(time) - 1, -1, -1):
        if told[i]:
            least = min(least, time[i])
        if i < settled and time[i] > least:
            first = i
    for i in range(settled):
        if told[i] and time[i] < latest:
            fault[i] = BACK
            continue
        fits = below = 0
        if i >= first:
            for j in range(i + 1, min(i + 1 + LOOK_AHEAD, len(time))):
                if told[j] and time[j] >= latest:
                    fits += 1
                    below += time[j] < time[i]
        if 2 * below > fits:
            fault[i] = AHEAD
        elif told[i]:
            latest = time[i]
    return latest
