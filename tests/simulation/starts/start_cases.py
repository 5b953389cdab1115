"""What tests of starts begin with: made-up days, prepared sets that hold them, a model, an agent."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from mars_lmm.data.flow import OrderFlow, Session
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.market.book import NEXT, NO_SLOT
from mars_lmm.market.cpu import MATCHING
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.tokenizers.orders import OrderTokenizer

SECOND = 10**9
MINUTE = 60 * SECOND


def at(text: str) -> int:
    """HH:MM[:SS] in nanoseconds."""
    hours, minutes, seconds = (int(part) for part in (text + ":0").split(":")[:3])
    return (hours * 3600 + minutes * 60 + seconds) * SECOND


OPEN = [("09:15", "09:25"), ("09:30", "11:30"), ("13:00", "15:00")]
NO_CANCELS = [("09:20", "09:25"), ("14:57", "15:00")]


def shanghai_flow(symbol: str = "600000", date: str = "2024-01-02", count: int = 3000, seed: int = 0) -> OrderFlow:
    """Limit orders around 1,000 ticks, and cancels where the session takes them, in all phases that take orders."""
    random = np.random.default_rng(seed)
    share = [(at(end) - at(begin)) for begin, end in OPEN]
    counts = [max(count * part // sum(share), 200) for part in share]
    time = np.concatenate(
        [np.sort(random.integers(at(begin), at(end), many)) for (begin, end), many in zip(OPEN, counts, strict=True)]
    )
    count = len(time)
    barred = np.any([(time >= at(begin)) & (time < at(end)) for begin, end in NO_CANCELS], axis=0)
    cancels = (random.random(count) < 0.2) & ~barred & (np.arange(count) > 50)
    side = random.integers(0, 2, count)
    columns = {
        "time": time,
        "kind": np.where(cancels, t.CANCEL_AT, t.LIMIT),
        "side": side,
        "price": 1000 + random.integers(-12, 5, count) * np.where(side == t.BUY, 1, -1),
        "size": 100 * random.integers(1, 6, count),
        "order_id": np.arange(1, count + 1),
        "source_row": np.arange(1, count + 1),
    }
    return OrderFlow(Session(symbol, date, 0.01, at("09:15"), at("15:00"), rules="sse_main"), columns)


def prepared_of(folder: Path, flows: list[OrderFlow], held_out_from: int) -> PreparedSet:
    """A set of these sessions; it has no rows."""
    entries = []
    for flow in flows:
        flow.write(folder / flow.session.file)
        entries.append(vars(flow.session) | {"flow": str(flow.session.file), "held_out_from": held_out_from})
    return PreparedSet(
        path=folder,
        recipe={},
        fingerprint="",
        tokenizer_checksum="",
        row_length=1,
        num_market_features=1,
        splits={},
        cutoff={},
        sessions=entries,
        dropped=[],
    )


def queues(book):
    """Every queue in order: (side, price, [(id, size, owner), ...])."""
    found = []
    for side in (t.SELL, t.BUY):
        price = book[t.BEST_PRICE + side]
        while price != t.NO_PRICE:
            slot, queue = MATCHING.first(book, side, price), []
            while slot != NO_SLOT:
                queue.append(tuple(int(book[slot + column]) for column in (t.ORDER_ID, t.SIZE, t.OWNER)))
                slot = book[slot + NEXT]
            found.append((side, int(price), queue))
            price = MATCHING.next_price(book, side, price)
    return found


@cache
def shanghai_coding() -> OrderCoding:
    """A coding fitted to the made-up day."""
    return OrderCoding(OrderTokenizer.fit(replay(shanghai_flow()).observed, takers_rest=True))


def small_model() -> OrderModel:
    """An untrained model that reads it."""
    torch.manual_seed(0)
    return OrderModel(OrderModelConfig(width=32, layers=2, heads=2, window=32, head="fields")).eval()


class Gambler(Agent):
    """Bids and offers around the last price, every half second to second and a half."""

    open_orders, num_draws = 4000, 3

    def act(self, view, state):
        side = (view.draws[:, 0] < 0.5).long()
        price = view.last_price + (view.draws[:, 1] * 11).long() - 5
        wait = ((0.5 + view.draws[:, 2]) * SECOND).long()
        return Decision(view.time + wait, [view.limit(side, price, 100)])
