"""How rollouts ended, as tables: one row a rollout, and one an agent's account."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.rollout_engine import RolloutEngine

ENDS_SCHEMA = pa.schema(
    {
        "start": pa.int32(),
        "rollout": pa.int32(),
        "reason": pa.string(),  # of mars_lmm.simulation.engine.columns.ENDS
        "time": pa.int64(),  # when it ended
        "orders": pa.int64(),  # executed, everybody's
        "proposals": pa.int64(),  # how often the model was asked
        "rejected": pa.int64(),  # orders of the model that the exchange rejected
        "rejected_agents": pa.int64(),
        "last_price": pa.int32(),
        "bid": pa.int32(),
        "ask": pa.int32(),
        "bid_size": pa.int64(),
        "ask_size": pa.int64(),
        "volume": pa.int64(),  # units traded in the session, the recorded part included
        "trades": pa.int64(),  # of the session, likewise
        "fills_lost": pa.int64(),  # fills of agents that fills.parquet lacks
    }
)
ACCOUNT_COLUMNS = {
    "position": t.POSITION,
    "bought": t.BOUGHT,
    "bought_value": t.BOUGHT_VALUE,
    "sold": t.SOLD,
    "sold_value": t.SOLD_VALUE,
    "fees": t.FEES_PAID,
}
ACCOUNTS_SCHEMA = pa.schema(
    {"start": pa.int32(), "rollout": pa.int32(), "agent": pa.int16(), "name": pa.string()}
    | dict.fromkeys(("cash_change", *ACCOUNT_COLUMNS), pa.int64())  # cash, values, fees in ticks times units
)


def ends_table(engine: RolloutEngine, start: np.ndarray, rollout: np.ndarray) -> pa.Table:
    """How each rollout of an engine stands.

    Args:
        engine: After its run.
        start: int[B], the start of each rollout.
        rollout: int[B], its number among the rollouts of that start.
    """
    progress = engine.progress.cpu().numpy()
    books, levels = engine.batch.market.books, engine.batch.market.snapshot[:, :, 0].cpu().numpy()
    rejected = engine.batch.rollout.outcomes[..., t.ACCEPTED + 1 :].sum(dim=2).cpu().numpy()
    header = {"last_price": t.LAST_PRICE, "volume": t.VOLUME, "trades": t.NUM_TRADES}
    columns = {
        "start": start,
        "rollout": rollout,
        "reason": np.array(c.ENDS)[progress[:, c.END]],
        "time": progress[:, c.END_AT],
        "orders": progress[:, c.ORDERS],
        "proposals": progress[:, c.PROPOSALS],
        "rejected": rejected[:, c.MODEL],
        "rejected_agents": rejected[:, c.MODEL + 1 :].sum(axis=1),
        "fills_lost": progress[:, c.FILLS_LOST],
    }
    columns |= {name: books[:, column].cpu().numpy() for name, column in header.items()}
    for side, name in ((t.BUY, "bid"), (t.SELL, "ask")):
        columns[name], columns[f"{name}_size"] = levels[:, side].T
    return _table(columns, ENDS_SCHEMA)


def accounts_table(engine: RolloutEngine, start: np.ndarray, rollout: np.ndarray) -> pa.Table:
    """What each agent has, by rollout and agent; arguments as in `ends_table`."""
    size, agents = len(engine), len(engine.seats)
    books = engine.batch.market.books
    first = int(books[0, t.ACCOUNTS_AT]) + t.NUM_ACCOUNT_COLUMNS  # the background's account comes before
    accounts = books[:, first : first + agents * t.NUM_ACCOUNT_COLUMNS].cpu().numpy().reshape(size * agents, -1)
    columns = {
        "start": np.repeat(start, agents),
        "rollout": np.repeat(rollout, agents),
        "agent": np.tile(np.arange(1, agents + 1), size),
        "name": np.tile([seat.name for seat in engine.seats], size),
    }
    columns |= {name: accounts[:, column] for name, column in ACCOUNT_COLUMNS.items()}
    columns["cash_change"] = columns["sold_value"] - columns["bought_value"] - columns["fees"]
    return _table(columns, ACCOUNTS_SCHEMA)


def _table(columns: dict[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
