"""Small markets for agents: a start made of a few orders, agents that follow a script, and what came of it."""

from dataclasses import dataclass

import numpy as np

from mars_lmm.data.flow import OrderFlow, Session
from mars_lmm.data.replay import opening_state, replay
from mars_lmm.market import types as t
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers import observation as o

SECOND = 10**9
OPEN = 34_200 * SECOND  # 09:30
BOOK = ((t.BUY, 999, 500), (t.BUY, 998, 500), (t.SELL, 1001, 500), (t.SELL, 1002, 500), (t.SELL, 1003, 500))


def clock(hour, minute=0, second=0):
    return ((hour * 60 + minute) * 60 + second) * SECOND


def start_at(time=OPEN, book=BOOK, rules="", reference_price=1000, sent=OPEN - SECOND):
    """A start at `time` whose book holds `book`: side, price and size of limit orders, sent at `sent`."""
    side, price, size = (np.array(column) for column in zip(*book, strict=True))
    columns = {
        "time": np.full(len(book), sent),
        "kind": np.full(len(book), t.LIMIT),
        "side": side,
        "price": price,
        "size": size,
        "order_id": np.arange(1, len(book) + 1),
        "source_row": np.zeros(len(book)),
    }
    session = Session(
        "TEST", "2024-01-02", 0.01, min(OPEN, sent), clock(16), rules=rules, reference_price=reference_price
    )
    flow = OrderFlow(session, columns)
    state = opening_state(flow)
    replay(flow, state)
    token, market = np.zeros(1, np.int64), np.zeros((1, OrderCoding.num_features), np.int16)
    return Start(session, time, state, token, market, np.zeros(o.NUM_TAPE, np.int64), flow=flow)


@dataclass
class Seen:
    """What a scripted agent saw in a decision of its own, in book 0."""

    time: int
    bid: int
    ask: int
    bid_size: int
    ask_size: int
    last_price: int
    orders: list
    under_way: int
    bought: int
    sold: int


class Script(Agent):
    """Does what it is told, at the times it is told; in each book the same.

    Args:
        steps: When to decide, by the agent's clock, and what to do: view -> order rows. The decision at the beginning
            comes on top.
        on_order: It also decides, and does nothing, after every order of somebody else.
    """

    open_orders, under_way = 16, 16

    def __init__(self, *steps, on_order=False):
        self.steps, self.on_order, self.seen, self.done = list(steps), on_order, [], 0

    def act(self, view, state):
        levels = view.levels[0]
        self.seen.append(
            Seen(
                int(view.time[0]),
                *(int(price[0]) for price in (view.bid, view.ask)),
                *(int(levels[side, 0, 1]) for side in (t.BUY, t.SELL)),
                int(view.last_price[0]),
                [order[1:] for order in view.orders[0].tolist() if order[0]],
                int(view.under_way[0]),
                int(view.bought[0]),
                int(view.sold[0]),
            )
        )
        orders = []
        if self.done < len(self.steps) and self.steps[self.done][0] <= int(view.time[0]):
            orders = self.steps[self.done][1](view)
            self.done += 1
        wake = self.steps[self.done][0] if self.done < len(self.steps) else NEVER
        return Decision(view.full(wake), orders, on_order=self.on_order)

    def at(self, time):
        """What it saw at a time."""
        return next(seen for seen in self.seen if seen.time == time)


def limit(side, price, size, **how):
    return lambda view: [view.limit(side, price, size, **how)]


def nothing(view):
    return []


@dataclass
class Fill:
    time: int
    agent: int
    side: int
    price: int
    size: int
    order_id: int
    taker: int


@dataclass
class Outcome:
    """What came of a rollout without a model.

    Attributes:
        rows: int64[N, NUM_ROW], accepted orders of book 0.
        fills: Of agents.
        engine: The engine.
    """

    rows: np.ndarray
    fills: list
    engine: object

    @property
    def end(self):
        return c.ENDS[int(self.engine.progress[0, c.END])]

    def sources(self):
        return self.rows[:, c.ROW_SOURCE].tolist()

    def filled(self, agent, side):
        return sum(fill.size for fill in self.fills if fill.agent == agent and fill.side == side)

    def outcomes(self, agent):
        """Orders of an agent by what became of them, without those there were none of."""
        counts = self.engine.batch.rollout.outcomes[0, agent].tolist()
        return {t.OUTCOMES[i]: count for i, count in enumerate(counts) if count}


def plans(agents):
    """Seats of agents; of (agent, arguments) with arguments of `SeatPlan`."""
    pairs = [agent if isinstance(agent, tuple) else (agent, {}) for agent in agents]
    return [SeatPlan(f"agent {number}", agent, **more) for number, (agent, more) in enumerate(pairs, 1)]


def run(coding, agents, start=None, end=OPEN + 3600 * SECOND, model=None, order_limit=100_000, **config):
    """Roll a start out with these agents until `end`."""
    config = {"limits": LimitsConfig(empty_side_seconds=1e6)} | config
    engine = make_engine(
        RolloutConfig(**config),
        model,
        coding,
        [start or start_at()],
        np.array([0]),
        np.array([0]),
        order_limit,
        plans(agents),
    )
    engine.progress[:, c.END_TIME] = end
    rows, fills = [], []
    for chunk in engine.run():
        rows.append(chunk.rows[:, 0])
        fills += [Fill(*fill) for fill in chunk.fills[0, : chunk.num_fills[0]].tolist()]
    rows = np.concatenate(rows)
    return Outcome(rows[rows[:, c.ROW_SOURCE] != c.NOBODY], fills, engine)
