"""The engine of feeds that name each order: messages by order id become order flow, and the proof that they do.

A feed of this kind is one file: a subclass of `OrderFeed` that finds files and decodes them into messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np

from mars_lmm.data.feeds import FeedSession, SortedFeed, Verification
from mars_lmm.data.feeds.common.by_order.flow_builder import FlowBuilder
from mars_lmm.data.feeds.common.by_order.messages import RECORD
from mars_lmm.data.feeds.common.by_order.moments import whole_runs
from mars_lmm.data.feeds.common.by_order.order_check import OrderCheck
from mars_lmm.data.feeds.common.by_order.session_reading import SessionReading
from mars_lmm.data.feeds.common.by_order.session_records import price_span
from mars_lmm.data.feeds.common.by_order.visible_book import COUNTS as VISIBLE_COUNTS
from mars_lmm.data.flow import Columns, Session, order_rows
from mars_lmm.data.ledger import Ledger
from mars_lmm.market.quantities import multiple, nanoseconds

MAX_TICK = 2**62  # price units


@dataclass
class OrderFeedOptions:
    """What every feed by order id must be told; a feed adds options of its own in a subclass."""

    tick: str | float = "0.01"
    """The smallest price step, in currency."""
    open: str = "09:30"
    """When the session starts, HH:MM[:SS], exchange local. Orders before it make the opening book."""
    close: str = "16:00"
    """When the session ends."""


class OrderFeed(SortedFeed):
    """A feed whose messages name the orders that they are about.

    A subclass writes `find_sources` and `decode`, and sets `price_units`. `decode` yields `RECORD` messages:

    - Side, price and size of a REDUCE, DELETE, EXECUTE or UNCROSS may be UNTOLD: they are those of the order, the size
      being all that is left of it. Only the size of a REDUCE must be told. What is told must fit the order, or the row
      is refused; but an EXECUTE at another price than the order's becomes an UNCROSS.
    - A replacement is a DELETE and a NEW, next to each other with the same `row`. The NEW may leave its side UNTOLD:
      it is that of the order deleted.
    - The side of an EXECUTE_HIDDEN may be UNTOLD: it is guessed from what traded with it, or from the price.
    - A CLEAR names no order. CROSS and HALT pass through.
    - Times never go back within a session: of rows that contradict each other the fewest are refused.
    - Ids are positive, and may be used again once an order is gone.
    - A bad message need not be kept back: kind, time, side, size, price and id are all checked here.

    Args:
        options: Settings of the feed, the fields of its `Options`.

    Attributes:
        tick_size: Currency per tick.
        price_tick: The feed's price units per tick.
        open_time: Start of the session, nanoseconds since midnight.
        close_time: End of the session.

    Raises:
        ValueError: An option is unknown, or out of range.
    """

    Options = OrderFeedOptions
    record = RECORD

    price_units: ClassVar[int]
    """The feed's price units per unit of currency: 10,000 where prices have four decimals."""
    knows_all_orders: ClassVar[bool] = True
    """Whether the feed announces every order, so that an id that is not live is a loss of data and its row refused.

    Else such rows are left out and counted: logs that start in mid-session.
    """
    collects: ClassVar[bool] = True
    """Whether orders that cross the book may rest, as in an auction.

    Else the orders that they cross are gone, and the feed lost the message that said so.
    """

    def __init__(self, options: Mapping[str, Any] | None = None):
        super().__init__(options)
        self.price_tick = multiple("tick", self.options.tick, Decimal(1) / self.price_units)
        if not 1 <= self.price_tick <= MAX_TICK:
            raise ValueError(f"tick={self.options.tick}: must be positive, and at most {MAX_TICK // self.price_units}")
        self.tick_size = float(self.options.tick)
        self.open_time = nanoseconds("open", self.options.open)
        self.close_time = nanoseconds("close", self.options.close)
        if self.open_time >= self.close_time:
            raise ValueError(f"close={self.options.close} must come after open={self.options.open}")

    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it."""
        return Session(
            session.symbol,
            session.date,
            self.tick_size,
            self.open_time,
            self.close_time,
            rebuilt_takers=True,
            source=str(session),
        )

    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[Columns]:
        """Turn a session into what participants submitted, part by part; see `Feed.order_flow`."""
        reading = self._reading(session, price_span(session, self.price_tick))
        building = FlowBuilder(self.price_tick)
        for messages in whole_runs(reading.messages(ledger)):
            yield building.build(messages)[0]
        ledger.counts.update(reading.counts)
        ledger.counts.update(building.counts)

    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare the feed's book and trades with what our matching makes of the order flow.

        Counts are `rows` (messages), `compared` (books), `mismatches` (messages that were left out because they do not
        fit the feed's own book), `unknown_ids`, and those of `VisibleBook` and `OrderCheck`.

        Raises:
            DataError: As `order_flow`.
        """
        span = price_span(session, self.price_tick)
        reading = self._reading(session, span)
        building = FlowBuilder(self.price_tick)
        checking = OrderCheck(*span, self.price_tick)
        for messages in whole_runs(reading.messages(ledger)):
            columns, last = building.build(messages)
            checking.check(str(session), messages, order_rows(columns), columns["flags"].astype(np.int64), last)
        counts = {
            "rows": reading.counts["messages"],
            "compared": checking.counts["flow_rows"],
            "mismatches": reading.refused,
            **{name: reading.counts[name] for name in ("unknown_ids", *VISIBLE_COUNTS)},
            **checking.counts,
        }
        return Verification(counts, checking.seconds, checking.notes)

    def _reading(self, session: FeedSession, span: tuple[int, int]) -> SessionReading:
        return SessionReading(session, span, self.price_tick, self.knows_all_orders, self.collects)
