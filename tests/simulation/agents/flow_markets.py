"""Books in which baseline order flows trade alone, and what is told of them as if it had been recorded."""

from dataclasses import replace

import numpy as np
from agent_markets import OPEN, SECOND, plans, start_at

from mars_lmm.data.flow import OrderFlow
from mars_lmm.market import types as t
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.fitting.orders import session_orders


def rollouts(coding, agent, start, number, seconds, start_of=None, seed=0):
    """Accepted orders int64[N, NUM_ROW] of each rollout, and the engine."""
    number = np.atleast_1d(number)
    config = RolloutConfig(limits=LimitsConfig(empty_side_seconds=1e6), seed=seed)
    starts = start if isinstance(start, list) else [start]
    start_of = np.zeros(len(number), int) if start_of is None else np.array(start_of)
    engine = make_engine(config, None, coding, starts, start_of, number, 10**6, plans([agent]))
    engine.progress[:, c.END_TIME] = engine.progress[:, c.BEGIN_TIME] + seconds * SECOND
    rows = np.concatenate([chunk.rows for chunk in engine.run()])
    return [rows[rows[:, b, c.ROW_SOURCE] != c.NOBODY, b] for b in range(len(number))], engine


def recorded(book, rows):
    """A session that begins with `book` and in which these orders were sent, as the fits read it."""
    start = start_at(book=book)
    opening = start.flow.columns
    columns = {
        "time": rows[:, 0],
        "kind": rows[:, 1],
        "side": rows[:, 2],
        "price": rows[:, 3],
        "size": rows[:, 4],
        "order_id": rows[:, c.ROW_ORDER_ID],
        "source_row": np.zeros(len(rows)),
    }
    joined = {name: np.concatenate([opening[name], column]) for name, column in columns.items()}
    session = replace(start.flow.session, open_time=OPEN, rebuilt_takers=True)
    return session_orders(OrderFlow(session, joined), c.NEVER)


def deep_book(size=100, levels=20):
    """Levels tick by tick on both sides of 1000."""
    return [(side, 1000 + sign * n, size) for side, sign in ((t.BUY, -1), (t.SELL, 1)) for n in range(1, levels + 1)]
