"""Seeded LOBSTER sessions: what the vendor would publish of orders that the reference book matches."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mars_lmm.data.flow import HIDDEN
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.market.types import BUY, CANCEL, LIMIT, NO_PRICE, SELL

NAME = "TEST_2024-01-02_34200000_57600000_{}_{}.csv"
OPEN_TIME = 34_200 * 10**9
UNITS = 100  # LOBSTER price units a tick
OPENING_ORDERS = 60
EMPTY_ASK, EMPTY_BID = "9999999999,0", "-9999999999,0"


@dataclass
class Recording:
    """A session as the vendor shows it, and the orders behind it that can be seen in it.

    Attributes:
        levels: L.
        messages: (time in ns, type, id, size, price in LOBSTER's units, direction).
        books: The orderbook file's rows.
        submitted: (kind, side, price, size, id, flags, source row); id None where the feed does not tell it.
    """

    levels: int
    messages: list[tuple] = field(default_factory=list)
    books: list[list[int]] = field(default_factory=list)
    submitted: list[tuple] = field(default_factory=list)

    def message_lines(self) -> list[str]:
        return [",".join([seconds(time), *map(str, rest)]) for time, *rest in self.messages]

    def book_lines(self) -> list[str]:
        return [",".join(map(str, row)) for row in self.books]

    def write(self, folder: Path) -> Path:
        """Write both files; return the message file."""
        return write_pair(folder, self.message_lines(), self.book_lines(), self.levels)


def write_pair(folder: Path, message_lines: list[str], book_lines: list[str], levels: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME.format("orderbook", levels)).write_text("".join(line + "\n" for line in book_lines))
    message = folder / NAME.format("message", levels)
    message.write_text("".join(line + "\n" for line in message_lines))
    return message


def seconds(time: int) -> str:
    """LOBSTER's way to write a time: trailing zeros dropped."""
    whole, part = divmod(time, 10**9)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


def record(seed: int, levels: int, num_orders: int = 1500) -> Recording:
    """Let random orders trade, and record what happens within the best L levels."""
    return _Market(seed, levels).run(num_orders)


class _Market:
    def __init__(self, seed: int, levels: int):
        self.rng = np.random.default_rng(seed)
        self.book = ReferenceBook(100_000, 2_000, 1)
        self.depth = ({}, {})  # size at each price, also halfway through an order
        self.out = Recording(levels)
        self.time = OPEN_TIME
        self.next_id = 1_000

    def run(self, num_orders: int) -> Recording:
        for i in range(OPENING_ORDERS):
            side = i % 2
            self.book.execute(LIMIT, side, 1000 + (1 if side == SELL else -1) * (1 + i // 4), 10, 1 + i, 0)
        for side in (SELL, BUY):
            self.depth[side].update({price: level.total for price, level in self.book.levels[side].items()})
        actions = [self.limit, self.cancel, self.take, self.hit_hidden]
        for action in self.rng.choice(len(actions), num_orders, p=[0.44, 0.36, 0.14, 0.06]):
            self.time += int(self.rng.integers(1, 10**9)) // 10 ** int(self.rng.integers(0, 6)) + 1
            actions[action](int(self.rng.integers(0, 2)))
        return self.out

    def limit(self, side: int) -> None:
        """A passive order, sometimes inside the spread and sometimes far behind the window."""
        toward = 1 if side == BUY else -1
        best, other = self.book.best(side), self.book.best(1 - side)
        if best == NO_PRICE:
            best = 1000 - toward if other == NO_PRICE else other - toward
        price = best - toward * (int(self.rng.geometric(0.3)) - 2)
        if other != NO_PRICE and (price - other) * toward >= 0:
            price = other - toward
        size = int(self.rng.integers(1, 30))
        order_id = self.new_id()
        self.book.execute(LIMIT, side, price, size, order_id, 0)
        self.change(side, price, size)
        if self.in_window(side, price):
            self.emit(1, order_id, size, price * UNITS, side)
            self.submit(LIMIT, side, price, size, order_id)

    def cancel(self, side: int) -> None:
        """Reduce or delete a resting order."""
        resting = [order for order in self.book.live.values() if order.side == side]
        if not resting:
            return
        order = resting[int(self.rng.integers(len(resting)))]
        size = order.size
        if size > 1 and self.rng.random() < 0.25:
            size = int(self.rng.integers(1, size))
        kind = 3 if size == order.size else 2
        price, order_id, shown = order.price, order.order_id, self.in_window(side, order.price)
        self.book.execute(CANCEL, side, price, size, order_id, 0)
        self.change(side, price, -size)
        if shown:
            self.emit(kind, order_id, size, price * UNITS, side)
            self.submit(CANCEL, side, price, size, order_id)

    def take(self, side: int) -> None:
        """An aggressive order that may sweep levels, meet hidden volume, and leave a remainder."""
        toward = 1 if side == BUY else -1
        best = self.book.best(1 - side)
        if best == NO_PRICE:
            return
        price = best + toward * int(self.rng.integers(0, 4))
        size = int(self.rng.integers(1, 80))
        order_id = self.new_id()
        if self.rng.random() < 0.2:
            self.emit(5, 0, 7, best * UNITS - toward * UNITS // 2, 1 - side)
        report, trades = self.book.execute(LIMIT, side, price, size, order_id, 0)
        for trade in trades:
            self.change(1 - side, trade.price, -trade.size)
            self.emit(4, trade.resting_id, trade.size, trade.price * UNITS, 1 - side)
        if report.resting:
            self.change(side, price, report.resting)
            self.emit(1, order_id, report.resting, price * UNITS, side)
            self.submit(LIMIT, side, price, size, order_id)
        else:
            self.submit(LIMIT, side, trades[-1].price, size, None)

    def hit_hidden(self, side: int) -> None:
        """An aggressive order that trades with hidden orders alone, at or between ticks."""
        best = self.book.best(1 - side)
        if best == NO_PRICE:
            return
        toward = 1 if side == BUY else -1
        prices = best * UNITS - toward * np.array([UNITS, UNITS // 2])[: int(self.rng.integers(1, 3))]
        for price in prices.tolist():
            self.emit(5, 0, 5, price, 1 - side)
        marketable = -(-prices[-1] // UNITS) if side == BUY else prices[-1] // UNITS
        self.submit(LIMIT, side, int(marketable), 5 * len(prices), None, HIDDEN)

    def new_id(self) -> int:
        self.next_id += int(self.rng.integers(1, 50))
        return self.next_id

    def change(self, side: int, price: int, size: int) -> None:
        total = self.depth[side].get(price, 0) + size
        self.depth[side][price] = total
        if total == 0:
            del self.depth[side][price]

    def best_prices(self, side: int) -> list[int]:
        return sorted(self.depth[side], reverse=side == BUY)[: self.out.levels]

    def in_window(self, side: int, price: int) -> bool:
        return price in self.best_prices(side)

    def emit(self, kind: int, order_id: int, size: int, price: int, side: int) -> None:
        self.out.messages.append((self.time, kind, order_id, size, price, 1 if side == BUY else -1))
        row = []
        for level in range(self.out.levels):
            for side_, missing in ((SELL, 9_999_999_999), (BUY, -9_999_999_999)):
                prices = self.best_prices(side_)
                shown = level < len(prices)
                row += [prices[level] * UNITS, self.depth[side_][prices[level]]] if shown else [missing, 0]
        self.out.books.append(row)

    def submit(self, kind, side, price, size, order_id, flags=0) -> None:
        self.out.submitted.append((kind, side, price, size, order_id, flags, len(self.out.messages)))
