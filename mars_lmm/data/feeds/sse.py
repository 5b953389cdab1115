"""The Shanghai level-2 feed ("sse"): every order and trade of a stock-day, and snapshots where the files have any.

One concern a file: `sse_files` finds sessions, `sse_log` and `sse_csv` read the two layouts, `sse_book` rebuilds the
book from the messages, `sse_snapshots` finds each snapshot in it, `sse_flow` recovers what participants sent, and
`sse_check` sends that to our own exchange.
"""

from __future__ import annotations

import time

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Verification
from mars_lmm.data.feeds.sse_book import Rebuilt, rebuild
from mars_lmm.data.feeds.sse_check import check_flow
from mars_lmm.data.feeds.sse_files import SseSession, find_sessions
from mars_lmm.data.feeds.sse_flow import submitted_orders
from mars_lmm.data.feeds.sse_messages import ADD, DELETE, TRADE, Messages, Snapshots
from mars_lmm.data.feeds.sse_snapshots import NO_MATCH, match_snapshots
from mars_lmm.data.flow import OrderFlow
from mars_lmm.market import types as t

__all__ = ["find_sessions", "to_order_flow", "verify"]

MAX_NOTES = 5


def to_order_flow(session: SseSession) -> OrderFlow:
    """Turn a session into what participants sent.

    The flow has no auction trades: they follow from the orders of the calls, so it needs an exchange that holds
    the auctions.

    Args:
        session: The files.

    Raises:
        DataError: The files are damaged, or their messages contradict each other.
    """
    messages, _ = session.read()
    rebuilt = rebuild(session.source, messages)
    if rebuilt.unfit.any():
        count = np.count_nonzero(rebuilt.unfit)
        raise DataError(
            session.source, f"{count} messages do not fit the book; first: {_misfits(messages, rebuilt)[0]}"
        )
    submitted = submitted_orders(messages)
    orders = submitted.orders
    columns = {
        "time": submitted.times,
        "kind": orders[:, t.KIND],
        "side": orders[:, t.SIDE],
        "price": orders[:, t.PRICE],
        "size": orders[:, t.SIZE],
        "order_id": orders[:, t.ORDER_ID],
        "flags": np.zeros(len(orders)),
        "source_row": submitted.last + 1,
    }
    by_kind = np.bincount(messages.kind, minlength=3).tolist()
    counts = {
        "messages": len(messages.time),
        "adds": by_kind[ADD],
        "deletes": by_kind[DELETE],
        "trades": by_kind[TRADE],
        "auction_trades": int(np.count_nonzero(messages.side == t.NO_SIDE)),
        **submitted.counts,
        "unknown_ids": rebuilt.unknown_ids,
    }
    return OrderFlow(session.describe(), columns, counts)


def verify(session: SseSession) -> Verification:
    """Compare the messages' book with every snapshot of continuous trading, and with our own exchange's.

    Args:
        session: The files.

    Returns:
        `rows` (messages), `compared` and `mismatches` (snapshots that no message leads to, messages that do not
        fit the book), `unknown_ids`, `snapshots` (all there are), and the counts of `sse_check.Check`.

    Raises:
        DataError: The files are damaged.
    """
    messages, snapshots = session.read()
    _compare(session, *_head(messages, snapshots))  # compiles, so that the time is the work's alone
    started = time.perf_counter()
    counts, notes = _compare(session, messages, snapshots)
    return Verification(counts, time.perf_counter() - started, notes)


def _compare(session: SseSession, messages: Messages, snapshots: Snapshots) -> tuple[dict[str, int], list[str]]:
    rebuilt = rebuild(session.source, messages)
    compared, matches = match_snapshots(messages, rebuilt.books, snapshots)
    lost = compared[matches == NO_MATCH]
    check = check_flow(session.source, session.symbol, messages, rebuilt.books, submitted_orders(messages))
    counts = {
        "rows": len(messages.time),
        "compared": len(compared),
        "mismatches": len(lost) + int(np.count_nonzero(rebuilt.unfit)),
        "unknown_ids": rebuilt.unknown_ids,
        "snapshots": len(snapshots.time),
        **check.counts,
    }
    notes = [f"{session.source}: {misfit}" for misfit in _misfits(messages, rebuilt)]
    notes += [f"{session.source}, snapshot {i + 1}: no message leads to its book" for i in lost[:MAX_NOTES].tolist()]
    return counts, notes + check.notes


def _head(messages: Messages, snapshots: Snapshots) -> tuple[Messages, Snapshots]:
    """A first message and no snapshot."""
    return Messages(*(column[:1] for column in messages)), Snapshots(*(column[:0] for column in snapshots))


def _misfits(messages: Messages, rebuilt: Rebuilt) -> list[str]:
    """The first messages that do not fit, in words."""
    names = {ADD: "new order", DELETE: "delete", TRADE: "trade"}
    return [
        f"sequence number {messages.sequence[i]}: the {names[messages.kind[i]]} of {messages.size[i]} at "
        f"{messages.price[i]} ticks (buyer {messages.buy_id[i]}, seller {messages.sell_id[i]}) does not fit the book"
        for i in np.flatnonzero(rebuilt.unfit)[:MAX_NOTES].tolist()
    ]
