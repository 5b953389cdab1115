"""Seeded ITCH 5.0 files: what NASDAQ would publish of orders that reference books match, one book a stock."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import BUY, CANCEL, LIMIT, NO_PRICE, SELL

OPEN_TIME = 34_200 * 10**9
UNITS = 100  # ITCH price units a tick
LETTERS = {SELL: b"S", BUY: b"B"}


class Locate:
    """Writes the messages of one stock."""

    def __init__(self, number: int, stock: str):
        self.number, self.stock = number, stock.ljust(8).encode()

    def _message(self, kind: str, time: int, payload: bytes) -> bytes:
        return kind.encode() + struct.pack(">HH", self.number, 0) + time.to_bytes(6, "big") + payload

    def directory(self, time: int) -> bytes:
        return self._message("R", time, self.stock + b"NN" + bytes(18))

    def halt(self, time: int, state: str) -> bytes:
        return self._message("H", time, self.stock + state.encode() + b" " * 5)

    def add(self, time: int, ref: int, side: int, size: int, price: int, mpid: str = "") -> bytes:
        payload = (
            struct.pack(">Q", ref) + LETTERS[side] + struct.pack(">I", size) + self.stock + struct.pack(">I", price)
        )
        return self._message("F" if mpid else "A", time, payload + mpid.encode())

    def execute(self, time: int, ref: int, size: int) -> bytes:
        return self._message("E", time, struct.pack(">QIQ", ref, size, 1))

    def execute_at(self, time: int, ref: int, size: int, price: int, printable: bool) -> bytes:
        return self._message("C", time, struct.pack(">QIQcI", ref, size, 1, b"Y" if printable else b"N", price))

    def reduce(self, time: int, ref: int, size: int) -> bytes:
        return self._message("X", time, struct.pack(">QI", ref, size))

    def delete(self, time: int, ref: int) -> bytes:
        return self._message("D", time, struct.pack(">Q", ref))

    def replace(self, time: int, old: int, new: int, size: int, price: int) -> bytes:
        return self._message("U", time, struct.pack(">QQII", old, new, size, price))

    def hidden(self, time: int, side: int, size: int, price: int) -> bytes:
        payload = struct.pack(">Q", 0) + LETTERS[side] + struct.pack(">I", size) + self.stock
        return self._message("P", time, payload + struct.pack(">IQ", price, 1))

    def cross(self, time: int, size: int, price: int) -> bytes:
        return self._message("Q", time, struct.pack(">Q", size) + self.stock + struct.pack(">IQc", price, 1, b"O"))


def system_event(time: int, event: str) -> bytes:
    return b"S" + bytes(4) + time.to_bytes(6, "big") + event.encode()


def framed(messages: list[bytes], lengths: bool = True, end: bool = False) -> bytes:
    """Messages as they lie in a file; without lengths the prefixes are there and zero."""
    return b"".join(struct.pack(">H", len(m) if lengths else 0) + m for m in messages) + bytes(2 * end)


def write(path: Path, messages: list[bytes], lengths: bool = True, end: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = framed(messages, lengths, end)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@dataclass
class Recording:
    """A day as NASDAQ shows it, and the orders behind it.

    Attributes:
        messages: The file's messages.
        submitted: By stock, what the order flow must be: (kind, side, price, size, id, flags, source row); id None
            where the feed does not tell it.
    """

    messages: list[bytes] = field(default_factory=list)
    submitted: dict[str, list[tuple]] = field(default_factory=dict)


def record(seed: int, stocks: tuple[str, ...] = ("AAA", "BB.B", "C"), num_orders: int = 400) -> Recording:
    """Let random orders trade in several stocks; their messages interleave, also within a moment."""
    rng = np.random.default_rng(seed)
    markets = [_Market(rng.spawn(1)[0], Locate(3 * n + 1, stock)) for n, stock in enumerate(stocks)]
    out = Recording([system_event(OPEN_TIME - 2, "O"), *(market.out.directory(OPEN_TIME - 1) for market in markets)])
    for market in markets:
        market.run(num_orders)
    rows: list[list[int]] = [[] for _ in markets]
    while left := [n for n, market in enumerate(markets) if len(rows[n]) < len(market.messages)]:
        times = {n: markets[n].messages[len(rows[n])][0] for n in left}
        n = int(rng.choice([n for n in left if times[n] == min(times.values())]))
        out.messages.append(markets[n].messages[len(rows[n])][1])
        rows[n].append(len(out.messages))
    for n, (stock, market) in enumerate(zip(stocks, markets, strict=True)):
        out.submitted[stock] = [(*order, rows[n][at - 1]) for *order, at in market.submitted]
    out.messages.append(system_event(OPEN_TIME + 10**13, "C"))
    return out


class _Market:
    def __init__(self, rng: np.random.Generator, out: Locate):
        self.rng, self.out = rng, out
        self.book = ReferenceBook(100_000, 2_000, 1)
        self.messages: list[tuple[int, bytes]] = []
        self.submitted: list[tuple] = []
        self.time = OPEN_TIME
        self.next_id = 1_000_000 * out.number

    def run(self, num_orders: int) -> None:
        self.limit(BUY)
        self.limit(SELL)
        actions = [self.limit, self.cancel, self.replace, self.take, self.hit_hidden, self.cross, self.trade_inside]
        for action in self.rng.choice(len(actions), num_orders, p=[0.45, 0.2, 0.1, 0.17, 0.04, 0.02, 0.02]):
            self.time += int(self.rng.integers(1, 4)) * 10**6
            actions[action](int(self.rng.integers(0, 2)))

    def limit(self, side: int) -> None:
        price, size, order_id = self.passive_price(side), int(self.rng.integers(1, 30)), self.new_id()
        self.book.execute(LIMIT, side, price, size, order_id, 0)
        self.emit(self.out.add(self.time, order_id, side, size, price * UNITS, "MPID" * (order_id % 3 == 0)))
        self.submit(LIMIT, side, price, size, order_id)

    def passive_price(self, side: int) -> int:
        toward = 1 if side == BUY else -1
        best, other = self.book.best(side), self.book.best(1 - side)
        if best == NO_PRICE:
            best = 1000 - toward if other == NO_PRICE else other - toward
        price = best - toward * (int(self.rng.geometric(0.3)) - 2)
        return other - toward if other != NO_PRICE and (price - other) * toward >= 0 else price

    def some_order(self, side: int):
        resting = [order for order in self.book.live.values() if order.side == side]
        return resting[int(self.rng.integers(len(resting)))] if resting else None

    def cancel(self, side: int) -> None:
        """Reduce an order by a part, by all that is left, or delete it."""
        order = self.some_order(side)
        if order is None:
            return
        price, order_id, size = order.price, order.order_id, order.size
        if self.rng.random() < 0.5:
            size = int(self.rng.integers(1, size + 1))
            self.emit(self.out.reduce(self.time, order_id, size))
        else:
            self.emit(self.out.delete(self.time, order_id))
        self.book.execute(CANCEL, side, price, size, order_id, 0)
        self.submit(CANCEL, side, price, size, order_id)

    def replace(self, side: int) -> None:
        order = self.some_order(side)
        if order is None:
            return
        price, size, order_id, new_id = order.price, order.size, order.order_id, self.new_id()
        self.book.execute(CANCEL, side, price, size, order_id, 0)
        new_price, new_size = self.passive_price(side), int(self.rng.integers(1, 30))
        self.book.execute(LIMIT, side, new_price, new_size, new_id, 0)
        self.emit(self.out.replace(self.time, order_id, new_id, new_size, new_price * UNITS))
        self.submit(CANCEL, side, price, size, order_id)
        self.submit(LIMIT, side, new_price, new_size, new_id)

    def take(self, side: int) -> None:
        """An aggressive order that may sweep levels, meet hidden volume, and leave a remainder."""
        toward = 1 if side == BUY else -1
        best = self.book.best(1 - side)
        if best == NO_PRICE:
            return
        price, size, order_id = (
            best + toward * int(self.rng.integers(0, 4)),
            int(self.rng.integers(1, 80)),
            self.new_id(),
        )
        if self.rng.random() < 0.2:
            self.emit(self.out.hidden(self.time, 1 - side, 7, best * UNITS - toward * UNITS // 2))
        report, trades = self.book.execute(LIMIT, side, price, size, order_id, 0)
        for trade in trades:
            if self.rng.random() < 0.2:  # printable, at the order's own price
                message = self.out.execute_at(self.time, trade.resting_id, trade.size, trade.price * UNITS, True)
            else:
                message = self.out.execute(self.time, trade.resting_id, trade.size)
            self.emit(message)
        if report.resting:
            self.emit(self.out.add(self.time, order_id, side, report.resting, price * UNITS))
            self.submit(LIMIT, side, price, size, order_id)
        else:
            self.submit(LIMIT, side, trades[-1].price, size, None)

    def hit_hidden(self, side: int) -> None:
        """An aggressive order that trades with hidden orders alone, at or between ticks."""
        best = self.book.best(1 - side)
        if best == NO_PRICE:
            return
        toward = 1 if side == BUY else -1
        price = best * UNITS - toward * int(self.rng.integers(0, 2)) * UNITS // 2
        self.emit(self.out.hidden(self.time, 1 - side, 5, price))
        self.submit(LIMIT, side, -(-price // UNITS) if side == BUY else price // UNITS, 5, None, HIDDEN)

    def cross(self, side: int) -> None:
        """An auction that takes orders of both sides; the print comes first."""
        self.emit(self.out.cross(self.time, 9, 1000 * UNITS))
        for order in [order for order in (self.some_order(side), self.some_order(1 - side)) if order]:
            self.uncross(order, 1000 * UNITS, printable=False)

    def trade_inside(self, side: int) -> None:
        """A printed execution at a better price than the order's own."""
        order = self.some_order(side)
        if order is not None:
            self.uncross(order, order.price * UNITS + 1, printable=True)

    def uncross(self, order, price: int, printable: bool) -> None:
        at, side, order_id, size = order.price, order.side, order.order_id, int(self.rng.integers(1, order.size + 1))
        self.emit(self.out.execute_at(self.time, order_id, size, price, printable))
        self.book.execute(CANCEL, side, at, size, order_id, 0)
        self.submit(CANCEL, side, at, size, order_id, ANONYMOUS | AUCTION)

    def new_id(self) -> int:
        self.next_id += int(self.rng.integers(1, 50))
        return self.next_id

    def emit(self, message: bytes) -> None:
        self.messages.append((self.time, message))

    def submit(self, kind, side, price, size, order_id, flags=0) -> None:
        self.submitted.append((kind, side, price, size, order_id, flags, len(self.messages)))
