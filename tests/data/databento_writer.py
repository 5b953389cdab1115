"""Databento's files of seeded sessions: what the vendor would publish of orders that the reference book matches."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np

from mars_lmm.data.feeds.databento.records import MBO, NO_PRICE
from mars_lmm.data.flow import HIDDEN
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import BUY, CANCEL, LIMIT, SELL
from mars_lmm.market.types import NO_PRICE as NO_BEST

DAY = date(2024, 1, 2)
OPEN = 14 * 3600 * 10**9 + 30 * 60 * 10**9  # 09:30 in New York, in UTC
START = (DAY.toordinal() - date(1970, 1, 1).toordinal()) * 86_400 * 10**9 + OPEN
TICK = 10**7  # one cent
LAST, SNAPSHOT = 130, 40
COLUMNS = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,channel_id,order_id,flags,ts_in_delta,"
    "sequence,symbol"
)
SIDES = {SELL: "A", BUY: "B", None: "N"}


def mbo(action, side="N", price=NO_PRICE, size=0, order_id=0, time=START, sequence=1, flags=LAST, instrument=7, **more):
    """One record; the keyword arguments are fields of `MBO`."""
    record = np.zeros(1, MBO)
    fields = {
        "length": 14,
        "rtype": 160,
        "publisher_id": 2,
        "instrument_id": instrument,
        "ts_event": time,
        "order_id": order_id,
        "price": price,
        "size": size,
        "flags": flags,
        "action": ord(action),
        "side": ord(side),
        "ts_recv": time + 1000,
        "sequence": sequence,
    } | more
    for name, value in fields.items():
        record[name] = value
    return record


def dbn_bytes(records: bytes, symbols=None, version=3, dataset="XNAS.ITCH", schema="mbo", end=None) -> bytes:
    """A DBN file around encoded records."""
    import databento_dbn as dbn

    day = SimpleNamespace(start_date=DAY, end_date=DAY + timedelta(2))
    mappings = [
        SimpleNamespace(raw_symbol=name, intervals=[SimpleNamespace(**vars(day), symbol=str(number))])
        for number, name in (symbols or {}).items()
    ]
    metadata = dbn.Metadata(
        dataset,
        START,
        dbn.SType.RAW_SYMBOL,
        dbn.SType.INSTRUMENT_ID,
        schema and dbn.Schema.from_str(schema),
        mappings=mappings,
        version=version,
        end=end,
    )
    return bytes(metadata) + records


def csv_text(records: np.ndarray, symbols: dict[int, str], pretty: bool) -> str:
    """The records as the vendor writes CSV."""
    lines = [COLUMNS]
    for record in records:
        price = int(record["price"])
        times = [int(record["ts_recv"]), int(record["ts_event"])]
        if pretty:
            times = map(_iso, times)
            price = "" if price == NO_PRICE else f"{'-' * (price < 0)}{abs(price) // 10**9}.{abs(price) % 10**9:09d}"
        middle = [int(record[name]) for name in ("rtype", "publisher_id", "instrument_id")]
        letters = [chr(record[name]) for name in ("action", "side")]
        rest = [int(record[name]) for name in ("channel_id", "order_id", "flags", "ts_in_delta", "sequence")]
        symbol = symbols[int(record["instrument_id"])]
        lines.append(",".join(map(str, [*times, *middle, *letters, price, int(record["size"]), *rest, symbol])))
    return "\n".join(lines) + "\n"


def _iso(time: int) -> str:
    seconds, part = divmod(time, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{part:09d}Z"


@dataclass
class Recording:
    """A session as the vendor shows it, and the orders behind it that can be seen in it.

    Attributes:
        records: MBO[1] each, in order.
        submitted: (kind, side, price, size, id, flags, record from 1); id None where the feed does not tell it.
    """

    records: list[np.ndarray] = field(default_factory=list)
    submitted: list[tuple] = field(default_factory=list)


def record(seed: int, num_orders: int = 1200, instrument: int = 7) -> Recording:
    """Let random orders trade, and record what happens.

    Half of the aggressors are told as NASDAQ's feed is (trade, fill and cancel of one resting order after the other),
    half as CME's is (trades, then fills, then cancels, and a modification where a part is left).
    """
    return _Market(seed, instrument).run(num_orders)


class _Market:
    def __init__(self, seed: int, instrument: int):
        self.rng = np.random.default_rng(seed)
        self.instrument = instrument
        self.book = ReferenceBook(100_000, 2_000, 1)
        self.out = Recording()
        self.time = START
        self.sequence = 100
        self.next_id = 1_000

    def run(self, num_orders: int) -> Recording:
        self.emit("R", None, None, 0, 0, SNAPSHOT, ts_recv=self.time)
        for i in range(60):
            side = i % 2
            price = 1000 + (1 if side == SELL else -1) * (1 + i // 4)
            self.book.execute(LIMIT, side, price, 10, 1 + i, 0)
            # Snapshots tell when each order was sent, in no order.
            sent = self.time - int(self.rng.integers(0, 2 * 86_400 * 10**9))
            self.emit("A", side, price, 10, 1 + i, SNAPSHOT, ts_event=sent, ts_recv=self.time)
            self.submit(LIMIT, side, price, 10, 1 + i)
        actions = [self.limit, self.cancel, self.modify, self.take, self.hit_hidden]
        for action in self.rng.choice(len(actions), num_orders, p=[0.42, 0.26, 0.12, 0.14, 0.06]):
            self.time += int(self.rng.integers(1, 10**9)) // 10 ** int(self.rng.integers(0, 6)) + 1
            self.sequence += int(self.rng.integers(1, 4))
            actions[action](int(self.rng.integers(0, 2)))
        return self.out

    def passive_price(self, side: int) -> int:
        toward = 1 if side == BUY else -1
        best, other = self.book.best(side), self.book.best(1 - side)
        if best == NO_BEST:
            best = 1000 - toward if other == NO_BEST else other - toward
        price = best - toward * (int(self.rng.geometric(0.3)) - 2)
        return other - toward if other != NO_BEST and (price - other) * toward >= 0 else price

    def limit(self, side: int) -> None:
        price, size = self.passive_price(side), int(self.rng.integers(1, 30))
        self.next_id += int(self.rng.integers(1, 50))
        self.book.execute(LIMIT, side, price, size, self.next_id, 0)
        self.emit("A", side, price, size, self.next_id)
        self.submit(LIMIT, side, price, size, self.next_id)

    def resting(self, side: int):
        orders = [order for order in self.book.live.values() if order.side == side]
        return orders[int(self.rng.integers(len(orders)))] if orders else None

    def cancel(self, side: int) -> None:
        order = self.resting(side)
        if order is None:
            return
        price, size, order_id = order.price, order.size, order.order_id
        if size > 1 and self.rng.random() < 0.25:
            size = int(self.rng.integers(1, size))
        self.book.execute(CANCEL, side, price, size, order_id, 0)
        self.emit("C", side, price, size, order_id)
        self.submit(CANCEL, side, price, size, order_id)

    def modify(self, side: int) -> None:
        """Another size, or another price, that does not trade."""
        order = self.resting(side)
        if order is None:
            return
        price, size, order_id = order.price, order.size, order.order_id
        if size > 1 and self.rng.random() < 0.4:
            less = int(self.rng.integers(1, size))
            self.book.execute(CANCEL, side, price, less, order_id, 0)
            self.emit("M", side, price, size - less, order_id)
            self.submit(CANCEL, side, price, less, order_id)
            return
        self.book.execute(CANCEL, side, price, size, order_id, 0)
        new_size = size + int(self.rng.integers(1, 9))
        new_price = price if self.rng.random() < 0.5 else self.passive_price(side)
        self.book.execute(LIMIT, side, new_price, new_size, order_id, 0)
        self.emit("M", side, new_price, new_size, order_id)
        self.submit(CANCEL, side, price, size, order_id)
        self.submit(LIMIT, side, new_price, new_size, order_id)

    def take(self, side: int) -> None:
        """An aggressive order that may sweep levels, meet hidden volume, and leave a remainder."""
        best = self.book.best(1 - side)
        if best == NO_BEST:
            return
        toward = 1 if side == BUY else -1
        price, size = best + toward * int(self.rng.integers(0, 4)), int(self.rng.integers(1, 80))
        self.next_id += int(self.rng.integers(1, 50))
        if self.rng.random() < 0.2:
            self.emit("T", side, best - toward / 2, 7, 0)
            self.sequence += 1
        left = {order_id: order.size for order_id, order in self.book.live.items()}
        report, trades = self.book.execute(LIMIT, side, price, size, self.next_id, 0)
        told = [(1 - side, trade.price, trade.size, trade.resting_id) for trade in trades]
        if self.rng.random() < 0.5:
            for fill in told:
                self.emit("T", side, *fill[1:3], 0)
                self.emit("F", *fill)
                self.emit("C", *fill)
                self.sequence += 1
        else:
            for fill in told:
                self.emit("T", side, *fill[1:3], 0, 0)
            for fill in told:
                self.emit("F", *fill, 0)
            for number, (resting_side, at, filled, order_id) in enumerate(told):
                rest = left[order_id] - filled
                flags = LAST if number == len(told) - 1 else 0
                self.emit("M" if rest else "C", resting_side, at, rest or filled, order_id, flags)
            self.sequence += 1
        if report.resting:
            self.emit("A", side, price, report.resting, self.next_id)
            self.submit(LIMIT, side, price, size, self.next_id)
        else:
            self.submit(LIMIT, side, trades[-1].price, size, None)

    def hit_hidden(self, side: int) -> None:
        """An aggressive order that trades with hidden orders alone; half of them keep the side back."""
        best = self.book.best(1 - side)
        if best == NO_BEST:
            return
        told = self.rng.random() < 0.5
        side = side if told else SELL  # what the feed makes of it
        price = best + int(self.rng.integers(-1, 1)) + 0.5 * int(self.rng.integers(0, 2))
        self.emit("T", side if told else None, price, 5, 0)
        self.submit(LIMIT, side, int(np.ceil(price) if side == BUY else np.floor(price)), 5, None, HIDDEN)

    def emit(self, action, side, price, size, order_id, flags=LAST, **more) -> None:
        units = NO_PRICE if price is None else int(price * TICK)
        values = (units, size, order_id, self.time, self.sequence, flags, self.instrument)
        self.out.records.append(mbo(action, SIDES[side], *values, **more))

    def submit(self, kind, side, price, size, order_id, flags=0) -> None:
        self.out.submitted.append((kind, side, price, size, order_id, flags, len(self.out.records)))
