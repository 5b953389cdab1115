"""A session's messages, checked against the visible book that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np

from mars_lmm.data.feeds import FeedSession, Source
from mars_lmm.data.feeds.common.by_order.messages import EXECUTE_HIDDEN, NAMES, RECORD, Messages
from mars_lmm.data.feeds.common.by_order.session_records import record_chunks
from mars_lmm.data.feeds.common.by_order.visible_book import FAULTS, GOOD, UNKNOWN_ID, WITH_ITS_ROW, VisibleBook
from mars_lmm.data.ledger import Ledger


class SessionReading:
    """Reads a session of a feed by order id.

    Args:
        session: The session, with its records.
        span: The lowest and the highest price that its book holds, in ticks.
        price_tick: The feed's price units per tick.
        knows_all_orders: Whether an id that is not live is an error.
        collects: Whether orders that cross the book may rest.

    Attributes:
        counts: `messages`, how many of each kind (`messages.NAMES`), `hidden_volume`, `unknown_ids` and those of
            `VisibleBook`; complete when all messages are read.
        refused: Rows that the ledger refused.
    """

    def __init__(
        self,
        session: FeedSession,
        span: tuple[int, int],
        price_tick: int,
        knows_all_orders: bool,
        collects: bool,
    ):
        self.counts: Counter[str] = Counter(dict.fromkeys(("messages", *NAMES, "hidden_volume", "unknown_ids"), 0))
        self.refused = 0
        self._session, self._knows_all_orders = session, knows_all_orders
        self._book = VisibleBook(*span, price_tick, collects)

    def messages(self, ledger: Ledger) -> Iterator[Messages]:
        """Yield the messages that fit, complete, as `VisibleBook.apply` returns them.

        Args:
            ledger: Takes the others.

        Raises:
            DataError: A message does not fit, and the ledger says that this is an error.
        """
        last = (None, np.empty(0, RECORD))
        for (source, records), (_, following) in pairwise(chain(record_chunks(self._session), [last])):
            messages, faults = self._book.apply(records, following)
            self._refuse(source, records, faults, ledger)
            self._count(records, faults)
            yield messages
        self.counts.update(self._book.counts)

    def _refuse(self, source: Source, records: np.ndarray, faults: np.ndarray, ledger: Ledger) -> None:
        refused = (faults != GOOD) & (faults != WITH_ITS_ROW)
        unknown = faults == UNKNOWN_ID
        self.counts["unknown_ids"] += int(np.count_nonzero(unknown))
        if not self._knows_all_orders:
            refused &= ~unknown
        for i in np.flatnonzero(refused).tolist():
            fault = FAULTS[int(faults[i])]
            fields = dict(zip(records.dtype.names, records[i].tolist(), strict=True))
            ledger.refuse(source, fields["row"], fault.reason, fault.detail.format(**fields))
            self.refused += 1

    def _count(self, records: np.ndarray, faults: np.ndarray) -> None:
        good = records[faults == GOOD]
        self.counts["messages"] += len(records)
        by_kind = np.bincount(good["kind"], minlength=len(NAMES) + 1)[1:].tolist()
        self.counts.update(dict(zip(NAMES, by_kind, strict=True)))
        self.counts["hidden_volume"] += int(good["size"][good["kind"] == EXECUTE_HIDDEN].sum())
