"""Tables of orders as different people write them, of orders that the reference book matches."""

import gzip
import io
import zipfile
from pathlib import Path

import lobster_writer
import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.reference import ReferenceBook
from mars_lmm.paths import CONF

LOBSTER, TRADINGPHYSICS = (f"{CONF}/mapping/{name}.yaml" for name in ("lobster", "tradingphysics"))
LEVELS = 200  # a window that every order is in

ORDERS = {
    "view": "orders",
    "columns": {
        "time": "at",
        "kind": "type",
        "side": "bs",
        "price": "px",
        "size": "qty",
        "order_id": "id",
        "symbol": "stock",
        "owner": "who",
    },
    "kinds": {"L": "limit", "M": "market", "C": "cancel", "I": "ioc", "F": "fok", "P": "post_only", "R": "replace"},
    "sides": {"b": "buy", "s": "sell", "": "untold"},
    "time": {"format": "iso", "zone": "America/New_York"},
}


def recording(seed: int, num_orders: int = 400) -> lobster_writer.Recording:
    """A session in LOBSTER's words whose every order is announced, those of the opening too."""
    out = lobster_writer.record(seed, LEVELS, num_orders)
    opening = [
        (lobster_writer.OPEN_TIME - 1, 1, 1 + i, 10, (1000 + (1 if side == t.SELL else -1) * (1 + i // 4)) * 100, sign)
        for i in range(lobster_writer.OPENING_ORDERS)
        for side, sign in [(i % 2, 1 if i % 2 == t.BUY else -1)]
    ]
    submitted = [
        (t.LIMIT, t.BUY if sign == 1 else t.SELL, price // 100, size, order_id, 0, row)
        for row, (_, _, order_id, size, price, sign) in enumerate(opening, start=1)
    ]
    later = [(*order[:-1], order[-1] + len(opening)) for order in out.submitted]
    return lobster_writer.Recording(out.levels, opening + out.messages, [], submitted + later)


def tradingphysics(messages: list[tuple], ticker: str = "TEST") -> str:
    """The messages as tradingphysics' CSV; a millisecond each moment."""
    lines = ["Time,Ticker,Order,T,Shares,Price,MPID,X"]
    left: dict[int, int] = {}
    moment, last = 34_200_000, None
    for time, kind, order_id, size, price, sign in messages:
        moment += time != last
        last = time
        code, shares, shown = {5: "T", 2: "C", 3: "D", 4: "E"}.get(kind, ""), size, 0
        if kind == 1:
            code, shown, left[order_id] = "B" if sign == 1 else "S", price, size
        elif kind == 5:
            shown = price
        else:
            left[order_id] -= size
            if left[order_id] == 0:
                code, shares = {4: "F"}.get(kind, "D"), 0
        lines.append(f"{moment},{ticker},{order_id},{code},{shares},{shown},,")
    return "\n".join(lines) + "\n"


def random_orders(seed: int, num_orders: int = 600, late: float = 0.0) -> tuple[list[dict], list[tuple], int]:
    """Orders of all sorts.

    Args:
        seed: Of the draws.
        num_orders: How many.
        late: Share of cancels and replacements that name any order sent so far, gone or not.

    Returns:
        The orders, what the reference book accepted of them as (kind, side, price, size, id, owner), and its volume.
    """
    rng = np.random.default_rng(seed)
    book = ReferenceBook(10_000, 4_000, 1)
    orders, accepted, volume = [], [], 0
    sent: dict[int, int] = {}
    kinds = (t.LIMIT, t.MARKET, t.CANCEL, t.IOC, t.FOK, t.POST_ONLY, t.REPLACE)
    for i in range(num_orders):
        kind = int(rng.choice(kinds, p=(0.5, 0.08, 0.2, 0.06, 0.04, 0.06, 0.06)))
        side, price, size = int(rng.integers(2)), int(rng.integers(980, 1021)), int(rng.integers(1, 100))
        order_id, owner = i + 1, int(rng.integers(1, 5))
        if kind in (t.CANCEL, t.REPLACE):
            if not book.live:
                continue
            order = list(book.live.values())[int(rng.integers(len(book.live)))]
            order_id, owner = order.order_id, order.owner
            if late and rng.random() < late:
                order_id, owner = list(sent.items())[int(rng.integers(len(sent)))]
            size = 0 if kind == t.CANCEL and rng.random() < 0.5 else size
        told = kind not in (t.CANCEL, t.REPLACE)
        if told:
            sent[order_id] = owner
        orders.append({"kind": kind, "side": side if told else -1, "size": size, "order_id": order_id, "owner": owner})
        orders[-1]["price"] = 0 if kind in (t.CANCEL, t.MARKET) else price
        live = book.live.get(order_id)
        before = (live.side, live.price) if live else (side, price)
        report, trades = book.execute(kind, side, price, size, order_id, owner)
        volume += sum(trade.size for trade in trades)
        if report.outcome == t.ACCEPTED:
            side = side if told else before[0]
            price = before[1] if kind == t.CANCEL else orders[-1]["price"]
            size = report.cancelled if kind == t.CANCEL else size
            accepted.append((kind, side, price, size, order_id, owner))
    return orders, accepted, volume


def order_rows(orders: list[dict], stock: str = "ABC") -> list[list[str]]:
    """The orders as the rows of a table for `ORDERS`."""
    kinds = {t.KINDS.index(word): code for code, word in ORDERS["kinds"].items()}
    sides = {t.BUY: "b", t.SELL: "s", -1: ""}
    return [
        [
            f"2024-07-02T13:30:{i // 1000:02d}.{i % 1000:03d}Z",
            *(kinds[order["kind"]], sides[order["side"]], f"{order['price'] / 100:.2f}", str(order["size"])),
            *(str(order["order_id"]), stock, str(order["owner"])),
        ]
        for i, order in enumerate(orders)
    ]


def write_text(path: Path, text: str) -> Path:
    """Write a file: plain, packed if its name ends in .gz, or as the only member of a .zip."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("table.csv", text)
        path.write_bytes(packed.getvalue())
    else:
        path.write_text(text)
    return path
