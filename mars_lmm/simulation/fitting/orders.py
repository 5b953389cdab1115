"""The orders that baselines are fitted to, placed as the book was that they met.

They are those of the training part, or the last ones before a moment. A session is replayed up to the moment from which
it is held out, or to that moment, and no further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import AUCTION, OrderFlow
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.simulation.starts.recorded import Moment, find_session
from mars_lmm.tokenizers import observation as o

# What an order does.
LIMIT = 0  # rests
TAKE = 1  # meets the other side
CANCEL = 2

_SIDE, _PRICE, _BID, _ASK = (o.TAPE_COLUMNS.index(name) for name in ("side", "price", "bid", "ask"))


@dataclass
class SessionOrders:
    """N consecutive training orders of one session, sent while trading was continuous.

    Attributes:
        action: int64[N], `LIMIT`, `TAKE` or `CANCEL`.
        side: int64[N], `t.SELL` or `t.BUY`: of a cancel, the side that it takes from.
        away: int64[N], ticks by which the price lies away from the other side's best: at least 1; of takers 0, or
            below 0 beyond it.
        size: int64[N], units.
        wait: int64[N], nanoseconds of open market since the order before.
        level_away: int64[N, 2, DEPTH], the same of each level that it met, by side; 0 where there is no such level.
        level_size: int64[N, 2, DEPTH], units at those levels.
        takers_rest: Whether what is left of a taker rests.
    """

    action: np.ndarray
    side: np.ndarray
    away: np.ndarray
    size: np.ndarray
    wait: np.ndarray
    level_away: np.ndarray
    level_size: np.ndarray
    takers_rest: bool

    def __len__(self) -> int:
        return len(self.action)

    @property
    def seconds(self) -> float:
        """Open market that they span."""
        return float(self.wait.sum()) / 1e9


def training_orders(prepared: PreparedSet, symbol: str) -> list[SessionOrders]:
    """The training orders of an instrument, a part for each session that has any.

    Raises:
        DataError: None of its sessions has a training part, or a flow cannot be read.
    """
    parts = []
    for number, entry in enumerate(prepared.sessions):
        if entry["symbol"] == symbol and entry["held_out_from"] > entry["open_time"]:
            part = session_orders(prepared.flow(number), entry["held_out_from"])
            parts += [part] if len(part) else []
    if not parts:
        raise DataError(prepared.path, f"no session of {symbol} has a training part: there is nothing to fit to")
    return parts


def fitted_symbols(prepared: PreparedSet) -> list[str]:
    """The instruments with a training part."""
    found = {entry["symbol"] for entry in prepared.sessions if entry["held_out_from"] > entry["open_time"]}
    return sorted(found)


def recent_orders(prepared: PreparedSet, moment: Moment, count: int) -> SessionOrders:
    """The last orders before a moment, held out or not; so many at most."""
    part = session_orders(prepared.flow(find_session(prepared, moment)), moment.time + 1)
    last = {name: value[-count:] for name, value in vars(part).items() if isinstance(value, np.ndarray)}
    return replace(part, **last)


def session_orders(flow: OrderFlow, until: int) -> SessionOrders:
    """The orders of a session before a time, nanoseconds since midnight."""
    last = int(np.searchsorted(flow.time, until))
    part = OrderFlow(flow.session, {name: column[:last] for name, column in flow.columns.items()})
    replayed = replay(part)
    # The first order met a book that no order before it shows.
    observed = replayed.observed[1:]
    levels = replayed.observed[:-1, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
    tape = replayed.tape
    asks = tape[1:, _SIDE] == t.SELL
    behind = np.where(asks, tape[1:, _PRICE] - tape[:-1, _ASK], tape[:-1, _BID] - tape[1:, _PRICE])
    continuous = part.flags[replayed.row[1:]] & AUCTION == 0
    orders = (array[continuous] for array in (observed, levels, asks, behind))
    return _place(*orders, takers_rest=not flow.session.rebuilt_takers)


def _place(
    observed: np.ndarray, levels: np.ndarray, asks: np.ndarray, behind: np.ndarray, takers_rest: bool
) -> SessionOrders:
    """Place observed orders in the books that they met; those that met an empty side are left out.

    Args:
        observed: int64[N, NUM_OBSERVED].
        levels: int64[N, 2, 2, DEPTH], distances from the mid and sizes that each met, as `o.LEVELS` has them.
        asks: bool[N], whether it sells, or cancels what does.
        behind: int64[N], ticks by which its price lies behind the best of its side.
        takers_rest: Whether what is left of a taker rests.
    """
    distance, resting = levels[:, :, 0], levels[:, :, 1]
    both = (distance[:, :, 0] >= 0).all(axis=1)
    observed, distance, resting, asks, behind = (a[both] for a in (observed, distance, resting, asks, behind))
    best = distance[:, :, 0]
    spread = best.sum(axis=1)
    kind, at = observed[:, o.TYPE], observed[:, o.PLACE]
    cancel = kind == o.CANCEL_TYPE
    taker = ~cancel & (at >= o.CROSSING)
    return SessionOrders(
        action=np.select([cancel, taker], [CANCEL, TAKE], LIMIT),
        side=np.where(asks, t.SELL, t.BUY),
        # Where volume changed that is nobody's order, the best prices were others than those of the order before.
        away=np.where(taker, o.CROSSING - at, np.maximum(spread + behind, 1)),
        size=observed[:, o.SIZE],
        wait=observed[:, o.INTERVAL],
        level_away=np.where(distance >= 0, distance + best[:, ::-1, None], 0),
        level_size=resting,
        takers_rest=takers_rest,
    )


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.int64)]
