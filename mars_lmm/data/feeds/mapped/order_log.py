"""Logs of what participants submitted: our matching executes them, and fills in what cancels leave out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.feeds import FeedSession
from mars_lmm.data.feeds.common.by_order.messages import RECORD
from mars_lmm.data.feeds.common.by_order.session_records import MAX_TICKS, record_chunks
from mars_lmm.data.flow import BY_ID, PRICED, Columns, order_rows, typed
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, empty_books
from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.repack import with_room

# An order as it lies in a spool: `RECORD`, the kind being one of `mars_lmm.market.types`, and who sent it.
ORDER = np.dtype([*RECORD.descr, ("owner", "<i8")])

# Exchanges, too, reject orders for these reasons, and cancels that come too late; other reasons mean that the log does
# not fit our matching.
ORDINARY = (t.ACCEPTED, t.NO_LIQUIDITY, t.UNFILLABLE, t.WOULD_TRADE)
ADVICE = {
    t.BAD_SIZE: "sizes are positive",
    t.DUPLICATE_ID: "an order of this id is still live; each needs an id of its own",
    t.UNKNOWN_ID: "no row before it sends an order of this id; is the log whole?",
    t.NOT_OWNER: "the order that it names is another owner's",
}
FIRST_ROOM = 1024  # orders of a book that will grow

_execute, _find = MATCHING.execute, MATCHING.find


class OrderLog:
    """Executes a session's orders.

    Args:
        session: The session, with its records of type `ORDER`.
        price_tick: The feed's price units per tick.

    Attributes:
        counts: `orders`, `rejected_orders` (those that an exchange would reject as well; they are not in the flow),
            `trades` and `volume`; complete when all orders are read.
        refused: Rows that the ledger refused.
        seconds: Time that our matching took.
    """

    def __init__(self, session: FeedSession, price_tick: int):
        self.counts: Counter[str] = Counter(dict.fromkeys(("orders", "rejected_orders", "trades", "volume"), 0))
        self.refused = 0
        self.seconds = 0.0
        self._session, self._price_tick = session, price_tick
        self._book: np.ndarray | None = None
        self._middle = 0
        self._last_time = 0
        self._announced = _Announced()

    def columns(self, ledger: Ledger) -> Iterator[Columns]:
        """Yield the orders that our book accepts as columns of the order flow.

        Args:
            ledger: Takes those that do not fit.

        Raises:
            DataError: An order does not fit, and the ledger says that this is an error.
        """
        for source, records in record_chunks(self._session, ORDER):
            self.counts["orders"] += len(records)
            records = records[~self._check(source, records, ledger)]
            columns = self._columns(records)
            orders = order_rows(columns)
            outcome, ours = self._execute(orders)
            late = self._announced.before(orders, outcome == t.UNKNOWN_ID)
            wrong = ~np.isin(outcome, ORDINARY) & ~late
            words = _InWords(orders, outcome)
            for number in np.unique(outcome[wrong]).tolist():
                reason = f"our book rejects the order ({t.OUTCOMES[number]})"
                self._refuse(ledger, source, records, wrong & (outcome == number), reason, "{}", words)
            self.counts["rejected_orders"] += int(np.count_nonzero((outcome != t.ACCEPTED) & ~wrong))
            kept = outcome == t.ACCEPTED
            for column, name in enumerate(("kind", "side", "price", "size")):
                columns[name] = ours[:, column]
            yield {name: column[kept] for name, column in typed(columns).items()}
        if self._book is not None:
            self.counts.update(trades=int(self._book[t.NUM_TRADES]), volume=int(self._book[t.VOLUME]))

    def _check(self, source: object, records: np.ndarray, ledger: Ledger) -> np.ndarray:
        """Refuse orders that no book can take; bool[N]."""
        kind, side, price, size, sent = (records[name] for name in ("kind", "side", "price", "size", "time"))
        priced, by_id = np.isin(kind, PRICED), np.isin(kind, BY_ID)
        ticks = price // self._price_tick
        latest = np.maximum.accumulate(np.append(self._last_time, sent))
        self._last_time = int(latest[-1])
        faults = [
            (sent < latest[:-1], "time goes back", "{} ns; sort the log by time", sent),
            (
                (records["order_id"] < 1) & (kind != t.CANCEL_AT),
                "bad order id",
                "{}; ids are positive",
                records["order_id"],
            ),
            (~by_id & (side == t.NO_SIDE), "order without a side", "{}", side),
            ((size < 0) | (size > t.MAX_SIZE), "bad size", f"{{}} is not from 1 to {t.MAX_SIZE}", size),
            (priced & ((ticks < 1) | (ticks > t.MAX_PRICE)), "bad price", "{} price units; it must be positive", price),
            (priced & (price % self._price_tick != 0), "price off the tick", f"{{}}, tick {self._price_tick}", price),
        ]
        bad = np.zeros(len(records), bool)
        for fault, reason, detail, values in faults:
            bad |= self._refuse(ledger, source, records, fault & ~bad, reason, detail, values)
        good = priced & ~bad
        if self._book is None and good.any():
            self._middle = int(np.median(ticks[good]))
        far = good & (np.abs(ticks - self._middle) >= MAX_TICKS // 2)
        return bad | self._refuse(ledger, source, records, far, "price far from all others", "{} ticks", ticks)

    def _refuse(self, ledger: Ledger, source, records, fault, reason, detail, values) -> np.ndarray:
        self.refused += int(np.count_nonzero(fault))
        return ledger.check(source, records["row"], fault, reason, detail, values)

    def _columns(self, records: np.ndarray) -> Columns:
        columns = {name: records[name] for name in ("time", "kind", "side", "size", "order_id", "owner")}
        priced = np.isin(records["kind"], PRICED)
        columns["price"] = np.where(priced, records["price"] // self._price_tick, 0)
        return columns | {"source_row": records["row"]}

    def _execute(self, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The orders' outcomes, and the orders with what the book knows of those that they name."""
        prices = orders[np.isin(orders[:, t.KIND], PRICED), t.PRICE]
        low, high = (int(prices.min()), int(prices.max())) if len(prices) else (self._middle, self._middle)
        if self._book is None:
            self._book = empty_books(1, FIRST_ROOM, high - low + 1, low)[0]
        self._book = with_room(self._book, len(orders), low, high)
        outcome = np.empty(len(orders), np.int64)
        ours = orders.copy()
        _run(self._book, ours[:0], outcome[:0])  # compiled before the clock starts
        started = time.perf_counter()
        _run(self._book, ours, outcome)
        self.seconds += time.perf_counter() - started
        return outcome, ours


class _Announced:
    """The ids of all orders that a log has sent so far: eight bytes each."""

    def __init__(self):
        self._ids: list[np.ndarray] = []  # each sorted

    def before(self, orders: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Which of some rows name an order that a row before them sent.

        Args:
            orders: The log's next orders, int64[N, NUM_ORDER_COLUMNS].
            asked: bool[N], the rows.

        Returns:
            bool[N].
        """
        ids, rows = orders[:, t.ORDER_ID], np.flatnonzero(asked)
        sent = np.flatnonzero(~np.isin(orders[:, t.KIND], BY_ID))
        new, first = np.unique(ids[sent], return_index=True)
        place, known = _look_up(new, ids[rows])
        known[known] = sent[first][place[known]] < rows[known]
        for earlier in self._ids:
            known |= _look_up(earlier, ids[rows])[1]
        self._ids.append(new)
        told = np.zeros(len(ids), bool)
        told[rows] = known
        return told


def _look_up(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where some ids stand among sorted ones, int64[N]; and whether they do, bool[N]."""
    place = np.searchsorted(ids, wanted)
    return place, np.append(ids, 0)[place] == wanted


class _InWords:
    """Orders that our book rejects, as messages show them."""

    def __init__(self, orders: np.ndarray, outcome: np.ndarray):
        self._orders, self._outcome = orders, outcome

    def __getitem__(self, i: int) -> str:
        kind, side, price, size, order_id, _ = self._orders[i].tolist()
        words = [t.KINDS[kind]]
        if kind not in BY_ID:
            words.append("buy" if side == t.BUY else "sell")
        if kind != t.CANCEL:
            words.append(f"of {size}" + f" at {price} ticks" * (kind in PRICED))
        advice = ADVICE.get(int(self._outcome[i]), "the log does not fit our matching")
        return f"{' '.join(words)}, id {order_id}: {advice}"


@kept_njit("market", "data")
def _run(book, orders, outcome):
    """Execute orders; side, price and size of a cancel, and the side of a replacement, become those of its order."""
    report = np.zeros(t.NUM_REPORT_COLUMNS, dtype=np.int64)
    trades = np.empty((1, t.NUM_TRADE_COLUMNS), dtype=np.int64)
    for i in range(len(orders)):
        order = orders[i]
        kind = order[t.KIND]
        if kind == t.CANCEL or kind == t.REPLACE:
            slot = _find(book, order[t.ORDER_ID])
            if slot != NO_SLOT:
                order[t.SIDE] = book[slot + t.SIDE]
                if kind == t.CANCEL:
                    order[t.PRICE] = book[slot + t.PRICE]
        _execute(
            book,
            kind,
            order[t.SIDE],
            order[t.PRICE],
            order[t.SIZE],
            order[t.ORDER_ID],
            order[t.OWNER],
            t.OLDEST_FIRST,
            report,
            trades,
        )
        outcome[i] = report[t.OUTCOME]
        if kind == t.CANCEL and outcome[i] == t.ACCEPTED:
            order[t.SIZE] = report[t.CANCELLED]
