"""Bitstamp's live orders, as obAnalytics and ob-analytics record them: created, changed and deleted, by order id.

A row tells what is left of its order. An order that trades on arrival is created first, with its whole size, and its
executions follow, each once for either order; here it becomes an aggressor whose remainder, if any, rests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, Source
from mars_lmm.data.feeds.bitstamp.live_orders import ORDER, LiveOrders
from mars_lmm.data.feeds.bitstamp.pairing import pair_executions
from mars_lmm.data.feeds.common.by_order.messages import DELETE, EXECUTE, NEW, RECORD, UNTOLD
from mars_lmm.data.feeds.common.by_order.order_feed import OrderFeed, OrderFeedOptions
from mars_lmm.data.feeds.common.by_order.session_records import record_chunks
from mars_lmm.data.feeds.common.columns.dates import iso_date
from mars_lmm.data.feeds.common.columns.delimited import csv_header
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.numbers import LARGEST_ID
from mars_lmm.data.feeds.common.columns.tables import CSV, read_table, refusing
from mars_lmm.data.feeds.common.columns.times import DAY
from mars_lmm.data.feeds.common.files import RawFile, list_files
from mars_lmm.data.flow import Session
from mars_lmm.data.ledger import Ledger
from mars_lmm.market import types as t

MILLISECOND = 10**6
DAY_MS = DAY // MILLISECOND
PRICE_UNITS = 100
MAX_TIME = 2**62 // MILLISECOND - 1  # milliseconds
MAX_PENDING = 1 << 18  # events that may wait for the other half of an execution

CREATED, CHANGED, DELETED = range(3)
ACTIONS = {"created": CREATED, "changed": CHANGED, "deleted": DELETED}
SIDES = {"bid": t.BUY, "ask": t.SELL}
NOTHING = -1  # the kind of events that change nothing

EVENT = np.dtype(
    [
        ("time", "<i8"),  # milliseconds since 1970
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("row", "<i8"),
        ("kind", "<i8"),
        ("side", "<i8"),
        ("made_up", "?"),  # may be a deletion that the recorder added at its end
    ]
)


class Layout(NamedTuple):
    """How a file is written.

    Attributes:
        exchange_time: The column of the exchange's time.
        time: The column that orders events in time.
        per_volume: Satoshi in a volume of 1.
        horizon: How far apart the two halves of an execution may be, in milliseconds.
    """

    exchange_time: str
    time: str
    per_volume: int
    horizon: int


# 2015: the exchange's time is in whole seconds, and that of the order's creation; the recorder's own must do.
LAYOUTS = (
    Layout("exchange.timestamp", "timestamp", 1, 1000),
    Layout("exchange_timestamp", "exchange_timestamp", 10**8, 0),
)


@dataclass
class BitstampOptions(OrderFeedOptions):
    """Trading never stops: a day is one of UTC."""

    tick: str | float = "1"
    """US dollars, as in 2026; the files of 2015: "0.01"."""
    open: str = "00:00"
    close: str = "23:59:59.999999999"
    symbol: str = "BTCUSD"
    """The pair, which the files do not name."""


class BitstampFeed(OrderFeed):
    """Reads files of live orders. Sizes are satoshi, 1e-8 of a coin."""

    Options = BitstampOptions
    price_units = PRICE_UNITS
    needs_paths = False
    knows_all_orders = False
    collects = False

    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find files of orders; without a path, the sample in the package ob-analytics."""
        sources = dict.fromkeys(source for path in paths or [_sample()] for source in _sources(path))
        if not sources:
            raise DataError(", ".join(map(str, paths)), "no .csv files")
        return list(sources)

    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it; what comes at its first moment is the opening book."""
        described = super().describe(session)
        first = next((int(records["time"][0]) for _, records in record_chunks(session)), described.open_time)
        described.open_time = max(described.open_time, first + 1)
        return described

    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """Read a file once; see `SortedFeed.decode`. A day begins with the orders that the day before left live."""
        (file,) = source.files
        with refusing(file, ledger):
            layout = _layout(file, ledger)
            if layout is None:
                return
            for day, records in _messages(file, layout, ledger):
                if len(records):
                    yield self.options.symbol, iso_date(day), records


def _messages(file: RawFile, layout: Layout, ledger: Ledger) -> Iterator[tuple[int, np.ndarray]]:
    """Days since 1970, and messages."""
    live, pending, day = LiveOrders(), _Pending(layout.horizon), 0
    wanted = list(dict.fromkeys(("id", "timestamp", layout.exchange_time, "price", "volume", "action", "direction")))
    latest = 0
    for fields in read_table(file, wanted, ledger):
        orders, action, time, made_up = _read(fields, layout, latest)
        for this_day in np.unique(time // DAY_MS).tolist():
            if this_day != day:
                yield day, pending.settle(True)
                yield this_day, _opening_book(live.orders)
            day = this_day
            rows = time // DAY_MS == day
            pending.append(_events(orders[rows], action[rows], time[rows], made_up[rows], live, ledger))
        latest = int(time[-1]) if len(time) else latest
        yield day, pending.settle(False)
    ledger.counts["made_up_deletions"] += pending.drop_made_up(latest)
    yield day, pending.settle(True)
    ledger.counts["flashed_orders"] += pending.flashed_orders


def _sample() -> Path:
    package = find_spec("ob_analytics")
    if package is None:
        raise DataError("bitstamp", "no path given, and no sample at hand; pip install 'mars-lmm[bitstamp]' brings one")
    return Path(package.origin).parent / "_sample_data" / "orders.csv.gz"


def _sources(path: Path | str) -> list[Source]:
    """The files at a path; of several, those of orders are told by their names."""
    files = list_files(path, (CSV,))
    reason = "its name does not begin with orders; name the file itself if it holds them"
    strange = [len(files) > 1 and file.member != "" and not file.name.lower().startswith("orders") for file in files]
    return [Source((file,), foreign=reason * other) for file, other in zip(files, strange, strict=True)]


def _layout(file: RawFile, ledger: Ledger) -> Layout | None:
    names = csv_header(file)
    found = [layout for layout in LAYOUTS if layout.exchange_time in names]
    if not found:
        expected = " or ".join(layout.exchange_time for layout in LAYOUTS)
        ledger.refuse(file, 1, "not a file of live orders", f"no column {expected}")
    return found[0] if found else None


def _read(fields: Fields, layout: Layout, latest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The good rows: ORDER[N], what became of each order, when, and whether the recorder may have made it up."""
    orders = np.zeros(len(fields), ORDER)
    orders["row"] = fields.rows
    orders["order_id"] = fields.numbers("id", most=LARGEST_ID)
    orders["side"] = fields.codes("direction", SIDES)
    orders["price"] = fields.numbers("price", PRICE_UNITS)
    orders["left"] = fields.numbers("volume", layout.per_volume, least=0)
    action = fields.codes("action", ACTIONS)
    local, exchange = (fields.numbers(name, 1, 0, MAX_TIME) for name in ("timestamp", layout.exchange_time))
    time = exchange if layout.time == layout.exchange_time else local
    before = np.maximum.accumulate(np.append(latest, np.where(fields.good, time, 0)))[:-1]
    fields.refuse(time < before, "time goes back", "{} ms; the file is out of order", time)
    made_up = (layout.horizon == 0) & (local == exchange)
    return orders[fields.good], action[fields.good], time[fields.good], made_up[fields.good]


def _events(
    orders: np.ndarray, action: np.ndarray, time: np.ndarray, made_up: np.ndarray, live: LiveOrders, ledger: Ledger
) -> np.ndarray:
    """What happened to orders that are part of the book, EVENT[N]."""
    created, deleted = action == CREATED, action == DELETED
    left, price = orders["left"], orders["price"]
    # Market orders have price 0 or 999,999,999; absurd limits are beyond what a price can be.
    unpriced = created & ((price <= 0) | (price > t.MAX_PRICE))
    oversized = created & ~unpriced & (left > t.MAX_SIZE)
    orders["shown"] = ~(unpriced | oversized)
    before, shown = live.update(orders, created, deleted)
    ledger.counts["unpriced_orders"] += int(np.count_nonzero(unpriced))
    ledger.counts["oversized_orders"] += int(np.count_nonzero(oversized))

    cancelled = deleted & (left > 0)
    taken = np.where(before == UNTOLD, UNTOLD, before - left)
    events = np.zeros(len(orders), EVENT)
    for name in ("order_id", "side", "row"):
        events[name] = orders[name]
    events["time"] = time
    events["kind"] = np.select([created, cancelled, taken != 0], [NEW, DELETE, EXECUTE], NOTHING)
    # A price that changes on the way is that of an execution: the order's own price says where that was.
    events["price"] = np.where(created, price, UNTOLD)
    events["size"] = np.where(created | cancelled, left, taken)
    events["made_up"] = made_up & cancelled
    return events[shown & (events["kind"] != NOTHING)]


def _opening_book(orders: np.ndarray) -> np.ndarray:
    """Live orders as the first messages of a day, oldest first, RECORD[N]."""
    orders = np.sort(orders[orders["shown"] & (orders["left"] > 0)], order="row")
    records = np.zeros(len(orders), RECORD)
    for name in ("order_id", "side", "price", "row"):
        records[name] = orders[name]
    records["size"], records["kind"] = orders["left"], NEW
    return records


class _Pending:
    """Events that wait until all executions about their time are known.

    Args:
        horizon: How far apart the two halves of an execution may be, in milliseconds.

    Attributes:
        flashed_orders: Orders that never rested.
    """

    def __init__(self, horizon: int):
        self.flashed_orders = 0
        self._horizon = horizon
        self._events = np.empty(0, EVENT)
        self._last_time = self._shift = 0  # of the message before

    def append(self, events: np.ndarray) -> None:
        """Add events that follow those before in time."""
        self._events = np.concatenate([self._events, events])

    def drop_made_up(self, end: int) -> int:
        """Drop deletions that the recorder made up at the file's last time; return how many."""
        dropped = self._events["made_up"] & (self._events["time"] == end)
        self._events = self._events[~dropped]
        return int(np.count_nonzero(dropped))

    def settle(self, everything: bool) -> np.ndarray:
        """Turn events into messages, RECORD[N]: up to the horizon before the last one, or all of them."""
        events = self._events
        burst, halves = _bursts(events, self._horizon)
        place = np.arange(len(events))
        first = np.full(len(events), len(events))
        np.minimum.at(first, np.where(burst < 0, place, burst), place)
        first = first[np.where(burst < 0, place, burst)]
        settled = np.ones(len(events), bool)
        if not everything and len(events) <= MAX_PENDING:
            settled = events["time"][first] < events["time"][-1:] - self._horizon
        self._events = events[~settled]

        left = events["size"].copy()
        np.subtract.at(left, burst[halves], events["size"][halves])
        never_rested = _never_rested(events, left)
        self.flashed_orders += int(np.count_nonzero(never_rested & settled)) // 2
        # A burst is one moment, that of its first event; what is left of its aggressor comes last.
        order = np.lexsort((place, burst == place, first))
        kept = settled & ~halves & ~never_rested & ~((burst == place) & (left == 0))
        order = order[kept[order]]
        records = np.zeros(len(order), RECORD)
        for name in ("order_id", "price", "row", "kind", "side"):
            records[name] = events[name][order]
        records["size"] = left[order]
        records["time"] = self._nanoseconds(events["time"][first][order], burst[order])
        return records

    def _nanoseconds(self, time: np.ndarray, burst: np.ndarray) -> np.ndarray:
        """Nanoseconds since midnight: bursts of one millisecond are moments of their own, a nanosecond apart."""
        if not len(time):
            return time
        moment = np.cumsum(np.append(1, burst[1:] != burst[:-1]))
        place = np.arange(len(time))
        start = np.maximum.accumulate(np.where(np.append(True, time[1:] != time[:-1]), place, 0))
        shift = moment - moment[start]
        if time[0] == self._last_time:
            shift[time == time[0]] += self._shift + 1
        self._last_time, self._shift = int(time[-1]), int(shift[-1])
        return time % DAY_MS * MILLISECOND + np.minimum(shift, MILLISECOND - 1)


def _never_rested(events: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Orders that were created and deleted in one millisecond, bool[N] of both events.

    They could not rest: post-only orders that would have traded, and what immediate orders found nothing for.

    Args:
        events: EVENT[N].
        left: int64[N], their sizes; of aggressors what is left of them.
    """
    enter_or_leave = np.flatnonzero(np.isin(events["kind"], (NEW, DELETE)))
    by_id = enter_or_leave[np.argsort(events["order_id"][enter_or_leave], kind="stable")]
    new, gone = by_id[:-1], by_id[1:]
    same = (events["order_id"][new] == events["order_id"][gone]) & (events["time"][new] == events["time"][gone])
    at_once = same & (events["kind"][new] == NEW) & (events["kind"][gone] == DELETE) & (left[new] == left[gone])
    never = np.zeros(len(events), bool)
    never[new[at_once]] = never[gone[at_once]] = True
    return never


def _bursts(events: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Which events are the work of one aggressor.

    Of the two orders of an execution the one with the larger id came later: it is the aggressor, if it was created
    about that time.

    Returns:
        int64[N], the place of the aggressor's creation, for this and for both halves of its executions; -1 for all
        others. And bool[N], the aggressors' own halves.
    """
    fills = np.flatnonzero((events["kind"] == EXECUTE) & (events["size"] > 0))
    other = pair_executions(*(events[name][fills] for name in ("time", "order_id", "side", "size")), horizon)
    ids = events["order_id"]
    burst, halves = np.full(len(events), -1), np.zeros(len(events), bool)
    ours = np.flatnonzero(other >= 0)
    ours = ours[ids[fills[ours]] > ids[fills[other[ours]]]]
    half, resting = fills[ours], fills[other[ours]]

    created = np.flatnonzero(events["kind"] == NEW)
    if not len(created):
        return burst, halves
    by_id = created[np.argsort(ids[created], kind="stable")]
    creation = by_id[np.minimum(np.searchsorted(ids[by_id], ids[half]), len(by_id) - 1)]
    near = np.abs(events["time"][half] - events["time"][creation]) <= horizon
    told = near & (ids[creation] == ids[half]) & (events["side"][creation] == events["side"][half])
    half, resting, creation = half[told], resting[told], creation[told]
    taken = np.zeros(len(events), np.int64)
    np.add.at(taken, creation, events["size"][half])
    fits = taken[creation] <= events["size"][creation]
    half, resting, creation = half[fits], resting[fits], creation[fits]
    burst[creation] = burst[half] = burst[resting] = creation
    halves[half] = True
    return burst, halves
