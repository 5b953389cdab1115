"""The LOBSTER feed: NASDAQ's visible order book, message by message, with the vendor's book beside it."""

from __future__ import annotations

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Verification
from mars_lmm.data.feeds.aggressors import FLAGS, LAST_ROW, TIME, submitted_orders
from mars_lmm.data.feeds.flow_check import Fills, check_flow
from mars_lmm.data.feeds.lobster_book import Rebuilt, rebuild
from mars_lmm.data.feeds.lobster_files import LobsterSession, find_sessions
from mars_lmm.data.feeds.lobster_read import EXECUTE, EXECUTE_HIDDEN, Messages, read
from mars_lmm.data.flow import ANONYMOUS, OrderFlow
from mars_lmm.market import types as t

__all__ = ["find_sessions", "read", "to_order_flow", "verify"]

MESSAGE_NAMES = ("new", "reductions", "deletions", "executions", "hidden_executions", "crosses", "halts")


def to_order_flow(session: LobsterSession, price_tick: int = 100) -> OrderFlow:
    """Turn a session into what participants submitted.

    Executions become the aggressive orders that caused them. The opening book, and what the vendor's window
    reveals, are anonymous rows before the order that met them.

    Args:
        session: The files.
        price_tick: LOBSTER price units per tick (100 is one cent).

    Raises:
        DataError: The files are damaged, or the vendor's books do not follow from the messages.
    """
    messages, books = read(session, price_tick)
    rebuilt = rebuild(session, messages, books, price_tick)
    if rebuilt.examples:
        count, first = rebuilt.counts["mismatches"], rebuilt.examples[0]
        reason = f"{count} books do not follow from the messages; first: {first}"
        raise DataError(str(session.message), reason)
    return _order_flow(session, messages, rebuilt, price_tick)


def verify(session: LobsterSession, price_tick: int = 100) -> Verification:
    """Compare every book of the vendor with ours, and the order flow's books and trades with the feed's.

    Args:
        session: The files.
        price_tick: LOBSTER price units per tick.

    Raises:
        DataError: The files are damaged.
    """
    messages, books = read(session, price_tick)
    rebuilt = rebuild(session, messages, books, price_tick)
    flow = _order_flow(session, messages, rebuilt, price_tick)
    executed = messages.kind == EXECUTE
    price, size = messages.price[executed] // price_tick, messages.size[executed]
    fills = Fills(np.flatnonzero(executed) + 1, price, size)
    flow_counts, flow_notes = check_flow(flow, books, fills)
    counts = {"rows": len(messages.time), "compared": len(books), **rebuilt.counts, **flow_counts}
    return Verification(counts, rebuilt.seconds, rebuilt.examples + flow_notes)


def _order_flow(session: LobsterSession, messages: Messages, rebuilt: Rebuilt, price_tick: int) -> OrderFlow:
    orders, counts = submitted_orders(messages, price_tick)
    anonymous = np.concatenate([rebuilt.opening, rebuilt.changes])
    row = np.concatenate([np.zeros(len(rebuilt.opening), dtype=np.int64), rebuilt.change_row])

    # Aggressors that the feed does not name get ids of their own: beside other agents they may come to rest.
    nameless = orders[:, t.ORDER_ID] == 0
    orders[nameless, t.ORDER_ID] = -1 - len(anonymous) - np.arange(np.count_nonzero(nameless))

    # A stable insertion: what a message revealed goes before the order that the message belongs to.
    before = np.searchsorted(orders[:, LAST_ROW], row)
    rows = np.insert(orders[:, : t.NUM_ORDER_COLUMNS], before, anonymous, axis=0)
    columns = {
        "time": np.insert(orders[:, TIME], before, messages.time[row]),
        "kind": rows[:, t.KIND],
        "side": rows[:, t.SIDE],
        "price": rows[:, t.PRICE],
        "size": rows[:, t.SIZE],
        "order_id": rows[:, t.ORDER_ID],
        "flags": np.insert(orders[:, FLAGS], before, ANONYMOUS),
        "source_row": np.insert(orders[:, LAST_ROW], before, row) + 1,
    }
    by_kind = np.bincount(messages.kind, minlength=len(MESSAGE_NAMES) + 1)[1:].tolist()
    counts = {
        "messages": len(messages.time),
        **dict(zip(MESSAGE_NAMES, by_kind, strict=True)),
        "hidden_volume": int(messages.size[messages.kind == EXECUTE_HIDDEN].sum()),
        **counts,
        **rebuilt.counts,
    }
    return OrderFlow(session.describe(price_tick), columns, counts)
